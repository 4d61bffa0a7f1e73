"""Weights of extractors through the real clients, against servers on the loopback interface; a person's own modules."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from medzoo import features, weights
from medzoo.errors import CheckpointError, DownloadError, IntegrityError, MedzooError, MissingFile
from medzoo.features import _files, dinov2, inception_fid
from medzoo.features import radimagenet_resnet50 as radimagenet
from medzoo.files import cache
from medzoo.weights import checkpoints, lockfile
from medzoo.weights.sources import hub as hub_source
from tests.tools.servers import COMMIT, Fault, HubServer, ZenodoServer

REPO = "somebody/tiny"
TINY = dinov2.shape_of(24, 1, 3, patch=14, size=28)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 28, 28), np.uint8)


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own caches, no proxy, no token, and no Hub but the one of the test."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def tiny_state() -> dict[str, Tensor]:
    """A vision transformer of one layer under DINOv2's published names."""
    torch.manual_seed(0)
    layer = "encoder.layer.0."
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, 24),
        "embeddings.mask_token": (1, 24),
        "embeddings.position_embeddings": (1, 5, 24),
        "embeddings.patch_embeddings.projection.weight": (24, 3, 14, 14),
        "embeddings.patch_embeddings.projection.bias": (24,),
        "layernorm.weight": (24,),
        "layernorm.bias": (24,),
        f"{layer}layer_scale1.lambda1": (24,),
        f"{layer}layer_scale2.lambda1": (24,),
    }
    for name in ("norm1", "norm2"):
        shapes |= {f"{layer}{name}.weight": (24,), f"{layer}{name}.bias": (24,)}
    for name, out, inp in (
        ("attention.attention.query", 24, 24), ("attention.attention.key", 24, 24),
        ("attention.attention.value", 24, 24), ("attention.output.dense", 24, 24),
        ("mlp.fc1", 96, 24), ("mlp.fc2", 24, 96),
    ):  # fmt: skip
        shapes |= {f"{layer}{name}.weight": (out, inp), f"{layer}{name}.bias": (out,)}
    return {key: 0.2 * torch.randn(shape) for key, shape in shapes.items()}


def as_torch(state: dict[str, Tensor]) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def offer(server: HubServer, monkeypatch: pytest.MonkeyPatch, *, sha256: str | None = "right") -> str:
    """Put the tiny network on the server and among the variants of DINOv2; returns its hash."""
    actual = server.add(REPO, "model.safetensors", save(tiny_state()))
    stated = actual if sha256 == "right" else sha256
    file = _files.File((_files.on_the_hub(REPO, COMMIT, "model.safetensors", stated),), "safetensors")
    monkeypatch.setitem(dinov2.VARIANTS, "tiny", (TINY, file))
    return actual


# ------------------------------------------------------------------------------------------- downloads


def test_a_network_is_fetched_once_and_works_offline_then(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = offer(hub, monkeypatch)
    extractor = features.load("dinov2", variant="tiny", batch_size=2)
    assert extractor.about["weights_sha256"] == sha256 and extractor.about["license"] == "Apache-2.0"
    found = features.features_of(IMAGES, extractor)
    assert found.shape == (3, 24) and found.std() > 0.1
    np.testing.assert_allclose(found, dinov2.build(TINY, tiny_state(), None)(IMAGES), atol=1e-5)
    before = len(hub.log)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = features.load("dinov2", variant="tiny")
    assert again.identity == extractor.identity
    np.testing.assert_array_equal(features.features_of(IMAGES, again), found)
    assert len(hub.log) == before
    assert cache.models() == ["features_dinov2_tiny"]  # medzoo cache knows it


def test_other_weights_are_refused_before_the_first_byte(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(hub, monkeypatch, sha256="0" * 64)
    with pytest.raises(IntegrityError, match="(?s)features_dinov2_tiny: .*holds a file of sha256 .* expected 0000"):
        features.load("dinov2", variant="tiny")
    assert hub.count("GET") == 0 and cache.stored() == []


def test_without_a_hash_the_first_download_decides(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sha256 = offer(hub, monkeypatch, sha256=None)
    assert features.load("dinov2", variant="tiny").weights_sha256 == sha256
    assert "states no hash" in caplog.text
    (source,) = dinov2.VARIANTS["tiny"][1].sources
    assert lockfile.recorded("features_dinov2_tiny", f"hub {REPO}@{COMMIT}/model.safetensors") == sha256
    cache.clear("features_dinov2_tiny")
    hub.add(REPO, "model.safetensors", save({key: value + 1 for key, value in tiny_state().items()}))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache.root() / "another"))
    with pytest.raises(IntegrityError, match=f"expected {sha256}"):
        features.load("dinov2", variant="tiny")
    assert source.sha256 is None


def test_without_a_network_the_error_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError) as caught:
        features.load("dinov2", variant="small")
    words = str(caught.value)
    assert "cannot reach the Hub" in words and "HTTPS_PROXY" in words
    assert "medzoo cache warm --features dinov2:small" in words and "features_dinov2_small" in words
    assert "'efficientnet_lite0' and 'pixels' need no download" in words
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("clip", "radimagenet_resnet50", "inception_fid"):
        with pytest.raises(DownloadError, match="unset HF_HUB_OFFLINE"):
            features.load(name)


