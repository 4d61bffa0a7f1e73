"""Which id is meant: a number, a whole id, its beginning, or any part of it."""

from __future__ import annotations

from collections.abc import Iterable

from medzoo.errors import UnknownModelError
from medzoo.text import nearest


def resolve(text: str, ids: Iterable[str]) -> str:
    """The one id that ``text`` means. Raises UnknownModelError: none or several; the closest are in ``matches``."""
    known = list(ids)
    fitting = _fitting(text, known)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        listed = ", ".join(fitting[:6]) + (", ..." if len(fitting) > 6 else "")
        raise UnknownModelError(f"'{text}' means {len(fitting)} models: {listed}; type more of the id", tuple(fitting))
    close = _closest(text, known)
    hint = f"; the closest are {', '.join(close)}" if close else ""
    raise UnknownModelError(f"no model has the id '{text}'{hint}; try: medzoo search WORDS, or medzoo list", close)


def clash(text: str, ids: Iterable[str]) -> str | None:
    """The id that a word may mean which is also the name of a model in the working folder.

    None where it means none. Raises UnknownModelError: a part of an id; whole ids and numbers are clear.
    """
    known = list(ids)
    fitting = _fitting(text, known)
    if fitting and (text.isdigit() or fitting[0].casefold() == text.casefold()):
        return fitting[0]
    if fitting:
        raise UnknownModelError(
            f"'{text}' is a model in this folder, and part of the id {fitting[0]}; type ./{text} for the first, the "
            "whole id for the second",
            tuple(fitting),
        )
    return None


def _fitting(text: str, ids: list[str]) -> list[str]:
    """The ids that ``text`` may mean: by number, else by the whole id, by its beginning, or by any part of it."""
    wanted = text.casefold()
    if text.isascii() and text.isdigit():
        return [known for known in ids if known[:5] == text.lstrip("0").zfill(5)]
    if not wanted:
        return []
    return (
        [known for known in ids if known.casefold() == wanted]
        or [known for known in ids if known.casefold().startswith(wanted)]
        or [known for known in ids if wanted in known.casefold()]
    )


def _closest(text: str, ids: list[str]) -> tuple[str, ...]:
    """Up to three ids that look like ``text``, with or without their number."""
    wanted = text.upper().replace("-", "_").replace(" ", "_")
    names = {known: known for known in ids} | {known[6:]: known for known in ids} | {known[:5]: known for known in ids}
    close = nearest(wanted, names, most=6, cutoff=0.5)
    return tuple(dict.fromkeys(names[name] for name in close))[:3]
