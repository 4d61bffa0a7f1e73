"""What a benchmark can measure: metrics, of images, and costs, of the model that makes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from medzoo import metrics
from medzoo.bench.cost import COST
from medzoo.errors import BenchmarkError
from medzoo.metrics import Metric, Need, Scale, Score


class MeasuresModel(Protocol):
    """Something measured of a model itself, on one machine, where a ``Metric`` is measured of images.

    ``name``, ``group``, ``scales``, ``needs``, ``references``, ``every_seed`` and ``version`` mean what they mean of a
    ``Metric``. Its scores depend on the machine: on another one they are measured again.
    """

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def scales(self) -> tuple[Scale, ...]: ...
    @property
    def needs(self) -> tuple[Need, ...]: ...
    @property
    def references(self) -> tuple[str, ...]: ...
    @property
    def every_seed(self) -> bool: ...
    @property
    def version(self) -> int: ...

    def measure_model(
        self, model: str, *, device: str | None, condition: Any, machine: Mapping[str, Any]
    ) -> Mapping[str, Score]:
        """A score for each of ``scales``, by name.

        Args:
            model: what ``medzoo.load`` takes.
            device, condition: as ``medzoo.generate`` takes them.
            machine: what a speed depends on; the ``detail`` of every score.
        """
        ...


Measure = Metric | MeasuresModel

OF_MODELS: Mapping[str, MeasuresModel] = {measure.name: measure for measure in (COST,)}


def names() -> list[str]:
    """Names that ``load`` takes, and that a benchmark may state."""
    return [*metrics.names(), *OF_MODELS]


def builtin() -> list[str]:
    """Those that need no other package."""
    return [*metrics.builtin(), *OF_MODELS]


def load(name: str) -> Measure:
    """The metric of that name, or what is measured of models under it.

    Raises:
        MedzooError: there is none, or it does not load.
    """
    return OF_MODELS[name] if name in OF_MODELS else metrics.load(name)


def trains(name: str) -> bool:
    """Whether it trains networks, which takes minutes. Raises MedzooError."""
    measure = load(name)
    return isinstance(measure, Metric) and measure.trains


def distinct(chosen: Iterable[str]) -> list[Measure]:
    """All of them, loaded.

    Raises:
        MedzooError: one does not load, or two give a score of the same name, so that results could not tell them apart.
    """
    measures = [load(name) for name in chosen]
    givers: dict[str, str] = {}
    for measure in measures:
        for scale in measure.scales:
            if givers.setdefault(scale.name, measure.name) != measure.name:
                raise BenchmarkError(
                    f"metrics '{givers[scale.name]}' and '{measure.name}' both give a score '{scale.name}'; choose one "
                    "of them with --only"
                )
    return measures
