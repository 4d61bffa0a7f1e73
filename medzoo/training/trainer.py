"""The training loop: steps, log lines, measurements, snapshots that survive a kill.

Everything random in step k is drawn from (seed, k) on the CPU, so a run that was killed and resumed follows the path
of one that was not: number by number in float32 on one CPU with as many threads and without ``compile``, in
distribution otherwise.

Several processes (``medzoo.training.parallel``) run this loop together; what touches the folder, or measures, is the
first one's, and what it finds is shared.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.datasets import Images
from medzoo.device import is_out_of_memory
from medzoo.errors import DeviceError, TrainingError
from medzoo.families.fastgan.gate import compile_training
from medzoo.training import parallel
from medzoo.training.adversarial import AdversarialLearner
from medzoo.training.board import Board
from medzoo.training.config import TrainConfig
from medzoo.training.data import facts_of, stacked, tensors
from medzoo.training.direct import DirectLearner
from medzoo.training.heldout import JUDGED, HeldOut, of_discriminator, png, sample, sheet
from medzoo.training.recipes import Adversarial, kind
from medzoo.training.runfolder import Best, RunFolder, read_table
from medzoo.training.selection import best, reason_to_stop

Report = Callable[[int, dict[str, float]], None]
GRID = 32  # samples of a picture
LOG_EVERY = 10  # steps


class Trainer:
    """One run in one folder (its files: ``medzoo.training.runfolder``).

    Args:
        config: what to train.
        train: the images to learn.
        folder: of the run; it goes on where the folder left off.
        held_out: measures snapshots; None keeps no best one. Of several processes the first one's is asked.
        device: where to train.
        board: shows TensorBoard what the tables and pictures hold.

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
        board: Board | None = None,
    ) -> None:
        self.config, self.held_out, self.folder, self.board = config, held_out, RunFolder(folder), board
        self.device = device or torch.device("cpu")
        facts = facts_of(config, train)
        played = AdversarialLearner if issubclass(kind(config.family), Adversarial) else DirectLearner
        self.players: AdversarialLearner | DirectLearner = parallel.in_turn(
            lambda: played(config, *tensors(train, config), facts, self.device)
        )
        self.step = 0
        self.best: Best | None = None
        self.stopped: str | None = None  # why the run ended before its last step
        parallel.first(self.check_patience)
        if config.compile and can_compile(self.device):
            compile_training()

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
            parallel.first(lambda: stack.enter_context(self.folder.opened(self.config)))
            self.resume()
            if self.board is not None:
                stack.enter_context(self.shown(self.board))
            while self.step < self.config.steps and self.stopped is None:
                losses = self.attempt()
                self.step += 1
                finite = self.check_finite(losses)
                if self.step % LOG_EVERY == 0 and finite:
                    parallel.first(partial(self.record, "train", losses))
                report(self.step, losses)
                halt = parallel.means({"halt": float(bool(stopped()))}, self.device)["halt"] > 0
                self.snapshot(halt)
                if halt:
                    break
        return self.step >= self.config.steps or self.stopped is not None

    def snapshot(self, halt: bool) -> None:
        """Measure, save and draw whatever is due after this step."""
        config, last = self.config, self.step == self.config.steps
        measure, draw = last or self.step % config.held.every == 0, last or self.step % config.snapshot == 0
        if measure or draw or halt:
            parallel.first(lambda: self.written(measure and self.held_out is not None, draw, halt))
            self.stopped = parallel.shared(self.stopped)

    def written(self, measure: bool, draw: bool, halt: bool) -> None:
        """The first process's part of a snapshot."""
        if measure or draw or halt:
            self.check_weights()
        if measure:
            self.measure()
        if measure or draw or halt:
            self.save()
        if draw or self.stopped:
            pixels = sheet(*self.sample(GRID))
            self.folder.picture(f"{self.step:06d}.png", png(pixels))
            if self.board is not None:
                with self.folder.disk_errors():
                    self.board.picture(self.step, pixels)

    def record(self, kind: str, values: Mapping[str, float]) -> None:
        """One line of the table of losses ("train") or of measurements ("heldout")."""
        row = {"step": self.step, **values}
        self.folder.add(self.folder.log if kind == "train" else self.folder.held, row)
        if self.board is not None:
            with self.folder.disk_errors():
                self.board.numbers(kind, row)

    @contextmanager
    def shown(self, board: Board) -> Iterator[None]:
        """TensorBoard's files open, to go on after the run's step."""
        with self.folder.disk_errors():
            board.open(self.step)
        try:
            yield
        finally:
            with self.folder.disk_errors():
                board.close()

    def attempt(self) -> dict[str, float]:
        """One step, with what only the user can mend said in words."""
        try:
            return self.players.one_step(self.step)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise DeviceError(f"a batch of {self.config.batch} does not fit in memory; lower batch") from error
            if self.config.compile and isinstance(error, torch._dynamo.exc.TorchDynamoException):
                told = str(error).strip().partition("\n")[0]
                raise TrainingError(f"TorchInductor could not compile ({told}); set compile: false") from error
            raise

    def measure(self) -> None:
        """One line of ``heldout.csv``; keeps the average if it is the best so far; asks whether to stop."""
        assert self.held_out is not None
        started = time.monotonic()
        images, masks = self.sample(self.config.held.samples)
        scores = self.held_out(images, masks)
        if isinstance(self.players, AdversarialLearner):
            scores |= self.overfitting(self.players, images, masks)
        seconds = time.monotonic() - started
        self.record("heldout", {**scores, "seconds": seconds})
        rows = read_table(self.folder.held)
        better = self.best is None or scores["kid"] < self.best.scores["kid"]
        if better and best(rows) == len(rows) - 1:
            state = {name: value.detach().clone() for name, value in self.players.average.state_dict().items()}
            self.best = Best(self.step, scores, state)
        self.stopped = reason_to_stop(rows, self.config.held.patience)

    def overfitting(
        self, players: AdversarialLearner, images: NDArray[np.uint8], masks: NDArray[np.uint8] | None
    ) -> dict[str, float]:
        """What the discriminator says of training, held-out and the generated images."""
        assert self.held_out is not None
        train, held = players.data, self.held_out.held
        held_data = stacked(held.images, held.masks if self.config.masks else None)
        kinds = (train, held_data, stacked(images, masks))
        return of_discriminator(*(players.logits(spread(one)) for one in kinds))

    def sample(self, n: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        players = self.players
        with players.autocast():
            return sample(players.recipe, players.average, n, self.config.held.seed, self.device)

    def save(self) -> None:
        """Everything needed to go on. Events go first: a resumed run drops those after its step."""
        if self.board is not None:
            with self.folder.disk_errors():
                self.board.flush()
        self.folder.save({"step": self.step, **self.players.state()}, self.best)

    def resume(self) -> None:
        """Take over what the folder holds, if anything."""
        found = parallel.first(lambda: self.folder.load(self.device))
        if parallel.rank():
            found = self.folder.read(self.device)
        if parallel.means({"found": float(found is not None)}, self.device)["found"] not in (0, 1):
            raise TrainingError(f"{self.folder.latest}: not every process sees it; give all the same folder")
        if found is None:
            return
        state, self.best = found
        try:
            self.players.load_state(state)
        except (KeyError, ValueError, RuntimeError) as error:
            raise TrainingError(
                f"{self.folder.latest}: does not fit the networks of this configuration ({error}); "
                "restore the configuration, or take another --out"
            ) from None
        self.step = int(state["step"])
        self.stopped = parallel.shared(reason_to_stop(read_table(self.folder.held), self.config.held.patience))

    def check_patience(self) -> None:
        if self.config.held.patience is not None and self.held_out is None:
            raise TrainingError("held.patience needs held-out distances; leave --no-held-out out, or set it to null")

    def check_finite(self, losses: Mapping[str, float]) -> bool:
        """Whether the losses are numbers. If not, the run ends, unless float16 overflowed: that update was left out,
        and the next ones are scaled less.
        """
        finite = all(math.isfinite(value) for value in losses.values())
        if not finite and not self.players.overflown:
            shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
            parallel.first(lambda: self.broken(f"a loss is not finite ({shown})"))
        if self.players.scaler.get_scale() < 1:
            parallel.first(lambda: self.broken("gradients overflow float16, however little they are scaled"))
        return finite

    def broken(self, why: str) -> None:
        raise TrainingError(f"step {self.step}: {why}; {self.advice()}")

    def check_weights(self) -> None:
        """A step can end with finite losses and broken weights: never save those over good ones."""
        players = self.players
        for which, network in (*players.networks.items(), ("average", players.average)):
            for name, value in network.state_dict().items():
                if not bool(torch.isfinite(value).all()):
                    self.broken(f"{which}.{name} is not finite")

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
