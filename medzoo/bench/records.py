"""Results as they grow: what an earlier run left that still holds, one more score, what made it."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from medzoo import __version__, metrics
from medzoo.bench.setting import COST
from medzoo.metrics._base import Metric, Score
from medzoo.results import ReferenceScore, Result, ScoreRecord, SeedScore


def continued(found: Result | None, fresh: Result, extractors: Mapping[str, dict[str, Any]]) -> Result:
    """What an earlier run has, as far as today's would make the same of the same images; else ``fresh``.

    Args:
        found: what is on the disk.
        fresh: the empty result of today, with its ``extractors`` empty.
        extractors: name -> what would be recorded of the extractors at hand; of others nothing can be said.
    """
    if found is None or found.benchmark["revision"] != fresh.benchmark["revision"] or found.data != fresh.data:
        return fresh
    if found.contender.weights_sha256 != fresh.contender.weights_sha256:
        return fresh
    changed = {name for name, about in extractors.items() if _decides(found.extractors.get(name)) != _decides(about)}
    kept = tuple(one for one in found.scores if one.features not in changed and _of_today(one))
    features = dict.fromkeys([*fresh.benchmark["features"], *(one.features for one in kept if one.features)])
    return found.model_copy(
        update={
            "contender": fresh.contender,
            "benchmark": {**fresh.benchmark, "features": list(features)},
            "extractors": {name: about for name, about in found.extractors.items() if name not in changed},
            "scores": kept,
        }
    )


def _decides(about: Mapping[str, Any] | None) -> dict[str, Any]:
    """What of an extractor's record decides its features."""
    return {key: value for key, value in (about or {}).items() if key not in ("device", "license")}


def _of_today(score: ScoreRecord) -> bool:
    """Whether the metric still is what it was."""
    return score.metric == COST or (
        score.metric in metrics.names() and metrics.load(score.metric).version == score.version
    )


def going_on(result: Result, made: dict[str, Any]) -> Result:
    """The result with more about to be measured: ``made`` says by what, and keeps what made the scores that it has."""
    before = dict(result.made)
    seconds, earlier = before.pop("seconds", {}), before.pop("earlier", [])
    same = ("started", "seconds")
    if result.scores and any(before.get(key) != value for key, value in made.items() if key not in same):
        earlier = [*earlier, before]
    more = {"earlier": earlier} if earlier and result.scores else {}
    return result.model_copy(update={"made": {**made, "seconds": seconds if result.scores else {}, **more}})


def has(result: Result, metric: Metric, features: str | None, seed: int, machine: Mapping[str, Any]) -> bool:
    """Whether a metric is measured; what a model costs, on this machine."""
    return any(
        score.metric == metric.name
        and score.features == features
        and any(one.seed == seed for one in score.seeds)
        and (metric.name != COST or score.detail == machine)
        for score in result.scores
    )


def joined(
    result: Result, metric: Metric, features: str | None, seed: int, scores: Mapping[str, Score], *, first: bool
) -> Result:
    """The result with the scores of one more seed; ``first``: of that whose notes and details are shown."""
    kept = {(one.name, one.features): one for one in result.scores}
    for scale in metric.scales:
        if scale.name not in scores:
            continue
        score, key = scores[scale.name], (scale.name, features)
        before = kept.get(key)
        seeds = {one.seed: one for one in (() if before is None else before.seeds)}
        seeds[seed] = SeedScore(
            seed=seed,
            value=_known(score.value),
            low=_known(score.low),
            high=_known(score.high),
            error=_known(score.error),
        )
        every = tuple(seeds[one] for one in sorted(seeds))
        kept[key] = ScoreRecord(
            name=scale.name,
            title=scale.title,
            metric=metric.name,
            group=metric.group,
            features=features,
            better=scale.better,
            percent=scale.percent,
            version=metric.version,
            about=scale.about,
            value=_mean(every, "value"),
            low=_mean(every, "low"),
            high=_mean(every, "high"),
            error=_mean(every, "error"),
            note=score.note if first or before is None else before.note,
            detail=score.detail if first else None if before is None else before.detail,
            seeds=every,
        )
    return result.model_copy(update={"scores": tuple(kept.values())})


def _known(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _mean(seeds: tuple[SeedScore, ...], which: str) -> float | None:
    values = [getattr(one, which) for one in seeds]
    return None if any(value is None for value in values) else float(np.mean(values))


def beside(result: Result, references: Mapping[str, Result]) -> Result:
    """The result with the scores of reference points beside its own, but for those in other features of that name."""

    def brief(point: Result) -> tuple[ReferenceScore, ...]:
        return tuple(
            ReferenceScore(name=one.name, features=one.features, value=one.value, low=one.low, high=one.high)
            for one in point.scores
            if one.features is None
            or one.features not in result.extractors
            or _decides(point.extractors.get(one.features)) == _decides(result.extractors[one.features])
        )

    return result.model_copy(update={"references": {name: brief(one) for name, one in references.items()}})


def timed(result: Result, what: str, seconds: float) -> Result:
    """The result with more seconds spent on something."""
    spent = {**result.made.get("seconds", {})}
    spent[what] = round(spent.get(what, 0.0) + seconds, 2)
    return result.model_copy(update={"made": {**result.made, "seconds": spent}})


def made(device: str) -> dict[str, Any]:
    """Versions and hardware of this process."""
    import torch

    return {
        "medzoo": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": processor(),
        "device": device,
        "threads": torch.get_num_threads(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": {},
    }


def processor() -> str:
    """Name of the CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
