"""Generator, discriminator and techniques, and one step of their training.

Everything random in step k is drawn from (seed, k) on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.training import recipes, techniques
from medzoo.training.config import TrainConfig
from medzoo.training.losses import Comparison, Copies
from medzoo.training.recipes import Facts
from medzoo.training.start import begin
from medzoo.training.techniques import Look, Standing


class Players:
    """What a run trains.

    Args:
        config: what to train.
        data: uint8 [n, c, h, w], masks as 0 and 255 in the last channels.
        labels: int64 [n], where classes are learned.
        facts: of the images.
        device: where to train.
    """

    def __init__(
        self, config: TrainConfig, data: Tensor, labels: Tensor | None, facts: Facts, device: torch.device
    ) -> None:
        self.config, self.facts, self.device = config, facts, device
        self.data, self.members = data.to(device), members(labels, facts)
        self.recipe = recipes.recipe(config, facts)
        self.techniques = [techniques.create(batch=config.batch, **stated) for stated in config.techniques]
        self.generator, self.average, self.discriminator = self.networks()
        self.learned = [[one for one in net.parameters() if one.requires_grad] for net in self.both]
        self.optimizers = [torch.optim.Adam(some, config.lr, config.betas, fused=True) for some in self.learned]

    @property
    def both(self) -> tuple[nn.Module, nn.Module]:
        return self.generator, self.discriminator

    def networks(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Generator, its average, and discriminator, at the start values of the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            generator, discriminator = self.recipe.generator(), self.recipe.discriminator()
            if self.config.start is not None:
                begin(self.config.start, self.config.family, generator, discriminator)
            for one in self.techniques:
                one.networks(generator, discriminator)
            average = self.recipe.generator()
        average.load_state_dict(generator.state_dict())
        average.requires_grad_(False).eval()
        for net in (generator, average, discriminator):
            net.to(self.device)
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return generator, average, discriminator

    def one_step(self, step: int) -> dict[str, float]:
        """The updates of the discriminator, one of the generator, one of the average: losses and numbers by name."""
        config, rng = self.config, torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        for left in reversed(range(self.recipe.critic_steps)):
            seen, look = self.look(step, rng, for_generator=left == 0)
            with self.autocast():
                detached = replace(look, fake=look.fake.detach(), fake_seen=look.fake_seen.detach())
                loss_d = _total(seen.loss, (one.loss_d(detached) for one in self.techniques))
            self.update(1, loss_d)

        with self.frozen():
            with self.autocast():
                reply = seen.again()
                look = replace(look, logits_real=look.logits_real.detach(), logits_fake=reply.logits)
                loss_g = _total(reply.loss, (one.loss_g(look) for one in self.techniques))
            self.update(0, loss_g)
        update_average(self.average, self.generator, min(config.ema, (1 + step) / (10 + step)))
        values = {"loss_d": loss_d, "loss_g": loss_g, "d_real": seen.real.mean(), "d_fake": seen.fake.mean()}
        values |= {**seen.parts, **reply.parts}
        return {name: value.detach().item() for name, value in values.items()} | self.afterwards(seen, look)

    def look(self, step: int, rng: torch.Generator, *, for_generator: bool) -> tuple[Comparison, Look]:
        """Show the discriminator new images of both kinds."""
        batch, colours = self.config.batch, self.facts.colours
        real, labels = self.reals(rng)
        fake_labels = self.classes(batch, rng)
        inputs = self.recipe.draw(batch, rng, fake_labels).to(self.device)
        with self.autocast():
            standing = Standing(step, colours, labels, lambda drawn: self.pseudo(drawn, labels))
            for one in self.techniques:
                real = one.reals(real, standing, rng)
            with torch.set_grad_enabled(for_generator):
                fakes = tuple(image.float() for image in self.recipe.images(self.generator, inputs))
            (real_seen,) = self.augment((real,), rng)
            fakes_seen = self.augment(fakes, rng)
            both = None if labels is None or inputs.labels is None else (labels, inputs.labels)
            seen = self.recipe.compare(self.discriminator, self.recipe.copies(real_seen), fakes_seen, both, rng)
        return seen, Look(
            step=step,
            colours=colours,
            real=real,
            fake=fakes[0],
            real_seen=real_seen,
            fake_seen=fakes_seen[0],
            logits_real=seen.real,
            logits_fake=seen.fake,
            latents=inputs.latents,
            labels=labels,
            fake_labels=inputs.labels,
            judge=self.judge,
            generate=lambda latents: self.recipe.images(self.generator, inputs.with_latents(latents))[0].float(),
            generator=self.generator,
            discriminator=self.discriminator,
            rng=rng,
        )

    def reals(self, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """A batch of training images in [-1, 1], drawn with replacement, and their classes, all equally often."""
        batch = self.config.batch
        labels = self.classes(batch, rng)
        if labels is None:
            pick = torch.randint(len(self.data), (batch,), generator=rng)
        else:
            places = torch.rand(batch, generator=rng, dtype=torch.float64)
            pick = torch.stack([_at(self.members[int(k)], place) for k, place in zip(labels, places, strict=True)])
        real = scaled(self.data[pick.to(self.device)])
        if self.config.mirror:
            flip = (torch.rand(batch, 1, 1, 1, generator=rng) < 0.5).to(self.device)
            real = torch.where(flip, real.flip(3), real)
        on_device = None if labels is None else labels.to(self.device)
        return real.contiguous(memory_format=torch.channels_last), on_device

    def classes(self, n: int, rng: torch.Generator) -> Tensor | None:
        """Classes int64 [n], each equally likely; None where none are learned."""
        return torch.randint(len(self.members), (n,), generator=rng) if self.members else None

    def augment(self, copies: Copies, rng: torch.Generator) -> Copies:
        """Every copy by the same draws."""
        found, state = [], rng.get_state()
        for image in copies:
            rng.set_state(state)
            for one in self.techniques:
                image = one.augment(image, self.facts.colours, rng)
            found.append(image)
        return tuple(found)

    def judge(self, images: Tensor) -> Tensor:
        """Logits [n, p] of full-size images."""
        with self.autocast():
            return self.recipe.judge(self.discriminator, self.recipe.copies(images))

    @torch.no_grad()
    def logits(self, data: Tensor, batch: int = 32) -> Tensor:
        """Mean logits float64 [n] of the discriminator at rest, of images uint8 [n, c, h, w]."""
        self.discriminator.eval()
        parts = [self.judge(scaled(part.to(self.device))).double().mean(1).cpu() for part in data.split(batch)]
        self.discriminator.train()
        return torch.cat(parts)

    @torch.no_grad()
    def pseudo(self, rng: torch.Generator, labels: Tensor | None) -> Tensor:
        """A batch of the generator as it is; its statistics stay as they are."""
        inputs = self.recipe.draw(self.config.batch, rng, None if labels is None else labels.cpu()).to(self.device)
        kept = [one.clone() for one in self.generator.buffers()]
        images = self.recipe.images(self.generator, inputs)[0].float()
        for one, before in zip(self.generator.buffers(), kept, strict=True):
            one.copy_(before)
        return images

    @torch.no_grad()
    def afterwards(self, seen: Comparison, look: Look) -> dict[str, float]:
        still = {name: getattr(look, name).detach() for name in ("fake", "fake_seen", "logits_fake")}
        look = replace(look, logits_real=seen.real.detach(), **still)
        return {name: value for one in self.techniques for name, value in one.after(look).items()}

    def update(self, which: int, loss: Tensor) -> None:
        self.optimizers[which].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[which].step()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The discriminator without gradients."""
        for one in self.learned[1]:
            one.requires_grad_(False)
        yield
        for one in self.learned[1]:
            one.requires_grad_(True)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def state(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "techniques": [one.state() for one in self.techniques],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Raises KeyError, ValueError or RuntimeError where the state is of other networks."""
        for name in ("generator", "average", "discriminator"):
            getattr(self, name).load_state_dict(state[name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for one, saved in zip(self.techniques, state.get("techniques", [{}] * len(self.techniques)), strict=True):
            one.load_state(saved)


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


def scaled(data: Tensor) -> Tensor:
    """uint8 -> [-1, 1]."""
    return data.float().div(127.5).sub(1)


def members(labels: Tensor | None, facts: Facts) -> list[Tensor]:
    """Positions of the images of each class; no list where classes are not learned."""
    if labels is None or facts.classes is None:
        return []
    return [torch.nonzero(labels == k)[:, 0] for k in range(len(facts.classes))]


def _total(loss: Tensor, terms: Iterable[Tensor | None]) -> Tensor:
    for term in terms:
        if term is not None:
            loss = loss + term
    return loss


def _at(positions: Tensor, place: Tensor) -> Tensor:
    """The one of ``positions`` [n] at U(0, 1)."""
    return positions[int(place * len(positions))]
