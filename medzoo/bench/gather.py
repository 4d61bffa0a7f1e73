"""The pictures of a page, made again from the contenders: results hold numbers and indices alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medzoo.bench.contenders import Contender
from medzoo.bench.reals import Reals, shuffled
from medzoo.datasets import Images
from medzoo.report import Pair, Pictures, Strip
from medzoo.results import Result

SHOWN = 8


def gather(contenders: Sequence[Contender], results: Sequence[Result], reals: Reals, *, real: bool = True) -> Pictures:
    """Strips of the first images of each contender, and its pairs nearest to training images.

    Args:
        real: with pictures of real images (strips of reference points, training images of pairs), which may be of
            patients; False leaves them out.
    """
    strips: dict[str, Strip] = {}
    pairs: dict[str, list[Pair]] = {}
    space = None
    for contender, result in zip(contenders, results, strict=True):
        if contender.record.kind != "model" and not real:
            continue  # a folder may hold anything
        images = _images(contender)
        strips[contender.record.id] = _strip(images[:SHOWN])
        closest = _pairs(result)
        if real and closest is not None and reals.training is not None and contender.reference is None:
            space = space or closest["space"]
            pairs[contender.record.id] = [_pair(pair, images, reals.training) for pair in closest["pairs"]]
    held = _strip(shuffled(reals.held, SHOWN)) if real else None
    return Pictures(strips, pairs, held, space)


def _images(contender: Contender) -> Images:
    return contender.images(contender.seeds[0], lambda done, total: None)


def _strip(images: Images) -> Strip:
    return Strip(images.images, images.masks)


def _pairs(result: Result) -> Any:
    """The detail of the first score that has pairs."""
    for score in result.scores:
        if score.detail and score.detail.get("pairs"):
            return {**score.detail, "space": f"{score.features} features" if score.features else "pixels"}
    return None


def _pair(pair: dict[str, Any], images: Images, training: Images) -> Pair:
    near = training.images[pair["training"]]
    mirrored = bool(pair.get("mirrored", False))
    return Pair(images.images[pair["fake"]], near[..., ::-1] if mirrored else near, float(pair["distance"]), mirrored)
