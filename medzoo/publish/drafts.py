"""Drafts of the files that a contributor writes: an entry, or a family with its first entry.

What only the contributor knows is marked TODO, and ``medzoo check`` fails as long as the word is there.
"""

from __future__ import annotations

import json
import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medzoo import catalog
from medzoo.entry import Entry
from medzoo.errors import RegistryError

PUBLISHED, OWN = 101, 10001  # where the numbers of models published elsewhere and of this project's own begin


@dataclass(frozen=True)
class Drafted:
    """What was written.

    Attributes:
        files: new files; none was there before.
        case: the line for ``tests/families/test_families.py``; None for a model of a family that exists.
        model_id: id of the drafted entry.
    """

    files: tuple[Path, ...]
    model_id: str
    case: str | None = None


def new_model(nearest: str | int, registry: Path, *, model_id: str | None = None, own: bool = False) -> Drafted:
    """Draft ``models/<ID>.yaml`` from the entry of the nearest relative.

    Args:
        nearest: an id, as every command takes it.
        registry: the registry folder to write in.
        model_id: ``NNNNN_NAME``, or ``NAME`` alone for the next free number; None for ``FAMILY_TODO``.
        own: numbers of this project's own models, from 10001, instead of those of models published elsewhere.

    Raises RegistryError: no such folder, an id that is taken or no id, a file that exists; UnknownModelError.
    """
    relative = catalog.resolve(nearest).entry
    text = _entry_text(relative, model_id := _free_id(model_id, relative.family, registry, own))
    path = _models(registry) / f"{model_id}.yaml"
    catalog.parse(text, str(path))  # a draft that no other command reads would help nobody
    _write({path: text})
    return Drafted((path,), model_id)


def new_family(name: str, families: Path, registry: Path, *, own: bool = False) -> Drafted:
    """Draft ``<name>.py`` and an entry of that family.

    Args:
        name: lower-case letters, digits and underscores.
        families: the folder ``medzoo/families`` of a checkout.
        registry: the registry folder of it.
        own: as for ``new_model``.

    Raises RegistryError: no such folder, a name that is taken or none, a file that exists.
    """
    from medzoo.families import known_families

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise RegistryError(f"'{name}' is no name of a family; take lower-case letters, digits and _, such as my_gan")
    if name in known_families():
        raise RegistryError(f"there is a family '{name}' already; for a new model of it: medzoo new model")
    if not families.is_dir():
        raise RegistryError(f"{families} is not a folder; go to a checkout of medzoo, or name it with --families")
    model_id = _free_id(None, name, registry, own)
    path = _models(registry) / f"{model_id}.yaml"
    text = _family_entry(name, model_id)
    catalog.parse(text, str(path))
    code = families / f"{name}.py"
    _write({code: _FAMILY.format(name=name, cls=_class(name)), path: text})
    return Drafted((code, path), model_id, f'Case("{name}", {{"latent": 4, "size": 8}}, (8, 8)),')


def _models(registry: Path) -> Path:
    if not registry.is_dir():
        raise RegistryError(f"{registry} is not a folder; go to a checkout of medzoo, or name one with --registry")
    models = registry / "models"
    return models if models.is_dir() else registry


def _free_id(wanted: str | None, family: str, registry: Path, own: bool) -> str:
    name = wanted or f"{family.upper()}_TODO"
    numbered = re.fullmatch(r"([0-9]{5})_(.+)", name)
    numbers = {path.stem[:5]: path for path in _models(registry).glob("*.y*ml")}
    numbers |= {known[:5]: path for known, (path, _) in catalog.model_files().items()}
    if numbered is None:
        first = OWN if own else PUBLISHED
        last = 99999 if own else OWN - 1
        free = next(number for number in range(first, last) if f"{number:05d}" not in numbers)
        name = f"{free:05d}_{name}"
    elif numbered[1] in numbers:
        raise RegistryError(f"the number {numbered[1]} is taken by {numbers[numbered[1]]}; leave it out for a free one")
    if not re.fullmatch(r"[0-9]{5}_[A-Z0-9][A-Z0-9_-]*", name):
        raise RegistryError(f"'{name}' is no id: five digits, then capitals, digits, _ and -: 00123_FASTGAN_POLYPS")
    return name


def _write(texts: dict[Path, str]) -> None:
    """All files or none; never over one that is there."""
    for path in texts:
        if path.exists():
            raise RegistryError(f"{path} exists, and nothing is written over; move it away, or take another name")
    made: list[Path] = []
    try:
        for path, text in texts.items():
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        raise RegistryError(
            f"{error.filename or path} cannot be written ({error.strerror}); nothing is left of it"
        ) from (error)


