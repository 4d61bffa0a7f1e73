"""Every error that medzoo raises on purpose.

    MedzooError
    |-- ArgumentError          a function was called with an argument that it does not take (a TypeError, too)
    |-- RegistryError          a registry file or folder is wrong
    |   |-- EntryError         one YAML entry is broken (file, line, every problem)
    |   `-- UnknownModelError  no entry has that id (carries the closest matches)
    |-- WeightsError           weights could not be obtained
    |   |-- DownloadError      network, server or disk got in the way
    |   |   |-- TryLaterError  for now: the same call may succeed later
    |   |   `-- MissingFile    the repository is there, and has no such file
    |   |-- IntegrityError     size or hash differs from what the entry states
    |   `-- CheckpointError    the file is not the checkpoint that the entry describes
    |-- GenerationError        the model could not be run
    |   |-- ConditionError     the condition does not fit what the entry declares
    |   `-- DeviceError        the device does not exist, or its memory is too small
    |-- SavingError            samples could not be written
    |-- ImageFileError         an image file could not be read
    |-- DatasetError           reference images could not be read
    |-- BenchmarkError         a benchmark is described wrongly, or nothing of it could be measured
    |-- ResultError            a file of results cannot be read or written
    |-- TrainingError          a training run cannot start or go on
    `-- PublishError           a model may not be published, or the Hub does not take it

Each message says what was expected, what was found and what to type next. The command line prints the message alone,
without a traceback, and exits with 2: the user can fix it. It exits with 75 where a ``TryLaterError`` is the error or
the cause of it: nothing has to be fixed, and a batch system may type the same command again.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from medzoo.text import did_you_mean, printable

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails


class MedzooError(Exception):
    """Base of every error that medzoo raises on purpose; what it quotes of strangers is made printable."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ArgumentError(MedzooError, TypeError):
    """A function was called with an argument that it does not take; the message says which one is meant."""


class RegistryError(MedzooError):
    """A registry file or folder is wrong."""


class EntryError(RegistryError):
    """One registry entry is broken; the message lists every problem with file and line."""


class UnknownModelError(RegistryError):
    """No entry has that id, or several do.

    Attributes:
        matches: ids that come closest, best first.
    """

    def __init__(self, message: str, matches: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.matches = matches


class WeightsError(MedzooError):
    """Weights could not be obtained."""


class DownloadError(WeightsError):
    """Network, server or disk got in the way of a download."""


class TryLaterError(DownloadError):
    """A network or a server got in the way for now, after all attempts: the same call may succeed later."""


class MissingFile(DownloadError):
    """The repository is there, and has no such file."""


class IntegrityError(WeightsError):
    """Size or hash differs from what the entry states."""


class CheckpointError(WeightsError):
    """The file is not the checkpoint that the entry describes, or is not safe to read."""


class GenerationError(MedzooError):
    """The model could not be run."""


class ConditionError(GenerationError):
    """The condition does not fit what the entry declares."""


class DeviceError(GenerationError):
    """The device does not exist, or its memory is too small for a single sample."""


class SavingError(MedzooError):
    """Samples could not be written."""


class ImageFileError(MedzooError):
    """An image file could not be read."""


class DatasetError(MedzooError):
    """Reference images could not be read."""


class BenchmarkError(MedzooError):
    """A benchmark is described wrongly, or nothing of it could be measured."""


class ResultError(MedzooError):
    """A file of results cannot be read or written."""


class TrainingError(MedzooError):
    """A training run cannot start or go on."""


class PublishError(MedzooError):
    """A model may not be published as it is, or the Hub does not take it."""


def is_temporary(error: BaseException | None) -> bool:
    """Whether a ``TryLaterError`` is the error, or the cause of it."""
    while error is not None and not isinstance(error, TryLaterError):
        error = error.__cause__
    return error is not None


def pip_install(requirement: str) -> str:
    """The command that installs a package or an extra, ``medzoo[dicom]``, where this medzoo runs.

    In a checkout that is its folder with the extra, for a package index may not have this version or any. Installed
    from a wheel, the name is enough: pip finds medzoo installed and adds what the extra needs.
    """
    extra = requirement.removeprefix("medzoo")
    checkout = Path(__file__).resolve().parents[1]
    if extra == requirement or not extra.startswith("[") or not (checkout / "pyproject.toml").is_file():
        return f"pip install '{requirement}'"
    here = os.path.realpath(os.curdir) == str(checkout)
    return f"pip install -e '.{extra}'" if here else f"pip install -e {shlex.quote(f'{checkout}{extra}')}"


def problems(error: ValidationError, *under: str, record: type[BaseModel] | None = None) -> list[str]:
    """``field: expected ..., found ...`` for each finding of pydantic.

    Args:
        under: path of the record's field.
        record: what was validated, so that an unknown field gets the one that was meant.
    """
    found = []
    for detail in error.errors(include_url=False):
        where = ".".join(map(str, (*under, *detail["loc"])))
        words = sentence(detail, fields=() if record is None else fields_at(record, detail["loc"][:-1]))
        found.append(f"{where}: {words}" if where else words)
    return found


def fields_at(record: type[BaseModel], loc: Sequence[int | str]) -> tuple[str, ...]:
    """Names of the fields that the record at a place inside ``record`` takes.

    Args:
        loc: fields, numbers of list items and tags of unions, as pydantic states a place.
    """
    here = [record]
    for part in loc:
        inside = [known.model_fields[part] for known in here if isinstance(part, str) and part in known.model_fields]
        here = [known for field in inside for known in _records(field.annotation)] or here  # a number, a tag
    return tuple(dict.fromkeys(name for known in here for name in known.model_fields))


def _records(annotation: Any) -> list[type[BaseModel]]:
    """The records in a type: ``tuple[Score, ...] | None`` -> [Score]."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [known for argument in get_args(annotation) for known in _records(argument)]


def sentence(detail: ErrorDetails, shown: str | None = None, fields: Iterable[str] = ()) -> str:
    """What one finding of pydantic expected and found, without its place.

    Args:
        shown: the value as its author wrote it; None for that of the finding.
        fields: names that may be meant by an unknown one.
    """
    kind = detail["type"]
    if kind == "missing":
        return "missing; state it"
    if kind == "extra_forbidden":
        meant = did_you_mean(str(detail["loc"][-1]), fields)
        return f"unknown field{meant or '; remove it, or correct its name'}"
    if kind == "value_error":  # this project's own, which say what they found
        return detail["msg"].removeprefix("Value error, ")
    expected = detail["msg"].replace("Input should be", "expected")
    return f"{expected[0].lower()}{expected[1:]}, found {repr(detail['input'])[:100] if shown is None else shown}"
