"""``train``: from a configuration, or a family and a folder of images, to a finished run."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.files.whole import check_local
from medzoo.training import loggers as shown_by
from medzoo.training import parallel, presets, recipes
from medzoo.training.config import (
    TrainConfig,
    VolumeConfig,
    differences,
    fitting_batch,
    load_config,
    placed,
    settings_of,
)
from medzoo.training.data import about, load
from medzoo.training.heldout import HeldOut
from medzoo.training.interrupt import Stopped, noted_signals
from medzoo.training.progress import Report, bar
from medzoo.training.run import Run
from medzoo.training.trainer import Trainer


def train(
    config: TrainConfig | Path | str | None = None,
    /,
    data: Path | str | None = None,
    out: Path | str | None = None,
    *,
    steps: int | None = None,
    device: str | None = None,
    held_out: bool = True,
    loggers: Sequence[str] = (),
    preset: str = "auto",
    quiet: bool = False,
    progress: Report | None = None,
    **settings: Any,
) -> Run:
    """Train a generator, or go on with the run in ``out``.

    A configuration describes the run, or keyword arguments do, the fields of
    :class:`~medzoo.training.config.TrainConfig` and of its family::

        train("config.yaml", "data/", "runs/chest")
        train(family="fastgan", data="polyps/", size=128, out="runs/polyps", techniques=["ada", {"name": "r1"}])

    Without a configuration masks are learned where there are any, and ``batch`` is at most what the images fill.

    Args:
        config: a configuration, or the path of its YAML file; by position, since ``config=`` is a field: the network.
        data: with ``config``, or ``dataset``: folder that holds the data sets (default: ``$MEDZOO_DATA``). With
            ``family``: the images themselves.
        out: folder of the run.
        steps: stop here, not where the configuration says.
        device: a torch device name (default: a CUDA device if there is one).
        held_out: measure held-out distances; without them there is no best snapshot.
        loggers: names of ``medzoo.training.loggers`` that show numbers and pictures, such as ``tensorboard``, beside
            the page ``out/index.html``.
        preset: without ``config``: ``tiny``, ``small`` or ``full`` (``medzoo.training.presets``): networks and steps
            where nothing is stated. ``auto`` takes ``small`` on a CPU, else ``full``, and what a run began with.
        quiet: show no progress bar, and none of what the run is going to take.
        progress: called after every step with its number and its losses.
        settings: without ``config``: ``family``, ``size``, and any other field. ``techniques`` may be given by their
            names alone, and ``patience`` for ``held={"patience": ...}``.

    Returns:
        The run: finished, or ended early by ``held.patience`` (``run.stopped`` says why).

    Raises:
        TrainingError: the configuration or the images do not fit, or the run cannot go on.
        Stopped: a ``KeyboardInterrupt``: Ctrl-C was pressed, and the step under way is saved. The same call goes on.
    """
    if out is None:
        raise TrainingError("state out, the folder of the run")
    check_local(out, TrainingError)
    folder, root = Path(out), None if data is None else Path(data)
    with parallel.joined(device) as place:
        shown = parallel.on_rank0(lambda: shown_by.create(("page", *loggers), folder))  # before anything slow
        job = parallel.rank_by_rank(lambda: plan(config, root, steps, settings, preset, place, folder))
        measure = parallel.on_rank0(lambda: HeldOut(job.held, str(place), job.train)) if held_out else None
        described = about(job.config, job.train)
        trainer = Trainer(job.config, job.train, folder, measure, place, shown or (), about=described)
        quiet = quiet or parallel.rank() > 0
        if not quiet:
            print("\n".join(job.remarks(place)), file=sys.stderr)
        return _run(trainer, job, folder, quiet, progress)


def _run(trainer: Trainer, job: Job, folder: Path, quiet: bool, progress: Report | None) -> Run:
    """Train until the end, or until Ctrl-C."""
    made, started = 0, time.monotonic()
    with noted_signals() as caught, bar(trainer.config.steps, quiet=quiet, shorter=job.shorter) as shown:

        def report(step: int, losses: dict[str, float]) -> None:
            nonlocal made
            made += 1
            shown(step, losses)
            if progress is not None:
                progress(step, losses)

        finished = trainer.run(report, lambda: caught)
    run = Run(folder, made=made, seconds=time.monotonic() - started)
    if caught or not finished:  # a signal here, or in another process
        raise Stopped(run, caught[0] if caught else signal.SIGINT)
    return run


FEW = 1000  # images below which a technique against over-fitting is worth naming


@dataclass(frozen=True)
class Job:
    """What is trained: a complete configuration, the images to learn, and those held out.

    Attributes:
        preset: whose networks and steps these are; None where a configuration states them.
        steps: that were stated, whatever the preset.
    """

    config: TrainConfig
    train: Images
    held: Images
    preset: str | None = None
    steps: int | None = None

    def remarks(self, device: torch.device) -> list[str]:
        """What was decided, a line each."""
        config, kind = self.config, recipes.kind(self.config.family)
        said = [f"{config.source}: {len(self.train)} images to learn, {len(self.held)} held out"]
        if self.preset is not None:
            said.append(presets.shown(self.preset, kind.presets[self.preset], config, device))
        if self.preset and len(self.train) < FEW and not config.techniques and issubclass(kind, recipes.Adversarial):
            said.append(
                f"no technique against over-fitting: with {len(self.train)} images, --technique diffaugment is likely "
                "to help (docs/limited_data.md)"
            )
        return said

    def shorter(self, seconds: float) -> str:
        """What shorter presets would take, where a step of this one takes ``seconds``."""
        kind = recipes.kind(self.config.family)
        return "" if self.preset is None else presets.shorter(kind.presets, self.preset, seconds, self.steps)


def plan(
    config: TrainConfig | Path | str | None,
    root: Path | None,
    steps: int | None,
    settings: Mapping[str, Any],
    preset: str,
    device: torch.device,
    folder: Path | None = None,
) -> Job:
    """The job that a configuration or fields describe; arguments as of :func:`train`. Raises MedzooError."""
    if config is not None:
        return from_config(config, root, steps, settings)
    return from_fields(settings, root, steps, presets.candidates(preset, device), folder)


def from_config(
    config: TrainConfig | Path | str, root: Path | None, steps: int | None, settings: Mapping[str, Any] | None = None
) -> Job:
    """The job that a configuration describes.

    Args:
        root: folder that holds the data sets.
        steps: in place of those of the configuration.
        settings: must be empty: whatever a configuration states, it states alone.

    Raises:
        TrainingError: the configuration does not fit.
        MedzooError: its images are not there.
    """
    where = "the configuration" if isinstance(config, TrainConfig) else config
    if settings:
        raise TrainingError(f"{next(iter(settings))} is for a run without a configuration; state it in {where}")
    # Before anything slow.
    config = placed(config, Path.cwd()) if isinstance(config, TrainConfig) else load_config(Path(config))
    if steps is not None:
        if steps < 1:
            raise TrainingError(f"steps: expected 1 or more, found {steps}")
        config = config.model_copy(update={"steps": steps})
    train, held = load(config, root)
    if "masks" not in config.model_fields_set and not isinstance(config, VolumeConfig):
        config = config.model_copy(update={"masks": train.masks is not None})
    return Job(config, train, held)


def from_fields(
    settings: Mapping[str, Any],
    data: Path | None,
    steps: int | None = None,
    wanted: Sequence[str] = ("full",),
    folder: Path | None = None,
) -> Job:
    """The job that fields of a configuration describe, with what the images decide where a field says nothing.

    Args:
        settings: ``family``, ``size`` and others.
        data: the images, or with ``dataset`` the folder that holds the data sets.
        steps: those of the preset where not stated.
        wanted: presets; of several the one that the run in ``folder`` began with, or else the first.
        folder: of the run.

    Raises:
        TrainingError: a field is missing or does not fit.
        MedzooError: the images are not there.
    """
    fields = {name: value for name, value in settings.items() if value is not None}
    if isinstance(fields.get("config"), TrainConfig | Path | str):
        raise TrainingError(
            "config: expected the fields of the network, found a configuration; give that one as the first argument, "
            'without a name: train("config.yaml", ...)'
        )
    of_registry = "dataset" in fields
    if {"family", "size"} - fields.keys() or (data is None and not of_registry):
        raise TrainingError("state config (a configuration, or its YAML file), or family, data (the images) and size")
    if steps is not None:
        fields["steps"] = steps
    if not of_registry:
        assert data is not None
        fields["folder"] = str(data.resolve())
    if "start" in fields and Path(fields["start"]).is_dir():
        fields["start"] = str(Path(fields["start"]).resolve())
    if "techniques" in fields:
        fields["techniques"] = [_technique(stated) for stated in _listed(fields["techniques"])]
    if "patience" in fields:
        fields["held"] = {**fields.get("held", {}), "patience": fields.pop("patience")}
    config = settings_of(fields)  # before anything slow
    train, held = load(config, data if of_registry else None)
    if not isinstance(config, VolumeConfig):
        fields.setdefault("batch", fitting_batch(config.batch, len(train), parallel.world()))
        fields.setdefault("masks", train.masks is not None)
    known = recipes.kind(config.family).presets
    found = {name: settings_of(presets.filled(fields, known[name])) for name in wanted}
    name = _begun_with(found, folder) or wanted[0]
    return Job(found[name], train, held, name, fields.get("steps"))


def _begun_with(found: Mapping[str, TrainConfig], folder: Path | None) -> str | None:
    """The preset that the run in a folder began with, if a run is there and any of them fits."""
    stored = folder / "config.yaml" if folder is not None else None
    if len(found) == 1 or stored is None or not stored.exists():
        return None
    began = load_config(stored)
    return next((name for name, config in found.items() if not differences(began, config)), None)


def _listed(techniques: Any) -> Sequence[Any]:
    if isinstance(techniques, str | Mapping):
        raise TrainingError(f"techniques: expected a list, found {techniques!r}; write [{techniques!r}]")
    return list(techniques)


def _technique(stated: str | Mapping[str, Any]) -> dict[str, Any]:
    """A name, or a name with options -> as a configuration states it."""
    return {"name": stated} if isinstance(stated, str) else dict(stated)
