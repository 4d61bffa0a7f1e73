"""The page of ``medzoo info RUN``: how far a training run is, how good, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo.cli import table
from medzoo.errors import MedzooError

if TYPE_CHECKING:
    from medzoo.cli.table import Section
    from medzoo.training import Run

_LAST = 5  # measurements that are shown
_NUMBERS = 6  # of one line


def page(folder: Path) -> str:
    """The whole page as text. Raises TrainingError: the run is damaged."""
    from medzoo.training import Run

    run = Run(folder)
    config = run.config
    technique = ", ".join(str(one["name"]) for one in config.techniques) or "none"
    size = config.size if isinstance(config.size, int) else " x ".join(map(str, config.size))
    title = [str(folder), f"a training run: {config.family}, {size} px, of {config.source}"]
    sections: list[Section] = [
        ("Steps", [_steps(run)]),
        ("Settings", [f"batch {config.batch}, techniques: {technique}; all of them in config.yaml"]),
        ("Losses", _losses(run.log())),
        ("Held out", _measurements(run)),
        ("Makes", [_makes(folder)]),
        ("Pictures", [str(folder / "samples")]),
        ("Next", _next(run)),
    ]
    return table.page(title, sections, "Synthetic images for research; not for clinical use.")


def facts(folder: Path) -> dict[str, Any]:
    """The same as ``--json`` prints it."""
    from medzoo.training import Run

    run = Run(folder)
    best = run.best
    return {
        "kind": "run", "folder": str(folder), "family": run.config.family, "step": run.step, "steps": run.steps,
        "finished": run.finished, "stopped": run.stopped,
        "best": None if best is None else {"step": best.step, **best.scores},
        "log": run.log()[-1:], "heldout": run.heldout(),
    }  # fmt: skip


def _steps(run: Run) -> str:
    if run.stopped is not None:
        return f"{run.step:,} of {run.steps:,}; ended early: {run.stopped}"
    return f"{run.step:,} of {run.steps:,}" + ("" if run.finished else "; not finished")


def _losses(rows: Sequence[Mapping[str, float]]) -> list[str]:
    if not rows:
        return ["none written yet (one line every ten steps)"]
    numbers = [f"{name} {value:.4g}" for name, value in rows[-1].items() if name != "step"][:_NUMBERS]
    return [f"step {rows[-1]['step']:g}: {', '.join(numbers)}"]


def _measurements(run: Run) -> list[str]:
    rows, best = run.heldout(), run.best
    if not rows:
        return ["not measured yet"]
    lines = [
        f"step {row['step']:g}: {', '.join(f'{name} {row[name]:.4g}' for name in ('kid', 'fd') if name in row)}"
        + ("  <- best" if best is not None and row["step"] == best.step else "")
        for row in rows[-_LAST:]
    ]
    earlier = [] if best is None or any("best" in line for line in lines) else [
        f"step {best.step}: kid {best.scores['kid']:.4g}  <- best"
    ]  # fmt: skip
    return [*earlier, *lines]


def _makes(folder: Path) -> str:
    from medzoo.catalog import resolve

    try:
        located = resolve(folder)
    except MedzooError as error:
        return str(error)
    return f"{located.name}, revision {located.entry.revision}"


def _next(run: Run) -> list[str]:
    folder = shlex.quote(str(run.folder))
    python = f"medzoo.load({str(run.folder)!r})"
    lines = [f"medzoo generate {folder} -n 16 --out samples --grid", python, f"medzoo bench {folder} --real HELD_OUT"]
    lines.append(f"medzoo publish {folder} --repo USER/NAME --dry-run")
    if not run.finished:
        lines.insert(0, "go on: the command that began it, once more")
    return lines
