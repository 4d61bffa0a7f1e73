"""What a network gives: shape and range, the seed rule, and the same images fused as published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.checking.finding import Finding, broken, failed, passed, skipped
from medzoo.conditions import kind_of
from medzoo.families._base import Generator
from medzoo.randomness import Noise
from medzoo.samples import Samples

CLOSE = 1e-4  # of images in [0, 1]: what two ways to compute the same may differ by
MASKS = 0.001  # share of mask pixels that may differ: those where the network is undecided
CLIPPED = 0.2  # share of values outside of ``output.range``; networks without an end of tanh go over by a little
MARGIN = 0.1  # of the range, beyond which a value counts as cut off: a black background swings about its value
BATCH, ALONE = 4, 3  # samples 0 to 3, and the one that is made anew by itself
SEEDS = (0, 1, 2, 3)


def example(generator: Generator) -> Any:
    """A condition to run a model with: smooth made-up images, the first class, the middle of the bounds of a number.

    A prompt says what the entry is of.
    """
    declared = generator.declared
    if declared is None or not declared.required:
        return None
    return kind_of(declared).trial(
        declared,
        prompt=generator.entry.modality,
        size=generator.entry.output.size or (256, 256),
        numbers=not generator.draws_attributes,
    )


def findings(fused: Generator, published: Generator, condition: Any) -> Iterator[Finding]:
    """ "output", "seed rule", "seeds" and "fused = published" of a model that was loaded in both ways."""
    try:
        raw = fused.decode(None, condition, noise=Noise(0, range(BATCH))).cpu().numpy()
        together = {seed: fused.generate(BATCH, condition, seed=seed) for seed in SEEDS}
    except Exception as error:  # whatever a family under construction raises
        yield failed("output", broken(error))
        for name in ("seed rule", "seeds", "fused = published"):
            yield skipped(name, "it does not run")
        return
    yield _output(fused, raw)
    try:
        alone = fused.generate(1, condition, start=ALONE)
        yield _same("seed rule", together[0][ALONE], alone, f"sample {ALONE} alone and in a batch of {BATCH}")
    except Exception as error:
        yield failed("seed rule", f"a sample alone: {broken(error)}")
    yield _seeds(fused, together)
    try:
        plain = published.generate(BATCH, condition)
    except Exception as error:
        yield failed("fused = published", broken(error))
        return
    yield _same("fused = published", plain, together[0], "as published and fused")


def mask_share(masks: NDArray[np.uint8] | None, other: NDArray[np.uint8] | None) -> float:
    """Share of the pixels of masks uint8 [n, K, (D,) H, W] that differ from ``other`` ones, 0 to 1; 0 for no masks."""
    return 0.0 if masks is None or other is None else float(np.mean(masks != other))


def _output(generator: Generator, raw: NDArray[np.float32]) -> Finding:
    """The range of images (shape and finiteness were checked when ``generate`` ran); a mask is cut at the middle."""
    output = generator.entry.output
    low, high = output.range
    margin = MARGIN * (high - low)
    shown = raw[:, : output.channels] if output.channels else raw
    least, most = float(shown.min()), float(shown.max())
    shape = " x ".join(map(str, raw.shape[1:]))
    values = f"values from {least:.3g} to {most:.3g} where output.range states {low:g} to {high:g}"
    outside = float(np.mean((shown < low - margin) | (shown > high + margin)))
    if outside > CLIPPED:
        return failed("output", f"{values}: {outside:.0%} of them are cut off; correct output.range")
    if least >= (low + high) / 2:
        return failed("output", f"{values}: the darker half of the range is never used; correct output.range")
    if most - least < 0.01 * (high - low):
        return failed("output", f"{values}: images without contrast; are these the right weights, or the right config?")
    return passed("output", f"{shape}, {values}" + (f", {outside:.1%} cut off" if outside else ""))


def _seeds(generator: Generator, together: dict[int, Samples]) -> Finding:
    first = together[0].images
    same = [seed for seed in SEEDS[1:] if np.array_equal(together[seed].images, first)]
    # A network from image to image may draw nothing, and then the seed cannot matter.
    if same and generator.latent_shape is None:
        return passed("seeds", f"{', '.join(map(str, SEEDS))} give the same images: nothing is drawn")
    if same:
        return failed("seeds", f"seeds 0 and {same[0]} give the same images; is 'self.latent(noise)' used?")
    return passed("seeds", f"{', '.join(map(str, SEEDS))} give different images")


def _same(name: str, first: Samples, second: Samples, what: str) -> Finding:
    apart = float(np.abs(first.images - second.images).max(initial=0))
    masks = mask_share(first.masks, second.masks)
    measured = f"{what}: images differ by {apart:.1e} at most"
    measured += "" if first.masks is None else f", masks in {masks:.2%} of the pixels"
    if apart > CLOSE or masks > MASKS:
        return failed(name, f"{measured}; allowed are {CLOSE:g} and {MASKS:.1%}")
    return passed(name, measured)
