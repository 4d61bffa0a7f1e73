"""TensorBoard: what a run writes, read back; a run that was killed; and a machine without the package."""

from __future__ import annotations

import errno
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.errors import TrainingError, pip_install
from medzoo.training.board import Board
from medzoo.training.tables import read_table
from medzoo.training.trainer import Trainer
from tests.tools.training import (
    Killed,
    kill_at,
    load,
    medzoo_,
    quiet,
    small_config,
    small_trainer,
    two_classes,
    write_folder,
)


class Constant:
    held = two_classes(2)

    def __call__(self, images: Any, masks: Any) -> dict[str, float]:
        return {"fd": 2.0, "kid": 1.0}


def start(folder: Path, **changes: Any) -> Trainer:
    pytest.importorskip("tensorboard")
    config = small_config("dcgan", steps=5, snapshot=2, held={"every": 2, "samples": 2}, **changes)
    return small_trainer(config, two_classes(), folder, Constant(), board=Board(folder))  # type: ignore[arg-type]


def events(run: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorBoard's own
        from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
            EventAccumulator,
        )

        found = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
        found.Reload()
    return found


def assert_tables(run: Path) -> None:
    """Every number of the tables is shown once, and every picture."""
    found = events(run)
    tags = set()
    for table, rows in (("train", read_table(run / "log.csv")), ("heldout", read_table(run / "heldout.csv"))):
        for name in rows[0].keys() - {"step"}:
            shown = [(one.step, one.value) for one in found.Scalars(f"{table}/{name}")]
            assert [step for step, _ in shown] == [row["step"] for row in rows], (table, name)
            np.testing.assert_allclose([value for _, value in shown], [row[name] for row in rows], rtol=1e-5)
            tags.add(f"{table}/{name}")
    assert set(found.Tags()["scalars"]) == tags and {"train/loss_d", "heldout/kid", "heldout/r_t"} <= tags
    pictures = found.Images("samples")
    assert [one.step for one in pictures] == [2, 4, 5] and (pictures[0].width, pictures[0].height) == (128, 16)


def test_numbers_and_pictures_are_read_back(tmp_path: Path) -> None:
    start(tmp_path).run(quiet)
    assert_tables(tmp_path)


def test_a_killed_run_shows_every_step_once(tmp_path: Path) -> None:
    """Step 3 was shown before the kill, and is made again from the state of step 2."""
    with pytest.raises(Killed):
        start(tmp_path).run(kill_at(3))
    assert [one.step for one in events(tmp_path).Scalars("train/loss_d")] == [1, 2, 3]
    start(tmp_path).run(quiet)
    assert_tables(tmp_path)


def test_a_full_disk_is_said_in_words_and_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(tmp_path)

    def full(board: Board) -> None:
        if run.step == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        board.writer.flush()

    with monkeypatch.context() as patch, pytest.raises(TrainingError, match=r"no space left .* type the same command"):
        patch.setattr(Board, "flush", full)
        run.run(quiet)
    assert load(tmp_path / "latest.pt")["step"] == 2
    start(tmp_path).run(quiet)
    assert_tables(tmp_path)


def test_the_option(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    data = write_folder(tmp_path / "mine", two_classes(12), classes=False, masks=False)
    options = ["--family", "dcgan", "--data", data, "--size", 16, "--batch", 4, "--steps", 10, "--no-held-out"]
    done = medzoo_("train", *options, "--out", tmp_path / "run", "--tensorboard", "--quiet")
    assert done.exit_code == 0, done.output
    assert [one.step for one in events(tmp_path / "run").Scalars("train/loss_g")] == [10]


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    install = pip_install("medzoo[tensorboard]")
    with pytest.raises(TrainingError, match=re.escape(f"--tensorboard needs one more package; type: {install}")):
        Board(tmp_path)
    done = medzoo_("train", tmp_path / "none.yaml", "--out", tmp_path / "run", "--tensorboard")
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1 and "[tensorboard]" in done.stderr
    assert not (tmp_path / "run").exists()
