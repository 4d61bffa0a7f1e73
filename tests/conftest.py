"""Shared fixtures: no test sees the user's cache or registry, and tiny models stand in for large ones."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from medzoo.entry import Entry
from tests.tools.paths import SHARED

# On a busy machine an example takes as long as it takes.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
def shared() -> Path:
    """The folder of reference material beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("there is no ../shared beside the checkout")
    return SHARED


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache of the test's own, the Hub client's too, no extra registry, no model kept from the test before."""
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
    hub = str(tmp_path_factory.mktemp("hub"))
    monkeypatch.setenv("HF_HUB_CACHE", hub)
    if "huggingface_hub.constants" in sys.modules:  # which has read the environment
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", hub)
    monkeypatch.delenv("MEDZOO_REGISTRY", raising=False)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def entry_fields(**changes: Any) -> dict[str, Any]:
    """Fields of an entry for a tiny ``monai_gan`` of 8 x 8 grey images; changes replace top-level fields."""
    fields = Entry.blank(
        "99001_TINY",
        "monai_gan",
        title="A tiny model for tests",
        modality="x-ray",
        output={"type": "image", "size": [8, 8], "channels": 1, "masks": 0, "range": [0.0, 1.0], "spacing": None},
        config={"latent": 4, "start_shape": [4, 4, 4], "channels": [4, 1], "strides": [2, 1]},
        sampling={"latent": "uniform"},
        checkpoint={"container": "safetensors", "key": None, "strip_prefix": None},
    )
    return fields | changes


def masked() -> dict[str, Any]:
    """Changes that turn the tiny model into one of an RGB image with a mask."""
    return {
        "output": {
            "type": "image+mask", "size": [8, 8], "channels": 3, "masks": 1, "range": [0.0, 1.0], "spacing": None,
        },
        "config": {"latent": 4, "start_shape": [4, 4, 4], "channels": [4, 4], "strides": [2, 1]},
    }  # fmt: skip


@pytest.fixture
def tiny_entry() -> Callable[..., Entry]:
    """``tiny_entry(**changes) -> Entry``."""
    return lambda **changes: Entry.model_validate(entry_fields(**changes))


@pytest.fixture
def add_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``add_model(state=None, **changes) -> id``: a registry of the test's own, with weights beside the YAML.

    Without ``state`` the network of the family gets seeded random weights.
    """
    registry = tmp_path / "registry"

    def add(state: dict[str, Any] | None = None, **changes: Any) -> str:
        from safetensors.torch import save_file

        fields = entry_fields(**changes)
        registry.mkdir(exist_ok=True)
        weights = registry / f"{fields['model_id']}.safetensors"
        save_file(random_state(fields) if state is None else state, weights)
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        fields["weights"] = [{"kind": "local", "path": weights.name, "sha256": sha256}]
        (registry / f"{fields['model_id']}.yaml").write_text(json.dumps(fields))  # JSON is YAML
        monkeypatch.setenv("MEDZOO_REGISTRY", str(registry))
        return str(fields["model_id"])

    return add


def load_conformance(folder: Path, monkeypatch: pytest.MonkeyPatch, fused: bool, **changes: Any) -> Any:
    """A Generator through the ordinary loader: an entry in ``folder``, beside its weights, and a cache of its own."""
    import medzoo

    fields = entry_fields(model_id="90001_CONFORMANCE", modality="none", **changes)
    (folder / "90001_CONFORMANCE.yaml").write_text(json.dumps(fields))  # JSON is YAML
    monkeypatch.setenv("MEDZOO_REGISTRY", str(folder))
    monkeypatch.setenv("MEDZOO_CACHE", str(folder / "cache"))
    return medzoo.load("90001_CONFORMANCE", fused=fused, device="cpu")


def read_png(path: Path) -> tuple[Any, dict[str, Any]]:
    """(pixels as an array, text chunks) of a PNG, read by Pillow."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image), dict(image.info)


def random_state(fields: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Seeded weights for the family and config of an entry."""
    from medzoo import testing

    return testing.random_state(fields["family"], fields["config"], seed)
