"""Write docs/leaderboard.md from the results in registry/results.

    medzoo bench 10001 --benchmark polyp_128 --data DIR --out registry/results
    python benchmarks/leaderboard.py [FILE]

A test compares the page with the results, so that neither can be changed alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from medzoo import report, results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "registry" / "results"
HEAD = """# Leaderboard

What `medzoo bench` measured of the models that could be run here ([how](benchmarks.md), [the scores](scores.md)).
The results are in `registry/results/`; `medzoo rank --benchmark NAME --metric kid` orders them. Scores of different
benchmarks are of different data: do not compare them.
"""


def main() -> int:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "leaderboard.md"
    target.write_text(page(RESULTS), encoding="utf-8")
    return 0


def page(folder: Path) -> str:
    """One section a benchmark."""
    return "\n".join([HEAD, *(report.markdown(found, level=2) for found in results.by_benchmark([folder]).values())])


if __name__ == "__main__":
    raise SystemExit(main())
