"""What a benchmark is: one YAML file of ``registry/benchmarks`` that states whatever changes a number."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from medzoo import catalog, features
from medzoo.bench import measures
from medzoo.catalog import yamlfile
from medzoo.datasets import Protocol
from medzoo.entry import Record
from medzoo.errors import BenchmarkError, EntryError
from medzoo.results import Name


class Benchmark(Record):
    """One benchmark.

    Attributes:
        name: of the file.
        dataset: of ``registry/datasets``; null for folders that the person names.
        reference: split of held-out real images, which everything is compared with.
        training: split that models may have been trained on: the floor, the known-bad references, the check for
            memorisation and the training of small networks use it. Null where there is none.
        n: images of each contender (a folder or a split may have fewer).
        seeds: of the models; every score is the mean over them.
        image: how every image is brought to one form.
        window: where ``dataset`` is null: numbers that become black and white, of images of more than 8 bits; null as
            ``medzoo.imagefiles.tone`` says.
        features: extractors, each of which the metrics that need features are measured in.
        metrics: files of ``medzoo/metrics``, metrics of installed packages, and ``cost``.
        bootstrap: resamplings of each interval that is resampled.
        notes: what a reader has to know; null if there is nothing.
    """

    name: Name
    title: str
    dataset: str | None
    reference: str
    training: str | None
    n: Annotated[int, Field(ge=2)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    image: Protocol
    window: tuple[float, float] | None = None
    features: Annotated[tuple[str, ...], Field(min_length=1)]
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    bootstrap: Annotated[int, Field(ge=2)]
    notes: str | None

    @model_validator(mode="after")
    def _known(self) -> Benchmark:
        if self.image.channels is None:
            raise ValueError("image: state the channels, L or RGB: images of both cannot be compared")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(f"window needs low < high, found {list(self.window)}")
        if self.window is not None and self.dataset is not None:
            raise ValueError("window goes with folders; a dataset of the registry states its own")
        known = measures.names()
        for name in self.metrics:
            if name not in known:
                raise ValueError(f"metrics: no metric is named '{name}'; there are {', '.join(known)}")
        for field in ("seeds", "features", "metrics"):
            if len(set(getattr(self, field))) < len(getattr(self, field)):
                raise ValueError(f"{field}: one of them is there twice")
        return self

    @property
    def revision(self) -> str:
        """Hash of all that changes a number, 12 digits. Metrics and features are told apart score by score."""
        fields = self._fields(exclude={"title", "notes", "metrics", "features"})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]

    def stated(self) -> dict[str, Any]:
        """Every setting, as results record it."""
        return {**self._fields(exclude=set()), "revision": self.revision}

    def _fields(self, exclude: set[str]) -> dict[str, Any]:
        """As JSON; a window only where there is one."""
        return self.model_dump(mode="json", exclude=exclude | ({"window"} if self.window is None else set()))


def names() -> list[str]:
    """Benchmarks of the registry."""
    return sorted(catalog.named_files("benchmarks"))


def load(name: str) -> Benchmark:
    """A benchmark of the registry, by name, or one in a YAML file.

    Raises:
        BenchmarkError: there is none of that name.
        EntryError: its file breaks the rules; every problem is listed with its line.
    """
    files = catalog.named_files("benchmarks")
    path = Path(name) if name.endswith((".yaml", ".yml")) else files.get(name)
    if path is None or not path.is_file():
        raise BenchmarkError(f"no benchmark is named '{name}'; there are {', '.join(sorted(files)) or 'none'}")
    setting = yamlfile.parse(catalog.text_of(path), str(path), Benchmark)
    if setting.name != path.stem:
        raise EntryError(f"{path}: name '{setting.name}' differs from the file's; make them the same")
    for extractor in setting.features:
        if not features.is_builtin(extractor):  # a file must not say which code is run
            raise EntryError(f"{path}: features: '{extractor}' is none of {', '.join(features.names())}")
    return setting
