"""Samplers of diffusion models: pure functions of (network, noise, schedule), for images and volumes alike.

    ddpm    Ho et al., "Denoising diffusion probabilistic models", NeurIPS 2020, algorithm 2
    ddim    Song et al., "Denoising diffusion implicit models", ICLR 2021, equation 12
    dpm++   Lu et al., "DPM-Solver++", 2022 (arXiv 2211.01095), algorithm 2 (2M)
    heun    Karras et al., "Elucidating the design space ...", NeurIPS 2022 (arXiv 2206.00364), algorithm 1

They give what diffusers' schedulers of these names give for the same noise. What the papers call the variables:

    here                        ddpm           ddim          dpm++               heun
    alpha_bar_t                 alpha-bar_t    alpha_t       alpha_t ^ 2
    x0                          x-hat_0        f_theta       x_theta             D(x; sigma)
    eps                         eps_theta      eps_theta     eps_theta
    sigma_t (noise added)       sigma_t        sigma_t
    sigmas[i] (noise to image)                               sigma_ti / alpha_ti t_i

To add a sampler, write a function of (run, start, steps) here, list it in ``BY_NAME``, and name it in
``medzoo.entry.SamplerName``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medzoo.diffusion.guidance import Predict
from medzoo.diffusion.schedule import Schedule
from medzoo.entry import Sampling
from medzoo.errors import GenerationError

Draw = Callable[[], Tensor]
Tell = Callable[[int, int], None]


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
        method: a key of ``BY_NAME``.
        steps: 1 to T, or fewer where the sampler reserves a time step.
        draw: N(0, 1) like ``start``, once for each step of DDPM, or of DDIM with ``eta``.
        image: [B, C, ...] to begin with, as far as ``strength`` in (0, 1] puts noise on it; None for noise alone.
        eta: of DDIM, 0 for none of DDPM's noise to 1 for all.
        tell: called after each call of the network with the calls done, and how many there are at most.

    Raises GenerationError: a method, number of steps or strength that cannot be.
    """
    if method not in BY_NAME:
        raise GenerationError(f"unknown sampler '{method}'; choose from {', '.join(BY_NAME)}")
    sampler, most = BY_NAME[method], most_steps(method, schedule)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= most:
        raise GenerationError(f"steps of sampler {method} must be a whole number from 1 to {most}, found {steps!r}")
    if strength is not None and not 0 < strength <= 1:
        raise GenerationError(f"strength must lie above 0 and not above 1, found {strength!r}")
    begin = 0 if image is None or strength is None else steps - max(1, min(int(steps * strength), steps))
    if tell is not None:
        predict = _counted(predict, tell, sampler.calls(steps - begin))
    return sampler.function(
        _Run(predict, schedule, draw, eta, None if image is None else image.float(), begin), start.float(), steps
    )


def most_steps(method: str, schedule: Schedule) -> int:
    """How many steps a sampler can take on a schedule."""
    return schedule.num_train_timesteps - BY_NAME[method].reserved


def choose_sampler(model_id: str, sampling: Sampling, schedule: Schedule, *, latents: bool) -> tuple[str, int]:
    """Name and steps of the sampler that an entry states, or else the schedule's and the usual number of steps.

    Args:
        latents: whether the model denoises latents, not pixels.

    Raises GenerationError: more steps than the sampler can take.
    """
    method = sampling.sampler or schedule.method
    most, usual = most_steps(method, schedule), BY_NAME[method]
    steps = sampling.steps or min(usual.steps_of_latents if latents else usual.steps_of_pixels, most)
    if steps > most:
        raise GenerationError(f"{model_id}: steps of sampler {method} go up to {most}, found {steps}")
    return method, steps


