"""The page of ``medzoo info FILE|FOLDER``: what is in a file of weights, which family fits it, and what to type."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo.cli import table

if TYPE_CHECKING:
    from medzoo.cli.table import Section
    from medzoo.families import Generator
    from medzoo.weights.inspection import Contents, Part, StateDict
    from medzoo.zoo.finding import Fits

_MOST = 40  # lines of one section; --json has them all


def page(path: Path, family: str | None = None) -> str:
    """The whole page as text.

    Args:
        path: a file of weights, or a folder that diffusers saved.
        family: the one to look for; None tries all.
    """
    if path.is_dir():
        sections: list[Section] = [("Holds", list(_files(path))), *_families(path, _fits(path, family), None)]
        return table.page([str(path), "a folder that diffusers saved"], sections, _NOTHING_RUN)
    contents = _contents(path)
    sections = [
        ("Refused", _cut(contents.refused)),
        ("Read as", [f"container: {contents.container}"] if contents.container else []),
        ("Names", _cut(contents.names)),
        ("Source code", [_source(contents.source)] if contents.source else []),
        ("Metadata", _cut(f"{name}: {text}" for name, text in contents.metadata.items())),
        ("Holds", _cut(_tree(contents.parts, 0))),
        ("Weights", _cut(line for state in contents.state_dicts for line in _choice(state))),
    ]
    if contents.container:
        sections += _families(path, _fits(path, family), contents.container)
    return table.page([contents.path, f"{contents.kind}, {_size(contents.size)}"], sections, _NOTHING_RUN)


_NOTHING_RUN = "Nothing of the file was run."


def facts(path: Path, family: str | None = None) -> dict[str, Any]:
    """The same as ``--json`` prints it; ``families`` holds what an entry would state for each that fits."""
    stated: dict[str, Any] = {"path": str(path), "kind": "a folder that diffusers saved", "files": list(_files(path))}
    contents = None if path.is_dir() else _contents(path)
    if contents is not None:
        stated = asdict(contents)
    found = _fits(path, family) if contents is None or contents.container else None
    made = {} if found is None else found.generators
    container = None if contents is None else contents.container
    stated["families"] = {
        name: {
            "checkpoint": _checkpoint(one, container),
            **one.entry.model_dump(mode="json", include={"config", "output", "condition", "sampling"}),
        }
        for name, one in made.items()
    }
    return stated


def _contents(path: Path) -> Contents:
    from medzoo.weights import inspection

    return inspection.inspect(path)


def _fits(path: Path, family: str | None) -> Fits:
    from medzoo.zoo import finding
    from medzoo.zoo.barefile import BareFiles

    return finding.fits(BareFiles(path, {}), None if family is None else (family,), fused=False, device="cpu")


def _files(folder: Path) -> Iterator[str]:
    from medzoo.weights import diffusers_folder

    if folder.is_dir():
        for part, path in diffusers_folder.read(folder)[0].items():
            yield f"{part}: {path.relative_to(folder)}, {_size(path.stat().st_size)}"


def _families(path: Path, found: Fits, container: str | None) -> list[Section]:
    """Which families fit, where in the file, and what to type then."""
    lines: list[str] = []
    for name, generator in found.generators.items():
        lines += [f"{name}: {_makes(generator)}", f"  {_where(generator, container)}"]
        lines += [f"  the same network as {', '.join(found.same[name])}"] if name in found.same else []
    lines += [f"{name}: {line}" for name, error in found.undecided.items() for line in str(error).splitlines()]
    if not lines:
        return [("Family", _none(path, found))]
    return [("Family", lines), ("Use", _use(path, found))]


def _none(path: Path, found: Fits) -> list[str]:
    from medzoo.zoo import finding

    if len(found.failures) == 1:
        return [line for error in found.failures.values() for line in str(error).splitlines()]
    near = [f"the closest: {family}, {lacks}" for family, lacks in finding.nearest(found.failures)]
    return [
        f"none of the {len(found.failures)} families fits it as it is",
        *near,
        f"what one of them lacks: medzoo info {shlex.quote(str(path))} --family NAME",
        "another network: list its layers in an entry of family layers, or draft a family: medzoo new family NAME",
    ]


def _where(generator: Generator, container: str | None) -> str:
    from medzoo.zoo import finding

    checkpoint = _flow({name: value for name, value in _checkpoint(generator, container).items() if value is not None})
    return f"checkpoint: {{{checkpoint}}}  <- recommended: {finding.how(generator)}"


def _checkpoint(generator: Generator, container: str | None) -> dict[str, Any]:
    stated = generator.entry.checkpoint.model_dump()
    return stated | ({} if container is None else {"container": container})


def _makes(generator: Generator) -> str:
    output = generator.entry.output
    size = " x ".join(map(str, output.size)) + " pixels" if output.size else "of varying size"
    needs = "" if generator.declared is None else f", from a condition: {generator.declared.kind}"
    return f"{output.type}, {output.channels} channel{'s' * (output.channels != 1)}, {size}{needs}"


def _use(path: Path, found: Fits) -> list[str]:
    names = (*found.generators, *found.undecided)
    typed, family = shlex.quote(str(path)), f" --family {names[0]}" if len(names) > 1 else ""
    option = family
    if names[0] in found.undecided:
        return [f"medzoo new model --weights {typed}{family} --key KEY --strip-prefix PREFIX  (drafts an entry of one)"]
    python = f", family={names[0]!r}" if option else ""
    if found.generators[names[0]].entry.output.channels not in (1, 3):
        option += " --format npz"  # a PNG cannot hold it
    return [
        f"medzoo.load({str(path)!r}{python})",
        f"medzoo generate {typed}{option} -n 16 --out samples",
        f"medzoo new model --weights {typed}{family}  (drafts its entry, to state the rest and to publish it)",
    ]


def _cut(lines: Iterable[str]) -> list[str]:
    shown = list(lines)
    if len(shown) > _MOST:
        shown = [*shown[:_MOST], f"... and {len(shown) - _MOST} more lines; --json shows more"]
    return shown


def _tree(parts: Iterable[Part], level: int) -> Iterator[str]:
    for part in parts:
        counts = f"  {_counts(part.tensors, part.numbers)}" if part.tensors and not part.what.endswith("]") else ""
        yield f"{'  ' * level}{part.key}: {part.what}{counts}"
        if part.arguments:
            yield f"{'  ' * (level + 1)}made with {json.dumps(part.arguments, ensure_ascii=False)}"
        yield from _tree(part.parts, level + 1)


def _choice(state: StateDict) -> Iterator[str]:
    yield f"checkpoint: {{{_flow({name: value for name, value in state.checkpoint.items() if value is not None})}}}"
    kind = f"{state.class_name}, " if state.class_name else ""
    names = ", ".join(f"{name} {shape}" for name, shape in state.names.items())
    more = ", ..." if state.tensors > len(state.names) else ""
    yield f"  {kind}{_counts(state.tensors, state.numbers)}: {names}{more}"


def _flow(stated: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in stated.items())


def _counts(tensors: int, numbers: int) -> str:
    return f"{tensors:,} tensor{'s' if tensors != 1 else ''} of {numbers:,} numbers"


def _source(characters: int) -> str:
    return f"{characters:,} characters of Python in the file are left out"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"
