"""The Python way to train: from keyword arguments or a configuration, Ctrl-C, going on, and what the run says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import medzoo
from medzoo import training
from medzoo.errors import MedzooError, TrainingError
from medzoo.training import Run, Stopped, TrainConfig, heldout
from medzoo.training.config import STEPS, dump_config, settings_of
from medzoo.training.export import LARGEST
from tests.tools.paths import ROOT
from tests.tools.training import assert_same, load, mean_features, two_classes, write_folder

NARROW: dict[str, Any] = {"config": {"ngf": 4, "nz": 5}, "critic": {"ndf": 4}}


@pytest.fixture(autouse=True)
def _without_weights(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features that need no weights."""
    monkeypatch.setattr(heldout, "load", lambda name, device: mean_features)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Thirty pictures in a folder."""
    return write_folder(tmp_path / "mine", two_classes(30), classes=False, masks=False)


def train(images: Path, out: Path, **changes: Any) -> Run:
    """Two steps of a small DCGAN."""
    fields = {"family": "dcgan", "size": 16, "steps": 2, "batch": 4, "quiet": True, "device": "cpu"} | NARROW
    return medzoo.train(data=images, out=out, **(fields | changes))


# --- from a folder of images -----------------------------------------------------------------------------------------


def test_a_run_from_keyword_arguments(tmp_path: Path, images: Path) -> None:
    techniques = ["diffaugment", {"name": "r1", "gamma": 5.0}]
    run = train(images, tmp_path / "run", techniques=techniques, lr=1e-3, seed=3, patience=7)
    assert isinstance(run, Run) and isinstance(run.config, TrainConfig)
    assert (run.folder, run.step, run.steps, run.made, run.finished) == (tmp_path / "run", 2, 2, 2, True)
    assert (run.config.lr, run.config.seed, run.config.held.patience) == (1e-3, 3, 7)
    assert [one["name"] for one in run.config.techniques] == ["diffaugment", "r1"]
    assert run.config.techniques[1]["gamma"] == 5 and run.config.folder == str(images.resolve())
    assert run.seconds > 0 and run.stopped is None
    assert run.best is not None and run.best.step == 2
    assert [row["step"] for row in run.heldout()] == [2] and run.log() == []  # a line every ten steps
    assert run.heldout()[0]["kid"] == pytest.approx(run.best.scores["kid"], rel=1e-4)
    assert run.snapshot() == tmp_path / "run" / "best.safetensors"
    assert run.snapshot("latest") == tmp_path / "run" / "latest.pt"
    assert_same(dict(run.generator()), dict(run.generator("latest")))  # the last snapshot is the best
    assert "dcgan, step 2 of 2, best kid" in repr(run)


def test_what_is_not_stated_comes_from_the_images(tmp_path: Path) -> None:
    masked = write_folder(tmp_path / "masked", two_classes(30), classes=False, masks=True)
    run = train(masked, tmp_path / "run", steps=1, batch=None, held_out=False)
    assert run.config.masks and run.config.batch == 27  # 64, but there are 27 to learn
    assert run.best is None and run.heldout() == []
    without = train(masked, tmp_path / "without", steps=1, masks=False, held_out=False)
    assert not without.config.masks
    job = training.launch.from_fields({"family": "dcgan", "size": 16}, masked)
    assert job.config.steps == STEPS == 20_000


def test_the_same_call_goes_on(tmp_path: Path, images: Path) -> None:
    whole = train(images, tmp_path / "whole", steps=4)
    first = train(images, tmp_path / "cut", steps=2)
    second = train(images, tmp_path / "cut", steps=4)
    assert (first.made, second.made, second.step) == (2, 2, 4)
    assert_same(load(second.snapshot("latest")), load(whole.snapshot("latest")))
    assert train(images, tmp_path / "cut", steps=4).made == 0


def test_a_run_is_opened_again(tmp_path: Path, images: Path) -> None:
    made = train(images, tmp_path / "run")
    opened = Run(str(tmp_path / "run"))
    assert (opened.step, opened.best, opened.config, opened.made) == (made.step, made.best, made.config, 0)
    with pytest.raises(TrainingError, match=r"nothing.config\.yaml: cannot be read"):
        Run(tmp_path / "nothing")


def test_progress_is_reported_to_a_callback(tmp_path: Path, images: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[int, set[str]]] = []
    train(images, tmp_path / "run", progress=lambda step, losses: seen.append((step, set(losses))))
    assert [step for step, _ in seen] == [1, 2] and {"loss_d", "loss_g"} <= seen[0][1]
    assert capfd.readouterr().err == ""
    train(images, tmp_path / "loud", quiet=False)
    assert "27 images to learn, 3 held out" in capfd.readouterr().err


# --- from a configuration --------------------------------------------------------------------------------------------


def test_a_configuration_and_its_file_do_the_same(tmp_path: Path, images: Path) -> None:
    fields = {"family": "dcgan", "folder": str(images), "size": 16, "masks": False, "steps": 2, "batch": 4} | NARROW
    config, path = settings_of(fields), tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    given = training.train(config, out=tmp_path / "given", device="cpu", quiet=True)
    read = training.train(str(path), None, str(tmp_path / "read"), device="cpu", quiet=True)
    assert_same(load(given.snapshot("latest")), load(read.snapshot("latest")))
    longer = training.train(config, out=tmp_path / "given", steps=3, device="cpu", quiet=True)
    assert (longer.step, longer.made) == (3, 1)


def test_a_run_begins_with_another(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(images, tmp_path / "first", held_out=False)
    monkeypatch.chdir(tmp_path)
    second = train(images, tmp_path / "second", start="first", held_out=False)
    assert second.config.start == str(tmp_path / "first")


# --- to a model ------------------------------------------------------------------------------------------------------


def test_from_a_run_to_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "mine", two_classes(30), classes=True, masks=False)
    registry, model = tmp_path / "registry", "99002_DCGAN_MINE"
    registry.mkdir()
    run = train(folder, tmp_path / "run", classes=True)
    done = run.export(model, registry, half=True, device="cpu")
    assert done.drafted and done.step == 2 and done.size < LARGEST
    monkeypatch.setenv("MEDZOO_REGISTRY", str(registry))
    assert medzoo.generate(model, 3, seed=0, condition="a").images.shape == (3, 1, 16, 16)
    latest = training.export_run(tmp_path / "run", model, registry, checkpoint="latest", device="cpu")
    assert not latest.drafted


def test_what_cannot_be_exported(tmp_path: Path, images: Path) -> None:
    run = train(images, tmp_path / "run", held_out=False)
    with pytest.raises(TrainingError, match=r"best\.safetensors: no such file; train first, or choose another"):
        run.snapshot()
    with pytest.raises(TrainingError, match="none: not a folder"):
        run.export("99002_DCGAN_MINE", tmp_path / "none", device="cpu")


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_the_step_under_way(tmp_path: Path, images: Path, signum: int) -> None:
    def press(step: int, losses: dict[str, float]) -> None:
        if step == 3:
            os.kill(os.getpid(), signum)

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped, match=r"step 3 of 5 is saved in .*cut; to go on from there") as caught:
        train(images, tmp_path / "cut", steps=5, progress=press)
    stopped = caught.value
    assert isinstance(stopped, KeyboardInterrupt) and stopped.signum == signum
    assert (stopped.run.step, stopped.run.made, stopped.run.finished) == (3, 3, False)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    train(images, tmp_path / "cut", steps=5)
    train(images, tmp_path / "whole", steps=5)
    assert_same(load(tmp_path / "cut" / "latest.pt"), load(tmp_path / "whole" / "latest.pt"))


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, images: Path) -> None:
    def press(step: int, losses: dict[str, float]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        train(images, tmp_path / "run", progress=press)
    assert not isinstance(caught.value, Stopped) and not (tmp_path / "run" / "latest.pt").exists()


def test_training_in_another_thread(tmp_path: Path, images: Path) -> None:
    runs: list[Run] = []
    thread = threading.Thread(target=lambda: runs.append(train(images, tmp_path / "run", held_out=False)))
    thread.start()
    thread.join()
    assert [run.step for run in runs] == [2]


# --- what users mistype ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "dcgam"}, r"^family: no family .* is named 'dcgam'; did you mean 'dcgan'\? There are dcgan, "),
        ({"family": None}, "^state config .*, or family, data .* and size$"),
        ({"size": 100}, "^size: expected 16, 28, 32, .* found 100"),
        ({"lrr": 1e-3}, r"^lrr: unknown field; did you mean 'lr'\?$"),
        ({"steps": 0}, "^steps: expected|^steps: .*greater than 0"),
        ({"techniques": ["adaa"]}, r"^techniques\.0: no technique is named 'adaa'; did you mean 'ada'"),
        ({"techniques": "ada"}, r"^techniques: expected a list, found 'ada'; write \['ada'\]"),
        ({"techniques": [{"name": "r1", "gamma": -1}]}, r"^techniques\.0: r1\.gamma: .*; r1 takes gamma, interval"),
        ({"classes": True}, "mine has no classes; give one folder a class"),
        ({"batch": 40}, "27 training images are fewer than a batch of 40"),
        ({"held_out": False, "patience": 3}, r"held\.patience needs held-out distances"),
        ({"start": "99999_NOTHING"}, "99999_NOTHING"),
        ({"config": "config.yaml"}, "^config: expected the fields of the network, .* as the first argument"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_what_users_mistype(tmp_path: Path, images: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MedzooError, match=message):
        train(images, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_configuration_is_not_mixed_with_arguments(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"family: dcgan\nfolder: {images}\nsize: 16\nmasks: false\nsteps: 1\nbatch: 4\n")
    with pytest.raises(TrainingError, match=r"^lr is for a run without a configuration; state it in .*config\.yaml"):
        training.train(path, out=tmp_path / "run", lr=1e-3)
    with pytest.raises(TrainingError, match="^steps: expected 1 or more, found 0"):
        training.train(path, out=tmp_path / "run", steps=0)
    with pytest.raises(TrainingError, match="^state out, the folder of the run"):
        training.train(path)
    with pytest.raises(TrainingError, match=r"none\.yaml: cannot be read"):
        training.train(tmp_path / "none.yaml", out=tmp_path / "run")


def test_importing_takes_no_torch() -> None:
    code = "import sys, medzoo.training; dir(medzoo.training); sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
