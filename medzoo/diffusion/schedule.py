"""Noise schedules of diffusion models: how much noise each time step holds, and which time steps a sampler visits.

Variance-preserving diffusion in discrete time (Ho et al., "Denoising diffusion probabilistic models", NeurIPS 2020): at
step t an image is x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps (equation 4), where alpha_bar_t is the product
of 1 - beta up to t. Fields are named as in diffusers' ``scheduler_config.json``. Everything about a schedule is
computed in float32 and in the order in which models are usually sampled, since at small t the digits that float32 loses
change an image by 1e-4.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from medzoo.entry import PositiveFloat, Record, SamplerName
from medzoo.errors import CheckpointError, problems

Beta = Annotated[float, Field(gt=0, lt=1)]
RHO = 7.0  # Karras et al., "Elucidating the design space of diffusion-based generative models", 2022, eq. 5
SMALLEST = 2.0**-24  # in place of alpha_bar_T = 0 where a sampler divides by it

# Classes of diffusers that state such a schedule: the sampler that takes their place, and where their defaults differ.
CLASSES: dict[str, tuple[SamplerName, dict[str, Any]]] = {
    "DDPMScheduler": ("ddpm", {}),
    "DDIMScheduler": ("ddim", {}),
    "PNDMScheduler": ("dpm++", {"clip_sample": False, "set_alpha_to_one": False}),
    "DPMSolverMultistepScheduler": ("dpm++", {"clip_sample": False, "timestep_spacing": "linspace"}),
    "UniPCMultistepScheduler": ("dpm++", {"clip_sample": False, "timestep_spacing": "linspace"}),
    "LMSDiscreteScheduler": ("dpm++", {"clip_sample": False, "timestep_spacing": "linspace"}),
    "EulerDiscreteScheduler": ("dpm++", {"clip_sample": False, "timestep_spacing": "linspace"}),
    "EulerAncestralDiscreteScheduler": ("dpm++", {"clip_sample": False, "timestep_spacing": "linspace"}),
    "HeunDiscreteScheduler": (
        "heun",
        {
            **{"clip_sample": False, "timestep_spacing": "linspace", "use_karras_sigmas": False},
            **{"beta_start": 0.00085, "beta_end": 0.012},
        },
    ),
}
# Fields of those classes that say nothing about the schedule: the entry chooses the sampler.
SAMPLER_FIELDS = (
    *("skip_prk_steps", "solver_order", "solver_type", "solver_p", "algorithm_type", "predict_x0", "disable_corrector"),
    *("euler_at_final", "use_lu_lambdas", "interpolation_type", "final_sigmas_type"),
    "lower_order_final",
)
# Fields that would make another schedule if they were set, and those that go with them.
UNSET = ("use_exponential_sigmas", "use_beta_sigmas", "use_flow_sigmas", "use_dynamic_shifting")
WITH_THEM = ("flow_shift", "time_shift_type", "shift_terminal")


class Schedule(Record):
    """What a model was trained with, and the settings of its sampling that go with it.

    Attributes:
        num_train_timesteps: T; time steps are 0 to T - 1.
        beta_start, beta_end, beta_schedule: ``linear``, ``scaled_linear`` (linear square roots) or
            ``squaredcos_cap_v2`` (Nichol and Dhariwal 2021, equation 17).
        trained_betas: all betas instead.
        prediction_type: what the network gives: eps, v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0, or x0.
        timestep_spacing, steps_offset: which steps are visited (Lin et al., "Common diffusion noise schedules and
            sample steps are flawed", WACV 2024, table 2).
        clip_sample, clip_sample_range: whether, and to what, x0 is clipped at each step.
        thresholding, dynamic_thresholding_ratio, sample_max_value: instead of clipping, the quantile of |x0| of each
            sample becomes 1 where it is more (Saharia et al., Imagen 2022).
        variance_type: of DDPM's noise: the posterior's (small), beta (large), or between both as the network's second
            half of channels says (``learned_range``).
        set_alpha_to_one: whether DDIM's last step ends without any noise, or with that of step 0.
        rescale_betas_zero_snr: betas rescaled so that nothing of the image is left at T (Lin et al., algorithm 1).
        use_karras_sigmas: noise levels at equal distances of their 7th root; null for heun only.
        sigma_min, sigma_max: the ends of those levels; null for the schedule's own. A cosine schedule ends at a sigma
            of some 20,000, where steps are wasted.
        lambda_min_clipped: DPM-Solver++ starts where log(sqrt(alpha_bar) / sqrt(1 - alpha_bar)) is at least this.
        method: the sampler where the entry names none.
    """

    num_train_timesteps: Annotated[int, Field(ge=1, le=100_000)] = 1000
    beta_start: Beta = 0.0001
    beta_end: Beta = 0.02
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    trained_betas: tuple[Beta, ...] | None = None
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "epsilon"
    timestep_spacing: Literal["leading", "linspace", "trailing"] = "leading"
    steps_offset: Annotated[int, Field(ge=0, le=100_000)] = 0
    clip_sample: bool = True
    clip_sample_range: PositiveFloat = 1.0
    thresholding: bool = False
    dynamic_thresholding_ratio: Annotated[float, Field(gt=0, le=1)] = 0.995
    sample_max_value: Annotated[float, Field(ge=1)] = 1.0
    variance_type: Literal["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned_range"] = (
        "fixed_small"
    )
    set_alpha_to_one: bool = True
    rescale_betas_zero_snr: bool = False
    use_karras_sigmas: bool | None = None
    sigma_min: PositiveFloat | None = None
    sigma_max: PositiveFloat | None = None
    lambda_min_clipped: float | None = None
    method: SamplerName = "ddpm"

    @model_validator(mode="after")
    def _consistent(self) -> Schedule:
        if self.trained_betas is not None and len(self.trained_betas) != self.num_train_timesteps:
            raise ValueError(
                f"trained_betas needs {self.num_train_timesteps} numbers (num_train_timesteps), "
                f"found {len(self.trained_betas)}"
            )
        if self.sigma_min is not None and self.sigma_max is not None and self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min, {self.sigma_min:g}, must lie below sigma_max, {self.sigma_max:g}")
        if self.rescale_betas_zero_snr and self.prediction_type == "epsilon":
            raise ValueError(
                "rescale_betas_zero_snr needs prediction_type v_prediction or sample: at step T all is noise"
            )
        return self

    @cached_property
    def alphas_cumprod(self) -> NDArray[np.float32]:
        """alpha_bar_t for t = 0 to T - 1, [T]: the part of an image's variance that is left."""
        betas = self._betas()
        if self.rescale_betas_zero_snr:
            root = torch.cumprod(1.0 - betas, 0).sqrt()
            square = ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2
            betas = 1 - torch.cat([square[:1], square[1:] / square[:-1]])
        alphas_cumprod: NDArray[np.float32] = torch.cumprod(1.0 - betas, 0).numpy()
        return alphas_cumprod

    @cached_property
    def sigmas(self) -> NDArray[np.float32]:
        """Noise for each unit of image, sqrt((1 - alpha_bar_t) / alpha_bar_t), [T]."""
        alphas_cumprod = np.where(self.alphas_cumprod == 0, np.float32(SMALLEST), self.alphas_cumprod)
        sigmas: NDArray[np.float32] = ((1 - alphas_cumprod) / alphas_cumprod) ** np.float32(0.5)
        return sigmas

    def timesteps(self, steps: int) -> list[int]:
        """The time steps that DDPM and DDIM visit, falling.

        >>> Schedule(num_train_timesteps=1000, timestep_spacing="trailing").timesteps(4)
        [999, 749, 499, 249]
        """
        count, spacing = self.num_train_timesteps, self.timestep_spacing
        if spacing == "linspace":
            timesteps = np.linspace(0, count - 1, steps).round()[::-1]
        elif spacing == "leading":
            timesteps = np.arange(steps)[::-1] * (count // steps) + self.steps_offset
        else:
            timesteps = np.arange(count, 0, -count / steps)[:steps].round() - 1
        return [int(t) for t in np.clip(timesteps, 0, count - 1)]

    def solver_levels(self, steps: int) -> tuple[list[int], list[float]]:
        """Time steps and sigmas that DPM-Solver++ visits, falling; one more sigma, 0, at the end."""
        count, spacing = self.num_train_timesteps, self.timestep_spacing
        last = count
        if self.lambda_min_clipped is not None:
            last -= int(np.searchsorted(-np.log(self.sigmas)[::-1], self.lambda_min_clipped))
        if spacing == "linspace":
            timesteps = np.linspace(0, last - 1, steps + 1).round()[:0:-1]
        elif spacing == "leading":
            timesteps = np.arange(steps, 0, -1) * (last // (steps + 1)) + self.steps_offset
        else:
            timesteps = np.arange(last, 0, -count / steps)[:steps].round() - 1
        timesteps = np.clip(timesteps, 0, count - 1)
        sigmas = self.sigmas[timesteps.astype(int)].astype(np.float64)
        if self.use_karras_sigmas:
            sigmas = self._karras(float(self.sigmas[0]), float(self.sigmas[-1]), steps)
            timesteps = self._timesteps_of(sigmas)
            timesteps = timesteps if self.beta_schedule == "squaredcos_cap_v2" else timesteps.round()
        return [int(t) for t in timesteps], [*sigmas.astype(np.float32).tolist(), 0.0]

    def heun_levels(self, steps: int) -> tuple[list[float], list[float]]:
        """Time steps (fractions, too) and sigmas of Heun's method, falling; one more sigma, 0, at the end."""
        timesteps = np.array(self.timesteps(steps), dtype=np.float64)
        if self.timestep_spacing == "linspace":
            timesteps = np.linspace(0, self.num_train_timesteps - 1, steps, dtype=np.float32)[::-1].astype(np.float64)
        sigmas = np.interp(timesteps, np.arange(self.num_train_timesteps), self.sigmas.astype(np.float64))
        if self.use_karras_sigmas is not False:
            sigmas = self._karras(float(sigmas[-1]), float(sigmas[0]), steps)
            timesteps = self._timesteps_of(sigmas)
        return [float(t) for t in timesteps], [*sigmas.astype(np.float32).tolist(), 0.0]

    def _betas(self) -> torch.Tensor:
        if self.trained_betas is not None:
            return torch.tensor(self.trained_betas, dtype=torch.float32)
        count = self.num_train_timesteps
        if self.beta_schedule == "linear":
            return torch.linspace(self.beta_start, self.beta_end, count, dtype=torch.float32)
        if self.beta_schedule == "scaled_linear":
            return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, count, dtype=torch.float32) ** 2
        f = [math.cos((i / count + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(count + 1)]
        return torch.tensor([min(1 - f[i + 1] / f[i], 0.999) for i in range(count)], dtype=torch.float32)

    def _karras(self, least: float, most: float, steps: int) -> NDArray[np.float64]:
        """Noise levels of equation 5, falling, [steps]."""
        least, most = self.sigma_min or least, self.sigma_max or most
        ramp = np.linspace(0, 1, steps)
        levels: NDArray[np.float64] = (most ** (1 / RHO) + ramp * (least ** (1 / RHO) - most ** (1 / RHO))) ** RHO
        return levels

    def _timesteps_of(self, sigmas: NDArray[np.float64]) -> NDArray[np.float64]:
        """The time steps of noise levels, between whole ones by the logarithm of sigma."""
        known = np.log(self.sigmas).astype(np.float64)
        return np.interp(np.log(np.maximum(sigmas, 1e-10)), known, np.arange(len(known)))


def parse_scheduler_config(fields: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of ``Schedule`` that the content of a ``scheduler_config.json`` states, checked.

    Args:
        where: the name of the file, for messages.

    Raises CheckpointError: a scheduler, field or value that is not known.
    """
    known = {name: value for name, value in fields.items() if not name.startswith("_")}
    class_name = fields.get("_class_name")
    if not isinstance(class_name, str) or class_name not in CLASSES:
        raise CheckpointError(
            f"{where}: scheduler {repr(class_name)[:100]} is not known; known are {', '.join(CLASSES)}"
        )
    method, defaults = CLASSES[class_name]
    if known.pop("timestep_type", "discrete") != "discrete" or any(known.pop(name, False) for name in UNSET):
        raise CheckpointError(f"{where}: only discrete time steps and {', '.join(UNSET)} false can be sampled here")
    if known.get("lambda_min_clipped") == -math.inf:
        del known["lambda_min_clipped"]
    for name in (*SAMPLER_FIELDS, *WITH_THEM):
        known.pop(name, None)
    known = {name: value for name, value in known.items() if value is not None}
    try:
        # Validated here, so that a problem is one of the file; what comes of it is validated with the entry's fields.
        schedule = Schedule.model_validate(defaults | known | {"method": method})
    except ValidationError as error:
        raise CheckpointError(f"{where}: {'; '.join(problems(error)[:4])}") from None
    return schedule.model_dump(exclude_unset=True)
