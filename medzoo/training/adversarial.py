"""Generator, discriminator and techniques, and one step of their training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.training import parallel
from medzoo.training.learner import Learner, scaled
from medzoo.training.losses import Comparison, Copies
from medzoo.training.recipes import Adversarial
from medzoo.training.start import begin
from medzoo.training.techniques import Look, Standing


class AdversarialLearner(Learner[Adversarial[Any]]):
    """The two networks of an :class:`Adversarial` recipe."""

    def begun(self) -> dict[str, nn.Module]:
        generator, discriminator = self.recipe.generator(), self.recipe.discriminator()
        networks = {"generator": generator, "discriminator": discriminator}
        if self.config.start is not None:
            begin(self.recipe, self.config.start, networks)
        for one in self.techniques:
            one.networks(generator, discriminator)
        return networks

    @property
    def discriminator(self) -> nn.Module:
        return self.networks["discriminator"]

    def updates(self, step: int, rng: torch.Generator) -> dict[str, float]:
        """Those of the discriminator, and one of the generator."""
        for left in reversed(range(self.recipe.critic_steps)):
            seen, look = self.look(step, rng, for_generator=left == 0)
            with self.autocast():
                detached = replace(look, fake=look.fake.detach(), fake_seen=look.fake_seen.detach())
                loss_d = _total(seen.loss, (one.loss_d(detached) for one in self.techniques))
            self.update("discriminator", loss_d)

        with self.frozen():
            with self.autocast():
                reply = seen.again()
                look = replace(look, logits_real=look.logits_real.detach(), logits_fake=reply.logits)
                own = self.recipe.regularised(self.generator, self.discriminator, self.batch, rng)
                loss_g = _total(reply.loss, (own, *(one.loss_g(look) for one in self.techniques)))
            self.update("generator", loss_g)
        values = {"loss_d": loss_d, "loss_g": loss_g, "d_real": seen.real.mean(), "d_fake": seen.fake.mean()}
        values |= {**seen.parts, **reply.parts}
        return {name: value.detach().item() for name, value in values.items()} | self.afterwards(seen, look)

    def look(self, step: int, rng: torch.Generator, *, for_generator: bool) -> tuple[Comparison, Look]:
        """Show the discriminator new images of both kinds."""
        batch, colours = self.batch, self.facts.colours
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
        return self.recipe.judge(self.discriminator, self.recipe.copies(images))

    @torch.no_grad()
    def logits(self, data: Tensor, batch: int = 32) -> Tensor:
        """Mean logits float64 [n] of the discriminator at rest, of images uint8 [n, c, h, w]."""
        self.discriminator.eval()
        with self.autocast():
            parts = [self.judge(scaled(part.to(self.device))).double().mean(1).cpu() for part in data.split(batch)]
        self.discriminator.train()
        return torch.cat(parts)

    @torch.no_grad()
    def pseudo(self, rng: torch.Generator, labels: Tensor | None) -> Tensor:
        """A batch of the generator as it is; its statistics stay as they are."""
        inputs = self.recipe.draw(self.batch, rng, None if labels is None else labels.cpu()).to(self.device)
        kept = [one.clone() for one in self.generator.buffers()]
        images = self.recipe.images(self.generator, inputs)[0].float()
        for one, before in zip(self.generator.buffers(), kept, strict=True):
            one.copy_(before)
        return images

    @torch.no_grad()
    def afterwards(self, seen: Comparison, look: Look) -> dict[str, float]:
        """What the techniques say, who see the logits of every process."""
        real, fake = (parallel.gathered(one.detach()) for one in (seen.real, look.logits_fake))
        if self.overflown:  # a controller must not remember what is not a number
            real, fake = real.nan_to_num(), fake.nan_to_num()
        look = replace(look, fake=look.fake.detach(), fake_seen=look.fake_seen.detach())
        look = replace(look, logits_real=real, logits_fake=fake)
        return {name: value for one in self.techniques for name, value in one.after(look).items()}

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The discriminator without gradients."""
        for one in self.learned["discriminator"]:
            one.requires_grad_(False)
        yield
        for one in self.learned["discriminator"]:
            one.requires_grad_(True)


def _total(loss: Tensor, terms: Iterable[Tensor | None]) -> Tensor:
    for term in terms:
        if term is not None:
            loss = loss + term
    return loss
