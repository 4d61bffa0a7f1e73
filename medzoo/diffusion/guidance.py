"""Classifier-free guidance (Ho and Salimans, "Classifier-free diffusion guidance", 2022): the only place that doubles a
batch.

A family writes one pure function of (x, t, condition) and knows nothing of guidance; ``guided`` makes of it what a
sampler calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

# (x [B, C, ...], time step: a tensor without dimensions, int64 or float32) -> the network's output [B, C or 2 C, ...].
Predict = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Conditioning:
    """What a denoising network sees of a batch beside x and t; None for what it does not see.

    Attributes:
        labels: classes, int64 [B].
        context: what its cross-attention attends to, [B, tokens, width].
        joined: further channels of its input, [B, channels, ...] of the size of x.
        control: the input image of a ControlNet, [B, channels, ...].
    """

    labels: Tensor | None = None
    context: Tensor | None = None
    joined: Tensor | None = None
    control: Tensor | None = None

    def without(
        self,
        *,
        labels: float | Tensor | None = None,
        context: float | Tensor | None = None,
        joined: float | Tensor | None = None,
        control: float | Tensor | None = None,
    ) -> Conditioning:
        """The condition that guidance leads away from.

        Args:
            labels, context, joined, control: what takes the place of a field: a tensor of its shape, or a number that
                fills it. A field stays as it is where this is None, and None where it is None.
        """
        return Conditioning(
            labels=_replaced(self.labels, labels),
            context=_replaced(self.context, context),
            joined=_replaced(self.joined, joined),
            control=_replaced(self.control, control),
        )

    def concatenated(self, other: Conditioning) -> Conditioning:
        """This batch, then another with the same fields: [B, ...] and [B', ...] -> [B + B', ...]."""
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return Conditioning(**{name: None if pair[0] is None else torch.cat(pair) for name, pair in pairs.items()})


# (x, t, condition) -> the network's output, as ``Predict``. Pure: the output depends on these three alone.
ConditionalPredict = Callable[[Tensor, Tensor, Conditioning], Tensor]


def guided(predict: ConditionalPredict, condition: Conditioning, without: Conditioning, scale: float | None) -> Predict:
    """The network with its condition, and with guidance where ``scale`` asks for it, as a sampler calls it.

    Equation 6 with scale = 1 + w: eps = eps(x, without) + scale (eps(x, condition) - eps(x, without)), for any
    prediction type. Both halves go through the network in one call, first the one without.

    Args:
        condition, without: of B samples each; ``without`` is what guidance leads away from.
        scale: None or 1 for the condition alone, with one pass for each sample.
    """
    if not is_guided(scale):
        return lambda x, t: predict(x, t, condition)
    assert scale is not None
    both = without.concatenated(condition)

    def predict_guided(x: Tensor, t: Tensor) -> Tensor:
        out = predict(torch.cat([x, x]), t, both).float()  # a difference loses digits in half precision
        out_without, out_condition = out.chunk(2)
        channels = x.shape[1]
        eps_without, eps_condition = out_without[:, :channels], out_condition[:, :channels]
        eps = eps_without + scale * (eps_condition - eps_without)
        return torch.cat([eps, out_condition[:, channels:]], 1)  # a learned variance is that of the condition

    return predict_guided


def is_guided(scale: float | None) -> bool:
    """Whether a guidance scale needs the network without its condition."""
    return scale is not None and scale != 1


def _replaced(value: Tensor | None, null: float | Tensor | None) -> Tensor | None:
    if value is None or null is None:
        return value
    return null if isinstance(null, Tensor) else torch.full_like(value, null)
