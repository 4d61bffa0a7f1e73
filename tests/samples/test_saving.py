"""Files and manifest: content, whole or not there, and the same bytes however often a run is killed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo import __version__
from medzoo.errors import SavingError
from medzoo.files import whole
from medzoo.files.png import encode_png
from medzoo.files.reading import sealed
from medzoo.samples import Samples
from medzoo.samples.saving import Writer, recorded
from tests.conftest import read_png
from tests.tools.paths import ROOT
from tests.tools.saving_case import RUN, N, batch, content, in_child, killed_at, write


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("run") / "out"
    write(folder)
    return content(folder)


def test_png_pixels_masks_and_words(tmp_path: Path) -> None:
    samples = batch(range(10, 13), condition=("benign", "malignant", "benign"), labels=np.array([0, 1, 0]))
    assert samples.masks is not None
    assert samples.save(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    folder = tmp_path / "a" / "b"
    names = [f"000000{i}{kind}.png" for i in (10, 11, 12) for kind in ("", "_mask")]
    assert sorted(content(folder)) == sorted([*names, "manifest.jsonl", "run.json"])
    image, words = read_png(folder / "00000011.png")
    assert np.array_equal(image, samples.uint8()[1].transpose(1, 2, 0))
    mask, mask_words = read_png(folder / "00000011_mask.png")
    assert mask.dtype == np.uint8 and np.array_equal(mask, samples.masks[1, 0] * 255)
    assert words == mask_words and words.keys() == {"Description", "Software", "medzoo"}
    assert all(part in words["Description"] for part in ("Synthetic", "99001_TINY", "Not for clinical use"))
    assert words["Software"] == f"medzoo {__version__}"
    told = json.loads(words["medzoo"])
    assert told["synthetic"] is True and told["index"] == 11 and told["seed"] == 7 and told["revision"] == "0" * 12
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert lines[1] == {
        "file": "00000011.png", "mask_file": "00000011_mask.png", "index": 11, "input": None, "seed": 7,
        "condition": "malignant", "label": 1, "model_id": "99001_TINY", "revision": "0" * 12,
        "weights_sha256": "f" * 64, "medzoo": __version__, "synthetic": True,
        "sha256": hashlib.sha256((folder / "00000011.png").read_bytes()).hexdigest(),
        "mask_sha256": hashlib.sha256((folder / "00000011_mask.png").read_bytes()).hexdigest(),
    }  # fmt: skip


def test_images_that_no_model_made_are_not_called_synthetic(tmp_path: Path) -> None:
    folder = batch(range(2), masks=False, model_id=None, seed=None).save(tmp_path / "out")
    assert "Description" not in read_png(folder / "00000000.png")[1]
    assert json.loads((folder / "manifest.jsonl").read_text().splitlines()[0])["synthetic"] is False


def test_arrays_keep_every_bit(tmp_path: Path) -> None:
    samples = batch(range(2, 4))
    assert samples.masks is not None
    npy = samples.save(tmp_path / "npy", format="npy")
    assert np.array_equal(np.load(npy / "00000003.npy"), samples.images[1])
    assert np.array_equal(np.load(npy / "00000003_mask.npy"), samples.masks[1])
    npz = samples.save(tmp_path / "npz", format="npz")
    with np.load(npz / "00000002.npz") as arrays:
        assert np.array_equal(arrays["image"], samples.images[0]) and np.array_equal(arrays["mask"], samples.masks[0])
    assert json.loads((npz / "manifest.jsonl").read_text().splitlines()[0])["mask_file"] is None
    again = samples.save(tmp_path / "again", format="npz")
    assert content(again) == content(npz)  # no dates inside


def test_what_png_cannot_hold_names_a_format_that_can(tmp_path: Path) -> None:
    with pytest.raises(SavingError, match=r"\[2, 8, 8\] with 0 masks; take --format npz"):
        Samples(images=np.zeros((1, 2, 8, 8), np.float32), indices=np.arange(1)).save(tmp_path / "out")
    with pytest.raises(SavingError, match="no format is named 'jpg'.* are dicom, nifti, npy, npz, png"):
        batch(range(1)).save(tmp_path / "out", format="jpg")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    volume = Samples(images=np.zeros((1, 1, 3, 8, 8), np.float32), indices=np.arange(1))
    assert np.load(volume.save(tmp_path / "out", format="npy") / "00000000.npy").shape == (1, 3, 8, 8)


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (1, 1, 3), (64, 1, 1)])
def test_the_png_encoder_is_read_back_by_pillow(shape: tuple[int, int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = tmp_path / "x.png"
    path.write_bytes(encode_png(pixels, {"Comment": "Mädchen"}))
    found, words = read_png(path)
    assert np.array_equal(found.reshape(shape), pixels) and words == {"Comment": "Mädchen"}


def test_the_png_encoder_is_no_larger_than_pillow_at_its_fastest() -> None:
    y, x = np.mgrid[:128, :128].astype(np.float32) / 128
    smooth = np.stack([np.sin(5 * x), np.cos(3 * y), x * y], axis=2)
    pixels = (255 * (smooth / 2 + 0.5) + np.random.default_rng(0).normal(size=smooth.shape)).clip(0, 255)
    pixels = pixels.astype(np.uint8)
    fast = zlib.compress(pixels.tobytes(), 1)
    assert len(encode_png(pixels, {})) < len(fast)


def test_a_folder_in_use_names_both_ways_out(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SavingError, match="not empty; go on with its run by --resume, replace it by --overwrite"):
        write(tmp_path)
    with pytest.raises(SavingError, match="holds no run to resume"):
        write(tmp_path, resume=True)
    with pytest.raises(SavingError, match="is a file; give a folder"):
        write(tmp_path / "notes.txt")
    with pytest.raises(SavingError, match="contradict"):
        write(tmp_path, resume=True, overwrite=True)
    assert content(tmp_path) == {"notes.txt": b"mine"}


def test_overwriting_removes_the_old_run_and_nothing_else(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    write(tmp_path, 30, replace(RUN, seed=1, start=0))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "grid.png").write_text("old")
    write(tmp_path, overwrite=True)
    assert content(tmp_path) == undisturbed | {"notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 8}, "seed was 7, now 8"),
        ({"model_id": "99002_X"}, "model_id was '99001_TINY', now '99002_X'"),
        ({"revision": "1" * 12}, "revision was"),
        ({"weights_sha256": "e" * 64}, "weights_sha256 was"),
        ({"start": 0}, "start was 10, now 0"),
        ({"condition": "benign"}, "condition was None, now 'benign'"),
        ({"format": "npy"}, "format was 'png', now 'npy'"),
        ({"precision": "bfloat16"}, "precision was 'float32', now 'bfloat16'"),
        ({"batch_size": 5}, "batch_size was 4, now 5"),
    ],
)
def test_only_the_same_run_is_resumed(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    write(tmp_path, 4)
    before = content(tmp_path)
    with pytest.raises(SavingError, match=f"holds another run: {told}.*--overwrite"):
        write(tmp_path, run=replace(RUN, **change), resume=True)
    assert content(tmp_path) == before


def test_a_run_of_another_version_is_not_resumed(tmp_path: Path) -> None:
    write(tmp_path, 4)
    (tmp_path / "run.json").write_text(json.dumps(sealed((recorded(tmp_path) or {}) | {"medzoo": "0.0.1"})))
    with pytest.raises(SavingError, match=f"medzoo was '0.0.1', now '{__version__}'"):
        write(tmp_path, resume=True)
    for damaged in ("{", "[]"):
        (tmp_path / "run.json").write_text(damaged)
        with pytest.raises(SavingError, match="run.json .*begin anew with --overwrite"):
            write(tmp_path, resume=True)


def test_a_finished_run_has_nothing_to_do_and_a_longer_one_goes_on(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    assert write(tmp_path, 8, resume=True) == list(range(10, 18))
    assert write(tmp_path, 8, resume=True) == []
    assert write(tmp_path, N, resume=True) == list(range(18, 28))
    assert content(tmp_path) == undisturbed
    assert write(tmp_path, 5, resume=True) == []
    assert content(tmp_path) == undisturbed


def test_zero_samples_leave_an_empty_manifest(tmp_path: Path) -> None:
    assert write(tmp_path / "out", 0) == []
    assert content(tmp_path / "out")["manifest.jsonl"] == b""


def test_a_torn_line_and_deleted_files_are_made_again(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    write(tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[:6]) + lines[6][:20])
    (tmp_path / "00000012_mask.png").unlink()
    (tmp_path / ".00000013.png.part").write_bytes(b"half")
    # Sample 12 lies in the first batch, the line of 16 in the second: whole batches of the grid are made again.
    assert write(tmp_path, resume=True) == [10, 11, 12, 13, *range(14, 28)]
    assert content(tmp_path) == undisturbed
    (tmp_path / "00000027.png").unlink()
    assert write(tmp_path, resume=True) == [26, 27]
    assert content(tmp_path) == undisturbed


@pytest.mark.parametrize("damage", [b"", b"nonsense\n", b'{"index": 10}\n', b"[1]\n", b"\xff\xfe\n"])
def test_a_manifest_that_is_not_ours_any_more_is_written_anew(
    tmp_path: Path, undisturbed: dict[str, bytes], damage: bytes
) -> None:
    write(tmp_path)
    (tmp_path / "manifest.jsonl").write_bytes(damage)
    write(tmp_path, resume=True)
    assert content(tmp_path) == undisturbed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_at_every_step_and_resumed_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, bytes]
) -> None:
    killed = 0
    for step in range(0, 100, 3):
        folder = tmp_path / str(step)
        status = in_child(killed_at(step, folder, monkeypatch))
        killed += status == -9
        assert status in (0, -9)
        for name, found in content(folder).items() if folder.exists() else ():
            # Whatever bears its name is whole.
            assert name.endswith(".part") or name == "manifest.jsonl" or found == undisturbed[name]
        write(folder, resume=True)
        assert content(folder) == undisturbed
    assert killed > 25


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_over_and_over_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, bytes]
) -> None:
    for _ in range(60):
        if in_child(killed_at(30, tmp_path / "out", monkeypatch)) == 0:
            break
    else:
        pytest.fail("the run never ended")
    assert content(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("step", [0, 1, 5, 17, 40])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, bytes], step: int
) -> None:
    count = iter(range(10**6))
    real = os.fsync

    def full(handle: int) -> None:
        if next(count) >= step:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        SavingError, match=r"no space left for .*out \(No space left on device, .* free\); \d+ samples are whole"
    ):
        write(tmp_path / "out")
    monkeypatch.undo()
    found = content(tmp_path / "out")
    for name in found.keys() - {"manifest.jsonl"}:
        assert found[name] == undisturbed[name]
    if "manifest.jsonl" in found:
        assert undisturbed["manifest.jsonl"].startswith(found["manifest.jsonl"])
    write(tmp_path / "out", resume=True)
    assert content(tmp_path / "out") == undisturbed


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_file_that_the_system_cuts_short_is_no_file(tmp_path: Path) -> None:
    """A real short write: the system refuses every byte after the 20,000th of a file."""
    code = f"""