def _counted(predict: Predict, tell: Tell, calls: int) -> Predict:
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

    def start_from(self, noise: Tensor, alpha_bar_t: float) -> Tensor:
        """Where sampling begins, [B, C, ...]: the noise, or the image with this noise on it (DDPM, equation 4)."""
        if self.image is None:
            return noise
        return math.sqrt(alpha_bar_t) * self.image + math.sqrt(1 - alpha_bar_t) * noise

    def split(self, x: Tensor, t: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor, Tensor | None]:
        """x = alpha x0 + sigma eps -> what the network predicts of both.

        Args:
            x: [B, C, ...].
            t: time step, a tensor without dimensions.

        Returns:
            x0 and eps, both [B, C, ...] float32, and the learned variance [B, C, ...] in [-1, 1], None without one.
        """
        out, variance = self.predict(x, t).float(), None
        if out.shape[1] == 2 * x.shape[1]:
            out, variance = out.chunk(2, dim=1)
        match self.schedule.prediction_type:
            case "epsilon":
                return (x - sigma * out) / alpha, out, variance  # DDPM, equation 15
            case "sample":
                return out, (x - alpha * out) / sigma, variance
            case "v_prediction":  # v = alpha eps - sigma x0 (Salimans and Ho 2022, section 4)
                return alpha * x - sigma * out, alpha * out + sigma * x, variance

    def limited(self, x0: Tensor) -> Tensor:
        """x0 [B, C, ...] within its limits: by the quantile of each sample where the schedule says so, or clipped."""
        return self.thresholded(x0) if self.schedule.thresholding else self.clipped(x0)

    def clipped(self, x0: Tensor) -> Tensor:
        """x0 [B, C, ...], clipped where the schedule says so."""
        limit = self.schedule.clip_sample_range
        return x0.clamp(-limit, limit) if self.schedule.clip_sample else x0

    def thresholded(self, x0: Tensor) -> Tensor:
        """x0 [B, C, ...], where the schedule says so with dynamic thresholding (Saharia et al., Imagen 2022)."""
        schedule = self.schedule
        if not schedule.thresholding:
            return x0
        limit = torch.quantile(x0.flatten(1).abs(), schedule.dynamic_thresholding_ratio, dim=1)
        limit = limit.clamp(1, schedule.sample_max_value).view(-1, *[1] * (x0.dim() - 1))
        return x0.clamp(-limit, limit) / limit


def _ddpm(run: _Run, start: Tensor, steps: int) -> Tensor:
    schedule = run.schedule
    alphas_cumprod, timesteps = schedule.alphas_cumprod, schedule.timesteps(steps)
    t = torch.tensor(timesteps, device=start.device)
    x = run.start_from(start, alphas_cumprod[timesteps[run.begin]])
    for i in range(run.begin, steps):
        alpha_bar_t = alphas_cumprod[timesteps[i]]
        alpha_bar_prev = alphas_cumprod[timesteps[i + 1]] if i + 1 < steps else np.float32(1)
        alpha_t = alpha_bar_t / alpha_bar_prev
        beta_t = 1 - alpha_t  # of time steps that are left out, too: Nichol and Dhariwal 2021, equation 19
        x0, _, variance = run.split(x, t[i], float(alpha_bar_t**0.5), float((1 - alpha_bar_t) ** 0.5))
        x0 = run.limited(x0)
        # The mean of q(x_prev | x, x0), and its variance beta-tilde: equation 7.
        weight_x0 = float(alpha_bar_prev**0.5 * beta_t / (1 - alpha_bar_t))
        weight_x = float(alpha_t**0.5 * (1 - alpha_bar_prev) / (1 - alpha_bar_t))
        x = weight_x0 * x0 + weight_x * x
        if timesteps[i] > 0:
            posterior = max((1 - alpha_bar_prev) / (1 - alpha_bar_t) * beta_t, np.float32(1e-20))
            x = x + _sigma_t(schedule.variance_type, float(posterior), float(beta_t), variance) * run.draw()
    return x


def _sigma_t(kind: str, posterior: float, beta_t: float, variance: Tensor | None) -> float | Tensor:
    """Standard deviation of DDPM's noise; where it is learned, [B, C, ...] (Nichol and Dhariwal 2021, equation 15)."""
    if kind == "learned_range" and variance is not None:
        v = (variance + 1) / 2
        return torch.exp(0.5 * (v * math.log(beta_t) + (1 - v) * math.log(posterior)))
    return math.sqrt(beta_t if kind.startswith("fixed_large") else posterior)


def _ddim(run: _Run, start: Tensor, steps: int) -> Tensor:
    schedule = run.schedule
    alphas_cumprod, timesteps = schedule.alphas_cumprod, schedule.timesteps(steps)
    alpha_bar_end = np.float32(1) if schedule.set_alpha_to_one else alphas_cumprod[0]
    stride = schedule.num_train_timesteps // steps
    t = torch.tensor(timesteps, device=start.device)
    x = run.start_from(start, alphas_cumprod[timesteps[run.begin]])
    for i in range(run.begin, steps):
        prev = timesteps[i] - stride  # as published: with other spacings than leading, not quite the next time step
        alpha_bar_t = alphas_cumprod[timesteps[i]]
        alpha_bar_prev = alphas_cumprod[prev] if prev >= 0 else alpha_bar_end
        x0, eps, _ = run.split(x, t[i], float(alpha_bar_t**0.5), float((1 - alpha_bar_t) ** 0.5))
        x0 = run.limited(x0)
        ratio = (1 - alpha_bar_prev) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_prev)
        sigma_t = run.eta * float(ratio**0.5)  # equation 16
        # Equation 12: the predicted x0, the direction that points to x, and noise.
        x = float(alpha_bar_prev**0.5) * x0 + max(float(1 - alpha_bar_prev) - sigma_t**2, 0.0) ** 0.5 * eps
        if run.eta > 0:
            x = x + sigma_t * run.draw()
    return x


