"""The files of a run after damage: noticed at every byte, named with what to do, made again where that is possible."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.training import Run, heldout
from medzoo.training.export import read_checkpoint
from medzoo.training.heldout import HeldOut
from medzoo.training.runfolder import read_best, read_best_scores
from medzoo.training.statefile import read_state, write_state
from medzoo.training.tables import add_row, read_table
from tests.tools.damage import DAMAGE, NO_FILE, flip
from tests.tools.training import mean_features, quiet, small_config, small_trainer

STATE = {"step": 3, "best": None, "average": {"w": torch.arange(100.0), "n": torch.tensor(7)}}


@pytest.fixture(autouse=True)
def _small(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout, "load", lambda name, device: mean_features)


def images() -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 1, 16, 16), dtype=np.uint8)
    return Images(pixels, None, tuple(f"i{i}" for i in range(9)))


def train(folder: Path, steps: int) -> None:
    config = small_config("dcgan", steps=steps, held={"every": 1, "samples": 2})
    small_trainer(config, images(), folder, HeldOut(images())).run(quiet)


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heldout, "load", lambda name, device: mean_features)
        train(folder, 2)
    return folder


@pytest.fixture
def run(_trained: Path, tmp_path: Path) -> Path:
    """A run of two steps, to damage."""
    import shutil

    shutil.copytree(_trained, tmp_path / "run")
    return tmp_path / "run"


def test_a_state_comes_back_and_torch_reads_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "latest.pt"
    write_state(path, STATE)
    state = read_state(path)
    assert state["step"] == 3 and torch.equal(state["average"]["w"], torch.arange(100.0))
    for mapped in (False, True):
        assert torch.load(path, weights_only=True, mmap=mapped)["average"]["n"] == 7
    assert os.listdir(tmp_path) == ["latest.pt"]


def test_every_byte_of_a_state_counts(tmp_path: Path) -> None:
    path = tmp_path / "latest.pt"
    write_state(path, STATE)
    content = path.read_bytes()
    for at in (*range(0, len(content), 37), len(content) - 1, len(content) - 70, len(content) - 75):
        path.write_bytes(flip(content, at / len(content) + 1e-9))
        with pytest.raises(TrainingError, match=r"latest\.pt: not a state that this program wrote .*copy"):
            read_state(path)


@pytest.mark.parametrize("damage", [*DAMAGE, *NO_FILE])
def test_a_damaged_state_ends_every_use_in_one_line(run: Path, damage: str) -> None:
    path = run / "latest.pt"
    NO_FILE[damage](path) if damage in NO_FILE else path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(TrainingError, match=r"latest\.pt: not a state"):
        train(run, 3)
    with pytest.raises(TrainingError, match=r"latest\.pt: not a state"):
        read_checkpoint(run, "latest")


@pytest.mark.parametrize("damage", [*DAMAGE, *NO_FILE])
def test_a_damaged_snapshot_is_refused_and_restored(run: Path, damage: str) -> None:
    path = run / "best.safetensors"
    content = path.read_bytes()
    NO_FILE[damage](path) if damage in NO_FILE else path.write_bytes(DAMAGE[damage](content))
    for use in (read_best, read_best_scores, lambda path: read_checkpoint(path.parent, "best")):
        with pytest.raises(TrainingError, match=r"best\.safetensors: not a snapshot"):
            use(path)
    if damage == "folder":
        with pytest.raises(TrainingError, match="best"):
            train(run, 2)
    else:
        train(run, 2)
        assert path.read_bytes() == content


def test_every_byte_of_a_snapshot_counts(run: Path) -> None:
    path = run / "best.safetensors"
    content = path.read_bytes()
    length = 8 + int.from_bytes(content[:8], "little")
    used = [at for at in range(0, len(content), 101) if at >= length or content[at : at + 1] not in b" "]
    for at in used:
        path.write_bytes(flip(content, at / len(content) + 1e-9))
        with pytest.raises(TrainingError, match=r"best\.safetensors: not a snapshot"):
            read_best(path)


TABLES = {
    "a line of garbage": lambda text: text + "garbage\n",
    "semicolons": lambda text: text.replace(",", ";"),
    "a step that is no number": lambda text: text.replace("\n1,", "\none,"),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "a byte order mark": lambda text: "\ufeff" + text,
    "quotes": lambda text: text.replace("\n1,", '\n"1",'),
    "a column less": lambda text: text.replace("\n1,", "\n"),
    "another header": lambda text: "a,b\n" + text,
    "NUL": lambda text: text.replace("\n1,", "\n\0001,"),
}


@pytest.mark.parametrize("name", ["log.csv", "heldout.csv"])
@pytest.mark.parametrize("change", TABLES)
def test_a_table_from_a_spreadsheet_is_named_with_what_to_do(run: Path, name: str, change: str) -> None:
    path = run / name
    path.unlink(missing_ok=True)
    for step in (1, 2):
        add_row(path, {"step": step, "kid": 0.5 / step})
    text = path.read_text()
    path.write_bytes(TABLES[change](text).encode())
    for use in (lambda: train(run, 3), lambda: read_table(path), lambda: Run(run).heldout() + Run(run).log()):
        with pytest.raises(TrainingError, match=rf"{name}: not a table .*delete it"):
            use()
    path.unlink()
    train(run, 3)  # as the error says


@pytest.mark.parametrize("thing", NO_FILE)
def test_a_table_that_is_no_file(run: Path, thing: str) -> None:
    NO_FILE[thing](run / "heldout.csv")
    with pytest.raises(TrainingError, match=r"heldout\.csv"):
        train(run, 3)


def test_rows_never_go_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine\n")
    (tmp_path / "log.csv").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="link"):
        add_row(tmp_path / "log.csv", {"step": 1})
    assert (tmp_path / "victim").read_text() == "mine\n"


def test_a_last_line_that_was_cut_off_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    add_row(path, {"step": 1, "loss": 0.25})
    with path.open("a") as file:
        file.write("2,0.1")
    assert read_table(path) == [{"step": 1, "loss": 0.25}]