import resource
from pathlib import Path
from tests.tools.saving_case import batch
samples = batch(range(3), size=100)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    samples.save({str(tmp_path / "out")!r})
except Exception as error:
    print(type(error).__name__, error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.startswith("SavingError no space left for"), result.stdout + result.stderr
    assert sorted(content(tmp_path / "out")) == ["manifest.jsonl", "run.json"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(SavingError, match="cannot be written: Permission denied"):
        write(tmp_path / "locked" / "out")


def test_an_error_while_generating_keeps_what_was_made(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path, RUN) as writer:
        writer.put(batch(range(10, 14)))
        writer.put(batch(range(14, 18)))
        raise KeyboardInterrupt
    assert writer.written == 8
    assert len((tmp_path / "manifest.jsonl").read_bytes().splitlines()) == 8
    write(tmp_path, resume=True)
    assert content(tmp_path) == undisturbed


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # 1,600 real ones take seconds
    samples = batch(range(8), masks=False, size=64)
    tracemalloc.start()
    try:
        with Writer(tmp_path / "out", replace(RUN, start=0, batch_size=8, format="npy")) as writer:
            for first in range(0, 1600, 8):
                writer.put(replace(samples, images=samples.images.copy(), indices=np.arange(first, first + 8)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10e6  # three batches are 1.2 MB, all of them 79 MB


def test_writing_waits_when_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    import time

    at_once, most, lock = 0, 0, threading.Lock()
    made = 0
    real = whole.write_bytes

    def slow(path: Path, data: bytes, **options: Any) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, made - writer.written)
        time.sleep(0.01)
        real(path, data, **options)

    with Writer(tmp_path / "out", RUN) as writer:
        monkeypatch.setattr("medzoo.samples.saving.write_bytes", slow)
        for first in range(10, 50, 4):
            made += 4
            writer.put(batch(range(first, first + 4)))
    assert at_once == 80 and most <= 3 * 4  # the batch just put and two that wait
    assert writer.written == 40


@pytest.mark.skipif(os.name != "posix", reason="needs file locks")
def test_two_processes_do_not_write_one_run(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    code = f"""
import sys
from pathlib import Path
from medzoo.samples.saving import Writer
from tests.tools.saving_case import RUN
with Writer(Path({str(tmp_path / "out")!r}), RUN):
    print("here", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None and other.stdout.readline() == b"here\n"
        before = content(tmp_path / "out")
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(SavingError, match="another process is writing into .*out"):
                write(tmp_path / "out", **options)
        assert content(tmp_path / "out") == before
        other.kill()
    write(tmp_path / "out", resume=True)  # the lock went with its holder
    assert content(tmp_path / "out") == undisturbed


def test_a_refused_writer_leaves_no_lock(tmp_path: Path) -> None:
    write(tmp_path / "out")
    with pytest.raises(SavingError, match="holds another run") as kept:
        write(tmp_path / "out", run=replace(RUN, seed=8), resume=True)
    assert kept.value is not None  # its traceback keeps the writer alive
    write(tmp_path / "out", run=replace(RUN, seed=8), overwrite=True)


def test_a_name_that_no_disk_takes(tmp_path: Path) -> None:
    with pytest.raises(SavingError, match="File name too long"):
        write(tmp_path / ("x" * 300))


def test_an_index_twice_is_told(tmp_path: Path) -> None:
    with pytest.raises(SavingError, match="several samples have the same index"):
        batch(range(3))[[0, 1, 1]].save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_words_that_a_png_cannot_hold_do_not_stop_it(tmp_path: Path) -> None:
    batch(range(1), model_id="Модель").save(tmp_path / "out")
    assert "Synthetic image made by ??????" in read_png(tmp_path / "out" / "00000000.png")[1]["Description"]
    assert json.loads((tmp_path / "out" / "manifest.jsonl").read_text())["model_id"] == "Модель"


def test_a_name_of_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SavingError, match=r"'.*o\.png' is the name of a file; give a folder"):
        batch(range(2)).save(tmp_path / "o.png")
    assert not (tmp_path / "o.png").exists()
    (tmp_path / "set.tar").mkdir()
    batch(range(2)).save(tmp_path / "set.tar")
