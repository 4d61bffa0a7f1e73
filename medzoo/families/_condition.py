"""Conditions: what the caller says -> what an entry declares, one for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.entry import Condition, Entry
from medzoo.errors import ConditionError
from medzoo.families._inputs import Input, gather

ONE_IMAGE = ("mask", "image")
LONGEST = 10_000  # characters of a prompt, which every file keeps; text encoders read some 300


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
        return max((len(one) for one in stated if one is not None), default=0)

    def on(self, device: torch.device, dtype: torch.dtype) -> Given:
        """The same for another device; images in another type."""
        return Given(
            None if self.labels is None else self.labels.to(device),
            None if self.images is None else self.images.to(device, dtype),
            None if self.attributes is None else self.attributes.to(device),
            self.texts,
        )


@dataclass(frozen=True)
class Conditions:
    """The conditions of a run of samples, each to be had when its batch comes.

    Attributes:
        labels: class indices int64 [n]; None without any. One class for all takes the memory of one.
        classes: the words for them.
        inputs: input images; sample ``index`` gets the one at ``index % len(inputs)``.
        attributes: float32 [rows, A], in the same way.
        names_of: names of the attributes.
        indices: index of each sample.
        texts: one prompt for all, or [n] of them.
    """

    indices: range
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    attributes: NDArray[np.float32] | None = None
    names_of: tuple[str, ...] = ()
    texts: str | tuple[str, ...] | None = None

    def __getitem__(self, part: slice) -> Conditions:
        labels = None if self.labels is None else self.labels[part]
        texts = self.texts[part] if isinstance(self.texts, tuple) else self.texts
        return replace(self, indices=self.indices[part], labels=labels, texts=texts)

    @property
    def words(self) -> tuple[str, ...] | None:
        """What each sample is conditioned on, in words; None for nothing."""
        if self.labels is None and not self.inputs and self.attributes is None and self.texts is None:
            return None
        return tuple(", ".join(self._words(k)) for k in range(len(self.indices)))

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the input images, which the outputs keep; None where there are none."""
        return tuple(self._input(k).name for k in range(len(self.indices))) if self.inputs else None

    def given(self, device: torch.device, dtype: torch.dtype) -> Given:
        """The tensors for the network. Reads input files. Raises ConditionError or ImageFileError."""
        return Given(
            None if self.labels is None else torch.from_numpy(self.labels.copy()).to(device),
            torch.from_numpy(self._images()).to(device, dtype) if self.inputs else None,
            None if self.attributes is None else torch.from_numpy(self._rows(self.attributes)).to(device),
            (self.texts,) * len(self.indices) if isinstance(self.texts, str) else self.texts,
        )

    def _images(self) -> NDArray[np.float32]:
        images = [self._input(k).read() for k in range(len(self.indices))]
        for k, image in enumerate(images):
            if image.shape != images[0].shape:
                raise ConditionError(
                    f"the input images differ: {self._input(0).words} is {_size(images[0])}, {self._input(k).words} is "
                    f"{_size(image)} (channels x height x width); bring them to one size, or set the batch size to 1"
                )
        return np.stack(images)

    def _input(self, k: int) -> Input:
        return self.inputs[self.indices[k] % len(self.inputs)]

    def _rows(self, attributes: NDArray[np.float32]) -> NDArray[np.float32]:
        return attributes[np.array(self.indices) % len(attributes)]

    def _words(self, k: int) -> list[str]:
        words = [] if self.labels is None else [self.classes[self.labels[k]]]
        if self.texts is not None:
            words += [self.texts if isinstance(self.texts, str) else self.texts[k]]
        words += [self._input(k).words] if self.inputs else []
        if self.attributes is not None:
            row = self.attributes[self.indices[k] % len(self.attributes)]
            words += [f"{name}={value:g}" for name, value in zip(self.names_of, row, strict=True) if value == value]
        return words


def resolve_condition(entry: Entry, declared: Condition | None, condition: Any, indices: range) -> Conditions:
    """Check a condition against what a model declares and spread it over samples.

    Args:
        declared: the entry's condition, with the channels of its images filled in.
        condition: None; a class by name or index, or one for each sample; a prompt, or one for each sample; images
            (see ``docs/conditions.md``); numbers; or a mapping of images and numbers, or of a prompt and an image.

    Raises ConditionError, which says what the model accepts, or ImageFileError.
    """
    name = entry.model_id
    if declared is None:
        if condition is not None:
            raise ConditionError(f"{name} takes no condition, found {condition!r}; leave it out")
        return Conditions(indices)
    if condition is None and declared.required:
        raise ConditionError(f"{name} needs {accepted(declared)}")
    if declared.kind == "class":
        return Conditions(indices) if condition is None else _classes(name, declared, condition, indices)
    if declared.kind == "text":
        return _texts(name, declared, condition, indices)
    numbers, images = _parted(declared, condition)
    if declared.kind == "attributes" and images is not None:
        raise ConditionError(f"{name} takes {accepted(declared)}; found {', '.join(map(repr, images))}")
    inputs = () if images is None else tuple(gather(name, declared, images))
    if declared.kind != "attributes" and not inputs and declared.required:
        raise ConditionError(f"{name} needs {accepted(declared)}")
    attributes = declared.attributes or ()
    count = None if len(inputs) == 1 else len(inputs) or len(indices)
    rows = _numbers(name, declared, numbers, count) if attributes else None
    if rows is not None and not inputs:
        rows = np.roll(rows, indices.start % len(rows), axis=0)  # the first row belongs to the first sample
    return Conditions(indices, inputs=inputs, attributes=rows, names_of=tuple(one.name for one in attributes))


