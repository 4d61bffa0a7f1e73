"""What recipes of diffusion models share: a schedule, and a batch with noise on it and the v to be found in it.

The cosine schedule (Nichol and Dhariwal, ICML 2021) and v-prediction (Salimans and Ho, "Progressive distillation", ICLR
2022), which stays well-posed at both ends of the schedule and so bears few sampling steps. These are spent where they
show: at noise levels from 80 down at equal distances of their 7th root (Karras et al., NeurIPS 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medzoo.diffusion.samplers import Predict, sample
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
        seen: [n, ...], what the network is shown.
        times: int64 [n], 0 to T - 1.
        wanted: v = sqrt(a) noise - sqrt(1 - a) x, like ``seen``.
        kept: a [n], the part of the variance of x that is left.
    """

    seen: Tensor
    times: Tensor
    wanted: Tensor
    kept: Tensor


def noised(x: Tensor, rng: torch.Generator) -> Noised:
    """Images or latents [n, ...] with noise from ``rng``, which is on the CPU."""
    times = torch.randint(SCHEDULE.num_train_timesteps, (len(x),), generator=rng)
    noise = torch.randn(x.shape, generator=rng).to(x.device)
    kept = torch.from_numpy(SCHEDULE.kept)[times].to(x.device)
    signal, sigma = (part.sqrt().view(-1, *[1] * (x.dim() - 1)) for part in (kept, 1 - kept))
    return Noised(signal * x + sigma * noise, times.to(x.device), signal * noise - sigma * x, kept)


def solved(predict: Predict, start: Tensor, steps: int, schedule: Schedule = SCHEDULE) -> Tensor:
    """Noise [n, ...] -> images or latents, by DPM-Solver++, which draws none on the way."""
    return sample(predict, start, schedule, "dpm++", steps, lambda: torch.zeros_like(start))
