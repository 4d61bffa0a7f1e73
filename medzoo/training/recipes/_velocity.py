"""What recipes of diffusion models share: a schedule, and a batch with noise on it and the v to predict.

The cosine schedule (Nichol and Dhariwal, ICML 2021) and v-prediction (Salimans and Ho, "Progressive distillation", ICLR
2022), which stays well-posed at both ends of the schedule and so bears few sampling steps. These are spent where they
show: at noise levels from 80 down at equal distances of their 7th root (Karras et al., NeurIPS 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medzoo.diffusion.guidance import Predict
from medzoo.diffusion.samplers import sample
from medzoo.diffusion.schedule import Schedule

SCHEDULE = Schedule(
    beta_schedule="squaredcos_cap_v2",
    prediction_type="v_prediction",
    use_karras_sigmas=True,
    sigma_max=80,
    method="dpm++",
)


@dataclass(frozen=True)
class Noised:
    """A batch at random time steps.

    Attributes:
        x_t: [n, ...], what the network sees: sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps.
        timesteps: int64 [n], 0 to T - 1.
        v: its target, sqrt(alpha_bar_t) eps - sqrt(1 - alpha_bar_t) x0, like ``x_t``.
        alpha_bar_t: [n], the part of the variance of x0 that is left.
    """

    x_t: Tensor
    timesteps: Tensor
    v: Tensor
    alpha_bar_t: Tensor


def noised(x0: Tensor, rng: torch.Generator) -> Noised:
    """Images or latents [n, ...] with noise from ``rng``, which is on the CPU."""
    timesteps = torch.randint(SCHEDULE.num_train_timesteps, (len(x0),), generator=rng)
    eps = torch.randn(x0.shape, generator=rng).to(x0.device)
    alpha_bar_t = torch.from_numpy(SCHEDULE.alphas_cumprod)[timesteps].to(x0.device)
    alpha, sigma = (part.sqrt().view(-1, *[1] * (x0.dim() - 1)) for part in (alpha_bar_t, 1 - alpha_bar_t))
    return Noised(alpha * x0 + sigma * eps, timesteps.to(x0.device), alpha * eps - sigma * x0, alpha_bar_t)


def denoised(predict: Predict, start: Tensor, steps: int, schedule: Schedule = SCHEDULE) -> Tensor:
    """Noise [n, ...] -> images or latents, by DPM-Solver++, which draws none on the way."""
    return sample(predict, start, schedule, "dpm++", steps, lambda: torch.zeros_like(start))
