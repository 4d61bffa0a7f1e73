"""What was measured: the records of benchmarks, their files, and models in the order of a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo.lazy import exports

if TYPE_CHECKING:
    from medzoo.results.records import ContenderRecord as ContenderRecord
    from medzoo.results.records import Name as Name
    from medzoo.results.records import ReferenceScore as ReferenceScore
    from medzoo.results.records import Result as Result
    from medzoo.results.records import ScoreRecord as ScoreRecord
    from medzoo.results.records import SeedScore as SeedScore
    from medzoo.results.records import as_json as as_json
    from medzoo.results.records import benchmarks as benchmarks
    from medzoo.results.records import by_benchmark as by_benchmark
    from medzoo.results.records import folders as folders
    from medzoo.results.records import path_of as path_of
    from medzoo.results.records import read as read
    from medzoo.results.records import read_all as read_all
    from medzoo.results.records import without_sizes as without_sizes
    from medzoo.results.records import write as write

_NAMES = (
    "ContenderRecord", "Name", "ReferenceScore", "Result", "ScoreRecord", "SeedScore",
    "as_json", "benchmarks", "by_benchmark", "folders", "path_of", "read", "read_all", "without_sizes", "write",
)  # fmt: skip
__getattr__, __dir__ = exports(__name__, dict.fromkeys(_NAMES, f"{__name__}.records"))
