"""What every way of training shares: the images, the networks with their averages, optimizers and precision.

Everything random in step k is drawn from (seed, k) on the CPU; with several processes, from (seed, k, process).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from medzoo.errors import TrainingError
from medzoo.training import parallel, recipes, techniques
from medzoo.training.config import TrainConfig, VolumeConfig
from medzoo.training.recipes import Facts, Recipe
from medzoo.training.volumes import deformed

R = TypeVar("R", bound=Recipe[Any])
FLOAT16_ON = ("cuda",)  # kinds of devices
APART = 2_654_435_761  # between the seeds of two processes: further than any run has steps


class Learner(ABC, Generic[R]):
    """What a run trains.

    Args:
        config: what to train.
        data: uint8 [n, c, h, w], masks as 0 and 255 in the last channels; of volumes see ``medzoo.training.volumes``.
        labels: int64 [n], where classes are learned.
        facts: of the images.
        device: where to train.

    Attributes:
        batch: how many images of a batch this process draws.
        networks: the trained ones by name, ``generator`` first.
        average: of the generator.
        overflown: whether float16 could not hold a gradient of the last step, so that an update was left out.

    Raises:
        TrainingError: the recipe or a technique does not fit the images, the device or the number of processes.
    """

    def __init__(
        self, config: TrainConfig, data: Tensor, labels: Tensor | None, facts: Facts, device: torch.device
    ) -> None:
        if config.precision == "float16" and device.type not in FLOAT16_ON:
            raise TrainingError(f"precision: float16 needs a CUDA device, this is {device}; take bfloat16 or float32")
        self.config, self.facts, self.device = config, facts, device
        self.batch = parallel.share(config.batch)
        self.data, self.members = data.to(device), members(labels, facts)
        self.recipe: R = recipes.recipe(config, facts)  # type: ignore[assignment]
        self.techniques = [techniques.create(batch=config.batch, **stated) for stated in config.techniques]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.networks = self.begun()
            self.average = self.recipe.generator()
        self.average.load_state_dict(self.generator.state_dict())
        self.average.requires_grad_(False).eval()
        for net in (*self.networks.values(), self.average):
            net.to(self.device)
            net.to(memory_format=layout(config))  # type: ignore[call-overload]
        self.learned = {
            name: [one for one in net.parameters() if one.requires_grad] for name, net in self.networks.items()
        }
        self.optimizers = {
            name: torch.optim.Adam(some, config.lr, config.betas, fused=True) for name, some in self.learned.items()
        }
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self.overflown = False

    def one_step(self, step: int) -> dict[str, float]:
        """One update of every network and of the average: losses and numbers by name, means over the processes."""
        self.overflown = False
        before = [one.clone() for one in self.statistics()] if self.scaler.is_enabled() else []
        rng = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step + APART * parallel.rank())
        values = self.updates(step, rng)
        if self.overflown:  # what an infinite map did to statistics is undone, and the average waits
            for one, kept in zip(self.statistics(), before, strict=True):
                one.copy_(kept)
        else:
            parallel.average(self.statistics())
            update_average(self.average, self.generator, min(self.config.ema, (1 + step) / (10 + step)))
        return parallel.means(values, self.device)

    @abstractmethod
    def begun(self) -> dict[str, nn.Module]:
        """The networks at the start values of torch's global generator, or those of ``config.start``."""

    @abstractmethod
    def updates(self, step: int, rng: torch.Generator) -> dict[str, float]:
        """One update of every network: losses and numbers by name, the same in every step."""

    @property
    def generator(self) -> nn.Module:
        return self.networks["generator"]

    def reals(self, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """A batch of training images in [-1, 1], drawn with replacement, and their classes, all equally often."""
        batch = self.batch
        labels = self.classes(batch, rng)
        if labels is None:
            pick = torch.randint(len(self.data), (batch,), generator=rng)
        else:
            places = torch.rand(batch, generator=rng, dtype=torch.float64)
            pick = torch.stack([_at(self.members[int(k)], place) for k, place in zip(labels, places, strict=True)])
        real = scaled(self.data[pick.to(self.device)])
        if self.config.mirror:
            flip = (torch.rand(batch, *[1] * (real.dim() - 1), generator=rng) < 0.5).to(self.device)
            real = torch.where(flip, real.flip(-1), real)
        if isinstance(self.config, VolumeConfig):
            real = deformed(real, self.config, rng)
        on_device = None if labels is None else labels.to(self.device)
        return real.contiguous(memory_format=layout(self.config)), on_device

    def classes(self, n: int, rng: torch.Generator) -> Tensor | None:
        """Classes int64 [n], each equally likely; None where none are learned."""
        return torch.randint(len(self.members), (n,), generator=rng) if self.members else None

    def update(self, which: str, loss: Tensor) -> None:
        """One step of a network's optimizer, left out where float16 could not hold a gradient."""
        optimizer, before = self.optimizers[which], self.scaler.get_scale()
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        parallel.average(one.grad for one in self.learned[which] if one.grad is not None)
        self.scaler.step(optimizer)
        self.scaler.update()
        self.overflown |= self.scaler.get_scale() < before

    def statistics(self) -> list[Tensor]:
        """Whatever the networks change of themselves: running statistics, singular vectors, codebooks."""
        return [one for network in self.networks.values() for one in network.buffers() if one.is_floating_point()]

    def autocast(self) -> torch.autocast:
        kind = torch.float16 if self.config.precision == "float16" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=self.config.precision != "float32")

    def state(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            **{name: network.state_dict() for name, network in self.networks.items()},
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers.values()],
            "techniques": [one.state() for one in self.techniques],
            "scaler": self.scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Raises KeyError, ValueError or RuntimeError where the state is of other networks."""
        for name, network in (*self.networks.items(), ("average", self.average)):
            network.load_state_dict(state[name])
        for optimizer, saved in zip(self.optimizers.values(), state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for one, saved in zip(self.techniques, state.get("techniques", [{}] * len(self.techniques)), strict=True):
            one.load_state(saved)
        if scaler := state.get("scaler"):
            self.scaler.load_state_dict(scaler)


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


def layout(config: TrainConfig) -> torch.memory_format:
    """Of maps in memory: channels last."""
    return torch.channels_last_3d if isinstance(config, VolumeConfig) else torch.channels_last


def scaled(data: Tensor) -> Tensor:
    """uint8 -> [-1, 1]."""
    return data.float().div(127.5).sub(1)


def members(labels: Tensor | None, facts: Facts) -> list[Tensor]:
    """Positions of the images of each class; no list where classes are not learned."""
    if labels is None or facts.classes is None:
        return []
    return [torch.nonzero(labels == k)[:, 0] for k in range(len(facts.classes))]


def _at(positions: Tensor, place: Tensor) -> Tensor:
    """The one of ``positions`` [n] at U(0, 1)."""
    return positions[int(place * len(positions))]
