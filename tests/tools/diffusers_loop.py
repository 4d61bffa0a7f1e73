"""The loop of diffusers' pipelines around its schedulers, for the samplers to be compared with."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

# Sampler -> the class of diffusers that does the same.
NAMES = {
    "ddpm": "DDPMScheduler", "ddim": "DDIMScheduler", "dpm++": "DPMSolverMultistepScheduler",
    "heun": "HeunDiscreteScheduler",
}  # fmt: skip


def reference(
    fields: dict[str, Any], method: str, steps: int, start: Tensor, draw: Any, monkeypatch: pytest.MonkeyPatch,
    *, predict: Any, eta: float = 0.0, image: Tensor | None = None, begin: int = 0,
) -> Tensor:  # fmt: skip
    """What diffusers' scheduler makes of ``start`` [B, C, ...].

    Args:
        fields: of its configuration.
        draw: what it draws noise with, whatever the arguments.
        predict: (x, t) -> the network's output.
        begin: the first step taken, where sampling begins with ``image``.
    """
    schedulers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    cls = getattr(schedulers, NAMES[method])
    scheduler = cls.from_config(fields)
    for module in ("ddpm", "ddim"):
        monkeypatch.setattr(f"diffusers.schedulers.scheduling_{module}.randn_tensor", draw)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps[begin * scheduler.order :]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin * scheduler.order)  # else the second of equal time steps would be the first
    x = start * scheduler.init_noise_sigma if image is None else scheduler.add_noise(image, start, times[:1])
    for t in times:
        out = predict(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(out, t, x, **({"eta": eta} if method == "ddim" else {})).prev_sample
    return x
