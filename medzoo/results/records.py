"""Results of benchmarks: one JSON file for each (contender, revision, benchmark), whole or not there.

    <folder>/<contender>/<revision>/<benchmark>.json

A file holds every setting it was made with, so that a reader needs nothing else, and a benchmark that goes on knows
what is missing. Needs neither torch nor NumPy.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from medzoo.entry import Record
from medzoo.errors import ResultError
from medzoo.files.reading import read_text
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
        draws: key of a score (``differences.key_of``) -> its values on the halves of ``medzoo.bench.halving``; empty
            where nobody asked for a comparison.
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
    draws: dict[str, Annotated[tuple[float | None, ...], BeforeValidator(tuple)]] = {}

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
        text = read_text(path)
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
    if not fields["draws"]:
        del fields["draws"]
    return fields


def read_all(folders: Iterable[Path], benchmark: str) -> list[Result]:
    """The results of one benchmark that can be compared, by id: of each contender the newest.

    Those that can be compared were measured under the same settings against the same real images. Where there are
    several such groups, the largest counts, of equally large ones that with the newest result; the others are left out,
    and so is a file that cannot be read, each with a warning. A date that lies in the future is a wrong clock's, and
    counts as the oldest. Of equally old results that of the last folder counts.
    """
    groups: dict[str, dict[str, Result]] = {}
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)  # clocks without a time zone
    for result in _readable(folders, benchmark):
        group = groups.setdefault(json.dumps(_compared_with(result), sort_keys=True, default=str), {})
        before = group.get(result.contender.id)
        if before is None or _started(before, now) <= _started(result, now):
            group[result.contender.id] = result
    if not groups:
        return []
    best = max(groups.values(), key=lambda group: (len(group), max(_started(result, now) for result in group.values())))
    others = sorted({name for group in groups.values() if group is not best for name in group})
    if others:
        _log.warning(
            "%s: measured under other settings or against other real images than most, left out: %s",
            benchmark, ", ".join(others),
        )  # fmt: skip
    return [result for _, result in sorted(best.items())]


def _readable(folders: Iterable[Path], benchmark: str) -> Iterator[Result]:
    """Every result that can be read; a warning for each that cannot, so that one file does not hide the others."""
    for folder in folders:
        for path in sorted(folder.glob(f"*/*/{_literal(benchmark)}.json")):
            try:
                result = read(path)
            except ResultError as error:
                _log.warning("%s", error)
                continue
            if result is not None:
                yield result


def _started(result: Result, now: datetime.datetime) -> datetime.datetime:
    """When it was begun; the beginning of time where that is not known."""
    never = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    try:
        started = datetime.datetime.fromisoformat(str(result.made.get("started")))
        started = started if started.tzinfo is not None else started.replace(tzinfo=datetime.UTC)
        return started if started <= now else never
    except (ValueError, OverflowError):
        return never


def _compared_with(result: Result) -> tuple[Any, ...]:
    data = without_sizes(result.data)
    return result.benchmark.get("revision"), data.get("real"), data.get("training")


def without_sizes(data: Mapping[str, Any]) -> dict[str, Any]:
    """The images of a result without their sizes as they were read, which say of a number how good it can be, and
    decide none that their hashes do not."""
    return {
        whose: {key: value for key, value in about.items() if key != "sizes"} if isinstance(about, Mapping) else about
        for whose, about in data.items()
    }


def benchmarks(folders: Iterable[Path]) -> list[str]:
    """Names of the benchmarks of which there are results."""
    return sorted({path.stem for folder in folders for path in folder.glob("*/*/*.json")})


def by_benchmark(folders: Iterable[Path]) -> dict[str, list[dict[str, Any]]]:
    """Name of each benchmark -> its results that can be compared, as plain dicts."""
    folders = list(folders)
    found = {name: [as_json(one) for one in read_all(folders, name)] for name in benchmarks(folders)}
    return {name: plain for name, plain in found.items() if plain}


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
