"""Training without a discriminator, on a toy family of two stages; and precision of float16, whose loss is scaled."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medzoo.datasets import Images
from medzoo.entry import Record
from medzoo.errors import TrainingError
from medzoo.randomness import Noise
from medzoo.training import export, techniques
from medzoo.training.config import TrainConfig, dump_config, parse, settings_of
from medzoo.training.learner import Learner
from medzoo.training.recipes import Copies, Direct, Inputs, Loss
from medzoo.training.runfolder import read_best
from medzoo.training.tables import read_table
from medzoo.training.trainer import Trainer
from tests.tools.training import Killed, assert_same, install_plugin, kill_at, load, quiet, small_trainer

SECOND = 2  # step from which on the prior learns, and the autoencoder no more


class Config(Record):
    width: int = 3
    factor: float = 1.0  # of the loss
    norm: bool = False


class Settings(TrainConfig):
    family: Literal["toy"]
    config: Config = Config()


class Network(nn.Module):
    """An autoencoder of 16 x 16 grey images, a prior of its codes, and a running mean of the codes."""

    centre: Tensor

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(256, width))
        if norm:
            self.encoder.append(nn.BatchNorm1d(width))
        self.decoder = nn.Linear(width, 256)
        self.prior = nn.Linear(width, width)
        self.register_buffer("centre", torch.zeros(width))

    def forward(self, codes: Tensor) -> Tensor:
        return self.decoder(self.prior(codes)).tanh().reshape(-1, 1, 16, 16)


class Toy(Direct[Settings]):
    configuration = Settings

    def generator(self) -> nn.Module:
        return Network(self.settings.config.width, self.settings.config.norm)

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None, step: int, rng: torch.Generator) -> Loss:
        assert isinstance(network, Network)
        codes = network.encoder(images)
        self.last = codes.detach()
        noisy = codes + torch.randn(codes.shape, generator=rng).to(codes) / 10
        if step < SECOND:
            off = (network.decoder(noisy).tanh() - images.flatten(1)).float().square().mean()
        else:
            off = (network.prior(torch.randn(codes.shape, generator=rng).to(codes)) - codes.detach()).square().mean()
        return Loss(self.settings.config.factor * off, {"off": off})

    def after_update(self, network: nn.Module) -> None:
        assert isinstance(network, Network)
        network.centre.lerp_(self.last.float().mean(0), 0.1)

    def zoo_inputs(self, noise: Noise) -> Inputs:
        return Inputs(noise.latent((self.settings.config.width,)))

    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        return (generator(inputs.latents),)

    def entry(self) -> dict[str, Any]:
        return {"config": self.settings.config.model_dump(), "condition": None, "sampling": {"latent": "normal"}}


@pytest.fixture(autouse=True)
def _toy(one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package adds the toy to the families."""
    install_plugin(tmp_path / "site", monkeypatch, "medzoo.training.recipes", "toy", f"{__name__}:Toy")


def make_config(**changes: Any) -> TrainConfig:
    fields = {"family": "toy", "dataset": "tiny", "size": 16, "masks": False, "steps": 4, "batch": 4, "snapshot": 2}
    return parse(fields | changes)


def make_images(n: int = 8) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 1, 16, 16), dtype=np.uint8)
    return Images(pixels, None, tuple(f"i{i}" for i in range(n)))


class Scripted:
    """Stands in for HeldOut."""

    held = make_images(2)

    def __init__(self, *kids: float) -> None:
        self.kids = list(kids)

    def __call__(self, images: Any, masks: Any = None) -> dict[str, float]:
        return {"fd": float(images.mean()), "kid": self.kids.pop(0)}


def start(folder: Path, *kids: float, **changes: Any) -> Trainer:
    held = {"every": 2, "samples": 2}
    return small_trainer(make_config(held=held, **changes), make_images(), folder, Scripted(*kids) if kids else None)  # type: ignore[arg-type]


def weights(run: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.learner.generator.state_dict().items()}


