"""The training loop: steps, log lines, measurements, snapshots that survive a kill.

Everything random in step k is drawn from (seed, k) on the CPU, so a run that was killed and resumed follows the path
of one that was not: number by number in float32 on one CPU with as many threads and without ``compile``, in
distribution otherwise.

Several processes (``medzoo.training.parallel``) run this loop together; rank 0 alone touches the folder and measures,
and broadcasts what it finds.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.datasets import Images
from medzoo.device import is_out_of_memory
from medzoo.errors import DeviceError, TrainingError
from medzoo.text import first_line
from medzoo.training import parallel
from medzoo.training.adversarial import AdversarialLearner
from medzoo.training.config import TrainConfig
from medzoo.training.data import About, facts_of, stack, tensors
from medzoo.training.direct import DirectLearner
from medzoo.training.drafting import own_entry
from medzoo.training.heldout import JUDGED, HeldOut, of_discriminator, png, sample, sheet
from medzoo.training.loggers import Logger
from medzoo.training.pace import Pace
from medzoo.training.progress import Report
from medzoo.training.recipes import Adversarial, kind
from medzoo.training.runfolder import Best, RunFolder
from medzoo.training.selection import best, reason_to_stop
from medzoo.training.tables import read_table

PATIENCE = 300.0  # seconds without a picture after which there is one more, and the state is saved


class Trainer:
    """One run in one folder (its files: ``medzoo.training.runfolder``).

    Args:
        config: what to train.
        train: the images to learn.
        folder: of the run; it goes on where the folder left off.
        held_out: measures snapshots; None keeps no best one. Of several processes rank 0 asks its own.
        device: where to train.
        loggers: show what the tables and pictures hold; of several processes the first one's.
        grid: samples of a picture.
        log_every: steps between two lines of ``log.csv``.
        about: the images; the folder then carries the entry of its model, by which it generates.

    Raises:
        TrainingError: the images do not fit the configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        train: Images,
        folder: Path,
        held_out: HeldOut | None,
        device: torch.device | None = None,
        loggers: Sequence[Logger] = (),
        *,
        grid: int = 32,
        log_every: int = 10,
        about: About | None = None,
    ) -> None:
        self.config, self.held_out, self.folder, self.loggers = config, held_out, RunFolder(folder), loggers
        self.grid, self.log_every = grid, log_every
        self.device = device or torch.device("cpu")
        facts = facts_of(config, train)
        learner = AdversarialLearner if issubclass(kind(config.family), Adversarial) else DirectLearner
        self.learner: AdversarialLearner | DirectLearner = parallel.rank_by_rank(
            lambda: learner(config, *tensors(train, config), facts, self.device)
        )
        self.entry = None if about is None else own_entry(config, about, self.learner.recipe)
        self.step = 0
        self.best: Best | None = None
        self.stopped: str | None = None  # why the run ended before its last step
        parallel.on_rank0(self.check_patience)
        if config.compile and can_compile(self.device):
            self.learner.recipe.compile(self.learner.networks)

    def run(self, report: Report, stopped: Callable[[], object] = lambda: False) -> bool:
        """Train up to ``config.steps``, from wherever the folder left off.

        Args:
            report: called after every step with its number and losses.
            stopped: asked after every step; once true in any process, the state is saved and the run ends.

        Returns:
            Whether the run is done: all steps made, or ended by ``held.patience`` (``self.stopped`` says why).

        Raises:
            TrainingError: another configuration or process owns the folder, the disk refuses, or the losses or
                weights are not finite any more (then ``latest.pt`` holds the last good state).
        """
        with ExitStack() as stack:
            parallel.on_rank0(lambda: stack.enter_context(self.folder.opened(self.config)))
            if self.entry is not None:
                parallel.on_rank0(partial(self.folder.describe, self.entry))
            self.resume()
            stack.enter_context(self.open_loggers())
            if self.step == 0:
                parallel.on_rank0(self.draw)
            pace, self.drawn = Pace(self.config.steps), time.monotonic()
            while self.step < self.config.steps and self.stopped is None:
                losses = self.train_step()
                self.step += 1
                pace.count()
                finite = self.check_finite(losses)
                if self.step % self.log_every == 0 and finite:
                    parallel.on_rank0(partial(self.record, "train", losses))
                report(self.step, losses)
                asked = {"halt": float(bool(stopped())), "late": float(time.monotonic() - self.drawn > PATIENCE)}
                asked = parallel.means(asked, self.device)  # the same in every process
                self.snapshot(halt=asked["halt"] > 0, late=asked["late"] > 0)
                self.tell(lambda logger: logger.step(self.step, pace.left(self.step)))
                if asked["halt"]:
                    break
        return self.step >= self.config.steps or self.stopped is not None

    def snapshot(self, *, halt: bool, late: bool) -> None:
        """Measure, save and draw whatever is due after this step; ``late``: no picture was drawn for minutes."""
        config, last = self.config, self.step == self.config.steps
        measure = last or self.step == config.held.early or self.step % config.held.every == 0
        draw = last or late or self.step % config.snapshot == 0
        if measure or draw or halt:
            parallel.on_rank0(lambda: self.write_snapshot(measure and self.held_out is not None, draw))
            self.drawn = time.monotonic() if draw else self.drawn
            self.stopped = parallel.broadcast(self.stopped)

    def write_snapshot(self, measure: bool, draw: bool) -> None:
        """The part of a snapshot that rank 0 does."""
        self.check_weights()
        if measure:
            self.measure()
        self.save()
        if draw or self.stopped:
            self.draw()

    def draw(self) -> None:
        """The same samples as before, from the average as it is now."""
        pixels = sheet(*self.sample(self.grid))
        self.folder.picture(f"{self.step:06d}.png", png(pixels))
        self.tell(lambda logger: logger.picture(self.step, pixels))

    def record(self, kind: str, values: Mapping[str, float]) -> None:
        """One line of the table of losses ("train") or of measurements ("heldout")."""
        row = {"step": self.step, **values}
        self.folder.add(self.folder.log if kind == "train" else self.folder.held, row)
        self.tell(lambda logger: logger.numbers(kind, row))

    @contextmanager
    def open_loggers(self) -> Iterator[None]:
        """Let the loggers go on after the run's step."""
        self.tell(lambda logger: logger.open(self.step, self.config))
        try:
            yield
        finally:
            self.tell(lambda logger: logger.close())

    def tell(self, what: Callable[[Logger], None]) -> None:
        """Call every logger."""
        with self.folder.disk_errors():
            for logger in self.loggers:
                what(logger)

    def train_step(self) -> dict[str, float]:
        """One step; errors that only the user can fix say what to do."""
        try:
            return self.learner.train_step(self.step)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise DeviceError(f"a batch of {self.config.batch} does not fit in memory; lower batch") from error
            if self.config.compile and isinstance(error, torch._dynamo.exc.TorchDynamoException):
                raise TrainingError(
                    f"TorchInductor could not compile ({first_line(error)}); set compile: false"
                ) from error
            raise

    def measure(self) -> None:
        """One line of ``heldout.csv``; keeps the average if it is the best so far; asks whether to stop."""
        assert self.held_out is not None
        started = time.monotonic()
        images, masks = self.sample(self.config.held.samples)
        scores = self.held_out(images, masks)
        if isinstance(self.learner, AdversarialLearner):
            scores |= self.overfitting(self.learner, images, masks)
        seconds = time.monotonic() - started
        self.record("heldout", {**scores, "seconds": seconds})
        rows = read_table(self.folder.held)
        if best(rows, self.config.held.early) == len(rows) - 1:
            state = {name: value.detach().clone() for name, value in self.learner.average.state_dict().items()}
            self.best = Best(self.step, scores, state)
        self.stopped = self.why_stop(rows)

    def why_stop(self, rows: Sequence[Mapping[str, float]]) -> str | None:
        return reason_to_stop(rows, self.config.held.patience, self.config.held.early)

    def overfitting(
        self, learner: AdversarialLearner, images: NDArray[np.uint8], masks: NDArray[np.uint8] | None
    ) -> dict[str, float]:
        """What the discriminator says of training, held-out and the generated images."""
        assert self.held_out is not None
        train, held = learner.data, self.held_out.held
        held_data = stack(held.images, held.masks if self.config.masks else None)
        kinds = (train, held_data, stack(images, masks))
        return of_discriminator(*(learner.mean_logits(spread(data)) for data in kinds))

    def sample(self, n: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        learner = self.learner
        with learner.autocast():
            return sample(learner.recipe, learner.average, n, self.config.held.seed, self.device)

    def save(self) -> None:
        """Everything needed to go on. Loggers go first: a resumed run drops what they show after its step."""
        self.tell(lambda logger: logger.flush())
        self.folder.save({"step": self.step, **self.learner.state()}, self.best)

    def resume(self) -> None:
        """Take over what the folder holds, if anything."""
        saved = parallel.on_rank0(lambda: self.folder.load(self.device))
        if parallel.rank():
            saved = self.folder.read(self.device)
        if parallel.means({"saved": float(saved is not None)}, self.device)["saved"] not in (0, 1):
            raise TrainingError(f"{self.folder.latest}: not every process sees it; give all the same folder")
        if saved is None:
            return
        state, self.best = saved
        try:
            self.learner.load_state(state)
        except (KeyError, ValueError, RuntimeError) as error:
            raise TrainingError(
                f"{self.folder.latest}: does not fit the networks of this configuration ({error}); "
                "restore the configuration, or take another --out"
            ) from None
        self.step = int(state["step"])
        self.stopped = parallel.broadcast(self.why_stop(read_table(self.folder.held)))

    def check_patience(self) -> None:
        if self.config.held.patience is not None and self.held_out is None:
            raise TrainingError(
                "held.patience needs held-out distances, which --no-held-out (held_out=False) leaves out; measure "
                "them, or set patience to null"
            )

    def check_finite(self, losses: Mapping[str, float]) -> bool:
        """Whether the losses are finite.

        If not, the run ends, unless float16 overflowed: that update was left out, and the next ones are scaled less.
        """
        finite = all(math.isfinite(value) for value in losses.values())
        if not finite and not self.learner.overflowed:
            shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
            parallel.on_rank0(lambda: self.stop_with(f"a loss is not finite ({shown})"))
        if self.learner.scaler.get_scale() < 1:
            parallel.on_rank0(lambda: self.stop_with("gradients overflow float16, however little they are scaled"))
        return finite

    def stop_with(self, why: str) -> None:
        raise TrainingError(f"step {self.step}: {why}; {self.advice()}")

    def check_weights(self) -> None:
        """A step can end with finite losses and broken weights: never save those over good ones."""
        learner = self.learner
        for which, network in (*learner.networks.items(), ("average", learner.average)):
            for name, value in network.state_dict().items():
                if not bool(torch.isfinite(value).all()):
                    self.stop_with(f"{which}.{name} is not finite")

    def advice(self) -> str:
        latest = self.folder.latest
        kept = f"{latest} holds the last good state" if latest.exists() else "nothing was saved yet"
        return f"{kept}. Lower lr, or take precision: float32, in a new run"


def spread(data: torch.Tensor) -> torch.Tensor:
    """At most ``JUDGED`` of n rows, evenly spaced: files of a folder often come in the order of patients."""
    return data[torch.linspace(0, len(data) - 1, min(JUDGED, len(data))).long().to(data.device)]


def can_compile(device: torch.device) -> bool:
    """Whether TorchInductor finds what it needs; a warning if not."""
    wanted = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if device.type != "cpu" or shutil.which(shlex.split(wanted)[0]):
        return True
    warnings.warn(
        f"compile: true needs a C++ compiler, and there is no '{wanted}' (install one, or name yours in CXX); "
        "training goes on without, more slowly",
        stacklevel=3,
    )
    return False
