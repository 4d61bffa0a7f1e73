"""``--layout classes``: a folder a class; where there are masks, ``images/CLASS`` and ``masks/CLASS``.

Programs that read such folders number the classes by the alphabet; the manifest keeps the numbers of the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from medzoo.errors import SavingError
from medzoo.samples.formats import Run, plain
from medzoo.samples.layouts._base import Layout, Record, Role, check_apart, class_word, without_word


def folder(run: Run, record: Record, role: Role) -> str:
    return f"{_above(run, role)}{class_word(run, record)}/"


def folders(run: Run) -> Iterable[str]:
    return [f"{_above(run, role)}{word}/" for role in ("image", "mask") for word in _words(run)]


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    if not run.classes:
        raise SavingError("layout classes is for samples that have a class, and these have none; leave out --layout")
    twice = [word for word, times in Counter(word.casefold() for word in _words(run)).items() if times > 1]
    if twice:
        raise SavingError(f"two classes would share the folder '{twice[0]}'; take another layout")
    check_apart(run, masks)


def _above(run: Run, role: str) -> str:
    return f"{role}s/" if run.masks else ""


def _words(run: Run) -> list[str]:
    return [plain(name) or str(label) for label, name in enumerate(run.classes or ())]


LAYOUT = Layout(
    about="classification: torchvision's `ImageFolder`, Keras, `medzoo bench --real`",
    folder=folder,
    folders=folders,
    ending=without_word,
    says_class=False,
    check=check,
)