def test_the_second_address_stands_in_and_a_broken_line_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"kept": torch.randn(60_000), "dropped": torch.randn(10)}
    with ZenodoServer() as server:
        url = server.add("weights.pth", as_torch(state))
        sha256 = hashlib.sha256(as_torch(state)).hexdigest()
        file = _files.File(
            (_files.at_url(f"{server.url}/record/1/files/gone.pth", sha256), _files.at_url(url, sha256)), "torch"
        )
        server.faults.append(Fault("GET", drop_after=100_000))
        found, seen = _files.obtain("some", file, keep=lambda key: key == "kept")
        assert any("Range" in request.headers for request in server.log)
    assert seen == sha256 and set(found) == {"kept"}
    torch.testing.assert_close(found["kept"], state["kept"])


def test_files_that_run_code_are_refused(hub: HubServer, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    stream = io.BytesIO()
    torch.save({"kept": torch.zeros(1), "bomb": Bomb()}, stream)
    sha256 = hub.add(REPO, "bad.pt", stream.getvalue())
    with pytest.raises(CheckpointError):
        _files.obtain("bad", _files.File((_files.on_the_hub(REPO, COMMIT, "bad.pt", sha256),), "torch"))
    assert not (tmp_path / "ran").exists()


def test_a_source_is_fetched_without_an_entry(hub: HubServer) -> None:
    stream = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, stream)
    source = _files.on_the_hub(REPO, COMMIT, "own.pt", hub.add(REPO, "own.pt", stream.getvalue()))
    options: dict[str, Any] = {"container": "torch", "convert": checkpoints.convert}
    fetched = weights.fetch_source(source, "own", **options)
    assert fetched.sha256 == source.sha256 and fetched == weights.fetch_source([source], "own", offline=True, **options)
    missing = source.model_copy(update={"file": "none.pt", "sha256": None})
    with pytest.raises(DownloadError, match="own: no weights could be obtained"):
        weights.fetch_source(missing, "own", **options)
    with pytest.raises(MissingFile, match="has no file none.pt"):
        hub_source.obtain(hub_source.Address(REPO, "none.pt", COMMIT), offline=False)


def test_radimagenet_comes_from_a_torch_file(hub: HubServer) -> None:
    state = radimagenet.Network((1, 1)).state_dict()
    in_a_row = {ours: number for number, ours in radimagenet.IN_A_ROW.items()}
    renamed = {f"backbone.{in_a_row[key.split('.')[0]]}.{key.split('.', 1)[1]}": v for key, v in state.items()}
    sha256 = hub.add("Lab-Rasool/RadImageNet", "ResNet50.pt", as_torch(renamed))
    extractor = features.load("radimagenet_resnet50", stages=(1, 1))
    assert extractor.weights_sha256 == sha256 and extractor(IMAGES).shape == (3, 512)
    assert lockfile.recorded("features_radimagenet_resnet50", "hub Lab-Rasool/RadImageNet@main/ResNet50.pt") == sha256


def test_what_is_published_is_pinned_where_its_hash_is_known() -> None:
    from medzoo.features import clip

    files = [file for _, file in (*dinov2.VARIANTS.values(), *clip.VARIANTS.values())]
    for source in (source for file in files for source in file.sources):
        assert re.fullmatch("[0-9a-f]{40}", source.revision) and re.fullmatch("[0-9a-f]{64}", source.sha256)
    assert {source.sha256 for source in inception_fid.FILE.sources} == {inception_fid.SHA256}
    assert [source.url.rsplit("/", 1)[1] for source in inception_fid.FILE.sources] == [
        "pt_inception-2015-12-05-6726825d.pth",
        "weights-inception-2015-12-05-6726825d.pth",
    ]


