"""TrainConfig: everything that decides a training run, from one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from medzoo import entryfile
from medzoo.entry import Record
from medzoo.errors import EntryError, TrainingError

Positive = Annotated[int, Field(gt=0)]


class Network(Record):
    """Width and latent size of the FastGAN generator; channels and size follow from the data."""

    ngf: Annotated[int, Field(ge=8)]
    nz: Positive


class Held(Record):
    """How snapshots are compared: Frechet distance and KID of EfficientNet-Lite0 features to held-out images.

    Attributes:
        every: steps between two measurements; the last step is always measured.
        samples: generated images in each, with the noise of indices 0, 1, ... of ``seed``.
    """

    every: Positive = 1000
    samples: Annotated[int, Field(ge=2)] = 256
    seed: Annotated[int, Field(ge=0)] = 0


class TrainConfig(Record):
    """One training run.

    Attributes:
        family: only ``fastgan`` for now.
        dataset: name in ``registry/datasets``; its ``train`` split is learned, its ``val`` split held out.
        size: height and width in pixels.
        masks: learn the mask as one more channel.
        config: the family's network, for FastGAN ``ngf`` and ``nz``.
        discriminator: ``fastgan``, or ``projected``: judges in the features of a network pretrained on ImageNet
            (needs ``medzoo[metrics]``), which learns several times faster. Held-out distances, taken in the same
            features, then flatter the generator.
        ndf: width of FastGAN's discriminator.
        steps, batch, lr, betas: of Adam, for both networks.
        ema: decay of the averaged generator, after a warm-up in which it averages what there is.
        augment: DiffAugment's policy, applied to real and generated images.
        mirror: flip every other real image left to right (the generator learns mirrored images too).
        reconstruction: weight of the L1 self-supervision of FastGAN's discriminator.
        precision: ``bfloat16`` is mixed: weights and statistics stay in float32.
        compile: fuse the pieces between convolutions with TorchInductor (needs a C++ compiler; on a GPU, Triton).
        snapshot: steps between two snapshots and sample grids.
    """

    family: Literal["fastgan"]
    dataset: str
    size: Literal[128, 256, 512, 1024]
    masks: bool
    config: Network
    discriminator: Literal["fastgan", "projected"] = "fastgan"
    ndf: Annotated[int, Field(ge=4)] = 64
    steps: Positive
    batch: Annotated[int, Field(ge=2)] = 8
    lr: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.5, 0.999)
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.999
    augment: tuple[Literal["color", "translation", "cutout"], ...] = ("color", "translation")
    mirror: bool = False
    reconstruction: Annotated[float, Field(ge=0)] = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    seed: Annotated[int, Field(ge=0)] = 0
    snapshot: Positive = 500
    held: Held = Held()


# A run may go on with other values of these: none of them changes what the next step does.
MAY_CHANGE = ("steps", "snapshot")


def load_config(path: Path) -> TrainConfig:
    """Read and check a YAML file.

    Raises:
        TrainingError: with every problem of the file, and its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return TrainConfig.model_validate(entryfile.fields(text, str(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except EntryError as error:  # not YAML, or a key stated twice
        raise TrainingError(str(error)) from None
    except ValidationError as error:
        raise TrainingError("\n".join(_problem(text, path, dict(one)) for one in error.errors())) from None


def dump_config(config: TrainConfig) -> str:
    """The YAML of a configuration, every field stated."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)


def differences(found: TrainConfig, wanted: TrainConfig) -> list[str]:
    """``field: stored -> asked for`` of every field that a run must keep and that differs."""
    before, after = found.model_dump(mode="json"), wanted.model_dump(mode="json")
    return [
        f"{name}: {before[name]} -> {after[name]}"
        for name in before
        if name not in MAY_CHANGE and before[name] != after[name]
    ]


def _problem(text: str, path: Path, error: dict[str, Any]) -> str:
    place, kind, found = error["loc"], error["type"], error["input"]
    if kind == "missing":
        told = "missing; state it"
    elif kind == "extra_forbidden":
        told = "unknown field; remove it, or mend its name"
    else:
        told = f"{error['msg'].replace('Input should be', 'expected')}, found {found!r}"
        if isinstance(found, str) and kind.startswith(("float", "int")):
            told += " (YAML wants a number without quotes, a power of ten with a dot: 2.0e-4)"
    return f"{path}:{entryfile.line_of(text, str(path), *place)}: {'.'.join(map(str, place)) or 'file'}: {told}"
