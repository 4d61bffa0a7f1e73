"""A bare file of weights on this machine -> a Generator, without a registry entry.

What an entry would state is inferred from the file: where the state dict lies in it, the configuration from the shapes,
the output and the condition from the configuration. A folder that diffusers saved is a model of several files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from medzoo.catalog import Located
from medzoo.entry import TEXT, Checkpoint, Entry
from medzoo.errors import CheckpointError, WeightsError, problems
from medzoo.families import get_family
from medzoo.families._base import Generator
from medzoo.files import reading
from medzoo.weights import as_text, checkpoints, diffusers_folder, inspection, joined, joint_sha256, parts, shards
from medzoo.zoo.choosing import Maker, OverrideError, Search

MODEL_ID = "00000_LOCAL"

# Of ``Entry.sampling``: what some families leave to the user.
CHOICES = ("truncation", "noise", "steps", "sampler", "guidance", "strength")


def load(
    family: str | None, weights: str | Path | Mapping[str, str | Path], override: Mapping[str, Any], **options: Any
) -> Generator:
    """The model of a family in a file, in several by part, or in a folder with ``model_index.json``.

    Args:
        family: None where the weights decide it (``medzoo.zoo.finding``).
        override: fields of the entry that the file does not tell, or tells wrong; ``{"checkpoint": {"key": "g"}}``
            chooses among several state dicts.
        options: those of Generator.

    What is chosen is the ``checkpoint`` of the generator's entry, and so part of its revision; the hashes of the files
    are, too.

    Raises WeightsError (no such file), CheckpointError (nothing in it fits the family, or several things do),
    EntryError (``override``).
    """
    from medzoo.zoo import finding

    bare = BareFiles(weights, override)
    return bare.fit(family, **options) if family is not None else finding.only(bare, **options)


def located(path: Path, family: str | None = None, override: Mapping[str, Any] | None = None) -> Located:
    """What an entry would state of a bare file or of a pipeline that diffusers saved. Raises as ``load`` does.

    Its weights are ``local`` sources, so that it is fetched and checked as every other entry is.
    """
    if override:
        return _located(path, family, override)
    return _remembered(path, family, _stamps(path))


@lru_cache(maxsize=8)  # calls in a loop do not try every family again
def _remembered(path: Path, family: str | None, stamps: tuple[tuple[str, int, int], ...]) -> Located:
    return _located(path, family, {})


def _located(path: Path, family: str | None, override: Mapping[str, Any]) -> Located:
    generator = load(family, path, override, fused=False, device="cpu", precision="float32")
    return Located(generator.entry, None, path.resolve().parent, label=generator.name)


def _stamps(path: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells that files have changed: those of a folder, of an index all beside it, else the file itself."""
    folder = path if path.is_dir() else path.parent if shards.is_index(path) else None
    files = [path] if folder is None else sorted(one for one in folder.rglob("*") if one.is_file())
    return tuple((str(one.resolve()), one.stat().st_mtime_ns, one.stat().st_size) for one in files)


class NotFitting(CheckpointError):
    """Nothing in a file is a generator of the family."""


