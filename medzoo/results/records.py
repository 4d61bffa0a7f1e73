"""Results of benchmarks: one JSON file for each (contender, revision, benchmark), whole or not there.

    <folder>/<contender>/<revision>/<benchmark>.json

A file holds every setting it was made with, so that a reader needs nothing else, and a benchmark that goes on knows
what is missing. Needs neither torch nor NumPy.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from medzoo.entry import Record
from medzoo.errors import ResultError
from medzoo.files.whole import write_json

_log = logging.getLogger("medzoo")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # becomes a folder: nothing that leads elsewhere
Name = Annotated[str, Field(pattern=rf"^{_NAME.pattern}$")]


class SeedScore(Record):
    """A score of one seed."""

    seed: int
    value: float | None
    low: float | None = None
    high: float | None = None
    error: float | None = None


class ScoreRecord(Record):
    """One number of a contender, with all that is needed to read it.

    Attributes:
        name, title, group, better, percent, about: as in ``medzoo.metrics``.
        metric, version: which measures it, and the version of its formula.
        features: extractor that it was measured in; null if none.
        value: mean over ``seeds``; null where it is not defined. ``low`` and ``high`` likewise.
        detail: of the first seed.
    """

    name: str
    title: str
    metric: str
    group: str
    features: str | None
    better: Literal["lower", "higher", "neither"]
    percent: bool
    version: int
    about: str
    value: float | None
    low: float | None
    high: float | None
    error: float | None
    note: str | None
    detail: Any
    seeds: tuple[SeedScore, ...]


class ReferenceScore(Record):
    """The same score of a reference point, for comparison."""

    name: str
    features: str | None
    value: float | None
    low: float | None
    high: float | None


class ContenderRecord(Record):
    """Whose images were measured; ``kind`` is a model, a folder of images, or a reference point made of real ones."""

    id: Name
    kind: Literal["model", "folder", "reference"]
    title: str
    revision: Name
    weights_sha256: str | None
    license: dict[str, str | None] | None
    family: str | None
    note: str | None


class Result(Record):
    """All that was measured of one contender under one benchmark.

    Attributes:
        benchmark: every setting; ``name`` and ``revision`` (a hash of whatever changes a number) identify it.
        data: the real images: counts, hashes, licence, source.
        extractors: what is known of each.
        references: scores of the reference points by their ids.
        made: versions, hardware, times.
        failed: metric -> why it could not be measured.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=True)

    version: Literal[1] = Field(default=1, alias="schema")
    contender: ContenderRecord
    benchmark: dict[str, Any]
    data: dict[str, Any]
    extractors: dict[str, dict[str, Any]]
    scores: tuple[ScoreRecord, ...]
    references: dict[str, Annotated[tuple[ReferenceScore, ...], BeforeValidator(tuple)]]
    made: dict[str, Any]
    failed: dict[str, str]

    @property
    def complete(self) -> bool:
        """Whether every metric of the benchmark gave scores or said why not."""
        return not set(self.benchmark["metrics"]) - {score.metric for score in self.scores} - set(self.failed)


def path_of(folder: Path, contender: str, revision: str, benchmark: str) -> Path:
    """Where a result lies."""
    for name in (contender, revision, benchmark):
        if not _NAME.fullmatch(name):
            raise ResultError(f"'{name}' cannot be the name of a folder of results; use letters, digits, . _ -")
    return folder / contender / revision / f"{benchmark}.json"


def read(path: Path) -> Result | None:
    """The result in a file, None where there is no file.

    Raises ResultError: it is no result, or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{path}: cannot be read ({error}); delete it, and it is measured again") from None
    try:
        return Result.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise ResultError(f"{path}: no result: {where}: {first['msg']}; delete it, and it is measured again") from None


def write(folder: Path, result: Result) -> Path:
    """Write a result where it belongs, whole or not at all."""
    path = path_of(folder, result.contender.id, result.contender.revision, result.benchmark["name"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, as_json(result))
    except OSError as error:
        raise ResultError(f"{path}: cannot be written ({error.strerror}); choose another folder with --out") from None
    return path


def as_json(result: Result) -> dict[str, Any]:
    """Plain dicts and lists, nan as null."""
    fields: dict[str, Any] = _without_nan(result.model_dump(mode="json", by_alias=True))
    return fields


def read_all(folders: Iterable[Path], benchmark: str) -> list[Result]:
    """The results of one benchmark that can be compared, by id: of each contender the newest.

    What was measured under other settings, or against other real images, than the newest of all is left out, with a
    warning. Of equally old results that of the last folder counts.
    """
    newest: dict[str, Result] = {}
    paths = [path for folder in folders for path in sorted(folder.glob(f"*/*/{_literal(benchmark)}.json"))]
    for result in filter(None, map(read, paths)):
        before = newest.get(result.contender.id)
        if before is None or _started(before) <= _started(result):
            newest[result.contender.id] = result
    if not newest:
        return []
    last = max(newest.values(), key=_started)
    other = sorted(name for name, result in newest.items() if _compared_with(result) != _compared_with(last))
    if other:
        _log.warning(
            "%s: measured under other settings or against other real images than the newest, left out: %s",
            benchmark, ", ".join(other),
        )  # fmt: skip
    return [result for name, result in sorted(newest.items()) if name not in other]


def _started(result: Result) -> str:
    return str(result.made.get("started", ""))


def _compared_with(result: Result) -> tuple[Any, ...]:
    return result.benchmark.get("revision"), result.data.get("real"), result.data.get("training")


def benchmarks(folders: Iterable[Path]) -> list[str]:
    """Names of the benchmarks of which there are results."""
    return sorted({path.stem for folder in folders for path in folder.glob("*/*/*.json")})


def _literal(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ResultError(f"'{name}' is no name of a benchmark")
    return name


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value or value in (float("inf"), float("-inf")) else value


def folders(own: Path | None, registries: Iterable[Path]) -> list[Path]:
    """Where results are looked for: those that came along, then those of the person."""
    every = [registry / "results" for registry in registries] + ([] if own is None else [own])
    return [folder for folder in every if os.path.isdir(folder)]
