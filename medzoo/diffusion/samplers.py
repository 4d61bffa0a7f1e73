"""Samplers of diffusion models: pure functions of (network, noise, schedule), for images and volumes alike.

DDPM (Ho et al. 2020), DDIM (Song et al., "Denoising diffusion implicit models", ICLR 2021), DPM-Solver++ 2M (Lu et al.
2022, algorithm 2) and Heun's method over noise levels (Karras et al. 2022, algorithm 1). They give what diffusers'
schedulers of these names give for the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from medzoo.diffusion.schedule import Method, Schedule
from medzoo.entry import Sampling
from medzoo.errors import GenerationError

# (x [B, C, ...], time step: a tensor without dimensions, int64 or float32) -> the network's output [B, C or 2 C, ...].
Predict = Callable[[Tensor, Tensor], Tensor]
Draw = Callable[[], Tensor]
Tell = Callable[[int, int], None]
METHODS: tuple[str, ...] = get_args(Method)
OF_LATENTS = dict.fromkeys(METHODS, 50)  # steps of models of latents whose entry states none


def sample(
    predict: Predict,
    start: Tensor,
    schedule: Schedule,
    method: str,
    steps: int,
    draw: Draw,
    *,
    image: Tensor | None = None,
    strength: float | None = None,
    eta: float = 0.0,
    tell: Tell | None = None,
) -> Tensor:
    """Noise -> images [B, C, ...] float32.

    Args:
        predict: the network; given 2 C channels, the second half is the learned variance.
        start: N(0, 1), [B, C, ...].
        method: one of METHODS.
        steps: 1 to T. Heun's method calls the network 2 steps - 1 times, the others once a step.
        draw: N(0, 1) like ``start``, once for each step of DDPM, or of DDIM with ``eta``.
        image: [B, C, ...] to begin with, as far as ``strength`` in (0, 1] puts noise on it; None for noise alone.
        eta: of DDIM, 0 for none of DDPM's noise to 1 for all.
        tell: told after each call of the network how many are done, and how many there are at most.

    Raises GenerationError: a method, number of steps or strength that cannot be.
    """
    if method not in METHODS:
        raise GenerationError(f"unknown sampler '{method}'; choose from {', '.join(METHODS)}")
    most = most_steps(method, schedule)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= most:
        raise GenerationError(f"steps of sampler {method} must be a whole number from 1 to {most}, found {steps!r}")
    if strength is not None and not 0 < strength <= 1:
        raise GenerationError(f"strength must lie above 0 and not above 1, found {strength!r}")
    begin = 0 if image is None or strength is None else steps - max(1, min(int(steps * strength), steps))
    if tell is not None:
        predict = _telling(predict, tell, (steps - begin) * (2 if method == "heun" else 1) - (method == "heun"))
    run = _Run(predict, schedule, draw, eta, None if image is None else image.float(), begin)
    return {"ddpm": _ddpm, "ddim": _ddim, "dpm++": _solver, "heun": _heun}[method](run, start.float(), steps)


def most_steps(method: str, schedule: Schedule) -> int:
    """How many steps a sampler can take: DPM-Solver++ leaves out one end of the time steps."""
    return schedule.num_train_timesteps - (method == "dpm++")


def chosen(model_id: str, sampling: Sampling, schedule: Schedule, usual: Mapping[str, int]) -> tuple[str, int]:
    """Sampler and steps of an entry, or the schedule's and the usual ones. Raises GenerationError."""
    method = sampling.sampler or schedule.method
    most = most_steps(method, schedule)
    steps = sampling.steps or min(usual[method], most)
    if steps > most:
        raise GenerationError(f"{model_id}: steps of sampler {method} go up to {most}, found {steps}")
    return method, steps


def guided(predict: Predict, scale: float | None) -> Predict:
    """Classifier-free guidance (Ho and Salimans 2022): without + scale (with - without), in one call of the network.

    Args:
        predict: sees [2 B, C, ...], the batch for the network without its condition, then again for it with.
        scale: with 1, or None where there is none, ``predict`` itself, which then sees the batch once.
    """
    if scale is None or scale == 1:
        return predict

    def both(x: Tensor, t: Tensor) -> Tensor:
        without, with_it = predict(torch.cat([x, x]), t).float().chunk(2)  # a difference loses digits in half precision
        channels = x.shape[1]
        guess = without[:, :channels] + scale * (with_it[:, :channels] - without[:, :channels])
        return torch.cat([guess, with_it[:, channels:]], 1)  # a learned variance is that of the condition

    return both


def _telling(predict: Predict, tell: Tell, calls: int) -> Predict:
    done = 0

    def counted(x: Tensor, t: Tensor) -> Tensor:
        nonlocal done
        out = predict(x, t)
        done += 1
        tell(done, calls)
        return out

    return counted


@dataclass(frozen=True)
class _Run:
    """What a sampler works with; ``begin`` is the first of its steps that is taken."""

    predict: Predict
    schedule: Schedule
    draw: Draw
    eta: float
    image: Tensor | None
    begin: int

    def first(self, start: Tensor, kept: float) -> Tensor:
        """Where sampling begins: noise, or the image with noise."""
        return start if self.image is None else math.sqrt(kept) * self.image + math.sqrt(1 - kept) * start

    def look(self, x: Tensor, t: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor, Tensor | None]:
        """x = alpha x_0 + sigma noise -> what the network says of x_0, of the noise, and of its variance."""
        out = self.predict(x, t).float()
        spread = None
        if out.shape[1] == 2 * x.shape[1]:
            out, spread = out.chunk(2, dim=1)
        kind = self.schedule.prediction_type
        if kind == "epsilon":
            return (x - sigma * out) / alpha, out, spread
        if kind == "sample":
            return out, (x - alpha * out) / sigma, spread
        return alpha * x - sigma * out, alpha * out + sigma * x, spread

    def clipped(self, clean: Tensor) -> Tensor:
        limit = self.schedule.clip_sample_range
        return clean.clamp(-limit, limit) if self.schedule.clip_sample else clean

    def thresholded(self, clean: Tensor) -> Tensor:
        schedule = self.schedule
        if not schedule.thresholding:
            return clean
        size = torch.quantile(clean.flatten(1).abs(), schedule.dynamic_thresholding_ratio, dim=1)
        size = size.clamp(1, schedule.sample_max_value).view(-1, *[1] * (clean.dim() - 1))
        return clean.clamp(-size, size) / size


