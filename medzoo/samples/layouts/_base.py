"""What all layouts share: the contract, and the word for the class of a sample in names of files and folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from medzoo.errors import SavingError
from medzoo.samples.formats import Run, class_name, plain

Role = Literal["image", "mask"]
Record = dict[str, Any]  # what is known of a sample: ``medzoo.samples.formats.origin``, or a line of the manifest


@dataclass(frozen=True)
class Table:
    """A file that speaks of all samples, written at the end of a run.

    Attributes:
        path: where it lies in the folder.
        content: made of the lines of the manifest, in their order.
    """

    path: str
    content: Callable[[Run, Iterator[Record]], Iterable[bytes]]


def _as_it_is(role: Role, suffix: str) -> str:
    return suffix


def _takes_all(run: Run, shape: tuple[int, ...], masks: int) -> None:
    pass


@dataclass(frozen=True)
class Layout:
    """Where the files of samples lie in their folder, and how they are named.

    Attributes:
        about: who reads it, in a few words for the documentation.
        folder: the folder of an image or a mask, with a slash behind it; "" for the folder itself.
        folders: all of them that samples of a run may lie in.
        ending: how an image or a mask ends, given how the format has it end.
        says_class: names of files say the class, where there is one.
        numbered: masks become one file of numbers, 0 outside and 1, 2, ... inside of the first, the second, ...
        check: raises SavingError unless samples of ``shape`` [C, (D,) H, W] with so many masks go into it.
        table: the file that speaks of all samples; None if there is none.
    """

    about: str
    folder: Callable[[Run, Record, Role], str]
    folders: Callable[[Run], Iterable[str]]
    ending: Callable[[Role, str], str] = _as_it_is
    says_class: bool = True
    numbered: bool = False
    check: Callable[[Run, tuple[int, ...], int], None] = _takes_all
    table: Table | None = None


def class_word(run: Run, record: Record) -> str:
    """The class of a sample in letters that every system takes; "" where there are no classes."""
    name = class_name(record, run.classes)
    return "" if name is None else plain(name) or str(record["label"])


def check_apart(run: Run, masks: int) -> None:
    """Raises SavingError where image and mask are to lie in two folders, and the format has one file for both."""
    if masks and run.format == "npz":
        text = f"npz holds image and mask in one file, layout {run.layout} keeps them apart; take --format npy"
        raise SavingError(text)


def without_word(role: Role, ending: str) -> str:
    """``_mask.png`` -> ``.png``, where a folder says what is a mask."""
    return ending[ending.index(".") :] if role == "mask" else ending
