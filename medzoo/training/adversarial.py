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
from medzoo.training.techniques import BeforeStep, StepView


class AdversarialLearner(Learner[Adversarial[Any]]):
    """The two networks of an :class:`Adversarial` recipe."""

    def start_networks(self) -> dict[str, nn.Module]:
        generator, discriminator = self.recipe.generator(), self.recipe.discriminator()
        networks = {"generator": generator, "discriminator": discriminator}
        if self.config.start is not None:
            begin(self.recipe, self.config.start, networks)
        for technique in self.techniques:
            technique.networks(generator, discriminator)
        return networks

    @property
    def discriminator(self) -> nn.Module:
        return self.networks["discriminator"]

    def update(self, step: int, rng: torch.Generator) -> dict[str, float]:
        """``discriminator_steps`` updates of the discriminator, and one of the generator."""
        for left in reversed(range(self.recipe.discriminator_steps)):
            seen, view = self.compare(step, rng, for_generator=left == 0)
            with self.autocast():
                detached = replace(view, fake=view.fake.detach(), fake_seen=view.fake_seen.detach())
                loss_d = _total(seen.loss, (technique.loss_d(detached) for technique in self.techniques))
            self.step_optimizer("discriminator", loss_d)

        with self.frozen():
            with self.autocast():
                scored = seen.score_fakes()
                view = replace(view, logits_real=view.logits_real.detach(), logits_fake=scored.logits)
                own = self.recipe.regularise(self.generator, self.discriminator, self.batch, step, rng)
                loss_g = _total(scored.loss, (own, *(technique.loss_g(view) for technique in self.techniques)))
            self.step_optimizer("generator", loss_g)
        values = {"loss_d": loss_d, "loss_g": loss_g, "d_real": seen.real.mean(), "d_fake": seen.fake.mean()}
        values |= {**seen.parts, **scored.parts}
        return {name: value.detach().item() for name, value in values.items()} | self.finish_step(seen, view)

    def compare(self, step: int, rng: torch.Generator, *, for_generator: bool) -> tuple[Comparison, StepView]:
        """Show the discriminator new real and new generated images.

        Args:
            for_generator: whether generated images carry the generator's gradient.
        """
        batch, colours = self.batch, self.facts.colours
        real, labels = self.draw_reals(rng)
        fake_labels = self.draw_classes(batch, rng)
        inputs = self.recipe.draw(batch, rng, fake_labels).to(self.device)
        with self.autocast():
            before = BeforeStep(step, colours, labels, lambda drawn: self.generate_pseudo(drawn, labels))
            for technique in self.techniques:
                real = technique.reals(real, before, rng)
            with torch.set_grad_enabled(for_generator):
                fakes = tuple(image.float() for image in self.recipe.images(self.generator, inputs))
            (real_seen,) = self.augment((real,), rng)
            fakes_seen = self.augment(fakes, rng)
            both = None if labels is None or inputs.labels is None else (labels, inputs.labels)
            copies = self.recipe.copies(real_seen)
            seen = self.recipe.compare(self.discriminator, copies, fakes_seen, both, step, rng)
        return seen, StepView(
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
            discriminate=self.discriminate,
            generate=lambda latents: self.recipe.images(self.generator, inputs.with_latents(latents))[0].float(),
            generator=self.generator,
            discriminator=self.discriminator,
            rng=rng,
        )

    def augment(self, copies: Copies, rng: torch.Generator) -> Copies:
        """Every copy by the same draws."""
        augmented, state = [], rng.get_state()
        for image in copies:
            rng.set_state(state)
            for technique in self.techniques:
                image = technique.augment(image, self.facts.colours, rng)
            augmented.append(image)
        return tuple(augmented)

    def discriminate(self, images: Tensor) -> Tensor:
        """Logits [n, p] of full-size images [n, c, h, w]."""
        return self.recipe.discriminate(self.discriminator, self.recipe.copies(images))

    @torch.no_grad()
    def mean_logits(self, data: Tensor, batch: int = 32) -> Tensor:
        """Mean logits float64 [n] of the discriminator at rest, of images uint8 [n, c, h, w]."""
        self.discriminator.eval()
        with self.autocast():
            logits = (self.discriminate(scaled(part.to(self.device))) for part in data.split(batch))
            means = [part.double().mean(1).cpu() for part in logits]
        self.discriminator.train()
        return torch.cat(means)

    @torch.no_grad()
    def generate_pseudo(self, rng: torch.Generator, labels: Tensor | None) -> Tensor:
        """A batch [batch, c, h, w] of the generator as it is, of these classes; its statistics stay as they are."""
        inputs = self.recipe.draw(self.batch, rng, None if labels is None else labels.cpu()).to(self.device)
        before = [buffer.clone() for buffer in self.generator.buffers()]
        images = self.recipe.images(self.generator, inputs)[0].float()
        for buffer, earlier in zip(self.generator.buffers(), before, strict=True):
            buffer.copy_(earlier)
        return images

    @torch.no_grad()
    def finish_step(self, seen: Comparison, view: StepView) -> dict[str, float]:
        """Call ``after`` of every technique, with the logits of every process: their numbers for the log."""
        real, fake = (parallel.gather(logits.detach()) for logits in (seen.real, view.logits_fake))
        if self.overflowed:  # a controller must not remember what is not a number
            real, fake = real.nan_to_num(), fake.nan_to_num()
        view = replace(view, fake=view.fake.detach(), fake_seen=view.fake_seen.detach())
        view = replace(view, logits_real=real, logits_fake=fake)
        return {name: value for technique in self.techniques for name, value in technique.after(view).items()}

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The discriminator without gradients."""
        for weight in self.trainable["discriminator"]:
            weight.requires_grad_(False)
        yield
        for weight in self.trainable["discriminator"]:
            weight.requires_grad_(True)


def _total(loss: Tensor, terms: Iterable[Tensor | None]) -> Tensor:
    for term in terms:
        if term is not None:
            loss = loss + term
    return loss
