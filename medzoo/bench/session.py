"""What all rows of a benchmark share: setting, real images, extractors, clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medzoo import device as devices
from medzoo.bench import measures, pace, records
from medzoo.bench.contenders import halves
from medzoo.bench.measures import Measure
from medzoo.bench.pace import Pace, Step
from medzoo.bench.progress import Tell, silent
from medzoo.bench.reals import Reals
from medzoo.bench.setting import Benchmark
from medzoo.datasets import Images
from medzoo.metrics import Metric, View

if TYPE_CHECKING:
    from medzoo.features import Extractor


@dataclass
class Session:
    """What all contenders of a benchmark share.

    Attributes:
        chosen: metrics to measure now, some or all of the benchmark's.
        out: folder of the results.
        condition: of the models, as ``medzoo.generate`` takes it.
        paired: whether models and folders are to be compared with each other, which takes their values on halves.
    """

    setting: Benchmark
    reals: Reals
    chosen: tuple[str, ...]
    out: Path
    device: str | None = None
    condition: Any = None
    paired: bool = False
    tell: Tell = silent
    pace: Pace = field(default_factory=Pace)
    _extractors: dict[str, Extractor] = field(default_factory=dict)
    _views: list[tuple[Images, str | None, View]] = field(default_factory=list)

    def check(self) -> None:
        """Load what every contender will need, before anything slow. Raises MedzooError."""
        if any(map(in_features, measures.distinct(self.chosen))):
            for name in self.setting.features:
                self.extractor(name)

    def extractor(self, name: str) -> Extractor:
        from medzoo import features

        if name not in self._extractors:
            self._extractors[name] = features.load(name, device=str(devices.find(self.device)))
        return self._extractors[name]

    def view(self, images: Images, features: str | None, progress: Callable[[int, int], None]) -> View:
        """The images with their features, made once however many metrics ask."""
        for known, name, view in self._views:
            if known is images and name == features:
                return view
        vectors = probabilities = None
        if features is not None:
            from medzoo.features import features_of

            extractor = self.extractor(features)
            vectors = features_of(images.images, extractor, progress)
            probabilities = extractor.probabilities(vectors)
        view = View(images.images, images.masks, images.labels, vectors, probabilities)
        self._views.append((images, features, view))
        return view

    def has_view(self, images: Images, features: str | None) -> bool:
        """Whether their features are at hand."""
        return any(known is images and name == features for known, name, _ in self._views)

    def forget(self, images: Images | None) -> None:
        """Drop the views of images that nobody will ask for again."""
        self._views = [known for known in self._views if known[0] is not images]

    def extractors(self) -> dict[str, dict[str, Any]]:
        """What results record of the extractors at hand."""
        return {name: {**own.about, "version": own.version} for name, own in self._extractors.items()}

    @cached_property
    def halves(self) -> tuple[Images, Images]:
        """Of the held-out images."""
        return halves(self.reals.held)

    @cached_property
    def made(self) -> dict[str, Any]:
        """Versions and hardware of this run."""
        return records.made(str(devices.find(self.device)))

    @property
    def machine(self) -> dict[str, Any]:
        """What a speed depends on."""
        return {key: self.made[key] for key in ("cpu", "device", "threads")}


def in_features(measure: Measure) -> bool:
    """Whether it is measured once for each extractor."""
    return bool({"features", "probabilities"} & set(measure.needs))


def expected(kind: Literal["model", "folder"], session: Session, reference: str | None = None) -> list[Step]:
    """The steps of a contender that is not there yet, or of a reference point."""
    steps = []
    for i in range(len(session.setting.seeds) if kind == "model" else 1):
        steps += [Step(pace.IMAGES), *features_of(map(measures.load, session.chosen), session)]
        for measure in map(measures.load, session.chosen):
            if reference is not None and reference not in measure.references:
                continue
            if (isinstance(measure, Metric) or kind == "model") and (measure.every_seed or i == 0):
                steps += [Step(measure.name, weight(measure, reference))] * len(extractors_of(measure, session))
    return steps


def features_of(chosen: Iterable[Measure], session: Session) -> list[Step]:
    """The extraction of features that these need, of each extractor once."""
    return [Step(pace.FEATURES)] * len(session.setting.features) if any(map(in_features, chosen)) else []


def weight(measure: Measure, reference: str | None) -> float:
    """Networks are trained on real images once for all rows, on synthetic ones in several shares."""
    return 4.0 if reference is None and measure.group == "usefulness" else 1.0


def extractors_of(measure: Measure, session: Session) -> tuple[str | None, ...]:
    return session.setting.features if in_features(measure) else (None,)