# --- the loop --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [[], ["classical"]])
def test_a_killed_run_follows_the_path_of_one_that_was_not(tmp_path: Path, names: list[str]) -> None:
    changes: dict[str, Any] = {"techniques": [{"name": name} for name in names], "mirror": not names}
    assert start(tmp_path / "whole", 0.5, 0.7, **changes).run(quiet)
    with pytest.raises(Killed):
        start(tmp_path / "cut", 0.5, **changes).run(kill_at(3))
    assert start(tmp_path / "cut", 0.7, **changes).run(quiet)
    assert_same(load(tmp_path / "cut" / "latest.pt"), load(tmp_path / "whole" / "latest.pt"))
    for name in ("log.csv", "best.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert set(read_table(tmp_path / "cut" / "log.csv")[0]) == {"step", "loss", "off"}
    assert set(read_table(tmp_path / "cut" / "heldout.csv")[0]) == {"step", "fd", "kid", "seconds"}  # nobody judges
    assert read_best(tmp_path / "cut" / "best.safetensors").step == 2


def test_classical_augmentation_changes_the_images(tmp_path: Path) -> None:
    plain, changed = start(tmp_path), start(tmp_path, techniques=[{"name": "classical"}])
    assert plain.learner.train_step(0)["loss"] != changed.learner.train_step(0)["loss"]


def test_stages_statistics_and_the_average(tmp_path: Path) -> None:
    """Each stage leaves the parameters of the other alone; the average follows by the decay of its warm-up."""
    run = start(tmp_path)
    before = [weights(run)]
    average = {name: value.clone() for name, value in run.learner.average.state_dict().items()}
    for step in range(SECOND + 1):
        run.learner.train_step(step)
        before.append(weights(run))
        decay = (1 + step) / (10 + step)
        for name, value in run.learner.average.state_dict().items():
            average[name] = torch.lerp(average[name], before[-1][name], 1 - decay)
            torch.testing.assert_close(value, average[name])
    changed = [{name for name in old if not torch.equal(old[name], new[name])} for old, new in pairwise(before)]
    first = {"encoder.1.weight", "encoder.1.bias", "decoder.weight", "decoder.bias", "centre"}
    assert changed == [first, first, {"prior.weight", "prior.bias", "centre"}]


@pytest.mark.parametrize("name", [name for name in techniques.names() if name != "classical"])
def test_techniques_that_need_a_discriminator_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError, match=rf"techniques: {name} needs a discriminator, and toy has none"):
        start(tmp_path, techniques=[{"name": name}])


def test_a_direct_family_has_no_critic() -> None:
    with pytest.raises(ValueError, match="critic"):
        make_config(critic={"ndf": 4})


def test_fine_tuning_begins_with_the_weights_of_a_run(tmp_path: Path) -> None:
    first = start(tmp_path / "first", steps=2)
    first.run(quiet)
    second = start(tmp_path / "second", start=str(tmp_path / "first"), seed=3)
    assert_same(weights(second), weights(first))


def test_what_a_run_cannot_begin_with(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match=r"empty is no folder of a run"):
        start(tmp_path / "run", start=str(tmp_path / "empty"))
    (tmp_path / "empty" / "config.yaml").write_text(dump_config(make_config()))
    with pytest.raises(TrainingError, match=r"empty has no latest.pt: nothing was saved there yet"):
        start(tmp_path / "run", start=str(tmp_path / "empty"))
    (tmp_path / "empty" / "config.yaml").write_text(dump_config(adversarial("dcgan")))
    with pytest.raises(TrainingError, match=r"empty is of family dcgan, this run of toy"):
        start(tmp_path / "run", start=str(tmp_path / "empty"))