class BareFiles:
    """The files of one model without an entry, by part; hashed once.

    Args:
        weights, override: as ``load`` takes them.

    Attributes:
        name: the last name of the file or folder, by which samples call the model.
        model_id: of its entry, made of the name; what errors call it.

    Raises WeightsError, CheckpointError, EntryError.
    """

    def __init__(self, weights: str | Path | Mapping[str, str | Path], override: Mapping[str, Any]) -> None:
        _check(weights, override)
        given = weights if isinstance(weights, Mapping) else {None: weights}
        try:
            files = {part: reading.expanded(path) for part, path in given.items()}
        except OSError as error:
            raise WeightsError(f"weights={weights}: {error.strerror}") from None
        self.name = next(iter(files.values())).resolve().name
        self.model_id = f"00000_{re.sub(r'[^A-Z0-9]+', '_', self.name.upper()).strip('_') or 'LOCAL'}"
        if None in files and (files[None] / diffusers_folder.INDEX).is_file():
            files, inferred = diffusers_folder.read(files[None])
            override = _merged(inferred, override)
        for path in files.values():
            if not path.is_file():
                folder = f"{path} is a folder, not a file, and has no {diffusers_folder.INDEX} of diffusers"
                raise WeightsError(folder if path.is_dir() else f"there is no file '{path}'")
        self.files, self.override = files, override
        self.numbers = {part: path for part, path in files.items() if not _is_text(path)}
        if not self.numbers:
            listed = ", ".join(path.name for path in files.values())
            raise WeightsError(f"weights names no file of numbers, only {listed}")
        self.stated = _stated(override.get("checkpoint"))
        hashes = {part: parts.sha256_of(path) for part, path in files.items()}
        self.sha256 = joint_sha256(hashes)
        self.sources = [
            {"kind": "local", "path": str(path.resolve()), "sha256": hashes[part], "part": part}
            | ({} if shards.is_index(path) else {"size": path.stat().st_size})
            for part, path in files.items()
        ]

    def fit(self, family: str, **options: Any) -> Generator:
        """The generator of a family; the files are opened anew, since a family may change what it gets.

        Raises NotFitting; CheckpointError: something fits, and cannot be used or chosen; EntryError.
        """
        cls, files, override = get_family(family), self.files, self.override
        text_files = {part: path for part, path in files.items() if part not in self.numbers}
        texts = {part: {"text": torch.from_numpy(as_text(path).copy())} for part, path in text_files.items()}
        container = self.stated.get("container", "pickle")
        opened = {part: checkpoints.opened(path, container) for part, path in self.numbers.items()}
        first = next(iter(opened))

        def describe(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> tuple[Entry, Mapping[str, Tensor]]:
            others = {part: file.found(checkpoint) for part, file in opened.items() if part != first}
            state = joined({part: {first: tensors, **others, **texts}[part] for part in files})
            config = _arguments(cls, files, opened[first].content, checkpoint)
            known = {"model_id": self.model_id, "weights": self.sources, "config": config}
            fields = _merged(_merged(known, override), {"checkpoint": checkpoint.model_dump()})
            return entry_for(cls, family, state, fields), state

        def build(entry: Entry, state: Mapping[str, Tensor]) -> Generator:
            return cls(entry, state, weights_sha256=self.sha256, **options)

        search = Search(opened[first], Maker(describe, build), family, several=len(files) > 1)
        if (generator := search.choose(self.stated)) is None:
            raise NotFitting(_report(family, files, search.failures))
        generator.name = self.name
        return generator


def _is_text(path: Path) -> bool:
    return path.name.endswith(TEXT) and not shards.is_index(path)


def _check(weights: Any, override: Any) -> None:
    named = weights.values() if isinstance(weights, Mapping) else [weights]
    if not named or not all(isinstance(path, str | Path) for path in named):
        raise WeightsError(f"weights takes the path of a file, or paths by part, found {weights!r}")
    if not isinstance(override, Mapping):
        raise OverrideError(f"override takes fields of an entry by name, found {override!r}")
    unknown = [str(name) for name in override if name not in Entry.model_fields]
    if unknown:
        raise OverrideError(f"override: unknown {', '.join(unknown)}; there are: {', '.join(Entry.model_fields)}")


def _report(family: str, files: Mapping[str | None, Path], failures: Mapping[str, Exception]) -> str:
    """Why no place in the file fits: the place that lacks the least first, each reason once."""
    name = ", ".join(path.name for path in files.values())
    lines: dict[str, str] = {}
    for words, error in sorted(failures.items(), key=lambda item: str(item[1]).count("missing; state it")):
        lines.setdefault(re.sub(r"^00000_[A-Z0-9_]+: ", "", str(error)), words)
    reasons = "".join(f"\n  {words}: {reason}" for reason, words in list(lines.items())[:3])
    typed = shlex.quote(str(next(iter(files.values()))))
    return (
        f"{name}: nothing in it is a generator of family '{family}'.{reasons}\n"
        f"What is in it: medzoo info {typed}; fields that it does not tell go in override="
        '{"config": {...}}'
    )


def entry_for(cls: type[Generator], family: str, state: Mapping[str, Any], override: Mapping[str, Any]) -> Entry:
    """What an entry would state of a network with these weights. Raises EntryError."""
    stated = dict(override)
    known = Entry.model_validate(Entry.blank(MODEL_ID, family, title="A file on this machine"))
    config = cls.configure(overridden(known, {"config": stated.get("config", {})}), state)
    channels, size = cls.output(config)
    output = stated.get("output", {})
    masks = output.get("masks", 0) if isinstance(output, Mapping) else 0
    masks = masks if isinstance(masks, int) and 0 <= masks < channels else 0  # else the entry says what is wrong
    kind = ("volume" if size and len(size) == 3 else "image") + ("+mask" if masks else "")
    inferred = {"output": {"channels": channels - masks, "size": size, "type": kind}}
    return overridden(known, _merged(inferred | {"condition": cls.takes(config)}, stated), cls.options)


def overridden(entry: Entry, override: Mapping[str, Any], options: Sequence[str] = CHOICES) -> Entry:
    """An entry with some of its fields replaced.

    Args:
        options: what its family lets users choose of ``sampling``.

    Raises EntryError.
    """
    stated = override.get("sampling")
    sampling = stated if isinstance(stated, Mapping) else {}
    for name in sampling:
        if name in CHOICES and name not in options and sampling[name] is not None:
            other = f"can be chosen: {', '.join(options)}" if options else "nothing of its sampling can be chosen"
            raise OverrideError(f"{entry.model_id}: family '{entry.family}' has no {name}; {other}")
    try:
        return Entry.model_validate(_merged(entry.model_dump(), override))
    except ValidationError as error:
        raise OverrideError(f"{entry.model_id}: override: " + "; ".join(problems(error, record=Entry))) from None


def _stated(stated: Any) -> dict[str, Any]:
    """The fields of ``checkpoint`` that the caller states. Raises OverrideError."""
    try:
        fields = dict(stated or {})
        Checkpoint.model_validate({"container": "pickle", "key": None, "strip_prefix": None} | fields)
    except (ValidationError, TypeError, ValueError):
        names = ", ".join(Checkpoint.model_fields)
        raise OverrideError(f"override: checkpoint takes {names}, found {stated!r}") from None
    return fields


def _arguments(
    cls: type[Generator], files: Mapping[str | None, Path], content: Any, checkpoint: Checkpoint
) -> dict[str, Any]:
    """What the class of a pickled network was made with, as far as it is part of the configuration."""
    if set(files) != {None} or checkpoint.key is None:
        return {}
    known = inspection.arguments(content, checkpoint.key)
    return {name: value for name, value in known.items() if name in cls.Config.model_fields}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``, mappings field by field."""
    merged = dict(below)
    for name, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if nested else value
    return merged
