"""Features kept on disk: found again, never taken for others, made anew when damaged, continued when interrupted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medzoo import features
from medzoo.features import Extractor, _cache
from medzoo.files import cache, whole


class Counting(torch.nn.Module):
    """Means and deviations of channels; counts what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.fails_at: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.fails_at is not None and self.seen >= self.fails_at:
            raise KeyboardInterrupt
        self.seen += len(x)
        return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)


class Means(Extractor):
    name, dim, size = "means", 6, 8


def make(**options: Any) -> tuple[Means, Counting]:
    network = Counting()
    return Means(network, **options), network


def images(n: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 8, 8), np.uint8)


def files() -> list[Path]:
    return sorted(path for path in (cache.root() / "features").rglob("*") if path.is_file())


def test_the_same_images_are_extracted_once() -> None:
    extractor, network = make()
    seen: list[tuple[int, int]] = []
    first = features.features_of(images(), extractor, lambda *at: seen.append(at))
    assert network.seen == 10 and seen[0] == (0, 10) and seen[-1] == (10, 10)
    np.testing.assert_array_equal(first, extractor(images()))
    again, other = make(batch_size=3)
    second = features.features_of(images(), again)
    assert other.seen == 0 and second.dtype == np.float32
    np.testing.assert_array_equal(first, second)
    assert [path.suffix for path in files()] == [".json", ".npy"]
    second[:] = 0  # the caller's own
    np.testing.assert_array_equal(features.features_of(images(), again), first)


def test_other_images_settings_and_weights_are_told_apart() -> None:
    changed = images()
    changed[9, 2, 7, 7] ^= 1
    pairs = [
        (images(), {}),
        (changed, {}),
        (images()[::-1], {}),
        (images()[:9], {}),
        (images().reshape(10, 3, 16, 4), {}),
        (images().astype(np.float32) / 255, {}),
        (images(), {"weights_sha256": "0" * 64}),
        (images(), {"precision": "bfloat16"}),
    ]
    for given, options in pairs:
        extractor, network = make(**options)
        features.features_of(given, extractor)
        assert network.seen == len(given)
    assert len(files()) == 2 * len(pairs)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "no record", "broken record", "missing", "nan"])
def test_what_is_damaged_is_made_anew(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    extractor, network = make()
    expected = features.features_of(images(), extractor)
    record, array = files()
    data = array.read_bytes()
    if damage == "flip":
        array.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    elif damage in ("cut", "empty"):
        array.write_bytes(data[:100] if damage == "cut" else b"")
    elif damage == "nan":
        _cache._saved(array, np.full_like(expected, np.nan), extractor)
    elif damage == "missing":
        array.unlink()
    elif damage == "no record":
        record.unlink()
    else:
        record.write_text("{")
    np.testing.assert_array_equal(features.features_of(images(), extractor), expected)
    assert network.seen == 20
    assert ("is damaged; the features are extracted again" in caplog.text) == (damage != "no record")
    np.testing.assert_array_equal(features.features_of(images(), extractor), expected)
    assert network.seen == 20


def test_an_interrupted_extraction_goes_on_where_it_stopped() -> None:
    extractor, network = make(batch_size=4)
    expected = extractor(images(18))
    network.seen, network.fails_at = 0, 12
    with pytest.raises(KeyboardInterrupt):
        features.features_of(images(18), extractor, part=4)
    parts = files()
    assert [path.name[:9] for path in parts] == ["000000000", "000000004", "000000008"]
    parts[1].write_bytes(parts[1].read_bytes()[:-1] + b"!")
    network.seen, network.fails_at = 0, None
    seen: list[int] = []
    np.testing.assert_array_equal(
        features.features_of(images(18), extractor, lambda at, n: seen.append(at), part=4), expected
    )
    assert network.seen == 18 - 8  # the damaged part, too
    assert seen == [0, 4, 8, 12, 16, 18]
    assert [path.suffix for path in files()] == [".json", ".npy"]


def test_a_cache_that_cannot_be_written_costs_no_features(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(whole, "write_bytes", full)
    extractor, _ = make()
    np.testing.assert_allclose(features.features_of(images(), extractor, part=4), extractor(images()), atol=1e-6)
    assert "cannot be kept (No space left on device)" in caplog.text and "MEDZOO_CACHE" in caplog.text
    assert files() == []


def test_images_on_disk_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "images.npy", images(20))
    on_disk = np.load(tmp_path / "images.npy", mmap_mode="r")
    extractor, network = make()
    with monkeypatch.context() as small:
        small.setattr(_cache, "_SLAB", 400)
        found = features.features_of(on_disk, extractor)
    np.testing.assert_array_equal(features.features_of(images(20), extractor), found)
    assert network.seen == 20  # the same key


def test_what_is_quick_is_not_kept_and_nothing_is_nothing() -> None:
    seen: list[tuple[int, int]] = []
    assert features.features_of(images(), features.load("pixels"), lambda *at: seen.append(at)).shape == (10, 3072)
    extractor, _ = make()
    assert features.features_of(images(0), extractor).shape == (0, 6)
    assert files() == [] and seen == [(10, 10)]


def test_the_record_says_what_made_the_features() -> None:
    extractor, _ = make(weights_sha256="ab")
    features.features_of(images(), extractor)
    record = json.loads(files()[0].read_text())
    assert record["extractor"]["name"] == "means" and record["extractor"]["weights_sha256"] == "ab"
    assert not list((cache.root() / "features").rglob("*.tmp"))
