"""Texts of drafts: an entry, a family, a package of its own with both."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any


def entry_text(
    fields: Mapping[str, Any], model_id: str, origin: str, sources: Sequence[Mapping[str, Any]], inferred: str = ""
) -> str:
    """The YAML of a new entry: how it runs is stated, what it is remains to be stated.

    Args:
        fields: those of an entry as JSON has them.
        origin: what it was drafted from, in words.
        sources: of its weights.
        inferred: what the weights tell of the config, in words.
    """
    output = {name: flow(value) for name, value in fields["output"].items()}
    stated = fields["condition"]
    condition = None if stated is None else {name: value for name, value in stated.items() if value is not None}
    return _ENTRY.format(
        model_id=model_id,
        origin=origin,
        family=fields["family"],
        modality=flow(fields["modality"]),
        organ=flow(fields["organ"]),
        tags=flow(fields["tags"]),
        output="\n".join(f"  {name}: {value}{_ABOUT_OUTPUT.get(name, '')}" for name, value in output.items()),
        condition=flow(condition),
        config=flow(fields["config"]) + (f"  # {inferred}" if inferred else ""),
        sampling=flow(fields["sampling"]),
        weights="\n".join(f"  - {flow(source)}" for source in sources),
        checkpoint=flow(fields["checkpoint"]),
    )


def to_be_found(sources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sources of a relative as those of a draft: the same parts under the same names, all to be put in place."""
    found: dict[str | None, dict[str, Any]] = {}
    for source in sources:
        part = source.get("part")
        name = str(source.get("file") or source.get("path") or source.get("member") or source.get("url"))
        path = "TODO.safetensors" if part is None else f"TODO/{name}"
        found.setdefault(part, {"kind": "local", "path": path, "sha256": None} | ({"part": part} if part else {}))
    return list(found.values()) or [{"kind": "local", "path": "TODO.safetensors", "sha256": None}]


def family_entry(name: str, model_id: str) -> str:
    """The YAML of the first entry of a drafted family."""
    output = {"type": "image", "size": [8, 8], "channels": 1, "masks": 0, "range": [-1, 1], "spacing": None}
    return _ENTRY.format(
        model_id=model_id,
        origin="nothing",
        family=name,
        modality="TODO",
        organ="null",
        tags="[]",
        output="\n".join(f"  {key}: {flow(value)}{_ABOUT_OUTPUT.get(key, '')}" for key, value in output.items()),
        condition="null",
        config="{latent: null, size: null}  # null: inferred from the weights",
        sampling="{latent: normal, norm_stats: null, truncation: null, steps: null}",
        weights="  - {kind: local, path: TODO.safetensors, sha256: null}",
        checkpoint="{container: torch, key: null, strip_prefix: null, ema: null}",
    )


def flow(value: Any) -> str:
    """A value as YAML on one line: JSON, which YAML contains, is safest where words look like something else."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z_-]*", value) and not _reads_otherwise(value):
        return value
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else f"{value:.12e}"
    return json.dumps(value, ensure_ascii=False)


def _reads_otherwise(word: str) -> bool:
    return word.lower() in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def class_name(family: str) -> str:
    """my_gan -> MyGan."""
    return "".join(word.capitalize() for word in family.split("_"))


def case_of(family: str) -> str:
    """The case that the contract tests of a drafted family take."""
    return f'FamilyCase("{family}", {{"latent": 4, "size": 8}}, (8, 8))'


def family_code(name: str) -> str:
    """The Python file of a family that runs: one linear layer."""
    return _FAMILY.format(name=name, cls=class_name(name))


def plugin_project(project: str, package: str, family: str) -> str:
    """``pyproject.toml`` of a package with one family and a registry."""
    return _PROJECT.format(project=project, package=package, family=family, cls=class_name(family))


def plugin_test(family: str) -> str:
    """The test file of a package: the contract, applied to its family."""
    return _TEST.format(family=family, cls=class_name(family), case=case_of(family))


def plugin_readme(project: str, package: str, family: str, model_id: str) -> str:
    """What to do next."""
    return _README.format(project=project, package=package, family=family, model_id=model_id)


_ABOUT_OUTPUT = {
    "type": "  # image, image+mask, mask, volume, volume+mask",
    "size": "  # height, width (depth first for volumes)",
    "channels": "  # of the image; those of the masks follow them",
    "range": "  # network values that become black and white",
    "spacing": "  # millimetres, in the order of size; null where not known",
}

_ENTRY = """\
# TODO: drafted from {origin}; replace every TODO, with null where something is not known, and delete this line.
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
{weights}
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
        # TODO: fields of the config that follow from names and shapes of the weights.
        weight = state.get("linear.weight")
        return {{}} if weight is None else {{"latent": weight.shape[1], "size": math.isqrt(weight.shape[0])}}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        return 1, (config.size, config.size)  # TODO: channels (with those of masks) and size

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        # TODO: what the reference code does from latents to raw output. Draw with ``noise`` alone (docs/families.md).
        return self.network(self.latent(noise))
'''

_PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{project}"
version = "0.1.0"
description = "The family {family} for medzoo."  # TODO
requires-python = ">=3.11"
dependencies = ["medzoo"]

[project.optional-dependencies]
test = ["pytest"]

# Name of the family -> its Generator, imported when an entry names it.
[project.entry-points."medzoo.families"]
{family} = "{package}.{family}:{cls}"

# The package whose folder registry/ holds entries; it is found, not imported.
[project.entry-points."medzoo.registries"]
{package} = "{package}"

[tool.hatch.build]
dev-mode-dirs = ["."]  # an editable installation is one line that names this folder

[tool.hatch.build.targets.wheel]
packages = ["{package}"]
"""

_TEST = '''\
"""The contract of every medzoo family, applied to {family}."""

from medzoo.testing import FamilyCase, FamilyContract


class Test{cls}(FamilyContract):
    cases = [{case}]
'''

_README = """\
# {project}

The family `{family}` for medzoo. What is drafted here runs; replace every TODO.

| file | holds |
|---|---|
| `{package}/{family}.py` | the network under the names of its checkpoint, and how it is sampled |
| `{package}/registry/models/{model_id}.yaml` | an entry: one model of the family |
| `tests/test_{family}.py` | the contract that every family keeps, applied to a tiny model |

Install it once, editable; test it; then list, check and run its model:

```console
$ pip install -e .
$ python -m pytest
$ medzoo list --family {family}
$ medzoo check {model_id}
$ medzoo generate {model_id} -n 16 --out look --grid
```

The entry needs weights. While you have none, random ones let everything else run:

```python
from medzoo.testing import random_state
from safetensors.torch import save_file

save_file(random_state("{family}", {{"latent": 4, "size": 8}}), "{package}/registry/models/{family}.safetensors")
```

State them in the entry: `path: {family}.safetensors` and `container: safetensors`.
"""
