"""Samplers and schedules, step by step against diffusers' schedulers on the same noise."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from medzoo import entry
from medzoo.cli.generate import generate
from medzoo.diffusion.samplers import BY_NAME, Sampler, choose_sampler, sample
from medzoo.diffusion.schedule import CLASSES, Schedule, parse_scheduler_config
from medzoo.errors import CheckpointError, GenerationError
from tests.tools.diffusers_loop import NAMES, reference
from tests.tools.paths import ROOT

SHAPE = (2, 3, 4, 5)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers


def toy(x: Tensor, t: Tensor | float) -> Tensor:
    """Stands for a network: smooth in both."""
    return torch.tanh(0.3 * x + 0.1 * x.roll(1, -1)) * (0.5 + float(t) / 2000) + 0.05 * math.sin(float(t) / 100)


class Draws:
    """Noise in the order of the calls, from a stream of its own."""

    def __init__(self, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> None:
        self.rng, self.shape, self.count = torch.Generator().manual_seed(seed), shape, 0

    def __call__(self, *unused: Any, **ignored: Any) -> Tensor:
        self.count += 1
        return torch.randn(self.shape, generator=self.rng)


def both(
    fields: dict[str, Any], method: str, steps: int, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[Tensor, Tensor]:
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    theirs, ours = Draws(), Draws()
    strength = options.pop("strength", None)
    begin = steps - max(1, int(steps * strength)) if strength is not None else 0
    known = {"_class_name": NAMES[method]} | fields | ({"use_karras_sigmas": False} if method == "heun" else {})
    known |= {name: fields[name] for name in ("use_karras_sigmas",) if name in fields}
    options = {"predict": toy} | options
    expected = reference(known, method, steps, start, theirs, monkeypatch, begin=begin, **options)
    schedule = Schedule.model_validate(parse_scheduler_config(known, "scheduler_config.json"))
    predict = options.pop("predict")
    found = sample(predict, start, schedule, method, steps, ours, strength=strength, **options)
    assert ours.count == theirs.count
    return found, expected


def agree(found: Tensor, expected: Tensor) -> None:
    """To 1e-5, relative to the largest value: the toy network lets some grow far beyond 1."""
    scale = expected.abs().max().clamp(min=1)
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-5, rtol=0)


CASES = [
    *product(NAMES, ["epsilon", "v_prediction", "sample"], ["leading", "linspace", "trailing"], ["linear"]),
    *product(NAMES, ["epsilon", "v_prediction"], ["leading"], ["scaled_linear", "squaredcos_cap_v2"]),
]


@pytest.mark.parametrize(("method", "prediction", "spacing", "betas"), CASES)
def test_samplers_agree_with_diffusers(
    method: str, prediction: str, spacing: str, betas: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: dict[str, Any] = {"prediction_type": prediction, "timestep_spacing": spacing, "beta_schedule": betas}
    if betas == "scaled_linear":
        fields |= {"beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1, "clip_sample": False}
    for steps in (1, 7, 20):
        found, expected = both(fields, method, steps, monkeypatch)
        agree(found, expected)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_small_log", "fixed_large"])
def test_every_noise_of_ddpm(variance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, expected = both({"variance_type": variance, "clip_sample_range": 0.7}, "ddpm", 100, monkeypatch)
    agree(found, expected)


def test_all_thousand_steps_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    found, expected = both({}, "ddpm", 1000, monkeypatch)
    agree(found, expected)


@pytest.mark.parametrize("method", NAMES)
def test_a_learned_variance(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(x: Tensor, t: Any) -> Tensor:
        return torch.cat([toy(x, t), torch.sin(3 * x)], 1)

    fields = {"variance_type": "learned_range"}
    if method == "ddpm":
        found, expected = both(fields, method, 12, monkeypatch, predict=doubled)
    else:  # the others have no use for it
        found, _ = both({}, method, 12, monkeypatch)
        start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
        schedule = Schedule.model_validate(
            parse_scheduler_config({"_class_name": NAMES[method]} | fields, "scheduler_config.json")
        )
        expected = sample(doubled, start, schedule, method, 12, Draws())
    agree(found, expected)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize(("strength", "steps"), [(0.6, 10), (1.0, 5), (0.01, 10)])
def test_an_image_to_begin_with(method: str, strength: float, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.linspace(-1, 1, math.prod(SHAPE)).view(SHAPE)
    found, expected = both({}, method, steps, monkeypatch, image=image, strength=strength)
    agree(found, expected)
    if strength < 0.1:
        assert (found - image).abs().mean() < 0.5 < (both({}, method, steps, monkeypatch)[0] - image).abs().mean()


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_noise(eta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found, expected = both({"set_alpha_to_one": False}, "ddim", 20, monkeypatch, eta=eta)
    agree(found, expected)


@pytest.mark.parametrize("method", ["ddpm", "ddim", "dpm++"])
def test_thresholds(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}
    found, expected = both(fields, method, 8, monkeypatch)
    agree(found, expected)
    assert (found - both({}, method, 8, monkeypatch)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("method", ["dpm++", "heun"])
@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
def test_karras_levels(method: str, betas: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, expected = both({"use_karras_sigmas": True, "beta_schedule": betas}, method, 9, monkeypatch)
    agree(found, expected)
    plain, _ = both({"use_karras_sigmas": False, "beta_schedule": betas}, method, 9, monkeypatch)
    assert (plain - found).abs().max() > 1e-4


def test_the_ends_of_karras_levels() -> None:
    """A cosine schedule ends at a sigma of 20,000; from 80 on eight steps stay where there is something to see."""
    schedulers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    ends = {"sigma_min": 0.01, "sigma_max": 80.0}
    fields = {"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": True}
    for limits in (ends, dict.fromkeys(ends)):
        scheduler = schedulers.EulerDiscreteScheduler(**fields, **limits)
        scheduler.set_timesteps(8)
        known = json.loads(scheduler.to_json_string()) | {"_class_name": "EulerDiscreteScheduler"}
        schedule = Schedule.model_validate(parse_scheduler_config(known, "scheduler_config.json"))
        expected = scheduler.sigmas.tolist()
        for levels in (
            schedule.solver_levels(8)[1],
            Schedule(**fields, **limits, timestep_spacing="linspace").heun_levels(8)[1],
        ):
            np.testing.assert_allclose(levels, expected, rtol=1e-5)
    with pytest.raises(ValidationError, match="sigma_min, 80, must lie below sigma_max, 0.01"):
        Schedule(sigma_min=80, sigma_max=0.01)


@pytest.mark.parametrize("method", ["ddpm", "ddim", "dpm++"])
def test_no_image_left_at_the_last_step(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    found, expected = both(fields, method, 10, monkeypatch)
    agree(found, expected)
    assert (
        Schedule.model_validate(parse_scheduler_config({"_class_name": NAMES[method]} | fields, "x")).alphas_cumprod[-1]
        == 0
    )


def test_the_first_levels_may_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for spacing in ("leading", "linspace", "trailing"):
        fields = {"lambda_min_clipped": -1.0, "beta_schedule": "squaredcos_cap_v2", "timestep_spacing": spacing}
        agree(*both(fields, "dpm++", 10, monkeypatch))


def test_listed_betas(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"trained_betas": [0.001 * (i + 1) for i in range(50)], "num_train_timesteps": 50}
    found, expected = both(fields, "ddpm", 10, monkeypatch)
    agree(found, expected)


def test_volumes_and_gradients() -> None:
    start = torch.randn(2, 1, 3, 4, 5).requires_grad_()
    schedule = Schedule(num_train_timesteps=50, prediction_type="v_prediction", clip_sample=False)
    for method in NAMES:
        found = sample(toy, start, schedule, method, 4, lambda: torch.zeros(2, 1, 3, 4, 5))
        (gradient,) = torch.autograd.grad(found[0].sum(), start)
        assert found.shape == start.shape and gradient[0].abs().max() > 0 and gradient[1].abs().max() == 0


def test_what_cannot_be_sampled() -> None:
    schedule, start = Schedule(num_train_timesteps=10), torch.zeros(1, 1, 2, 2)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"steps": 0}, "steps of sampler ddpm must be a whole number from 1 to 10, found 0"),
        ({"steps": 11}, "from 1 to 10, found 11"),
        ({"steps": 10, "method": "dpm++"}, "steps of sampler dpm.. must be a whole number from 1 to 9"),
        ({"steps": 2.5}, "found 2.5"),
        ({"method": "euler"}, "unknown sampler 'euler'; choose from ddpm, ddim, dpm.., heun"),
        ({"image": start, "strength": 0.0}, "strength must lie above 0"),
        ({"image": start, "strength": 1.5}, "strength must lie above 0 and not above 1, found 1.5"),
    ]
    for change, message in cases:
        arguments: dict[str, Any] = {"method": "ddpm", "steps": 2} | change
        with pytest.raises(GenerationError, match=message):
            sample(toy, start, schedule, draw=lambda: start, **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"_class_name": "CMStochasticIterativeScheduler"},
            "s.json: scheduler 'CMStochastic.* not known; known are DDPM",
        ),
        ({"_class_name": None}, "s.json: scheduler None is not known"),
        ({"colour": 3}, "s.json: colour: unknown field"),
        ({"beta_schedule": "sigmoid"}, "s.json: beta_schedule: expected 'linear', 'scaled_linear'"),
        ({"beta_end": "exec"}, "s.json: beta_end: expected a valid number"),
        ({"num_train_timesteps": 10**9}, "s.json: num_train_timesteps"),
        ({"trained_betas": [0.1]}, "trained_betas needs 1000 numbers .num_train_timesteps., found 1"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr needs prediction_type v_prediction or sample"),
        ({"use_flow_sigmas": True}, "only discrete time steps and .*use_flow_sigmas.* false can be sampled"),
        ({"timestep_type": "continuous"}, "only discrete time steps"),
    ],
)
def test_what_is_wrong_in_a_scheduler_file(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_scheduler_config({"_class_name": "DDPMScheduler"} | change, "s.json")


def test_what_a_scheduler_file_states() -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    for name, (method, _) in CLASSES.items():
        scheduler = getattr(diffusers, name)()
        fields = json.loads(scheduler.to_json_string())
        schedule = Schedule.model_validate(parse_scheduler_config(fields, "s.json"))
        assert schedule.method == method
        older = {key: fields[key] for key in ("_class_name", "beta_schedule", "num_train_timesteps")}
        bare = Schedule.model_validate(parse_scheduler_config(older, "s.json"))
        assert bare.timesteps(7) == schedule.timesteps(7) and bare.clip_sample == fields.get("clip_sample", False)
        for products in (schedule.alphas_cumprod, bare.alphas_cumprod):  # of a thousand float32 numbers
            torch.testing.assert_close(torch.tensor(products), scheduler.alphas_cumprod, atol=0, rtol=1e-5)


@pytest.mark.parametrize(("method", "calls"), [("ddpm", 4), ("heun", 7)])
def test_progress_is_reported(method: str, calls: int) -> None:
    reports: list[tuple[int, int]] = []
    start = torch.zeros(1, 1, 2, 2)
    sample(toy, start, Schedule(), method, 4, lambda: start, tell=lambda done, of: reports.append((done, of)))
    assert reports == [(i, calls) for i in range(1, calls + 1)]


def test_every_name_has_its_sampler() -> None:
    assert tuple(BY_NAME) == entry.SAMPLERS == tuple(NAMES)
    (option,) = (option for option in generate.params if option.name == "sampler")
    assert tuple(option.type.choices) == entry.SAMPLERS  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", entry.SAMPLERS)
def test_the_network_is_called_as_often_as_stated(method: str) -> None:
    calls: list[Tensor] = []

    def counted(x: Tensor, t: Tensor) -> Tensor:
        calls.append(t)
        return toy(x, t)

    start = torch.zeros(1, 1, 2, 2)
    sample(counted, start, Schedule(), method, 7, lambda: start)
    assert len(calls) == BY_NAME[method].calls(7)


@pytest.mark.parametrize(
    ("sampling", "latents", "expected"),
    [
        ({}, False, ("ddim", 50)),
        ({"sampler": "ddpm"}, False, ("ddpm", 100)),  # a thousand, but for a schedule of a hundred
        ({"sampler": "ddpm"}, True, ("ddpm", 50)),
        ({"sampler": "dpm++", "steps": 99}, False, ("dpm++", 99)),
    ],
)
def test_which_sampler_and_how_many_steps(sampling: dict[str, Any], latents: bool, expected: tuple[str, int]) -> None:
    schedule = Schedule(num_train_timesteps=100, method="ddim")
    stated = entry.Sampling(latent="normal", **sampling)
    assert choose_sampler("X", stated, schedule, latents=latents) == expected


def test_a_sampler_of_the_table_is_all_that_sampling_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    toy_sampler = Sampler(lambda run, start, steps: run.predict(start, torch.tensor(steps)) - start, "a toy", 3)
    monkeypatch.setitem(BY_NAME, "toy", toy_sampler)
    reports: list[tuple[int, int]] = []
    start = torch.randn(SHAPE)
    found = sample(toy, start, Schedule(), "toy", 5, lambda: start, tell=lambda *report: reports.append(report))
    assert torch.equal(found, toy(start, 5) - start) and reports == [(1, 5)]


TOY = """

