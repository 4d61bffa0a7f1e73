"""TrainConfig: everything that decides a training run, from one YAML file.

Each family adds the fields of its networks and its own defaults in ``Settings`` (``medzoo.training.recipes``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from medzoo.catalog import yamlfile
from medzoo.entry import PositiveFloat, PositiveInt, Record
from medzoo.errors import EntryError, TrainingError, problems

STEPS = 20_000  # of a run that states none

Decay = Annotated[float, Field(ge=0, lt=1)]


def _technique(stated: dict[str, Any]) -> dict[str, Any]:
    from medzoo.training import techniques

    try:
        return techniques.checked(stated)
    except TrainingError as error:
        raise ValueError(str(error)) from None


def _none_learned(classes: bool) -> bool:
    if classes:
        raise ValueError("this family learns none; leave --classes out (classes: false)")
    return classes


NoClasses = Annotated[bool, AfterValidator(_none_learned)]  # of a family that cannot


class Held(Record):
    """How snapshots are compared: by their distance to held-out images.

    Attributes:
        every: steps between two measurements; the last step is always measured.
        samples: generated images in each, with the noise of indices 0, 1, ... of ``seed``.
        patience: measurements without a better snapshot after which the run stops; null for never.
    """

    every: PositiveInt = 1000
    samples: Annotated[int, Field(ge=2)] = 256
    seed: Annotated[int, Field(ge=0)] = 0
    patience: PositiveInt | None = None

    @property
    def early(self) -> int:
        """The step of a first look, which chooses nothing; 0 for none."""
        return self.every // 10


class TrainConfig(Record):
    """One training run. Families with a discriminator have one more field, ``critic``: it and its losses.

    Attributes:
        family: one that can be trained (a file of ``medzoo/training/recipes``).
        dataset: name in ``registry/datasets``; its ``train`` split is learned, its ``val`` split held out.
        folder: in its place, a path of images, in a file relative to that file; a tenth of them is held out (see
            ``docs/training.md``).
        size: height and width in pixels, one that the family supports; of volumes see :class:`VolumeConfig`.
        channels: ``RGB`` or ``L`` (grey) makes all pictures so; null takes what they are, which must be the same.
        window: with ``folder``: the numbers that become black and white, in the units of the files, where they have
            more than 8 bits; null as ``medzoo.imagefiles.tone`` says.
        masks: learn the mask as one more channel; where nothing is stated, wherever images have one.
        classes: learn the classes of the images, each as often as the others, where the family can.
        start: fine-tune: the id of a model of the zoo, or the folder of a run, whose weights this one begins with (a
            run's discriminator too); null for random ones.
        config: the network.
        techniques: against over-fitting, each with its ``name`` and options, in the order of their use.
        steps: updates of the network.
        batch: real images of one update, of all processes together.
        lr, betas: of Adam, for every network.
        ema: decay of the averaged generator, after a warm-up in which it averages what there is.
        mirror: flip every other real image left to right (the generator learns mirrored images too).
        precision: ``bfloat16`` and ``float16`` are mixed: weights and statistics stay in float32. ``float16`` is for
            CUDA devices; losses are scaled so that small gradients survive.
        compile: fuse the pieces between convolutions with TorchInductor (needs a C++ compiler; on a GPU, Triton).
        snapshot: steps between two snapshots and sample grids.
    """

    family: str
    dataset: str | None = None
    folder: str | None = None
    size: int | tuple[int, int, int]
    channels: Literal["RGB", "L"] | None = None
    window: tuple[float, float] | None = None
    masks: bool = False
    classes: bool = False
    start: str | None = None
    config: Record
    techniques: tuple[Annotated[dict[str, Any], AfterValidator(_technique)], ...] = ()
    steps: PositiveInt = STEPS
    batch: Annotated[int, Field(ge=2)] = 8
    lr: PositiveFloat = 2e-4
    betas: tuple[Decay, Decay] = (0.5, 0.999)
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.999
    mirror: bool = False
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    snapshot: PositiveInt = 500
    held: Held = Held()

    @model_validator(mode="after")
    def _one_source(self) -> TrainConfig:
        if (self.dataset is None) == (self.folder is None):
            raise ValueError("state either dataset (of the registry) or folder (a path of images)")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(f"window needs low < high, found {list(self.window)}")
        if self.window is not None and self.folder is None:
            raise ValueError("window goes with folder; a dataset of the registry states its own")
        return self

    @property
    def source(self) -> str:
        """What messages call the images."""
        return self.dataset or self.folder or ""


class Deform(Record):
    """How each training volume is changed anew in each step, within these limits either way.

    Attributes:
        rotation: degrees about each axis.
        zoom: 0.1 makes each axis longer or shorter by up to 10 %.
        shift: share of each side.
        bend: standard deviation of a smooth displacement (4 x 4 x 4 knots), as a share of half a side.
        gamma: standard deviation of the logarithm of an exponent of the brightness.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 7.0
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.1
    shift: Annotated[float, Field(ge=0, lt=1)] = 0.02
    bend: Annotated[float, Field(ge=0, lt=1)] = 0.025
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.15


class VolumeConfig(TrainConfig):
    """A configuration of a family that learns volumes: NIfTI files of one number a voxel.

    Attributes:
        dataset, folder: whole volumes of all splits; of a folder a tenth, two at least, is held out.
        held_dataset: with ``dataset``: another one, whose volumes are held out.
        size: depth (upwards), height (to the back) and width (to the left) in voxels. A larger thing is cut.
        spacing: side of a voxel in millimetres.
        deform: see :class:`Deform`.
    """

    held_dataset: str | None = None
    size: tuple[PositiveInt, PositiveInt, PositiveInt]
    spacing: PositiveFloat
    deform: Deform = Deform()
    channels: None = None
    masks: Literal[False] = False
    classes: Literal[False] = False

    @model_validator(mode="after")
    def _of_volumes(self) -> VolumeConfig:
        if (self.dataset is None) != (self.held_dataset is None):
            raise ValueError("dataset and held_dataset, whose volumes are held out, go together")
        if self.techniques:
            raise ValueError(
                f"{self.techniques[0]['name']} is a technique for pictures; volumes have deform and mirror"
            )
        return self


# A run may go on with other values of these: none of them changes what the next step does.
MAY_CHANGE = ("steps", "snapshot")


def parse(fields: Mapping[str, Any]) -> TrainConfig:
    """Fields -> the configuration of their family. Raises ValidationError."""
    from medzoo.training import recipes

    return recipes.settings(fields.get("family")).model_validate(dict(fields))


def settings_of(fields: Mapping[str, Any]) -> TrainConfig:
    """Fields that were typed as options or arguments -> the configuration.

    Raises:
        TrainingError: with every problem, one a line.
    """
    try:
        return parse(fields)
    except ValidationError as error:
        from medzoo.training import recipes

        record = recipes.settings(fields.get("family"))
        raise TrainingError("\n".join(problems(error, record=record))) from None


def load_config(path: Path) -> TrainConfig:
    """Read and check a YAML file. Paths in it are relative to it.

    Raises:
        TrainingError: with every problem of the file, and its line.
    """
    return placed(read_config(path), path.resolve().parent)


def placed(config: TrainConfig, folder: Path) -> TrainConfig:
    """The same with absolute paths, where they are relative to a folder."""
    paths = {"folder": folder / config.folder} if config.folder is not None else {}
    if config.start is not None and (folder / config.start).is_dir():  # or else the id of a model
        paths["start"] = folder / config.start
    return config.model_copy(update={name: os.path.normpath(found) for name, found in paths.items()})


def read_config(path: Path) -> TrainConfig:
    """A configuration with its paths as they are written. Raises TrainingError."""
    from medzoo.training import recipes

    try:
        text = path.read_text(encoding="utf-8")
        family = yamlfile.fields(text, str(path)).get("family")
        return yamlfile.parse(text, str(path), recipes.settings(family), "configuration")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except EntryError as error:
        raise TrainingError(str(error)) from None


def fitting_batch(batch: int, images: int, processes: int) -> int:
    """The largest batch, at most ``batch``, that ``images`` images fill and ``processes`` processes can share."""
    most = min(batch, images)
    return most - most % processes


def dump_config(config: TrainConfig) -> str:
    """The YAML of a configuration, every field stated (a window only where there is one)."""
    fields = config.model_dump(mode="json")
    if fields["window"] is None:
        del fields["window"]
    return yaml.safe_dump(fields, sort_keys=False, default_flow_style=None, width=120)


def differences(stored: TrainConfig, wanted: TrainConfig) -> list[str]:
    """``field: stored -> wanted`` of every field that a run must keep and that differs."""
    before, after = stored.model_dump(mode="json"), wanted.model_dump(mode="json")
    return [
        f"{name}: {before.get(name)} -> {after.get(name)}"
        for name in before
        if name not in MAY_CHANGE and before[name] != after.get(name)
    ]