def _ddpm(run: _Run, start: Tensor, steps: int) -> Tensor:
    schedule = run.schedule
    kept, times = schedule.kept, schedule.times(steps)
    shown = torch.tensor(times, device=start.device)
    x = run.first(start, kept[times[run.begin]])
    for i in range(run.begin, steps):
        now, after = kept[times[i]], kept[times[i + 1]] if i + 1 < steps else np.float32(1)
        ratio = now / after
        beta = 1 - ratio
        clean, _, spread = run.look(x, shown[i], float(now**0.5), float((1 - now) ** 0.5))
        clean = run.thresholded(clean) if schedule.thresholding else run.clipped(clean)
        x = float(after**0.5 * beta / (1 - now)) * clean + float(ratio**0.5 * (1 - after) / (1 - now)) * x
        if times[i] > 0:
            small = max((1 - after) / (1 - now) * beta, np.float32(1e-20))
            x = x + _deviation(schedule.variance_type, float(small), float(beta), spread) * run.draw()
    return x


def _deviation(kind: str, small: float, large: float, spread: Tensor | None) -> float | Tensor:
    """Of DDPM's noise; between both in logarithms as the network says (Nichol and Dhariwal 2021, eq. 15)."""
    if kind == "learned_range" and spread is not None:
        part = (spread + 1) / 2
        return torch.exp(0.5 * (part * math.log(large) + (1 - part) * math.log(small)))
    return math.sqrt(large if kind.startswith("fixed_large") else small)


def _ddim(run: _Run, start: Tensor, steps: int) -> Tensor:
    schedule = run.schedule
    kept, times = schedule.kept, schedule.times(steps)
    final = np.float32(1) if schedule.set_alpha_to_one else kept[0]
    stride = schedule.num_train_timesteps // steps
    shown = torch.tensor(times, device=start.device)
    x = run.first(start, kept[times[run.begin]])
    for i in range(run.begin, steps):
        after = times[i] - stride  # as published: with other spacings than leading, not quite the next time step
        now, then = kept[times[i]], kept[after] if after >= 0 else final
        clean, noise, _ = run.look(x, shown[i], float(now**0.5), float((1 - now) ** 0.5))
        clean = run.thresholded(clean) if schedule.thresholding else run.clipped(clean)
        deviation = run.eta * float(((1 - then) / (1 - now) * (1 - now / then)) ** 0.5)
        x = float(then**0.5) * clean + max(float(1 - then) - deviation**2, 0.0) ** 0.5 * noise
        if run.eta > 0:
            x = x + deviation * run.draw()
    return x


def _solver(run: _Run, start: Tensor, steps: int) -> Tensor:
    times, sigmas = run.schedule.solver_levels(steps)
    steps = len(times)  # fewer where the schedule leaves out the first
    begin = min(run.begin, steps - 1)
    shown = torch.tensor(times, device=start.device)
    if any(sigmas[i] <= sigmas[i + 1] for i in range(steps)):
        raise GenerationError(
            f"the noise of this schedule does not fall at each of {steps} steps of dpm++; take fewer or another sampler"
        )
    alphas = [(sigma**2 + 1) ** -0.5 for sigma in sigmas]
    x = run.first(start, alphas[begin] ** 2)
    before: Tensor | None = None
    for i in range(begin, steps):
        clean = run.thresholded(run.look(x, shown[i], alphas[i], sigmas[i] * alphas[i])[0])
        last = i == steps - 1
        guess = clean
        if before is not None and not last:
            # Distances of log(alpha / sigma): of this step, and of the one before.
            step, earlier = math.log(sigmas[i] / sigmas[i + 1]), math.log(sigmas[i - 1] / sigmas[i])
            guess = clean + 0.5 * step / earlier * (clean - before)
        shrink = sigmas[i + 1] * alphas[i + 1] / (sigmas[i] * alphas[i])
        x = shrink * x + (alphas[i + 1] - shrink * alphas[i]) * guess
        before = clean
    return x


def _heun(run: _Run, start: Tensor, steps: int) -> Tensor:
    """x here is x_0 + sigma noise."""
    times, sigmas = run.schedule.heun_levels(steps)
    shown = torch.tensor(times, dtype=torch.float32, device=start.device)

    def slope(x: Tensor, i: int) -> Tensor:
        alpha = (sigmas[i] ** 2 + 1) ** -0.5
        clean = run.clipped(run.look(alpha * x, shown[i], alpha, sigmas[i] * alpha)[0])
        return (x - clean) / sigmas[i]

    if run.image is not None:
        x = run.image + sigmas[run.begin] * start
    else:
        x = start * ((sigmas[0] ** 2 + 1) ** 0.5 if run.schedule.timestep_spacing == "leading" else sigmas[0])
    for i in range(run.begin, steps):
        here, width = slope(x, i), sigmas[i + 1] - sigmas[i]
        there = x + width * here
        x = there if i == steps - 1 else x + width * (here + slope(there, i + 1)) / 2
    return x
