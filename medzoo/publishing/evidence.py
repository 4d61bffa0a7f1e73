"""What was measured of a model, from the results of ``medzoo bench``; above all whether it repeats training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medzoo import results
from medzoo.entry import Entry
from medzoo.errors import PublishError
from medzoo.results import Result

METRIC = "near_copies"
ALLOWED = 0.01  # share of near copies that is let pass in any case
AT_MOST = 0.05  # however many held-out images resemble training images: they may be the same patients
FEWEST = 100  # samples that a share has to be measured on


@dataclass(frozen=True)
class Memorisation:
    """Near copies of training images among the samples of a model.

    Attributes:
        share: of the samples; the largest of all benchmarks.
        allowed: the share up to which a model is published without more words: ``ALLOWED``, or the share of held-out
            real images, which resemble training images too, if that is larger, up to ``AT_MOST``. Not the end of its
            interval: of 60 held-out images without a near copy it would be 6 %, and let pass what nobody knows.
        heldout: share of held-out real images that are near copies likewise; None where it is not stated.
        samples: how many samples were looked at.
        benchmark: its name.
    """

    share: float
    allowed: float
    heldout: float | None
    samples: int
    benchmark: str

    @property
    def too_many(self) -> bool:
        return self.share > self.allowed


def of_model(entry: Entry, folders: Sequence[Path]) -> list[Result]:
    """The results of this revision of a model, by the name of the benchmark; of two the newer.

    Raises ResultError: a file that is none.
    """
    newest: dict[str, Result] = {}
    for folder in folders:
        # A revision with a tail is the same model under a stated condition.
        for path in sorted((folder / entry.model_id).glob(f"{entry.revision}*/*.json")):
            result = results.read(path)
            if result is None or result.contender.id != entry.model_id:
                continue
            name = f"{path.stem} {path.parent.name}"
            before = newest.get(name)
            if before is None or str(before.made.get("started", "")) <= str(result.made.get("started", "")):
                newest[name] = result
    return [newest[name] for name in sorted(newest)]


def memorisation(entry: Entry, found: Sequence[Result], folders: Sequence[Path], how: str) -> Memorisation:
    """The worst that was measured.

    Args:
        how: the command that measures it.

    Raises PublishError: nothing was measured, or of too few samples.
    """
    measured = [one for one in map(_of_result, found) if one is not None]
    if not measured:
        looked = ", ".join(map(str, folders)) or "no folder of results: there is none"
        why = [f"{one.benchmark['name']}: {one.failed[METRIC]}" for one in found if METRIC in one.failed]
        older = [
            path.name for folder in folders for path in sorted((folder / entry.model_id).glob("*")) if path.is_dir()
        ]
        reason = f"; {'; '.join(why)}" if why else ""
        if not found and older:
            reason = f"; there are results of other revisions ({', '.join(older)}), this one is {entry.revision}"
        raise PublishError(
            f"{entry.model_id}: whether it repeats training images was not measured (looked in {looked}{reason}). "
            f"Type: {how}"
        )
    enough = [one for one in measured if one.samples >= FEWEST]
    if not enough:
        most = max(one.samples for one in measured)
        raise PublishError(
            f"{entry.model_id}: near copies were looked for among {most} samples, which says little; at least {FEWEST} "
            f"are needed. Type: {how}"
        )
    return max(enough, key=lambda one: (one.share - one.allowed, one.benchmark))


def _of_result(result: Result) -> Memorisation | None:
    score = next((one for one in result.scores if one.name == METRIC and one.value is not None), None)
    if score is None or score.value is None:
        return None
    real = next((one for one in result.references.get("real", ()) if one.name == METRIC), None)
    heldout = score.detail.get("heldout") if isinstance(score.detail, dict) else None
    if heldout is None and real is not None:
        heldout = real.value
    return Memorisation(
        score.value,
        max(ALLOWED, min(heldout or 0.0, AT_MOST)),
        heldout,
        int(result.benchmark.get("n", 0)),
        str(result.benchmark["name"]),
    )
