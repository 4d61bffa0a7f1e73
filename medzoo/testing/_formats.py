"""The contract of a file format: same sample, same bytes, which medzoo reads again; synthetic ones say so."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medzoo.errors import SavingError
from medzoo.samples import Samples
from medzoo.samples.saving import save
from medzoo.testing._cases import Contract, example_images

MODEL_ID, START = "99001_TINY", 3


@dataclass(frozen=True)
class FormatCase:
    """A format, and samples that it holds.

    Attributes:
        format: its name, as ``--format`` takes it.
        shape: [C, (D,) H, W] of a sample, height and width the same.
        masks: mask channels.
        options: of ``save``, such as ``{"bits": 16}``.
        tolerance: how far an image may be from what is read back; half a grey level of 8 bits by default.
        reads: whether ``medzoo.datasets.load_path`` reads it: pictures of one or three channels.
        marks: whether a file says itself that it is synthetic; the manifest always does.
        refuses: samples that it cannot hold: (shape, masks, options).
    """

    format: Any
    shape: tuple[int, ...] = (1, 16, 16)
    masks: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.5 / 255 + 1e-6
    reads: bool = True
    marks: bool = True
    refuses: tuple[tuple[tuple[int, ...], int, dict[str, Any]], ...] = ()

    def samples(self, shape: tuple[int, ...] | None = None, masks: int | None = None, n: int = 3) -> Samples:
        """Smooth images of a model, all different."""
        shape, masks = shape or self.shape, self.masks if masks is None else masks
        images = example_images(shape[0], shape[-2:], n).astype(np.float32) / np.float32(255)
        if len(shape) == 4:
            images = np.stack([images] * shape[1], axis=2)
        drawn = np.stack([images[:, 0] > 0.4 + 0.1 * k for k in range(masks)], axis=1) if masks else None
        return Samples(
            images=images,
            masks=None if drawn is None else drawn.astype(np.uint8),
            indices=np.arange(START, START + n),
            seed=7,
            model_id=MODEL_ID,
            revision="0" * 12,
            weights_sha256="f" * 64,
        )

    def __str__(self) -> str:
        options = [f"{name}={value}" for name, value in self.options.items()]
        return "-".join([str(self.format), "x".join(map(str, self.shape)), *options])


class FormatContract(Contract):
    """Subclass it as ``TestMyFormat`` with ``cases``, a list of :class:`FormatCase`."""

    def test_the_same_sample_gives_the_same_bytes(self, case: FormatCase, tmp_path: Path) -> None:
        first, second = (_content(_save(case, tmp_path / name)) for name in ("first", "second"))
        assert first == second and len(first) > 2

    def test_a_sample_does_not_depend_on_the_others(self, case: FormatCase, tmp_path: Path) -> None:
        together = _content(_save(case, tmp_path / "together"))
        alone = _content(save(case.samples()[:1], tmp_path / "alone", format=case.format, **case.options))
        files = {name for name in alone if name.startswith(f"{START:08d}") and not name.endswith(".tar")}
        assert all(alone[name] == together[name] for name in files)

    def test_what_is_read_back_is_what_was_saved(self, case: FormatCase, tmp_path: Path) -> None:
        if not case.reads:
            pytest.skip("medzoo.datasets does not read it")
        samples = case.samples()
        images, masks = _read(_save(case, tmp_path / "out"), case.shape[-1])
        np.testing.assert_allclose(images, samples.images, atol=case.tolerance)
        if case.masks:
            assert samples.masks is not None and masks is not None and np.array_equal(masks, samples.masks)

    def test_the_files_say_that_they_are_synthetic(self, case: FormatCase, tmp_path: Path) -> None:
        content = _content(_save(case, tmp_path / "out"))
        lines = [json.loads(line) for line in content["manifest.jsonl"].decode().splitlines()]
        assert [line["index"] for line in lines] == [START, START + 1, START + 2]
        assert all(line["synthetic"] and line["model_id"] == MODEL_ID for line in lines)
        if case.marks:
            files = [bytes for name, bytes in content.items() if name[:8].isdecimal()]
            assert files and all(b"ynthetic" in _unpacked(bytes) for bytes in files)

    def test_what_it_cannot_hold_is_refused_before_anything_is_written(self, case: FormatCase, tmp_path: Path) -> None:
        if not case.refuses:
            pytest.skip("states nothing that it cannot hold")
        for shape, masks, options in case.refuses:
            with pytest.raises(SavingError):
                save(case.samples(shape, masks), tmp_path / "out", format=case.format, **(case.options | options))
            assert not (tmp_path / "out").exists()


def _save(case: FormatCase, folder: Path) -> Path:
    return save(case.samples(), folder, format=case.format, **case.options)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _unpacked(content: bytes) -> bytes:
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _read(folder: Path, size: int) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Images [n, C, H, W] in [0, 1] and masks [n, 1, H, W], as a data set reads the folder."""
    from medzoo.datasets import Protocol, load_path

    read = load_path(folder, Protocol(size=size))
    return read.images.astype(np.float32) / np.float32(255), read.masks
