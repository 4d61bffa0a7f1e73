"""The training loop: one step, one log line, snapshots that survive a kill.

Everything random in step k is drawn from (seed, k) on the CPU, so a run that was killed and resumed follows the path
of one that was not: number by number in float32 on one CPU with as many threads and without ``compile``, in
distribution otherwise.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.datasets import Images
from medzoo.errors import DeviceError, TrainingError
from medzoo.families._device import is_out_of_memory
from medzoo.families.fastgan import Network, noise_shapes
from medzoo.nets import compile_training
from medzoo.training.config import TrainConfig
from medzoo.training.diffaugment import Augmentation
from medzoo.training.fastgan import Discriminator, resize
from medzoo.training.heldout import HeldOut, grid, sample
from medzoo.training.runfolder import Best, RunFolder

if TYPE_CHECKING:
    from medzoo.training.projected import ProjectedDiscriminator

Critic: TypeAlias = "Discriminator | ProjectedDiscriminator"
Report = Callable[[int, dict[str, float]], None]
LOSSES = ("loss_d", "loss_g", "reconstruction", "d_real", "d_fake")
GRID = 32  # samples of a picture
LOG_EVERY = 10  # steps


class Trainer:
    """One run in one folder (its files: ``medzoo.training.runfolder``).

    Args:
        config: what to train.
        train: the images to learn.
        folder: of the run; it goes on where the folder left off.
        held_out: measures snapshots; None keeps no best one.
        device: where to train.

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
    ) -> None:
        self.config, self.held_out, self.folder = config, held_out, RunFolder(folder)
        self.device = device or torch.device("cpu")
        self.data = tensors(train, config).to(self.device)
        self.colours = train.images.shape[1]
        self.generator, self.average, self.discriminator = self.networks()
        self.optimizers = [
            torch.optim.Adam(net.parameters(), config.lr, config.betas, fused=True)
            for net in (self.generator, self.discriminator)
        ]
        self.step = 0
        self.best: Best | None = None
        if config.compile and can_compile(self.device):
            compile_training()

    def run(self, report: Report, stopped: Callable[[], object] = lambda: False) -> bool:
        """Train up to ``config.steps``, from wherever the folder left off.

        Args:
            report: called after every step with its number and losses.
            stopped: asked after every step; once true, the state is saved and the run ends.

        Returns:
            Whether all steps are done.

        Raises:
            TrainingError: another configuration or process owns the folder, the disk refuses, or the losses or
                weights are not finite any more (then ``latest.pt`` holds the last good state).
        """
        with self.folder.opened(self.config):
            self.resume()
            while self.step < self.config.steps:
                losses = self.attempt()
                self.step += 1
                self.check_finite(losses)
                if self.step % LOG_EVERY == 0:
                    self.folder.add(self.folder.log, {"step": self.step, **losses})
                report(self.step, losses)
                halt = bool(stopped())
                self.snapshot(halt)
                if halt:
                    break
        return self.step >= self.config.steps

    def snapshot(self, halt: bool) -> None:
        """Measure, save and draw whatever is due after this step."""
        config, last = self.config, self.step == self.config.steps
        measure = self.held_out is not None and (last or self.step % config.held.every == 0)
        draw = last or self.step % config.snapshot == 0
        if measure or draw or halt:
            self.check_weights()
        if measure:
            self.measure()
        if measure or draw or halt:
            self.save()
        if draw:
            images, masks = self.sample(GRID)
            self.folder.picture(f"{self.step:06d}.png", grid(images, masks))

    def attempt(self) -> dict[str, float]:
        """``one_step``, with what only the user can mend said in words."""
        try:
            return self.one_step()
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise DeviceError(f"a batch of {self.config.batch} does not fit in memory; lower batch") from error
            if self.config.compile and isinstance(error, torch._dynamo.exc.TorchDynamoException):
                told = str(error).strip().partition("\n")[0]
                raise TrainingError(f"TorchInductor could not compile ({told}); set compile: false") from error
            raise

    def one_step(self) -> dict[str, float]:
        """One update of the discriminator, one of the generator, one of the average."""
        config, rng = self.config, torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        real = self.reals(rng)
        latent = torch.randn(config.batch, self.generator.nz, generator=rng).to(self.device)
        shapes = noise_shapes(config.size)
        noise = [torch.randn(config.batch, *shape, generator=rng).to(self.device) for shape in shapes]
        augment_real, augment_fake = (Augmentation.draw(config.augment, config.batch, rng) for _ in range(2))

        with self.autocast():
            fake = self.generator.images(latent, noise)
            fake_big, fake_small = (augment_fake(image.float(), self.colours) for image in fake)
            big = augment_real(real, self.colours)
            seen = self.discriminator.compare(
                (big, resize(big, self.generator.small_size)), (fake_big, fake_small), rng
            )
        self.update(1, seen.loss)

        self.discriminator.requires_grad_(False)
        with self.autocast():
            loss_g = -seen.again().mean()
        self.update(0, loss_g)
        self.discriminator.requires_grad_(True)
        update_average(self.average, self.generator, min(config.ema, (1 + self.step) / (10 + self.step)))
        values = (seen.loss, loss_g, seen.reconstruction, seen.real.mean(), seen.fake.mean())
        return {name: value.detach().item() for name, value in zip(LOSSES, values, strict=True)}

    def reals(self, rng: torch.Generator) -> Tensor:
        """A batch of training images in [-1, 1], drawn with replacement."""
        batch = self.config.batch
        pick = torch.randint(len(self.data), (batch,), generator=rng).to(self.device)
        real = self.data[pick].float().div(127.5).sub(1)
        if self.config.mirror:
            flip = (torch.rand(batch, 1, 1, 1, generator=rng) < 0.5).to(self.device)
            real = torch.where(flip, real.flip(3), real)
        return real.contiguous(memory_format=torch.channels_last)

    def update(self, which: int, loss: Tensor) -> None:
        self.optimizers[which].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[which].step()

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def networks(self) -> tuple[Network, Network, Critic]:
        """Generator, its average, and discriminator, at the start values of the seed."""
        config, channels = self.config, self.data.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            generator, average = (network_of(config, channels) for _ in range(2))
            generator.reset()
            discriminator = self.critic(channels)
        average.load_state_dict(generator.state_dict())
        average.requires_grad_(False).eval()
        for net in (generator, average, discriminator):
            net.to(self.device)
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return generator, average, discriminator

    def critic(self, channels: int) -> Critic:
        config = self.config
        if config.discriminator == "fastgan":
            return Discriminator(config.ndf, channels, config.size, config.reconstruction)
        if self.colours != 3:
            raise TrainingError(f"discriminator: projected needs colour images, {config.dataset} has none")
        from medzoo.training.projected import ProjectedDiscriminator

        return ProjectedDiscriminator(channels - self.colours)

    def measure(self) -> None:
        """Held-out distances of the average; keeps it if its KID is the smallest so far."""
        assert self.held_out is not None
        started = time.monotonic()
        scores = self.held_out(self.sample(self.config.held.samples)[0])
        seconds = time.monotonic() - started
        self.folder.add(self.folder.held, {"step": self.step, **scores, "seconds": seconds})
        if self.best is None or scores["kid"] < self.best.scores["kid"]:
            state = {name: value.detach().clone() for name, value in self.average.state_dict().items()}
            self.best = Best(self.step, scores, state)

    def sample(self, n: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        with self.autocast():
            return sample(self.average, n, self.config.held.seed, self.colours, self.device)

    def save(self) -> None:
        """Everything needed to go on."""
        state = {
            "step": self.step,
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        self.folder.save(state, self.best)

    def resume(self) -> None:
        """Take over what the folder holds, if anything."""
        found = self.folder.load(self.device)
        if found is None:
            return
        state, self.best = found
        try:
            for name in ("generator", "average", "discriminator"):
                getattr(self, name).load_state_dict(state[name])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except (KeyError, ValueError, RuntimeError) as error:
            raise TrainingError(
                f"{self.folder.latest}: does not fit the networks of this configuration ({error}); "
                "restore the configuration, or take another --out"
            ) from None
        self.step = int(state["step"])

    def check_finite(self, losses: dict[str, float]) -> None:
        if not all(math.isfinite(value) for value in losses.values()):
            shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
            raise TrainingError(f"step {self.step}: a loss is not finite ({shown}); {self.advice()}")

    def check_weights(self) -> None:
        """A step can end with finite losses and broken weights: never save those over good ones."""
        for which in ("generator", "average", "discriminator"):
            for name, value in getattr(self, which).state_dict().items():
                if not bool(torch.isfinite(value).all()):
                    raise TrainingError(f"step {self.step}: {which}.{name} is not finite; {self.advice()}")

    def advice(self) -> str:
        latest = self.folder.latest
        kept = f"{latest} holds the last good state" if latest.exists() else "nothing was saved yet"
        return f"{kept}. Lower lr, or take precision: float32, in a new run"


def network_of(config: TrainConfig, channels: int) -> Network:
    """The generator of a configuration; ``channels`` counts image and mask channels."""
    return Network(ngf=config.config.ngf, nz=config.config.nz, nc=channels, im_size=config.size)


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Weights and batch-norm statistics: ``decay`` x average + (1 - ``decay``) x current. The rest is copied: singular
    vectors, whose average is not of unit length, and counters.
    """
    mine, theirs = average.state_dict(), current.state_dict()
    averaged = [name for name in mine if mine[name].is_floating_point() and not name.endswith(("_u", "_v"))]
    torch._foreach_lerp_([mine[name] for name in averaged], [theirs[name] for name in averaged], 1 - decay)
    for name in mine.keys() - set(averaged):
        mine[name].copy_(theirs[name])


def tensors(images: Images, config: TrainConfig) -> Tensor:
    """uint8 [n, c (+1), h, w], the mask as 0 and 255 in the last channel."""
    if len(images) < config.batch:
        raise TrainingError(
            f"{config.dataset}: {len(images)} training images are fewer than a batch of {config.batch}; "
            "lower batch, or add images"
        )
    parts = [images.images]
    if config.masks:
        if images.masks is None:
            raise TrainingError(f"masks: true, but dataset {config.dataset} has no masks; set masks: false")
        parts.append(images.masks * np.uint8(255))
    return torch.from_numpy(np.concatenate(parts, axis=1))


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