def _dpm_solver(run: _Run, start: Tensor, steps: int) -> Tensor:
    timesteps, sigmas = run.schedule.solver_levels(steps)
    steps = len(timesteps)  # fewer where the schedule leaves out the first
    begin = min(run.begin, steps - 1)
    t = torch.tensor(timesteps, device=start.device)
    if any(sigmas[i] <= sigmas[i + 1] for i in range(steps)):
        raise GenerationError(
            f"the noise of this schedule does not fall at each of {steps} steps of dpm++; take fewer or another sampler"
        )
    alphas = [(sigma**2 + 1) ** -0.5 for sigma in sigmas]
    x = run.start_from(start, alphas[begin] ** 2)
    x0_before: Tensor | None = None
    for i in range(begin, steps):
        x0 = run.thresholded(run.split(x, t[i], alphas[i], sigmas[i] * alphas[i])[0])
        d = x0  # D_i of the algorithm, whose first step has order 1; so has the last one here, as in diffusers
        if x0_before is not None and i < steps - 1:
            # h_i = lambda_i - lambda_(i-1), lambda = log(alpha / sigma): of this step, and of the one before.
            h, h_before = math.log(sigmas[i] / sigmas[i + 1]), math.log(sigmas[i - 1] / sigmas[i])
            d = x0 + 0.5 * h / h_before * (x0 - x0_before)  # with r_i = h_(i-1) / h_i
        shrink = sigmas[i + 1] * alphas[i + 1] / (sigmas[i] * alphas[i])  # sigma_ti / sigma_ti-1
        x = shrink * x + (alphas[i + 1] - shrink * alphas[i]) * d  # the weight of D_i is -alpha_ti (exp(-h_i) - 1)
        x0_before = x0
    return x


def _heun(run: _Run, start: Tensor, steps: int) -> Tensor:
    """x here is x0 + sigma eps: sigma(t) = t and s(t) = 1."""
    timesteps, sigmas = run.schedule.heun_levels(steps)
    t = torch.tensor(timesteps, dtype=torch.float32, device=start.device)

    def slope(x: Tensor, i: int) -> Tensor:
        """d_i of the algorithm: the derivative of x by sigma at level i, [B, C, ...]."""
        alpha = (sigmas[i] ** 2 + 1) ** -0.5
        x0 = run.clipped(run.split(alpha * x, t[i], alpha, sigmas[i] * alpha)[0])
        return (x - x0) / sigmas[i]

    if run.image is not None:
        x = run.image + sigmas[run.begin] * start
    else:
        x = start * ((sigmas[0] ** 2 + 1) ** 0.5 if run.schedule.timestep_spacing == "leading" else sigmas[0])
    for i in range(run.begin, steps):
        d, width = slope(x, i), sigmas[i + 1] - sigmas[i]
        euler = x + width * d
        x = euler if i == steps - 1 else x + width * (d + slope(euler, i + 1)) / 2
    return x


@dataclass(frozen=True)
class Sampler:
    """One way from noise to images.

    Attributes:
        function: (run, start [B, C, ...], steps) -> images [B, C, ...].
        about: what a user chooses it for, in a few words.
        steps_of_pixels, steps_of_latents: usual steps of models of either, where nobody states them.
        calls: steps -> how often it calls the network.
        reserved: time steps of the schedule that it cannot visit.
    """

    function: Callable[[_Run, Tensor, int], Tensor]
    about: str
    steps_of_pixels: int
    steps_of_latents: int = 50
    calls: Callable[[int], int] = lambda steps: steps
    reserved: int = 0


BY_NAME: dict[str, Sampler] = {
    "ddpm": Sampler(_ddpm, "as the model was trained, with new noise at every step", 1000),
    "ddim": Sampler(_ddim, "no noise on the way", 50),
    "dpm++": Sampler(_dpm_solver, "DPM-Solver++ (2M): good images in few steps", 20, reserved=1),
    "heun": Sampler(_heun, "second order, as in EDM", 18, calls=lambda steps: 2 * steps - 1),
}
