"""A page of its own: ``RUN/index.html``, one static file that a browser reloads by itself while the run trains.

Progress, time left, curves of losses and held-out scores, the newest samples and some before them. It needs no server
and no script; pictures are those of ``RUN/samples``.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.files.whole import write_bytes
from medzoo.training.config import TrainConfig, dump_config
from medzoo.training.loggers._base import Logger
from medzoo.training.pace import duration
from medzoo.training.selection import best, reason_to_stop
from medzoo.training.tables import read_table

if TYPE_CHECKING:
    from jinja2 import Template

EVERY = 10.0  # seconds between two versions of the page
POINTS = 300  # of a curve, at most
EARLIER = 6  # pictures beside the newest one
WIDTH, HEIGHT = 600, 200  # of a chart, in units of its own


class Page(Logger):
    """Writes the page anew from the tables and pictures of the run, at most every ten seconds."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        self.written = -math.inf
        self.at, self.left, self.running = 0, math.nan, True

    def open(self, step: int, config: TrainConfig) -> None:
        self.config, self.at, self.running = config, step, True
        self.write()

    def step(self, step: int, left: float) -> None:
        self.at, self.left = step, left
        if time.monotonic() - self.written >= EVERY:
            self.write()

    def numbers(self, table: str, row: Mapping[str, float]) -> None:
        if table == "heldout":
            self.write()

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        self.write()

    def close(self) -> None:
        self.running = False
        self.write()

    def write(self) -> None:
        self.written = time.monotonic()
        write_bytes(self.run / "index.html", _template().render(self.facts()).encode())

    def facts(self) -> dict[str, Any]:
        """What the template shows."""
        config, log, held = self.config, read_table(self.run / "log.csv"), read_table(self.run / "heldout.csv")
        chosen = best(held, config.held.early) if held else None
        pictures = sorted((self.run / "samples").glob("*.png"), reverse=True)
        earlier = pictures[1:EARLIER] + pictures[EARLIER:][-1:]  # and the first one
        losses = [name for name in (log[0] if log else ()) if name.startswith("loss")]
        return {
            "config": config, "yaml": dump_config(config), "step": self.at, "steps": config.steps,
            "running": self.running, "why": reason_to_stop(held, config.held.patience, config.held.early),
            "left": None if math.isnan(self.left) else duration(self.left),
            "share": self.at / config.steps, "run": self.run, "typed": shlex.quote(str(self.run)),
            "now": time.strftime("%Y-%m-%d %H:%M:%S"),
            "newest": pictures[0].name if pictures else None, "earlier": [path.name for path in earlier],
            "losses": chart(log, losses), "scores": chart(held, ["kid"]),
            "held": held[-8:], "columns": [name for name in (held[0] if held else ()) if name != "seconds"],
            "best": None if chosen is None else held[chosen],
        }  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """Curves in one frame.

    Attributes:
        curves: name and points (``x,y x,y ...``) of each, in units of the frame.
        low, high: of the numbers shown. first, last: steps.
    """

    curves: Sequence[tuple[str, str]]
    low: float
    high: float
    first: int
    last: int


def chart(rows: Sequence[Mapping[str, float]], names: Iterable[str]) -> Chart | None:
    """Curves of columns of a table; None where fewer than two rows have numbers."""
    shown = rows[:: max(1, math.ceil(len(rows) / POINTS))]
    names = [name for name in names if sum(math.isfinite(row.get(name, math.nan)) for row in shown) > 1]
    values = sorted(row[name] for row in shown for name in names if math.isfinite(row[name]))
    if not values:
        return None
    # A single outlier, as first steps bring, must not flatten the rest.
    low, high = values[0], min(values[-1], 3 * values[int(0.95 * (len(values) - 1))] if values[0] >= 0 else values[-1])
    first, last = int(shown[0]["step"]), int(shown[-1]["step"])

    def points(name: str) -> str:
        found = []
        for row in shown:
            if math.isfinite(row[name]):
                x = (row["step"] - first) / max(last - first, 1) * WIDTH
                y = HEIGHT - (min(row[name], high) - low) / max(high - low, 1e-12) * HEIGHT
                found.append(f"{x:.1f},{y:.1f}")
        return " ".join(found)

    return Chart([(name, points(name)) for name in names], low, high, first, last)


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["frame"] = (WIDTH, HEIGHT)
    return environment.from_string(files("medzoo.training.loggers").joinpath("page.html").read_text(encoding="utf-8"))


LOGGER = Page