def count_inputs(entry: Entry, declared: Condition | None, condition: Any) -> int | None:
    """How many samples a condition lists: input images, numbers or classes; None where it is one for all."""
    if declared is not None and declared.kind == "class":
        listed = condition.get("class") if isinstance(condition, Mapping) else condition
        listed = listed.tolist() if hasattr(listed, "tolist") else listed
        return len(listed) if isinstance(listed, Sequence) and not isinstance(listed, str) else None
    if declared is not None and declared.kind == "text":
        prompts, images = _prompts_and_images(entry.model_id, declared, condition)
        inputs = () if images is None else gather(entry.model_id, declared, images)
        counts = [len(many) for many in (prompts, inputs) if many is not None and not isinstance(many, str)]
        return max((count for count in counts if count > 1), default=None)
    if declared is not None and declared.kind == "attributes":
        count = len(_numbers(entry.model_id, declared, _parted(declared, condition)[0], None))
        return count if count > 1 else None
    conditions = resolve_condition(entry, declared, condition, range(0))
    if not conditions.inputs:
        return None
    return max(len(conditions.inputs), 0 if conditions.attributes is None else len(conditions.attributes))


def accepted(declared: Condition) -> str:
    """In words, what a model is conditioned on."""
    numbers = [_described(one.name, one.low, one.high, one.unit) for one in declared.attributes or ()]
    if declared.kind == "class":
        return "a class: " + _listed(declared.classes or ())
    if declared.kind == "text":
        beside = f", alone or as {{'text': ..., '{declared.inputs[0]}': ...}}" if declared.inputs else ""
        return f"a text: a prompt for all samples or one for each{beside}"
    if declared.kind in ONE_IMAGE:
        said = f"{'a mask' if declared.kind == 'mask' else 'an image'}, '{(declared.inputs or ('image',))[0]}'"
        said += " (a file, a folder, an array in [0, 1] or Samples)"
    elif declared.kind == "images":
        said = f"the images {', '.join(declared.inputs or ())} (a mapping of files, folders or arrays by name)"
    else:
        return ("the number " if len(numbers) == 1 else "the numbers ") + ", ".join(numbers)
    return said + (f", and the number{'s' * (len(numbers) > 1)} {', '.join(numbers)}" if numbers else "")


def _described(name: str, low: float | None, high: float | None, unit: str | None) -> str:
    least, most = ("" if low is None else f"{low:g}"), ("" if high is None else f"{high:g}")
    between = f" from {least} to {most}" if least and most else f" from {least}" if least else f" to {most}"
    return f"{name}{between if least or most else ''}{f' ({unit})' if unit else ''}"


def _parted(declared: Condition, condition: Any) -> tuple[dict[str, Any], Any]:
    """A condition -> its numbers by name, and what is left: its images."""
    names = [one.name for one in declared.attributes or ()]
    if isinstance(condition, Mapping):
        numbers = {name: condition[name] for name in names if name in condition}
        images = {name: value for name, value in condition.items() if name not in numbers}
        return numbers, images or None
    if declared.kind != "attributes":
        return {}, condition
    if len(names) == 1:
        return {names[0]: condition}, None
    rows = np.asarray(condition) if isinstance(condition, Sequence | np.ndarray) else np.zeros(0)
    if rows.dtype.kind not in "uif" or rows.ndim not in (1, 2) or rows.shape[-1] != len(names):
        raise ConditionError(
            f"expected {accepted(declared)}, by name or {len(names)} in this order; found {condition!r}"
        )
    return {name: rows[..., k] for k, name in enumerate(names)}, None


def _numbers(model_id: str, declared: Condition, stated: Mapping[str, Any], count: int | None) -> NDArray[np.float32]:
    """Numbers by name -> rows [1 or count, A]; as many as there are where ``count`` is None."""
    columns = []
    for one in declared.attributes or ():
        value = stated.get(one.name, np.nan if one.default is None else one.default)
        column = np.atleast_1d(np.asarray(np.nan if value is None else value))
        lengths = {1, len(column) if count is None else count} - {0}
        if column.dtype.kind not in "uif" or column.ndim != 1 or len(column) not in lengths:
            many = "a list of them" if count is None else f"{count} of them (one for each sample or input image)"
            raise ConditionError(f"{model_id}: {one.name} must be a number, or {many}, found {value!r}")
        low = -np.inf if one.low is None else one.low
        high = np.inf if one.high is None else one.high
        wrong = column[~np.isnan(column) & ((column < low) | (column > high))]
        if len(wrong):
            raise ConditionError(f"{model_id}: {_described(one.name, one.low, one.high, one.unit)}; found {wrong[0]:g}")
        columns.append(column.astype(np.float32))
    rows = max(map(len, columns))
    if any(len(column) not in (1, rows) for column in columns):
        counts = ", ".join(f"{one.name} {len(c)}" for one, c in zip(declared.attributes or (), columns, strict=True))
        raise ConditionError(f"{model_id}: each number must be one or as many as the others, found {counts}")
    return np.stack([np.broadcast_to(column, rows) for column in columns], axis=1)


