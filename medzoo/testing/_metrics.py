"""The contract of a metric: a pure function of arrays, whose scores say how they are read."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
import pytest

from medzoo import metrics
from medzoo.errors import MedzooError
from medzoo.metrics import Better, Case, Metric, Need, Score, View
from medzoo.testing._cases import Contract

CLASSES, FEATURES = 3, 16


@dataclass(frozen=True)
class MetricCase:
    """A metric and how much to measure it on.

    Attributes:
        name: of the metric, as a benchmark states it.
        n: images of each set.
        size: height and width in pixels.
        channels: 1 or 3.
        cites: whether its docstring has a publication to name: not for a metric that its file defines.
    """

    name: str
    n: int = 24
    size: int = 32
    channels: int = 1
    cites: bool = True

    @cached_property
    def metric(self) -> Metric:
        return metrics.load(self.name)

    def compared(self, *without: Need) -> Case:
        """Generated and real images with just what the metric says it needs, and not what is named."""
        needs = {need for need in self.metric.needs if need not in without}
        training = self._view(2, needs) if "training" in needs else None
        return Case(self._view(0, needs), self._view(1, needs), training, repeats=8)

    def _view(self, seed: int, needs: set[Need]) -> View:
        """Discs of another brightness, place and size on noise; what is known of them follows from the disc."""
        random = np.random.default_rng(seed)
        y, x = np.mgrid[: self.size, : self.size] / self.size
        place, radius = random.uniform(0.3, 0.7, (2, self.n, 1, 1)), random.uniform(0.1, 0.25, (self.n, 1, 1))
        discs = (y - place[0]) ** 2 + (x - place[1]) ** 2 < radius**2
        labels = np.arange(self.n) % CLASSES
        grey = random.normal(60, 15, (self.n, self.channels, self.size, self.size))
        grey += 40.0 * (1 + labels[:, None, None, None]) * discs[:, None]
        probabilities = random.dirichlet(np.ones(CLASSES), self.n).astype(np.float32)
        return View(
            grey.clip(0, 255).astype(np.uint8),
            discs[:, None].astype(np.uint8) if "masks" in needs else None,
            labels.astype(np.int64) if "labels" in needs else None,
            random.normal(size=(self.n, FEATURES)).astype(np.float32) if "features" in needs else None,
            probabilities if "probabilities" in needs else None,
        )

    def __str__(self) -> str:
        return self.name


class MetricContract(Contract):
    """Subclass it as ``TestMyMetric`` with ``cases``, a list of :class:`MetricCase`."""

    def test_every_score_says_how_it_is_read(self, case: MetricCase) -> None:
        names = [scale.name for scale in case.metric.scales]
        assert names and len(set(names)) == len(names)
        for scale in case.metric.scales:
            assert scale.better in get_args(Better), scale.name
            assert scale.name == scale.name.lower() and scale.title and scale.about, scale.name

    def test_no_other_metric_gives_a_score_of_that_name(self, case: MetricCase) -> None:
        others = {
            scale.name: name for name in metrics.names() if name != case.name for scale in metrics.load(name).scales
        }
        assert not [f"{scale.name} of {others[scale.name]}" for scale in case.metric.scales if scale.name in others]

    def test_scores_are_finite_and_within_their_bounds(self, case: MetricCase) -> None:
        """Or say why there is none. (``percent`` declares 0 to 1.)"""
        scores = case.metric.measure(case.compared())
        scales = {scale.name: scale for scale in case.metric.scales}
        assert scores and set(scores) <= set(scales)
        for name, score in scores.items():
            assert math.isfinite(score.value) or score.note, name
            if scales[name].percent and math.isfinite(score.value):
                assert 0 <= score.value <= 1, name
            if score.low is not None and score.high is not None and math.isfinite(score.low + score.high):
                assert score.low <= score.high, name

    def test_the_same_case_gives_the_same_scores(self, case: MetricCase) -> None:
        first, second = (case.metric.measure(case.compared()) for _ in range(2))
        assert _numbers(first) == _numbers(second)

    def test_measuring_does_not_change_the_images(self, case: MetricCase) -> None:
        compared = case.compared()
        for view in (compared.fake, compared.real, compared.training):
            for array in vars(view).values() if view is not None else ():
                if array is not None:
                    array.flags.writeable = False
        case.metric.measure(compared)

    def test_what_it_needs_and_does_not_get_is_left_out_or_said(self, case: MetricCase) -> None:
        for need in case.metric.needs:
            try:
                scores = case.metric.measure(case.compared(need))
            except (MedzooError, ValueError, AssertionError):  # not what happens to be None further down
                continue
            assert set(scores) <= {scale.name for scale in case.metric.scales}, need

    def test_what_it_does_not_need_changes_nothing(self, case: MetricCase) -> None:
        if "labels" in case.metric.needs:
            pytest.skip("needs all that is known of an image")
        compared, labels = case.compared(), np.zeros(case.n, np.int64)
        fake, real = replace(compared.fake, labels=labels), replace(compared.real, labels=labels)
        known = replace(compared, fake=fake, real=real)
        assert _numbers(case.metric.measure(known)) == _numbers(case.metric.measure(compared))

    def test_the_docstring_names_a_source(self, case: MetricCase) -> None:
        """Author and year of a publication, in the module of ``measure`` or in ``about`` of a score."""
        if not case.cites:
            pytest.skip("is defined by its own file")
        texts = [sys.modules[case.metric.measure.__module__].__doc__ or "", *(s.about for s in case.metric.scales)]
        assert any(re.search(r"\b(19|20)\d\d\b", text) for text in texts)


def _numbers(scores: Any) -> dict[str, tuple[str, ...]]:
    """Scores by name, to be compared: nan equals nan."""

    def known(score: Score) -> tuple[str, ...]:
        return tuple(map(repr, (score.value, score.low, score.high, score.error)))

    return {name: known(score) for name, score in scores.items()}
