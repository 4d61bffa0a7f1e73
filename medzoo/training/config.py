"""TrainConfig: everything that decides a training run, from one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from medzoo.entry import Record
from medzoo.errors import TrainingError

Positive = Annotated[int, Field(gt=0)]


class Held(Record):
    """How snapshots are compared: Frechet distance and KID of EfficientNet-Lite0 features to held-out images.

    Attributes:
        every: steps between two measurements.
        samples: generated images in each, with the noise of indices 0, 1, ... of ``seed``.
    """

    every: Positive = 1000
    samples: Positive = 256
    seed: int = 0


class TrainConfig(Record):
    """One training run.

    Attributes:
        family: only ``fastgan`` for now.
        dataset: name in ``registry/datasets``; its ``train`` split is learned, its ``val`` split held out.
        size: height and width in pixels.
        masks: learn the mask as one more channel.
        config: the family's network, for FastGAN ``ngf`` and ``nz``.
        ndf: width of the discriminator.
        steps, batch, lr, betas: of Adam, for both networks.
        ema: decay of the averaged generator, after a warm-up in which it averages what there is.
        augment: DiffAugment's policy.
        reconstruction: weight of the discriminator's L1 self-supervision.
        precision: ``bfloat16`` is mixed: weights and statistics stay in float32.
        compile: fuse the pieces between convolutions with TorchInductor (needs a C++ compiler).
        snapshot: steps between two snapshots and sample grids.
    """

    family: Literal["fastgan"]
    dataset: str
    size: Literal[128, 256, 512, 1024]
    masks: bool
    config: dict[str, Any]
    ndf: Positive
    steps: Positive
    batch: Annotated[int, Field(ge=2)] = 8
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.999
    augment: tuple[Literal["color", "translation", "cutout"], ...] = ("color", "translation")
    reconstruction: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    seed: int = 0
    snapshot: Positive = 500
    held: Held = Held()


def load_config(path: Path) -> TrainConfig:
    """Read and check a YAML file.

    Raises:
        TrainingError: with every problem of the file.
    """
    try:
        return TrainConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise TrainingError(f"{path}: not valid YAML: {error}") from None
    except ValidationError as error:
        problems = "\n".join(f"  {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise TrainingError(f"{path}: not a training configuration:\n{problems}") from None
