"""Loggers: what TensorBoard, the page of a run, Weights & Biases and those of other packages are given to show."""

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
from medzoo.training.loggers import create, names
from medzoo.training.loggers.page import HEIGHT, POINTS, WIDTH, Page, chart
from medzoo.training.loggers.tensorboard import TensorBoard
from medzoo.training.tables import read_table
from medzoo.training.trainer import Trainer
from tests.tools.training import (
    Killed,
    install_plugin,
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
    return small_trainer(config, two_classes(), folder, Constant(), loggers=[TensorBoard(folder)])  # type: ignore[arg-type]


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
    assert [one.step for one in pictures] == [0, 2, 4, 5] and (pictures[0].width, pictures[0].height) == (128, 16)


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

    def full(board: TensorBoard) -> None:
        if run.step == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        board.writer.flush()

    with monkeypatch.context() as patch, pytest.raises(TrainingError, match=r"no space left .* type the same command"):
        patch.setattr(TensorBoard, "flush", full)
        run.run(quiet)
    assert load(tmp_path / "latest.pt")["step"] == 2
    start(tmp_path).run(quiet)
    assert_tables(tmp_path)


def test_the_option(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    data = write_folder(tmp_path / "mine", two_classes(12), classes=False, masks=False)
    options = ["--family", "dcgan", "--data", data, "--size", 16, "--batch", 4, "--steps", 10, "--no-held-out"]
    done = medzoo_("train", *options, "--out", tmp_path / "run", "--logger", "tensorboard", "--quiet")
    assert done.exit_code == 0, done.output
    assert [one.step for one in events(tmp_path / "run").Scalars("train/loss_g")] == [10]


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    install = pip_install("medzoo[tensorboard]")
    with pytest.raises(TrainingError, match=re.escape(f"--logger tensorboard needs one more package; type: {install}")):
        TensorBoard(tmp_path)
    done = medzoo_("train", tmp_path / "none.yaml", "--out", tmp_path / "run", "--logger", "tensorboard")
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1 and install in done.stderr
    assert not (tmp_path / "run").exists()


# --- the page --------------------------------------------------------------------------------------------------------


def with_page(folder: Path, **changes: Any) -> Trainer:
    fields = {"steps": 5, "snapshot": 2, "held": {"every": 2, "samples": 2}, "dataset": "<b>tiny</b>"} | changes
    return small_trainer(small_config("dcgan", **fields), two_classes(), folder, Constant(), loggers=[Page(folder)])  # type: ignore[arg-type]


def test_the_page_shows_progress_scores_and_pictures(tmp_path: Path) -> None:
    seen = []

    def look(step: int, losses: dict[str, float]) -> None:
        seen.append((tmp_path / "index.html").read_text())

    with_page(tmp_path).run(look)
    begun, done = seen[0], (tmp_path / "index.html").read_text()
    assert 'http-equiv="refresh"' in begun and "0 of 5" in begun and "samples/000000.png" in begun
    assert "known soon" in begun and "Drawn from step 20 on." in begun
    assert 'http-equiv="refresh"' not in done and "5 of 5" in done and "finished" in done
    assert done.count("<polyline") == 3  # two losses and the KID
    assert "1 at step 2" in done and 'class="best"' in done  # no later one was better
    for name in ("000005.png", "000004.png", "000002.png", "000000.png"):
        assert f"samples/{name}" in done and (tmp_path / "samples" / name).exists()
    assert "&lt;b&gt;tiny" in done and "<b>tiny" not in done
    assert f"medzoo generate {tmp_path} " in done


def test_the_page_says_that_a_run_was_stopped_and_goes_on_from_the_tables(tmp_path: Path) -> None:
    run = with_page(tmp_path)
    run.run(quiet, lambda: run.step == 3)
    text = (tmp_path / "index.html").read_text()
    assert "stopped" in text and "3 of 5" in text and "type the command that began it" in text
    with_page(tmp_path).run(quiet)
    assert (tmp_path / "index.html").read_text().count("<polyline") == 3
    early = tmp_path / "early"
    with_page(early, held={"every": 1, "samples": 2, "patience": 1}).run(quiet)
    assert "ended early" in (early / "index.html").read_text()


def test_curves_fill_their_frame() -> None:
    rows = [{"step": float(i), "kid": float(i)} for i in (10, 20, 30)]
    drawn = chart([*rows, {"step": 40.0, "kid": float("nan")}], ["kid"])
    assert drawn is not None and (drawn.low, drawn.high, drawn.first, drawn.last) == (10, 30, 10, 40)
    assert drawn.curves == [("kid", f"0.0,{HEIGHT}.0 {WIDTH / 3:.1f},{HEIGHT / 2} {2 * WIDTH / 3:.1f},0.0")]
    assert chart(rows[:1], ["kid"]) is None and chart([], []) is None
    long = chart([{"step": float(i), "a": 1.0} for i in range(10_000)], ["a"])
    assert long is not None and len(long.curves[0][1].split()) <= POINTS


# --- others ----------------------------------------------------------------------------------------------------------


class Recorded:
    """Stands in for the package ``wandb``."""

    Settings = dict

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.finished = 0

    def init(self, **stated: Any) -> Recorded:
        self.begun.append(stated)
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "step")

    def log(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def Image(self, pixels: Any) -> str:
        return f"{pixels.ndim} axes"

    def finish(self) -> None:
        self.finished += 1


def test_weights_and_biases_stay_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Recorded()
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config = small_config("dcgan", steps=2, snapshot=2, held={"every": 2, "samples": 2})
    small_trainer(config, two_classes(), tmp_path, Constant(), loggers=create(["wandb"], tmp_path)).run(quiet)  # type: ignore[arg-type]
    assert package.begun[0]["mode"] == "offline" and package.begun[0]["dir"] == str(tmp_path)
    assert package.begun[0]["config"]["family"] == "dcgan" and package.finished == 1
    assert [row["step"] for row in package.rows] == [0, 1, 2, 2, 2]
    assert {"train/loss_d", "heldout/kid", "samples"} <= {name for row in package.rows for name in row}


def test_an_installed_package_adds_a_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lines.py").write_text(
        "from medzoo.training.loggers import Logger\n"
        "class Lines(Logger):\n"
        "    def numbers(self, table, row):\n"
        "        with open(self.run / 'lines.txt', 'a') as file:\n"
        "            print(table, int(row['step']), file=file)\n"
    )
    install_plugin(tmp_path, monkeypatch, "medzoo.training.loggers", "lines", "lines:Lines")
    assert names() == ["lines", "page", "tensorboard", "wandb"]
    run = tmp_path / "run"
    small_trainer(small_config("dcgan", steps=2), two_classes(), run, None, loggers=create(["lines"], run)).run(quiet)
    assert (run / "lines.txt").read_text() == "train 1\ntrain 2\n"


def test_names_that_nobody_provides(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no logger is named 'wanb'; did you mean 'wandb'\?"):
        create(["wanb"], tmp_path)
    with pytest.raises(TrainingError, match=r"loggers: expected a list of names, found 'wandb'"):
        create("wandb", tmp_path)
