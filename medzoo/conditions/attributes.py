"""``kind: attributes``: numbers alone, such as an age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medzoo.conditions import _numbers
from medzoo.conditions._base import Conditions, Gather, Kind
from medzoo.conditions._pictures import by_name
from medzoo.errors import ConditionError

if TYPE_CHECKING:
    from medzoo.entry import Condition


class Attributes(Kind):
    """Numbers by name, a single one as it is, or rows of them in the order of the entry."""

    needs = "attributes"

    def accepted(self, declared: Condition) -> str:
        numbers = _numbers.described(declared)
        return ("the number " if len(numbers) == 1 else "the numbers ") + ", ".join(numbers)

    def parse(self, model_id: str, declared: Condition, stated: Any, indices: range, gather: Gather) -> Conditions:
        numbers, others = self._by_name(declared, stated)
        if others is not None:
            raise ConditionError(f"{model_id} takes {self.accepted(declared)}; found {', '.join(map(repr, others))}")
        rows = _numbers.from_first(_numbers.rows(model_id, declared, numbers, len(indices)), indices)
        names = tuple(attribute.name for attribute in declared.attributes or ())
        return Conditions(indices, attributes=rows, names_of=names)

    def count(self, model_id: str, declared: Condition, stated: Any, gather: Gather) -> int | None:
        count = len(_numbers.rows(model_id, declared, self._by_name(declared, stated)[0], None))
        return count if count > 1 else None

    def from_words(self, declared: Condition, words: tuple[str, ...]) -> Any:
        named, plain = by_name(declared, words)
        if plain and named:
            return named | {"images": plain if len(plain) > 1 else plain[0]}  # refused as what it is, an image
        if plain:
            return [_numbers.from_word(word) for word in plain] if len(plain) > 1 else _numbers.from_word(plain[0])
        return named or None

    def example(self, declared: Condition) -> str | dict[str, str | float]:
        if not declared.required:
            return ""
        return {attribute.name: _numbers.middle(attribute) for attribute in _numbers.needed(declared)}

    def trial(self, declared: Condition, *, prompt: str, size: tuple[int, ...], numbers: bool) -> Any:
        return _numbers.trials(declared) if numbers else {}

    def _by_name(self, declared: Condition, stated: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Numbers by name, and what a mapping holds beside them."""
        import numpy as np

        if isinstance(stated, Mapping):
            return _numbers.parted(declared, stated)
        names = [attribute.name for attribute in declared.attributes or ()]
        if len(names) == 1:
            return {names[0]: stated}, None
        rows = np.asarray(stated) if isinstance(stated, Sequence | np.ndarray) else np.zeros(0)
        if rows.dtype.kind not in "uif" or rows.ndim not in (1, 2) or rows.shape[-1] != len(names):
            raise ConditionError(
                f"expected {self.accepted(declared)}, by name or {len(names)} in this order; found {stated!r}"
            )
        return {name: rows[..., k] for k, name in enumerate(names)}, None


KIND = Attributes()