# ------------------------------------------------------------------------------------------- a person's own

MINE = """
import torch
from medzoo.features import Extractor

class Means(torch.nn.Module):
    size = 8
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))
    def forward(self, x):
        return x.mean((2, 3)) * self.scale

class Whole(Extractor):
    name, dim, size = "whole", 12, 2

def whole(**options):
    return Whole(torch.nn.Flatten(), **options)

means = Means()
ready = whole()
no_size = torch.nn.Flatten()
four = Means()
four.forward = lambda x: x
number = 7
def broken():
    raise KeyError("mine")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of its own name in the current folder."""
    name = f"mine_{random.Random(str(tmp_path)).randrange(10**9)}"
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    yield name


@pytest.mark.parametrize("attribute", ["Means", "means"])
def test_a_module_of_ones_own(mine: str, attribute: str) -> None:
    extractor = features.load(f"{mine}:{attribute}", device="cpu", batch_size=2)
    assert (extractor.name, extractor.dim, extractor.size) == (f"{mine}:{attribute}", 3, 8)
    np.testing.assert_allclose(extractor(IMAGES[..., :8, :8]), IMAGES[..., :8, :8].mean((2, 3)) / 255, atol=1e-5)
    rough = features.load(f"{mine}:{attribute}", precision="bfloat16")(IMAGES)
    np.testing.assert_allclose(rough, extractor(IMAGES), atol=0.01)


def test_an_extractor_of_ones_own_gets_the_options_it_takes(mine: str) -> None:
    assert features.load(f"{mine}:whole", batch_size=5).batch_size == 5
    assert features.load(f"{mine}:ready", batch_size=5).batch_size == 8


@pytest.mark.parametrize("attribute", ["Means", "whole", "ready"])
def test_features_of_yesterdays_code_are_not_todays(mine: str, tmp_path: Path, attribute: str) -> None:
    before = features.load(f"{mine}:{attribute}").identity
    assert features.load(f"{mine}:{attribute}").identity == before
    (tmp_path / f"{mine}.py").write_text(MINE.replace("* self.scale", "* 2 * self.scale"))
    assert features.load(f"{mine}:{attribute}").identity != before


def test_what_ones_own_imports_and_does_not_save_decides_too(mine: str, tmp_path: Path) -> None:
    net = f"net_{mine}"
    code = "class Net(Means):\n    def __init__(self, by=1.0):\n        super().__init__()\n"
    code += "        self.register_buffer('by', torch.tensor(by), persistent=False)\n"
    (tmp_path / f"{net}.py").write_text(MINE + code)
    (tmp_path / f"{mine}.py").write_text(
        f"from {net} import Net\ndef one(): return Net()\ndef two(): return Net(2.0)\n"
    )
    before = features.load(f"{mine}:one").identity
    kept = json.loads(before) | {"name": f"{mine}:two"}
    assert json.loads(features.load(f"{mine}:two").identity) != kept
    (tmp_path / f"{net}.py").write_text(MINE + code + "# changed\n")
    assert features.load(f"{mine}:one").identity != before


def test_the_base_of_ones_own_can_be_imported() -> None:
    from medzoo.features import Extractor
    from medzoo.features._base import Extractor as same

    assert Extractor is same and not hasattr(features, "extractor")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{}:nothing", r"has no 'nothing'; it has torch, Extractor, Means, "),
        ("{}:no_size", r"set its attribute `size`, in pixels \(found None\)"),
        ("{}:four", r"one image must give features \[1, d\], found \[1, 3, 8, 8\]"),
        ("{}:number", "expected an Extractor or a torch.nn.Module, .* found int"),
        ("{}:broken", "calling it failed: KeyError: 'mine'"),
        ("nowhere_at_all:x", "importing nowhere_at_all failed: ModuleNotFoundError"),
        ("{}:", "expected module:attribute"),
    ],
)
def test_what_is_wrong_with_ones_own_is_told(mine: str, name: str, message: str) -> None:
    with pytest.raises(MedzooError, match=message):
        features.load(name.format(mine))


def test_only_what_comes_along_is_builtin(mine: str) -> None:
    assert features.is_builtin("pixels") and features.is_builtin("clip")
    for name in (f"{mine}:means", mine, "os:system", "_base", "../pixels", ""):
        assert not features.is_builtin(name)
