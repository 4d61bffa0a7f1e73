"""Results as they grow: what an earlier run left that still holds, one more score, what made it."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from medzoo import __version__
from medzoo.bench import measures
from medzoo.bench.measures import Measure
from medzoo.metrics import Scale, Score
from medzoo.results import ReferenceScore, Result, ScoreRecord, SeedScore, differences, without_sizes


def continued(earlier: Result | None, fresh: Result, extractors: Mapping[str, dict[str, Any]]) -> Result:
    """What an earlier run has, as far as today's would make the same of the same images; else ``fresh``.

    Args:
        earlier: what is on the disk.
        fresh: the empty result of today, with its ``extractors`` empty.
        extractors: name -> what would be recorded of the extractors at hand; of others nothing can be said.
    """
    if earlier is None or earlier.benchmark["revision"] != fresh.benchmark["revision"]:
        return fresh
    if without_sizes(earlier.data) != without_sizes(fresh.data):
        return fresh
    if earlier.contender.weights_sha256 != fresh.contender.weights_sha256:
        return fresh
    changed = {name for name, about in extractors.items() if _decides(earlier.extractors.get(name)) != _decides(about)}
    scores = tuple(score for score in earlier.scores if score.features not in changed and _of_today(score))
    features = dict.fromkeys([*fresh.benchmark["features"], *(score.features for score in scores if score.features)])
    return earlier.model_copy(
        update={
            "contender": fresh.contender,
            "data": fresh.data,
            "benchmark": {**fresh.benchmark, "features": list(features)},
            "extractors": {name: about for name, about in earlier.extractors.items() if name not in changed},
            "scores": scores,
            "draws": _draws_of(scores, earlier.draws),
        }
    )


def _draws_of(
    scores: Iterable[ScoreRecord], draws: Mapping[str, tuple[float | None, ...]]
) -> dict[str, tuple[float | None, ...]]:
    kept = {_key(score.name, score.features) for score in scores}
    return {key: values for key, values in draws.items() if key in kept}


def _key(name: str, features: str | None) -> str:
    return differences.key_of({"name": name, "features": features})


def has_draws(result: Result, measure: Measure, features: str | None) -> bool:
    """Whether the scores of a metric can be compared in pairs."""
    return any(_key(scale.name, features) in result.draws for scale in measure.scales)


def with_draws(result: Result, features: str | None, draws: Mapping[str, Iterable[float | None]]) -> Result:
    """The result with the values of scores on the halves of its first seed."""
    more = {_key(name, features): tuple(map(_known, values)) for name, values in draws.items()}
    return result.model_copy(update={"draws": {**result.draws, **more}})


def _decides(about: Mapping[str, Any] | None) -> dict[str, Any]:
    """What of an extractor's record decides its features."""
    return {key: value for key, value in (about or {}).items() if key not in ("device", "license")}


def _of_today(score: ScoreRecord) -> bool:
    """Whether the metric still is what it was."""
    return score.metric in measures.names() and measures.load(score.metric).version == score.version


def resumed(result: Result, made: dict[str, Any]) -> Result:
    """The result with more about to be measured: ``made`` says by what, and keeps what made the scores that it has."""
    before = dict(result.made)
    seconds, earlier = before.pop("seconds", {}), before.pop("earlier", [])
    same = ("started", "seconds")
    if result.scores and any(before.get(key) != value for key, value in made.items() if key not in same):
        earlier = [*earlier, before]
    more = {"earlier": earlier} if earlier and result.scores else {}
    return result.model_copy(update={"made": {**made, "seconds": seconds if result.scores else {}, **more}})


def has_score(
    result: Result, measure: Measure, features: str | None, seed: int, machine: Mapping[str, Any] | None
) -> bool:
    """Whether something is measured; ``machine``: that it has to have been measured on, None if any will do."""
    return any(
        score.metric == measure.name
        and score.features == features
        and any(other.seed == seed for other in score.seeds)
        and (machine is None or score.detail == machine)
        for score in result.scores
    )


def with_scores(
    result: Result, measure: Measure, features: str | None, seed: int, scores: Mapping[str, Score], *, first: bool
) -> Result:
    """The result with the scores of one more seed; ``first``: of that whose notes and details are shown."""
    records = {(record.name, record.features): record for record in result.scores}
    for scale in measure.scales:
        if scale.name in scores:
            key, score = (scale.name, features), scores[scale.name]
            before = records.get(key)
            seeds = _with_seed(() if before is None else before.seeds, seed, score)
            # The pairs and curves of another seed would show other images than the page does.
            shown = score if first else replace(score, detail=None) if before is None else before
            records[key] = _record(measure, scale, features, seeds, shown)
    return result.model_copy(update={"scores": tuple(records.values())})


def _with_seed(seeds: Iterable[SeedScore], seed: int, score: Score) -> tuple[SeedScore, ...]:
    """The scores of seeds with another one, in their order; one of the same seed takes the place of the older."""
    value, low, high, error = map(_known, (score.value, score.low, score.high, score.error))
    by_seed = {other.seed: other for other in seeds}
    by_seed[seed] = SeedScore(seed=seed, value=value, low=low, high=high, error=error)
    return tuple(by_seed[number] for number in sorted(by_seed))


def _record(
    measure: Measure,
    scale: Scale,
    features: str | None,
    seeds: tuple[SeedScore, ...],
    shown: Score | ScoreRecord,
) -> ScoreRecord:
    """The mean over seeds, with the note and the detail of ``shown``."""
    return ScoreRecord(
        name=scale.name,
        title=scale.title,
        metric=measure.name,
        group=measure.group,
        features=features,
        better=scale.better,
        percent=scale.percent,
        version=measure.version,
        about=scale.about,
        value=_mean(seeds, "value"),
        low=_mean(seeds, "low"),
        high=_mean(seeds, "high"),
        error=_mean(seeds, "error"),
        note=shown.note,
        detail=shown.detail,
        seeds=seeds,
    )


def _known(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _mean(seeds: tuple[SeedScore, ...], which: str) -> float | None:
    values = [getattr(seed, which) for seed in seeds]
    return None if any(value is None for value in values) else float(np.mean(values))


def with_references(result: Result, references: Mapping[str, Result]) -> Result:
    """The result with the scores of reference points beside its own, but for those in other features of that name."""

    def brief(point: Result) -> tuple[ReferenceScore, ...]:
        return tuple(
            ReferenceScore(name=score.name, features=score.features, value=score.value, low=score.low, high=score.high)
            for score in point.scores
            if score.features is None
            or score.features not in result.extractors
            or _decides(point.extractors.get(score.features)) == _decides(result.extractors[score.features])
        )

    return result.model_copy(update={"references": {name: brief(point) for name, point in references.items()}})


def with_seconds(result: Result, what: str, seconds: float) -> Result:
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