def test_what_a_configuration_may_not_state(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed"):
        make_config(seed=2**32)
    with pytest.raises(TrainingError, match=r"^classes: this family learns none; leave --classes out"):
        settings_of({"family": "wgan_gp", "dataset": "tiny", "size": 16, "masks": False, "classes": True, "steps": 1})
    with pytest.raises(TrainingError, match=r"^state either dataset"):  # of no single field
        settings_of({"family": "toy", "size": 16, "masks": False, "steps": 1})


def test_statistics_that_are_not_used_for_images_are_kept(tmp_path: Path) -> None:
    """The encoder's batch norm belongs to the model, and no sample goes through it."""
    assert export.norms_of(start(tmp_path / "plain").learner.generator) == []
    run = start(tmp_path / "norm", config={"norm": True})
    run.learner.train_step(0)
    found = export.recalibrate(run.learner.recipe, run.learner.average, torch.device("cpu"), 2, 3)
    assert_same(dict(found.state_dict()), dict(run.learner.average.state_dict()))


# --- float16 ---------------------------------------------------------------------------------------------------------


def test_float16_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="float16 needs a CUDA device, this is cpu; take bfloat16 or float32"):
        start(tmp_path, precision="float16")


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arithmetic of float16 is the same on a CPU, only slow."""
    monkeypatch.setattr(Learner, "float16_on", ("cpu", "cuda"))


@pytest.mark.usefixtures("anywhere")
def test_an_overflow_leaves_a_step_out_and_no_trace(tmp_path: Path) -> None:
    run = start(tmp_path, precision="float16", config={"factor": 1e3, "norm": True})
    learner, before = run.learner, {name: one for name, one in weights(run).items() if one.is_floating_point()}
    scale = learner.scaler.get_scale()
    found = learner.train_step(0)
    assert learner.overflowed and learner.scaler.get_scale() == scale / 2 and np.isfinite(found["loss"])
    for network in (learner.generator, learner.average):
        assert_same({name: value for name, value in network.state_dict().items() if value.is_floating_point()}, before)
    while learner.overflowed:
        learner.train_step(0)
    assert not torch.equal(weights(run)["decoder.weight"], before["decoder.weight"])
    assert {value.dtype for value in weights(run).values()} == {torch.float32, torch.int64}


@pytest.mark.usefixtures("anywhere")
def test_the_scale_of_the_loss_survives_a_kill(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"precision": "float16", "config": {"factor": 100.0}, "steps": 12}
    start(tmp_path / "whole", **changes).run(quiet)
    with pytest.raises(Killed):
        start(tmp_path / "cut", **changes).run(kill_at(11))
    start(tmp_path / "cut", **changes).run(quiet)
    whole = load(tmp_path / "whole" / "latest.pt")
    assert whole["scaler"]["scale"] < 2**16
    assert_same(load(tmp_path / "cut" / "latest.pt"), whole)


@pytest.mark.usefixtures("anywhere")
def test_a_loss_that_never_fits_ends_the_run(tmp_path: Path) -> None:
    run = start(tmp_path, precision="float16", config={"factor": 1e30}, steps=100)
    with pytest.raises(TrainingError, match=r"step 17: gradients overflow float16, however little they are scaled"):
        run.run(quiet)
    rows = read_table(tmp_path / "log.csv")
    assert all(np.isfinite(value) for row in rows for value in row.values())


ADAPTIVE = [{"name": "ada", "start": 0.5}, {"name": "apa", "start": 0.5}, {"name": "r1", "interval": 1}]


def adversarial(family: str, **changes: Any) -> TrainConfig:
    fields = {
        "family": family, "dataset": "tiny", "size": 16, "masks": False, "config": {"ngf": 4, "nz": 5}, "steps": 6,
        "critic": {"ndf": 4}, "batch": 4, "snapshot": 2, "precision": "float16", "techniques": ADAPTIVE,
    }  # fmt: skip
    return parse(fields | changes)


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("family", ["dcgan", "wgan_gp"])
def test_adversaries_and_penalties_in_float16(tmp_path: Path, family: str) -> None:
    """Penalties are slopes of the discriminator, which are taken in float32."""
    run = small_trainer(adversarial(family), make_images(), tmp_path)
    assert run.run(quiet)
    rows = read_table(tmp_path / "log.csv")
    assert rows and all(np.isfinite(value) for row in rows for value in row.values())


def test_nan_logits_do_not_reach_a_controller(tmp_path: Path, anywhere: None) -> None:
    run = small_trainer(adversarial("dcgan"), make_images(), tmp_path)
    with torch.no_grad():
        run.learner.discriminator.logit.bias.fill_(float("nan"))
    found = run.learner.train_step(0)
    assert run.learner.overflowed and not np.isfinite(found["loss_g"])
    assert all(np.isfinite(found[name]) for name in ("ada_p", "ada_r", "apa_p", "apa_lambda_r"))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("family", ["dcgan", "wgan_gp", "toy"])
def test_precisions_on_a_gpu(tmp_path: Path, family: str, precision: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    config = make_config(precision=precision) if family == "toy" else adversarial(family, precision=precision)
    device = torch.device("cuda")
    with pytest.raises(Killed):
        small_trainer(config, make_images(), tmp_path, None, device).run(kill_at(3))
    assert small_trainer(config, make_images(), tmp_path, None, device).run(quiet)
    rows = read_table(tmp_path / "log.csv")
    assert rows and all(np.isfinite(value) for row in rows for value in row.values())