def _toy(run: _Run, start: Tensor, steps: int) -> Tensor:
    for t in run.schedule.timesteps(steps):
        start = 0 * run.predict(start, torch.tensor(t)) + 0.25
    return start


BY_NAME["toy"] = Sampler(_toy, "a toy", 2)
"""


def test_a_new_sampler_is_two_edits(tmp_path: Path) -> None:
    """Its name in ``entry.py``, its function in ``samplers.py``: the command line offers it, and generates with it."""
    package = shutil.copytree(ROOT / "medzoo", tmp_path / "medzoo", ignore=shutil.ignore_patterns("__pycache__"))
    names, functions = package / "entry.py", package / "diffusion" / "samplers.py"
    before = names.read_text()
    names.write_text(before.replace('"heun"]', '"heun", "toy"]'))
    assert names.read_text().count('"toy"') == 1
    functions.write_text(functions.read_text() + TOY)
    out = tmp_path / "out"
    command = ["generate", "10003", "-n", "2", "--sampler", "toy", "--steps", "2", "--format", "npy", "--out", str(out)]
    (tmp_path / "registry").symlink_to(ROOT / "registry")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "medzoo", *command], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (np.load(out / "00000001.npy") == 0.625).all()  # 0.25 in a range from -1 to 1
    wrong = ["generate", "10003", "--sampler", "euler", "--out", str(tmp_path / "none")]
    done = subprocess.run(
        [sys.executable, "-m", "medzoo", *wrong], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2 and "'toy'" in done.stderr


def test_a_schedule_whose_noise_does_not_fall() -> None:
    start = torch.zeros(1, 1, 2, 2)
    with pytest.raises(GenerationError, match="does not fall at each of 4 steps"):
        sample(toy, start, Schedule(steps_offset=1000), "dpm++", 4, lambda: start)