def _classes(model_id: str, declared: Condition, condition: Any, indices: range) -> Conditions:
    classes, n = declared.classes or (), len(indices)
    if isinstance(condition, Mapping) and set(condition) == {"class"}:
        condition = condition["class"]
    if hasattr(condition, "tolist"):
        condition = condition.tolist()  # arrays and tensors
    if isinstance(condition, str | int | np.integer):
        label = np.int64(_class_index(model_id, classes, condition))
        return Conditions(indices, np.broadcast_to(label, n), classes)  # a million take the memory of one
    asked = condition if isinstance(condition, Sequence) else ()
    if len(asked) != n or condition is not asked:
        found = len(asked) if condition is asked else repr(condition)
        raise ConditionError(
            f"{model_id}: {n} samples need {n} classes or one for all, found {found}; it takes {_listed(classes)}"
        )
    known: dict[Any, int] = {}
    for one in asked:  # a million samples of two classes are looked up twice
        if isinstance(one, str | int | np.integer) and one not in known:
            known[one] = _class_index(model_id, classes, one)
        elif not isinstance(one, str | int | np.integer):
            raise ConditionError(f"{model_id}: {one!r} is no class; it takes {_listed(classes)}")
    return Conditions(indices, np.array([known[one] for one in asked], dtype=np.int64), classes)


def _texts(model_id: str, declared: Condition, condition: Any, indices: range) -> Conditions:
    prompts, images = _prompts_and_images(model_id, declared, condition)
    if prompts is None and declared.required:
        raise ConditionError(f"{model_id} needs {accepted(declared)}")
    if isinstance(prompts, tuple) and len(prompts) != len(indices):
        raise ConditionError(
            f"{model_id}: {len(indices)} samples need {len(indices)} prompts or one for all, found {len(prompts)}"
        )
    inputs = () if images is None else tuple(gather(model_id, declared, images))
    return Conditions(indices, inputs=inputs, texts=prompts)


def _prompts_and_images(
    model_id: str, declared: Condition, condition: Any
) -> tuple[str | tuple[str, ...] | None, dict[str, Any] | None]:
    """A condition -> its prompts, None without any, and its image by name."""
    images: dict[str, Any] = {}
    if isinstance(condition, Mapping):
        images = {name: value for name, value in condition.items() if name != "text"}
        condition = condition.get("text")
        if images and not declared.inputs:
            found = ", ".join(map(repr, images))
            raise ConditionError(f"{model_id} takes {accepted(declared)} under 'text', and no image; found {found}")
    if isinstance(condition, np.ndarray):
        condition = condition.tolist()
    for one in [condition] if isinstance(condition, str) else condition if isinstance(condition, Sequence) else ():
        if isinstance(one, str) and not _is_text(one):
            raise ConditionError(
                f"{model_id}: a prompt must be text of at most {LONGEST} characters, found {one[:40]!r}"
            )
    if condition is None or isinstance(condition, str):
        return condition, images or None
    if isinstance(condition, Sequence) and all(isinstance(one, str) for one in condition):
        return tuple(condition), images or None
    raise ConditionError(f"{model_id} takes {accepted(declared)}; found {condition!r}")


def _is_text(prompt: str) -> bool:
    try:
        prompt.encode()  # halves of characters, such as bytes of a command line that are no UTF-8
    except UnicodeEncodeError:
        return False
    return len(prompt) <= LONGEST and "\0" not in prompt


def _class_index(model_id: str, classes: tuple[str, ...], asked: Any) -> int:
    """Index of a class given by name (any case), by index, or by an index in words."""
    if isinstance(asked, str):
        names = [name.casefold() for name in classes]
        if asked.casefold() in names:
            return names.index(asked.casefold())
        if asked.isdecimal():
            asked = int(asked)
    if isinstance(asked, int | np.integer) and not isinstance(asked, bool) and 0 <= asked < len(classes):
        return int(asked)
    raise ConditionError(f"{model_id} has no class {asked!r}; it takes {_listed(classes)}")


def _listed(classes: tuple[str, ...]) -> str:
    return ", ".join(f"{name} ({i})" for i, name in enumerate(classes[:20])) + (", ..." if len(classes) > 20 else "")


def by(shape: Sequence[int]) -> str:
    """A shape in words: 3 x 64 x 64."""
    return " x ".join(map(str, shape))


def _size(image: NDArray[np.float32]) -> str:
    return "x".join(map(str, image.shape))
