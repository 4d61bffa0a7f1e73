"""Presets and paces: what a run is where nothing is stated, how long it takes, and what to type for a shorter one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from medzoo.errors import TrainingError
from medzoo.training import Run, presets, recipes, train
from medzoo.training.config import TrainConfig, load_config, settings_of
from medzoo.training.launch import from_fields
from medzoo.training.pace import Pace, duration
from tests.tools.training import medzoo_, two_classes, write_folder

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "mine", two_classes(30), classes=False, masks=True)


def test_a_cpu_gets_the_small_one() -> None:
    assert presets.candidates("auto", CPU)[0] == "small" and presets.candidates("auto", GPU)[0] == "full"
    assert presets.candidates("tiny", GPU) == ("tiny",)
    with pytest.raises(TrainingError, match=r"no preset is named 'tini'; did you mean 'tiny'\? there are auto, tiny"):
        presets.candidates("tini", CPU)


@pytest.mark.parametrize("family", recipes.names())
def test_every_family_has_every_preset_and_each_is_shorter(family: str) -> None:
    known = recipes.kind(family).presets
    assert tuple(sorted(known)) == tuple(sorted(presets.NAMES)) and not known["full"].fields
    shares = [known[name].share for name in presets.NAMES]
    assert shares == sorted(shares) and shares[-1] == 1
    if family == "monai_ldm":
        return
    steps = []
    for name in presets.NAMES:  # every field is one of the family's
        config = settings_of(presets.filled({"family": family, "folder": "x", "size": 128}, known[name]))
        steps.append(config.steps)
    assert steps == sorted(set(steps))


def test_what_is_stated_wins_inside_networks_too(images: Path) -> None:
    fields: dict[str, Any] = {"family": "dcgan", "size": 16, "critic": {"class_weight": 2.0}, "steps": 7}
    job = from_fields(fields, images, None, ("tiny",))
    config: Any = job.config
    assert (config.critic.ndf, config.critic.class_weight, config.config.ngf, config.steps) == (16, 2.0, 16, 7)
    assert "preset tiny, for a CPU: config.ngf 16, critic.ndf 16, steps 7 (others: small, full)" in job.remarks(CPU)
    assert any("--technique diffaugment" in line for line in job.remarks(CPU))


def test_a_run_goes_on_with_the_preset_it_began_with(tmp_path: Path, images: Path) -> None:
    def go(**changes: Any) -> Run:
        fields: dict[str, Any] = {"family": "dcgan", "size": 16, "batch": 4, "held_out": False, "quiet": True}
        return train(data=images, out=tmp_path / "run", device="cpu", **(fields | changes))

    config: Any = go(preset="tiny", steps=1).config
    assert config.critic.ndf == 16
    assert go(steps=2).made == 1  # auto would have begun with the small one
    with pytest.raises(TrainingError, match="another configuration: .*critic"):
        go(preset="full", steps=2)


def test_a_dry_run_prints_what_a_configuration_may_be(tmp_path: Path, images: Path) -> None:
    stated = ["--family", "dcgan", "--data", images, "--size", 16, "--lr", "1e-4", "--mirror", "--set", "critic.ndf=4"]
    done = medzoo_("train", *stated, "--set", "held.every=7", "--preset", "tiny", "--device", "cpu", "--dry-run")
    assert done.exit_code == 0, done.output
    (tmp_path / "printed.yaml").write_text(done.stdout)
    config: Any = load_config(tmp_path / "printed.yaml")
    assert (config.lr, config.mirror, config.critic.ndf, config.held.every, config.batch) == (1e-4, True, 4, 7, 27)
    assert config.masks and "preset tiny, for a CPU" in done.stderr
    again = medzoo_("train", tmp_path / "printed.yaml", "--dry-run", "--device", "cpu")
    assert again.stdout == done.stdout and "preset" not in again.stderr
    for wrong, message in (("lr", "expected FIELD=VALUE"), ("crtic.ndf=4", "did you mean 'critic'?")):
        done = medzoo_("train", *stated, "--set", wrong, "--dry-run")
        assert done.exit_code == 2 and message in done.stderr
    done = medzoo_("train", *stated)
    assert done.exit_code == 2 and "give --out" in done.stderr


def test_a_configuration_needs_little_and_its_paths_are_beside_it(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("family: dcgan\nfolder: mine\nsize: 16\nbatch: 4\n")
    config: TrainConfig = load_config(path)
    assert (config.folder, config.steps) == (str(images), 20_000)
    monkeypatch.chdir("/")
    run = train(path, out=tmp_path / "run", steps=1, device="cpu", quiet=True, held_out=False)
    assert run.config.masks  # where nothing is stated, wherever there are any
    assert train(path, out=tmp_path / "run", steps=2, device="cpu", quiet=True, held_out=False).made == 1
    for line, message in (("family: fastgn", "did you mean 'fastgan'"), ("stesp: 3", "3: stesp: .* mean 'steps'")):
        path.write_text(f"folder: mine\nsize: 128\n{line}\n" + ("" if "family" in line else "family: vae\n"))
        with pytest.raises(TrainingError, match=message):
            load_config(path)


def test_a_pace_leaves_the_first_step_out() -> None:
    now = [0.0]
    pace = Pace(100, lambda: now[0])
    for seconds in (60.0, 2.0, 4.0):
        now[0] += seconds
        pace.count()
    assert pace.seconds == 3 and pace.left(10) == 270 and pace.left(100) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "250 ms"), (8.94, "8.9 s"), (40, "40 s"), (2400, "40 min"), (18_720, "5.2 h"), (176_400, "2.0 days")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_shorter_presets_are_named_with_their_time() -> None:
    known = recipes.kind("fastgan").presets
    small, tiny = known["small"], known["tiny"]
    found = presets.shorter(known, "full", 9.0)
    assert found == (
        f"--preset small: about {duration(10_000 * 9 * small.share)}; "
        f"--preset tiny: about {duration(2_000 * 9 * tiny.share)}"
    )
    assert presets.shorter(known, "small", 3.0, steps=100) == (
        f"--preset tiny: about {duration(100 * 3 * tiny.share / small.share)}"
    )
    assert presets.shorter(known, "tiny", 1.0) == ""


def test_paths_of_a_configuration_made_in_python_are_those_of_the_working_directory(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings_of({"family": "dcgan", "folder": "mine", "size": 16, "batch": 4, "masks": True})
    monkeypatch.chdir(tmp_path)
    usual: dict[str, Any] = {"device": "cpu", "quiet": True, "held_out": False}
    assert train(config, out="run", steps=1, **usual).config.folder == str(images)
    assert train(tmp_path / "run" / "config.yaml", out="run", steps=2, **usual).made == 1