def _entry_text(relative: Entry, model_id: str) -> str:
    """The YAML of a new entry: how it runs from the relative, what it is left to be stated."""
    fields = relative.model_dump(mode="json")
    output = {name: _flow(value) for name, value in fields["output"].items()}
    condition = None if relative.condition is None else {k: v for k, v in fields["condition"].items() if v is not None}
    return _ENTRY.format(
        model_id=model_id,
        relative=relative.model_id,
        family=relative.family,
        modality=_flow(relative.modality),
        organ=_flow(relative.organ),
        tags=_flow(fields["tags"]),
        output="\n".join(f"  {name}: {value}{_ABOUT_OUTPUT.get(name, '')}" for name, value in output.items()),
        condition=_flow(condition),
        config=_flow(fields["config"]),
        sampling=_flow(fields["sampling"]),
        checkpoint=_flow(fields["checkpoint"]),
    )


def _family_entry(name: str, model_id: str) -> str:
    output = {"type": "image", "size": [8, 8], "channels": 1, "masks": 0, "range": [-1, 1], "spacing": None}
    return _ENTRY.format(
        model_id=model_id,
        relative="nothing",
        family=name,
        modality="TODO",
        organ="null",
        tags="[]",
        output="\n".join(f"  {key}: {_flow(value)}{_ABOUT_OUTPUT.get(key, '')}" for key, value in output.items()),
        condition="null",
        config="{latent: null, size: null}  # null: told by the weights (infer)",
        sampling="{latent: normal, norm_stats: null, truncation: null, steps: null}",
        checkpoint="{container: torch, key: null, strip_prefix: null, ema: null}",
    )


def _flow(value: Any) -> str:
    """A value as YAML on one line: JSON, which YAML contains, is safest where words look like something else."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z_-]*", value) and not _reads_otherwise(value):
        return value
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else f"{value:.12e}"
    return json.dumps(value, ensure_ascii=False)


def _reads_otherwise(word: str) -> bool:
    return word.lower() in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def _class(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


_ABOUT_OUTPUT = {
    "type": "  # image, image+mask, mask, volume, volume+mask",
    "size": "  # height, width (depth first for volumes)",
    "channels": "  # of the image; those of the masks follow them",
    "range": "  # network values that become black and white",
    "spacing": "  # millimetres, in the order of size; null where not known",
}

_ENTRY = """\
# TODO: drafted from {relative}; replace every TODO, with null where something is not known, and delete this line.
model_id: {model_id}
title: "TODO: what it makes, in one line"
family: {family}
modality: {modality}
organ: {organ}
tags: {tags}
output:
{output}
condition: {condition}  # what it needs beside noise; null for nothing
config: {config}
sampling: {sampling}
weights:
  # Where the file is. While you try: local, relative to this file. Published: the full commit of a Hub repository or a
  # versioned record, and the sha256 of the checkpoint file (docs/weights.md):
  # - {{kind: hub, repo: org/name, revision: "<40 hex>", file: model.pt, sha256: "<64 hex>"}}
  - kind: local
    path: TODO.safetensors
    sha256: null
checkpoint: {checkpoint}
license:  # SPDX identifiers where one fits, else the words of the source; null where none is stated
  weights: TODO
  data: TODO
training_data:
  datasets: [TODO]
  images: null  # how many it learned from
  public: null  # true or false
  about: null  # what they show, how they were chosen and brought to size, whom to name
reported: []  # scores of others: {{metric: FID, value: 63.9, protocol: "features, number of images", source: null}}
citation: null  # {{text: "Author et al. (2025)", doi: "10.1000/example"}}
contact: null
verified: []  # only what you ran yourself: {{what: loads, how: strictly, when: 2025-01-31, metric: null, value: null}}
notes: null  # what a user has to know and no field says
"""

_FAMILY = '''\
"""TODO: name of the architecture (Author et al., "Title", venue, year), and where its reference code is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from medzoo.families import FamilyConfig, Generator
from medzoo.families import Given
from medzoo.randomness import Noise


class Config(FamilyConfig):
    """``config`` of the registry entry: unknown fields and wrong types are errors."""

    # TODO: what decides the shapes of the network.
    latent: int
    size: int


class Network(nn.Module):
    """Latent [n, latent] -> [n, 1, size, size] in (-1, 1). Called with the fields of Config."""

    # TODO: the layers of the paper, named as in the checkpoint, so that its state dict fits.
    def __init__(self, latent: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.linear = nn.Linear(latent, size * size)

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(z).unflatten(1, (1, self.size, self.size)).tanh()


class {cls}(Generator):
    Config = Config
    Network = Network

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent,)  # TODO: of one sample

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        # TODO: fields of the config that names and shapes of the weights tell.
        weight = state.get("linear.weight")
        return {{}} if weight is None else {{"latent": weight.shape[1], "size": math.isqrt(weight.shape[0])}}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        return 1, (config.size, config.size)  # TODO: channels (with those of masks) and size

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        # TODO: what the reference code does from latents to raw output. Draw with ``noise`` alone (docs/families.md).
        return self.network(self.latent(noise))
'''
