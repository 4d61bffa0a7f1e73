"""The folder that is uploaded: weights, entry, card, samples and golden samples of one model."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medzoo import catalog, zoo
from medzoo.catalog import Located
from medzoo.catalog.paths import HUB_FILE
from medzoo.checking import check, goldens
from medzoo.entry import Checkpoint, Entry, HubSource, LocalSource
from medzoo.errors import PublishError
from medzoo.files.reading import read_text
from medzoo.files.whole import disk_errors, write_bytes
from medzoo.publishing import card, layout
from medzoo.publishing.evidence import Memorisation
from medzoo.results import Result
from medzoo.weights.diffusers_folder import INDEX

GRID_OF = 16
PLAIN = Checkpoint(container="safetensors", key=None, strip_prefix=None)


@dataclass(frozen=True)
class Staged:
    """A folder ready to be uploaded.

    Attributes:
        folder: where it is.
        entry: what ``medzoo.yaml`` in it states.
        files: names in the order in which they are shown.
    """

    folder: Path
    entry: Entry
    files: tuple[str, ...]

    def sizes(self) -> dict[str, int]:
        """Name -> bytes."""
        return {name: (self.folder / name).stat().st_size for name in self.files}


def stage(
    located: Located,
    repo: str,
    folder: Path,
    results: Sequence[Result],
    memorised: Memorisation,
    *,
    allowed: bool,
    device: str | None,
) -> Staged:
    """Write the folder. What was in it under other names stays, and is not uploaded.

    Raises PublishError: what would be published does not pass ``medzoo check``, or the disk refuses.
    """
    with publish_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sources, beside = _copy_weights(located, folder, repo)
        entry = published(located.entry, sources)
        write_bytes(folder / HUB_FILE, as_yaml(entry).encode())
        arrays, stated = _checked(entry, folder, device)
        write_bytes(folder / goldens.HUB_FILE, goldens.pack(arrays, stated))
        write_bytes(folder / card.GRID, _grid(entry, folder, device))
        names = ("README.md", HUB_FILE, *beside, *(source.file for source in sources), goldens.HUB_FILE, card.GRID)
        settings = training(located)
        text = card.write(entry, repo, results, memorised, allowed=allowed, files=names, training=settings)
        write_bytes(folder / "README.md", text.encode())
    return Staged(folder, entry, names)


def published(entry: Entry, sources: Sequence[HubSource]) -> Entry:
    """The entry with its weights in a Hub repository, as plain safetensors."""
    return entry.model_copy(update={"weights": tuple(sources), "checkpoint": PLAIN})


def as_yaml(entry: Entry) -> str:
    """An entry as the text of its YAML file, read back to be sure."""
    fields: dict[str, Any] = entry.model_dump(exclude_unset=True)
    fields["weights"] = [{name: source[name] for name in sorted(source, key=_place)} for source in fields["weights"]]
    text = yaml.dump(fields, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    assert catalog.parse(text, HUB_FILE) == entry
    return text


class _Dumper(yaml.SafeDumper):
    """Short lists and mappings on one line, as people write them."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, flow_style=_short(sequence))

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, flow_style=_short(mapping.values()))


def _place(name: str) -> tuple[int, str]:
    """Where a field of a source stands: what tells sources apart comes first."""
    order = ("kind", "repo", "revision", "file", "path", "sha256", "size")
    return (order.index(name) if name in order else len(order)), name


def _short(values: Any) -> bool:
    return not any(isinstance(value, dict | list | tuple) for value in values) and len(str(list(values))) < 80


def training(located: Located) -> card.Training | None:
    """The settings of ``medzoo train``, where its record lies beside the entry."""
    if located.registry is None:
        return None
    path = located.registry / "training" / located.entry.model_id / "config.yaml"
    try:
        text = read_text(path)
        fields = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return card.Training(fields, text) if isinstance(fields, dict) else None


def _copy_weights(located: Located, folder: Path, repo: str) -> tuple[tuple[HubSource, ...], tuple[str, ...]]:
    """The files of the weights, as what the entry will state of each, and names of files that belong to none."""
    fetched = {part: zoo.fetch_part(located, part) for part in located.entry.parts}
    sources, beside = [], []
    for name, (part, content) in layout.contents(located.entry, fetched).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / name, content)
        if name == INDEX:
            beside.append(name)
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        # A file cannot state the commit that it becomes part of: null means the same one.
        source = {"kind": "hub", "repo": repo, "revision": None, "file": name, "sha256": sha256, "size": len(content)}
        sources.append(HubSource.model_validate(source | ({} if part is None else {"part": part})))
    return tuple(sources), tuple(beside)


def _checked(entry: Entry, folder: Path, device: str | None) -> tuple[goldens.Arrays, dict[str, Any]]:
    """The golden samples of the staged files, once these pass every check."""
    with _as_local(entry, folder) as path:
        report = check(str(path), device=device)
    wrong = [f"\n  {finding.name}: {finding.reason}" for finding in report.findings if finding.status == "fail"]
    if wrong or report.samples is None or report.made_with is None:
        reasons = "".join(wrong) or "".join(f"\n  {finding.name}: {finding.reason}" for finding in report.findings[-2:])
        raise PublishError(f"{entry.model_id} does not pass `medzoo check`, so it is not published:{reasons}")
    return report.samples, report.made_with


def _grid(entry: Entry, folder: Path, device: str | None) -> bytes:
    from medzoo.checking.numbers import example

    with _as_local(entry, folder) as path:
        generator = zoo.load(str(path), device=device)
        samples = generator.generate(GRID_OF, example(generator))
    stream = io.BytesIO()
    samples.grid(columns=4, size=256).save(stream, "PNG", optimize=True)
    return stream.getvalue()


@contextmanager
def _as_local(entry: Entry, folder: Path) -> Iterator[Path]:
    """The YAML file of the entry with the staged files as its sources, in a folder of its own."""
    local = tuple(
        LocalSource(
            kind="local",
            path=str((folder / source.file).resolve()),
            sha256=source.sha256,
            size=source.size,
            part=source.part,
        )
        for source in entry.weights
        if isinstance(source, HubSource)
    )
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"{entry.model_id}.yaml"
        path.write_text(as_yaml(entry.model_copy(update={"weights": local})), encoding="utf-8")
        yield path


def publish_errors(folder: Path) -> AbstractContextManager[None]:
    """Turn what the disk refuses into a ``PublishError``."""
    return disk_errors(
        folder,
        PublishError,
        state=lambda: "nothing was uploaded",
        full="make room, or choose a folder with --out",
        denied="choose a folder with --out",
    )
