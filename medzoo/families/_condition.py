"""Conditions as tensors: what the network of a family gets of what the caller gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.conditions import Conditions, accepted, kind_of
from medzoo.entry import Condition, Entry
from medzoo.errors import ConditionError
from medzoo.families._inputs import gather

__all__ = ["Conditions", "Given", "accepted", "by", "count_inputs", "resolve_condition"]


@dataclass(frozen=True)
class Given:
    """What a batch is conditioned on, ready for the network; None for what there is not.

    Attributes:
        labels: classes, int64 [B].
        images: float [B, C, H, W] in the network's range, several inputs joined along the channels in the order of the
            entry's ``condition.inputs``.
        attributes: float32 [B, A] in the order of the entry's ``condition.attributes``; NaN where neither the caller
            nor the entry gives a number.
        texts: a prompt for each sample; None where there is none, which is an empty one to a model of texts.
    """

    labels: Tensor | None = None
    images: Tensor | None = None
    attributes: Tensor | None = None
    texts: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Samples; 0 where nothing is given."""
        stated = (self.labels, self.images, self.attributes, self.texts)
        return max((len(part) for part in stated if part is not None), default=0)

    @classmethod
    def of(cls, conditions: Conditions, device: torch.device, dtype: torch.dtype) -> Given:
        """The tensors of a batch of conditions. Reads input files. Raises ConditionError or ImageFileError."""
        labels, rows = conditions.labels, conditions.rows()
        return cls(
            None if labels is None else torch.from_numpy(labels.copy()).to(device),
            torch.from_numpy(_images(conditions)).to(device, dtype) if conditions.inputs else None,
            None if rows is None else torch.from_numpy(rows).to(device),
            conditions.prompts(),
        )

    @classmethod
    def of_slices(cls, conditions: Conditions, at: range, device: torch.device, dtype: torch.dtype) -> Given:
        """Of one sample, whose input is a volume: some of its slices, the rest as often. Raises as ``of``."""
        source = conditions.input(0)
        assert len(conditions.indices) == 1 and source.slices is not None
        often, labels, rows, texts = len(at), conditions.labels, conditions.rows(), conditions.prompts()
        return cls(
            None if labels is None else torch.from_numpy(labels.copy()).to(device).expand(often),
            torch.from_numpy(source.slices(at)).to(device, dtype),
            None if rows is None else torch.from_numpy(rows).to(device).expand(often, -1),
            None if texts is None else texts * often,
        )

    def on(self, device: torch.device, dtype: torch.dtype) -> Given:
        """The same for another device; images in another type."""
        return Given(
            None if self.labels is None else self.labels.to(device),
            None if self.images is None else self.images.to(device, dtype),
            None if self.attributes is None else self.attributes.to(device),
            self.texts,
        )


def resolve_condition(entry: Entry, declared: Condition | None, condition: Any, indices: range) -> Conditions:
    """Check a condition against what a model declares and spread it over samples.

    Args:
        declared: the entry's condition, with the channels of its images filled in.
        condition: None; a class by name or index, or one for each sample; a prompt, or one for each sample; images
            (see ``docs/conditions.md``); numbers; or a mapping of images and numbers, or of a prompt and an image.

    Raises ConditionError, which says what the model accepts, or ImageFileError.
    """
    if declared is None:
        if condition is not None:
            raise ConditionError(f"{entry.model_id} takes no condition, found {condition!r}; leave it out")
        return Conditions(indices)
    if condition is None and declared.required:
        raise ConditionError(f"{entry.model_id} needs {accepted(declared)}")
    return kind_of(declared).parse(entry.model_id, declared, condition, indices, gather)


def count_inputs(entry: Entry, declared: Condition | None, condition: Any) -> int | None:
    """How many samples a condition lists: input images, numbers or classes; None where it is one for all."""
    if declared is None or condition is None:
        resolve_condition(entry, declared, condition, range(0))
        return None
    return kind_of(declared).count(entry.model_id, declared, condition, gather)


def _images(conditions: Conditions) -> NDArray[np.float32]:
    """The input images [B, C, H, W] of a batch."""
    inputs = [conditions.input(k) for k in range(len(conditions.indices))]
    if any(one.depth is not None for one in inputs):
        raise ConditionError(
            "volumes are translated by generate and stream; for their slices one by one state which (slice=)"
        )
    images = [one.read() for one in inputs]
    for k, image in enumerate(images):
        if image.shape != images[0].shape:
            raise ConditionError(
                f"the input images differ: {conditions.input(0).words} is {_size(images[0])}, "
                f"{conditions.input(k).words} is {_size(image)} (channels x height x width); bring them to one size, "
                "or set the batch size to 1"
            )
    return np.stack(images)


def by(shape: Sequence[int]) -> str:
    """A shape in words: 3 x 64 x 64."""
    return " x ".join(map(str, shape))


def _size(image: NDArray[np.float32]) -> str:
    return "x".join(map(str, image.shape))
