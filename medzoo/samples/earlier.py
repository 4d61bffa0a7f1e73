"""What an earlier, stopped part of a run has left: the lines of its manifest that hold, and the samples to make anew.

Nothing is believed for its name alone. A line counts if it is, byte for byte, one that this run would write about its
sample; what comes after one that is not is made anew. A sample counts if its files have the hashes of its line.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medzoo import __version__
from medzoo.files.reading import open_regular, parse_json, sha256_of
from medzoo.samples import formats
from medzoo.samples.formats import Run, stem
from medzoo.samples.shard import hashes

LONGEST_LINE = 1 << 20  # bytes; a real one has some hundreds, and the length of its prompt
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = {
    "file", "mask_file", "index", "input", "seed", "condition", "label", "model_id", "revision", "weights_sha256",
    "medzoo", "synthetic", "sha256", "mask_sha256",
}  # fmt: skip


@dataclass
class Earlier:
    """The part of a run that is there.

    Attributes:
        lines: of the manifest that hold.
        size: their bytes.
        broken: indices of samples with a line, a file of which is missing or damaged.
        refused: whether lines follow that do not hold.
    """

    lines: int = 0
    size: int = 0
    broken: set[int] = field(default_factory=set)
    refused: bool = False


def read_earlier(manifest: Path, run: Run) -> Earlier:
    """Look at all that an earlier part of a run has left. Raises OSError."""
    earlier = Earlier()
    sharded = formats.load(run.format).sharded
    shards: dict[str, dict[int, dict[str, str]]] = defaultdict(dict)  # name -> index -> member -> sha256
    for line in _lines(manifest):
        record = parsed(line)
        if record is None or not _is_of_run(record, run, run.start + earlier.lines, sharded):
            earlier.refused = True
            break
        stated = {record["file"]: record["sha256"]}
        if record["mask_file"] is not None:
            stated[record["mask_file"]] = record["mask_sha256"]
        if sharded:
            shards[record["shard"]][record["index"]] = stated
        elif not all(_has(manifest.parent / name, sha256) for name, sha256 in stated.items()):
            earlier.broken.add(record["index"])
        earlier.lines += 1
        earlier.size += len(line)
    for name, samples in shards.items():
        if not _holds(manifest.parent / name, samples):
            earlier.broken.update(samples)
    return earlier


def parsed(line: bytes) -> dict[str, Any] | None:
    """A manifest line; None for one that was cut off, or that no run writes."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = parse_json(line)
        if not isinstance(record, dict) or json.dumps(record).encode() + b"\n" != line:
            return None  # also a byte order mark, and the line ends of another system
    except (ValueError, RecursionError):
        return None
    named = all(_is_name(record.get(key)) for key in ("file", *(["shard"] if "shard" in record else [])))
    masked = "mask_file" in record and (record["mask_file"] is None or _is_name(record["mask_file"]))
    return record if named and masked and type(record.get("index")) is int else None


def _lines(manifest: Path) -> Iterator[bytes]:
    with open_regular(manifest) as file:
        while line := file.readline(LONGEST_LINE):
            yield line


def _is_name(value: Any) -> bool:
    """Whether it names a file of the folder itself."""
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable() and not set(value) & set("/\\")


def _is_of_run(record: dict[str, Any], run: Run, index: int, sharded: bool) -> bool:
    """Whether this is what the run writes about the sample with that index, as far as it can say without making it."""
    if record.keys() != _KEYS | ({"shard"} if sharded else set()):
        return False
    decided = {
        "index": index, "seed": run.seed, "model_id": run.model_id, "revision": run.revision,
        "weights_sha256": run.weights_sha256, "medzoo": __version__, "synthetic": run.model_id is not None,
    }  # fmt: skip
    if any(type(record[key]) is not type(value) or record[key] != value for key, value in decided.items()):
        return False
    if not all(record[key] is None or _is_text(record[key]) for key in ("input", "condition")):
        return False
    if record["label"] is not None and type(record["label"]) is not int:
        return False
    files = [(record["file"], record["sha256"])]
    if record["mask_file"] is not None or record["mask_sha256"] is not None:
        files.append((record["mask_file"], record["mask_sha256"]))
    # What follows the stem is the format's; the stem says index and input.
    return all(
        isinstance(name, str) and re.match(rf"{re.escape(stem(record))}[._]", name) and _is_sha256(sha256)
        for name, sha256 in files
    )


def _is_text(value: Any) -> bool:
    return (
        isinstance(value, str) and value.isascii() or isinstance(value, str) and "\0" not in value and _encodes(value)
    )


def _encodes(value: str) -> bool:
    try:
        return bool(value.encode())
    except UnicodeEncodeError:  # half a character
        return False


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and bool(_SHA256.fullmatch(value))


def _has(path: Path, sha256: str) -> bool:
    """Whether a regular file has that hash."""
    try:
        return sha256_of(path) == sha256
    except (OSError, ValueError):
        return False


def _holds(path: Path, samples: dict[int, dict[str, str]]) -> bool:
    """Whether a shard holds these samples, in this order, and nothing else, and is as it was written."""
    try:
        members = hashes(path)
    except (OSError, ValueError, tarfile.TarError):
        return False
    stated = {name: sha256 for sample in samples.values() for name, sha256 in sample.items()}
    stems = dict.fromkeys(name.partition(".")[0] for name in members)
    return (
        all(members.get(name) == sha256 for name, sha256 in stated.items())
        and list(stems) == list(dict.fromkeys(name.partition(".")[0] for name in stated))
    )  # fmt: skip
