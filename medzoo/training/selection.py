"""Which snapshot is the best, and when to stop: decided by the lines of ``heldout.csv`` alone.

So a run that goes on decides as one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

EXPLODED = 2.0  # times the smallest mask gap so far

Row = Mapping[str, float]


def exploded(rows: Sequence[Row]) -> bool:
    """Whether the masks of the last measurement are more than twice as far from real ones as the best so far.

    Features of images do not see masks: KID falls on while masks fray, or get stripes along the border.
    """
    gaps = [row["mask_gap"] for row in rows if "mask_gap" in row]
    if not gaps:
        return False
    known = [gap for gap in gaps if math.isfinite(gap)]
    return not math.isfinite(gaps[-1]) or gaps[-1] > EXPLODED * min(known)


def best(rows: Sequence[Row], early: int = 0) -> int | None:
    """Position of the best measurement: the smallest KID of those whose masks had not exploded by then.

    Args:
        early: the step of a first look, which is no candidate beside others: noise may be nearer to real images, masks
            too, than what a generator makes while it begins to learn.
    """
    counted = [i for i, row in enumerate(rows) if row["step"] != early] or list(range(len(rows)))
    allowed = [i for i in counted if not exploded([rows[j] for j in counted if j <= i])]
    return min(allowed, key=lambda i: rows[i]["kid"], default=None)


def reason_to_stop(rows: Sequence[Row], patience: int | None, early: int = 0) -> str | None:
    """One sentence once ``patience`` measurements in a row brought no better snapshot; else None.

    Args:
        early: as for :func:`best`.
    """
    rows = [row for row in rows if row["step"] != early]
    if patience is None or not rows:
        return None
    at = best(rows)
    since = len(rows) if at is None else len(rows) - 1 - at
    if since < patience:
        return None
    found = (
        "none could be kept" if at is None else f"the best, kid {rows[at]['kid']:.4g}, was at step {rows[at]['step']:g}"
    )
    masks = sum(exploded(rows[: i + 1]) for i in range(len(rows) - since, len(rows)))
    because = f" ({masks} of them with masks more than twice as far from real ones as before)" if masks else ""
    return f"step {rows[-1]['step']:g}: no better snapshot in {since} measurements{because}: {found}"
