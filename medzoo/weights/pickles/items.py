"""Mappings of a file, whose keys may be made to take for ever."""

from __future__ import annotations

from typing import Any

from medzoo.weights.pickles.inert import LONGEST_KEY, Inert, Name, Refused, is_word

MOST_EQUAL_HASHES = 50  # keys of one mapping


class Items(dict[Any, Any]):
    """A mapping of the file.

    Attributes:
        refused: why it cannot be used, if something was put in under a key that no mapping of tensors has.
    """

    __slots__ = ("_hashes", "refused")

    def __init__(self) -> None:
        super().__init__()
        self.refused: str | None = None
        self._hashes: dict[int, int] | None = None

    def put(self, key: Any, value: Any) -> None:
        """Put an item in. Raises Refused: its keys are made to have equal hashes, so that each takes longer."""
        if type(key) is str:
            if is_word(key):
                self[key] = value
            else:
                self.refused = "a key of a mapping is a text that is too long, or cannot be printed"
            return
        key = _hashable(key)
        if isinstance(key, tuple | float):
            self._hashes = {} if self._hashes is None else self._hashes
            count = self._hashes[hash(key)] = self._hashes.get(hash(key), 0) + 1
            if count > MOST_EQUAL_HASHES:
                raise Refused(f"a mapping in it has more than {MOST_EQUAL_HASHES} keys that look the same to Python")
        self[key] = value


def _hashable(key: Any) -> Any:
    """The key that stands in for one of the file: equal ones stay equal if they are names or numbers.

    Hashing a tuple could take for ever, or all of the stack; two whole numbers beyond 2^61 may have one hash.
    """
    if isinstance(key, int):
        return key if abs(key) < 2**61 - 1 else str(key)
    if key is None or isinstance(key, float | Name):
        return key
    if isinstance(key, bytes | memoryview) and len(key) <= LONGEST_KEY:
        return bytes(key)
    if isinstance(key, tuple) and len(key) < 10:
        parts = [_hashable(part) if isinstance(part, int | float | Name) else part for part in key]
        words = sum(len(part) for part in parts if isinstance(part, str))
        if words <= 400 and all(isinstance(part, int | float | Name) or is_word(part) for part in parts):
            return tuple(parts)
    return key if isinstance(key, Inert) else Inert(f"builtins.{type(key).__name__}", (key,))
