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
from medzoo.training.volumes import deform

R = TypeVar("R", bound=Recipe[Any])
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
        overflowed: whether float16 could not hold a gradient of the last step, so that an update was left out.
        trainable: parameters by network.
        float16_on: kinds of devices that train in float16.

    Raises:
        TrainingError: the recipe or a technique does not fit the images, the device or the number of processes.
    """

    float16_on: tuple[str, ...] = ("cuda",)

    def __init__(
        self, config: TrainConfig, data: Tensor, labels: Tensor | None, facts: Facts, device: torch.device
    ) -> None:
        if config.precision == "float16" and device.type not in self.float16_on:
            raise TrainingError(f"precision: float16 needs a CUDA device, this is {device}; take bfloat16 or float32")
        self.config, self.facts, self.device = config, facts, device
        self.batch = parallel.local_batch(config.batch)
        self.data, self.members = data.to(device), members(labels, facts)
        self.recipe: R = recipes.recipe(config, facts)  # type: ignore[assignment]
        self.techniques = [techniques.create(batch=config.batch, **stated) for stated in config.techniques]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.networks = self.start_networks()
            self.average = self.recipe.generator()
        self.average.load_state_dict(self.generator.state_dict())
        self.average.requires_grad_(False).eval()
        for net in (*self.networks.values(), self.average):
            net.to(self.device)
            net.to(memory_format=layout(config))  # type: ignore[call-overload]
        self.trainable = {
            name: [weight for weight in net.parameters() if weight.requires_grad] for name, net in self.networks.items()
        }
        self.optimizers = {
            name: torch.optim.Adam(weights, config.lr, config.betas, fused=True)
            for name, weights in self.trainable.items()
        }
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self.overflowed = False

    def train_step(self, step: int) -> dict[str, float]:
        """One update of every network and of the average: losses and numbers by name, means over the processes."""
        self.overflowed = False
        before = [buffer.clone() for buffer in self.statistics()] if self.scaler.is_enabled() else []
        rng = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step + APART * parallel.rank())
        values = self.update(step, rng)
        if self.overflowed:  # what an infinite map did to statistics is undone, and the average waits
            for buffer, earlier in zip(self.statistics(), before, strict=True):
                buffer.copy_(earlier)
        else:
            parallel.average(self.statistics())
            update_average(self.average, self.generator, min(self.config.ema, (1 + step) / (10 + step)))
        return parallel.means(values, self.device)

    @abstractmethod
    def start_networks(self) -> dict[str, nn.Module]:
        """The networks at the start values of torch's global generator, or with the weights of ``config.start``."""

    @abstractmethod
    def update(self, step: int, rng: torch.Generator) -> dict[str, float]:
        """One update of every network: losses and numbers by name, the same in every step."""

    @property
    def generator(self) -> nn.Module:
        return self.networks["generator"]

    def draw_reals(self, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """A batch of training images in the shape of ``data``, in [-1, 1], and their classes int64 [batch].

        Images are drawn with replacement, classes equally often.
        """
        batch = self.batch
        labels = self.draw_classes(batch, rng)
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
            real = deform(real, self.config, rng)
        on_device = None if labels is None else labels.to(self.device)
        return real.contiguous(memory_format=layout(self.config)), on_device

    def draw_classes(self, n: int, rng: torch.Generator) -> Tensor | None:
        """Classes int64 [n], each equally likely; None where none are learned."""
        return torch.randint(len(self.members), (n,), generator=rng) if self.members else None

    def step_optimizer(self, which: str, loss: Tensor) -> None:
        """One step of the optimizer of a network, left out where float16 could not hold a gradient."""
        optimizer, before = self.optimizers[which], self.scaler.get_scale()
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        parallel.average(weight.grad for weight in self.trainable[which] if weight.grad is not None)
        self.scaler.step(optimizer)
        self.scaler.update()
        self.overflowed |= self.scaler.get_scale() < before

    def statistics(self) -> list[Tensor]:
        """Whatever the networks change of themselves: running statistics, singular vectors, codebooks."""
        buffers = (buffer for network in self.networks.values() for buffer in network.buffers())
        return [buffer for buffer in buffers if buffer.is_floating_point()]

    def autocast(self) -> torch.autocast:
        kind = torch.float16 if self.config.precision == "float16" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=self.config.precision != "float32")

    def state(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            **{name: network.state_dict() for name, network in self.networks.items()},
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers.values()],
            "techniques": [technique.state() for technique in self.techniques],
            "scaler": self.scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave. Raises KeyError, ValueError or RuntimeError where other networks gave it."""
        for name, network in (*self.networks.items(), ("average", self.average)):
            network.load_state_dict(state[name])
        for optimizer, saved in zip(self.optimizers.values(), state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for technique, saved in zip(self.techniques, state["techniques"], strict=True):
            technique.load_state(saved)
        self.scaler.load_state_dict(state["scaler"])


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Move an average in place: ``decay`` x average + (1 - ``decay``) x current, of weights and batch-norm statistics.

    The rest is copied: singular vectors, whose average is not of unit length, and counters.
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
    """uint8 -> float32 in [-1, 1], the same shape."""
    return data.float().div(127.5).sub(1)


def members(labels: Tensor | None, facts: Facts) -> list[Tensor]:
    """Positions int64 [m] of the m images of each class; an empty list where classes are not learned."""
    if labels is None or facts.classes is None:
        return []
    return [torch.nonzero(labels == k)[:, 0] for k in range(len(facts.classes))]


def _at(positions: Tensor, place: Tensor) -> Tensor:
    """The entry of ``positions`` [n] at ``place``, a U(0, 1) number."""
    return positions[int(place * len(positions))]
