"""What a path is: the one place that decides which kind of model lies there, for every command and function.

    a run of medzoo train     config.yaml with best.safetensors or latest.pt
    an entry                  a YAML file, or a folder with exactly one
    a published folder        medzoo.yaml with the weights beside it, as ``medzoo publish`` writes it
    a pipeline of diffusers   a folder with model_index.json, as ``save_pretrained`` writes it
    a file of weights         .pt .pth .pkl .ckpt .safetensors .bin, or the index of several

Names and the first bytes of files decide; nothing is loaded, and torch is not needed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medzoo import catalog
from medzoo.catalog import ids
from medzoo.errors import UnknownModelError
from medzoo.files import kind as filekind
from medzoo.files.reading import expanded
from medzoo.weights import diffusers_folder, shards

Kind = Literal["run", "entry", "published", "pipeline", "weights"]

HUB_FILE = "medzoo.yaml"  # the entry of a published folder, and of a run
RUN_FILE, BEST, LAST = "config.yaml", "best.safetensors", "latest.pt"
YAML = (".yaml", ".yml")
WEIGHTS = (".safetensors", ".pt", ".pth", ".pkl", ".ckpt", ".bin", ".pickle", ".model", ".tar")
_ENTRY = re.compile(r"[0-9]{5}_[A-Z0-9][A-Z0-9_-]*\.ya?ml")
_MOST_NAMED = 4  # files that an error lists

ACCEPTED = (
    "a run of `medzoo train` (config.yaml with best.safetensors or latest.pt)",
    "a folder with medzoo.yaml, or with one entry (NNNNN_NAME.yaml, also in models/)",
    "a folder that diffusers saved (model_index.json)",
    "a file of weights (.pt .pth .pkl .ckpt .safetensors .bin)",
    "an entry (.yaml)",
)


@dataclass(frozen=True)
class ModelPath:
    """A model at a path.

    Attributes:
        kind: what it is.
        path: the folder of a run, a published folder or a pipeline; the file of an entry or of weights.
        checkpoint: of a run, the state that was asked for by naming its file; None for the best there is.
    """

    kind: Kind
    path: Path
    checkpoint: Literal["best", "last"] | None = None

    @property
    def is_bare(self) -> bool:
        """Whether no entry describes it, so that the family has to be found from the weights."""
        return self.kind in ("pipeline", "weights")


def what_is(argument: str | int | Path) -> ModelPath | None:
    """The model at a path; None where the argument is no path, but an id or an address.

    A bare word is a path only where a model of that name lies in the working folder.

    Raises UnknownModelError: it is a path, and no model lies there; the error lists what would be one.
    """
    text = str(argument).strip()
    if isinstance(argument, int) or not text or text.startswith("hf://"):
        return None
    names_a_path = isinstance(argument, Path) or looks_like_a_path(text)
    try:
        path = expanded(text)
        if path.is_dir():
            found = _folder(path)
        elif path.is_file():
            found = _file(path)
        elif names_a_path:
            raise UnknownModelError(f"there is no file or folder {text}; `medzoo list` shows the ids there are")
        else:
            return None
    except OSError as error:
        if not names_a_path:  # no file can be called so
            return None
        raise UnknownModelError(f"{text}: {error.strerror or error}") from None
    if names_a_path:
        if found is None:
            raise UnknownModelError(f"{text}: {why_not(path)}")
        return found
    return None if found is None or ids.clash(text, catalog.model_files()) else found


def looks_like_a_path(text: str) -> bool:
    """Whether somebody who types this means a path, be it there or not."""
    separators = (os.sep, *filter(None, (os.altsep,)))
    begins = text in (".", "..") or text.startswith("~")
    return begins or any(one in text for one in separators) or Path(text).suffix.lower() in (*YAML, *WEIGHTS)


def entries_in(folder: Path) -> list[Path]:
    """The entries that lie in a folder, or in ``models`` of it, by their names."""
    return sorted(
        path for place in (folder, folder / "models") for path in place.glob("*.y*ml") if _ENTRY.fullmatch(path.name)
    )


def _folder(folder: Path) -> ModelPath | None:
    if (folder / RUN_FILE).is_file() and any((folder / name).is_file() for name in (BEST, LAST, HUB_FILE)):
        return ModelPath("run", folder)
    if (folder / HUB_FILE).is_file():
        return ModelPath("published", folder)
    if (folder / diffusers_folder.INDEX).is_file():
        return ModelPath("pipeline", folder)
    entries = entries_in(folder)
    return ModelPath("entry", entries[0]) if len(entries) == 1 else None


def _file(path: Path) -> ModelPath | None:
    if path.name in (RUN_FILE, BEST, LAST, HUB_FILE):
        found = _folder(path.parent)
        if found is not None and found.kind == "run":
            return ModelPath("run", path.parent, {BEST: "best", LAST: "last"}.get(path.name))  # type: ignore[arg-type]
        if path.name == HUB_FILE:
            return ModelPath("published", path.parent)
    if path.name == diffusers_folder.INDEX:
        return ModelPath("pipeline", path.parent)
    if path.suffix.lower() in YAML:
        return ModelPath("entry", path)
    if shards.is_index(path) or path.suffix.lower() in WEIGHTS:
        return ModelPath("weights", path)
    of_weights = filekind.guess(path) in ("safetensors", "torch", "torch-legacy", "torchscript", "pickle")
    return ModelPath("weights", path) if of_weights else None


def why_not(path: Path) -> str:
    """What lies there instead of a model, in words, and what to name in its place."""
    if path.is_file():
        return f"is {filekind.describe(filekind.guess(path))}. A model is{_accepted()}"
    if entries := entries_in(path):
        return f"holds {len(entries)} entries; name one: {_listed(entries)}"
    if (path / RUN_FILE).is_file():
        return "is a training run that has saved nothing yet; go on with it: the command that began it, once more"
    inside = sorted(path.iterdir())
    if files := [one for one in inside if one.is_file() and (found := _file(one)) and found.kind == "weights"]:
        return f"is no model itself; name a file in it: {_listed(files)}"
    if models := [one for one in inside if one.is_dir() and _folder(one) is not None]:
        return f"is no model itself; name one in it: {_listed(models)}"
    if (path / "config.json").is_file():
        return "is one part of a pipeline of diffusers; save the whole pipeline with its save_pretrained"
    return f"is {'a folder without a model' if inside else 'an empty folder'}. A model is{_accepted()}"


def _listed(found: list[Path]) -> str:
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(map(str, found[:_MOST_NAMED])) + more


def _accepted() -> str:
    return "".join(f"\n  {line}" for line in ACCEPTED)
