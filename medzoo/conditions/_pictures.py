"""What the kinds of images share: images, and numbers beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medzoo.conditions import _numbers
from medzoo.conditions._base import Conditions, Gather, Kind
from medzoo.errors import ConditionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medzoo.entry import Condition


class Pictures(Kind):
    """Images, alone or in a mapping with numbers."""

    needs = "inputs"
    task = "image-to-image"

    def images(self, declared: Condition) -> str:
        """In words, the images that are needed."""
        raise NotImplementedError

    def accepted(self, declared: Condition) -> str:
        numbers = _numbers.described(declared)
        beside = f", and the number{'s' * (len(numbers) > 1)} {', '.join(numbers)}" if numbers else ""
        return self.images(declared) + beside

    def parse(self, model_id: str, declared: Condition, stated: Any, indices: range, gather: Gather) -> Conditions:
        numbers: dict[str, Any] = {}
        if isinstance(stated, Mapping):
            numbers, stated = _numbers.parted(declared, stated)
        inputs = () if stated is None else tuple(gather(model_id, declared, stated))
        if not inputs and declared.required:
            raise ConditionError(f"{model_id} needs {self.accepted(declared)}")
        attributes = declared.attributes or ()
        count = None if len(inputs) == 1 else len(inputs) or len(indices)
        rows = _numbers.rows(model_id, declared, numbers, count) if attributes else None
        if rows is not None and not inputs:
            rows = _numbers.from_first(rows, indices)
        return Conditions(indices, inputs=inputs, attributes=rows, names_of=tuple(a.name for a in attributes))

    def count(self, model_id: str, declared: Condition, stated: Any, gather: Gather) -> int | None:
        conditions = self.parse(model_id, declared, stated, range(0), gather)
        if not conditions.inputs:
            return None
        return max(len(conditions.inputs), 0 if conditions.attributes is None else len(conditions.attributes))

    def from_words(self, declared: Condition, words: tuple[str, ...]) -> Any:
        named, plain = by_name(declared, words)
        numbers = {attribute.name for attribute in declared.attributes or ()}
        if named and plain and set(named) <= numbers:
            return named | {"images": plain if len(plain) > 1 else plain[0]}
        return named or (plain[0] if len(plain) == 1 else plain or None)

    def example(self, declared: Condition) -> str | dict[str, str | float]:
        if not declared.required:
            return ""
        inputs = declared.inputs or ()
        if len(inputs) > 1:
            return {name: f"{name}/" for name in inputs}
        numbers = {attribute.name: _numbers.middle(attribute) for attribute in _numbers.needed(declared)}
        if len(inputs) == 1 and not numbers:
            return "folder/"
        return {name: "folder/" for name in inputs} | numbers

    def trial(self, declared: Condition, *, prompt: str, size: tuple[int, ...], numbers: bool) -> Any:
        stated = _numbers.trials(declared) if numbers else {}
        return stated | waves(declared, declared.inputs or ("image",), size)


def by_name(declared: Condition, words: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """The words of ``--condition`` -> those of the form NAME=VALUE, by name, and the others.

    Raises ConditionError where an image without a name stands beside one that has a name.
    """
    numbers = {attribute.name for attribute in declared.attributes or ()}
    names = {*(declared.inputs or ()), *numbers}
    named: dict[str, Any] = {}
    plain: list[str] = []
    for word in words:
        name, is_named, value = word.partition("=")
        if is_named and name in names:
            named[name] = _numbers.from_word(value)
        else:
            plain.append(word)
    if named and plain and not set(named) <= numbers:
        raise ConditionError(f"--condition {plain[0]}: give every part a name: {', '.join(sorted(names))}")
    return named, plain


def waves(declared: Condition, names: tuple[str, ...], size: tuple[int, ...]) -> dict[str, NDArray[np.uint8]]:
    """A smooth made-up image uint8 [C, H, W] for each name."""
    import numpy as np

    height, width = (declared.size or size)[:2]
    y, x = np.mgrid[:height, :width]

    def wave(number: int) -> NDArray[np.uint8]:
        channels = range(declared.channels or 1)
        planes = [127 + 120 * np.sin((x + 2 * y) / (7 + number + c) + c) for c in channels]
        return np.array(planes).astype(np.uint8)

    return {name: wave(number) for number, name in enumerate(names)}
