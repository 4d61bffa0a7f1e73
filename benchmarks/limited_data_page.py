"""Tables and plot of ``limited_data.py``: from its ``results.json`` into ``docs/``.

    python benchmarks/limited_data_page.py [runs/limited/results.json [runs/limited_more/results.json]]

With paths, those results become the ones in ``benchmarks/results/``, of the short form and of the one of more steps;
without, the page is written anew from them. A test compares the page with the results, so that neither can be changed
alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import mean
from typing import Any

from medzoo import report
from medzoo.report.numbers import decimals, short, shown, span
from medzoo.report.svg import WIDTH, Frame, Scale, around, colour, dash, marker

ROOT = Path(__file__).parents[1]
RESULTS = [ROOT / "benchmarks" / "results" / name for name in ("limited_data.json", "limited_data_more_steps.json")]
PAGE, PICTURE = ROOT / "docs" / "limited_data.md", ROOT / "docs" / "images" / "limited_data.svg"
BEGIN, END = "<!-- written by benchmarks/limited_data_page.py -->", "<!-- end -->"  # around each table

NAMES = {"none": "none", "diffaugment": "DiffAugment", "ada": "ADA", "apa": "APA", "bcr": "bCR"}
Cell = Mapping[str, Any]
DISTANCES: dict[str, Callable[[Cell], float]] = {
    "KID, best": lambda cell: cell["best"]["kid"],
    "KID, last": lambda cell: cell["last"]["kid"],
    "FD, best": lambda cell: cell["best"]["fd"],
    "FD, last": lambda cell: cell["last"]["fd"],
}
SIGNS: dict[str, Callable[[Cell], float | None]] = {
    "best step": lambda cell: cell["best"]["step"],
    "r_t": lambda cell: cell["last"]["r_t"],
    "r_v": lambda cell: cell["last"]["r_v"],
    "near copies": lambda cell: cell["last"]["near_copies"],
    "p": lambda cell: cell.get("p"),
}
PANELS = {"KID, best snapshot": "KID, best", "KID, last snapshot": "KID, last",
          "FD, best snapshot": "FD, best", "FD, last snapshot": "FD, last"}  # fmt: skip
HEIGHT, TOP = 300.0, 40.0  # of a panel; of the legend


def main(arguments: Sequence[str]) -> int:
    for given, kept in zip(arguments, RESULTS, strict=False):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(Path(given).read_text(encoding="utf-8"), encoding="utf-8")
    found = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS]
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    PICTURE.write_text(plot(found[0]), encoding="utf-8")
    return 0


def page(text: str, results: Sequence[Mapping[str, Any]]) -> str:
    """The page with today's tables between their marks."""
    first, *parts = text.split(BEGIN)
    written = [
        f"{BEGIN}\n\n{table(one)}\n{END}{part.partition(END)[2]}" for one, part in zip(results, parts, strict=True)
    ]
    return first + "".join(written)


def table(results: Mapping[str, Any]) -> str:
    """What was run, distances, and signs of over-fitting, as Markdown."""
    rows = [[str(images), named(technique), *_spreads(results, cells)] for images, technique, cells in groups(results)]
    if real := results["real"]:
        kid, fd = (shown(real[name], _places(results, f"{name.upper()}, best")) for name in ("kid", "fd"))
        rows.append(["", "real training images", kid, "", fd, ""])
    signs = [[str(images), named(technique), *_means(cells)] for images, technique, cells in groups(results)]
    return "\n".join(
        [
            said(results), "", *_markdown(["images", "technique", *DISTANCES], rows), "",
            "Means over the seeds, of the last snapshot but for the step of the best one:", "",
            *_markdown(["images", "technique", *SIGNS], signs), "",
        ]
    )  # fmt: skip


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _spreads(results: Mapping[str, Any], cells: Sequence[Cell]) -> list[str]:
    """Mean (smallest to largest) of each distance."""
    found = []
    for name, of in DISTANCES.items():
        places, values = _places(results, name), [of(cell) for cell in cells]
        around_it = f" ({span(min(values), max(values), places)})" if len(values) > 1 else ""
        found.append(shown(mean(values), places) + around_it)
    return found


def _places(results: Mapping[str, Any], name: str) -> int:
    return decimals([DISTANCES[name](cell) for cell in results["cells"]])


def _means(cells: Sequence[Cell]) -> list[str]:
    """Of each sign; nothing for one that the technique does not have."""
    found = []
    for name, of in SIGNS.items():
        values = [value for cell in cells if (value := of(cell)) is not None]
        percent = name == "near copies"
        places = 0 if name == "best step" else 1 if percent else 2
        found.append(shown(mean(values), places, percent) if values else "")
    return found


def said(results: Mapping[str, Any]) -> str:
    """The numbers of the setting, in words."""
    study, made, data = results["study"], results["made"], results["data"]
    seeds = sorted({cell["seed"] for cell in results["cells"]})
    finished = len(results["cells"])
    planned = study["seeds"] * len(study["images"]) * len(study["techniques"])
    missing = f" **{planned - finished} of {planned} runs are missing.**" if finished < planned else ""
    return (
        f"`{study['dataset']}` at {study['size']} px, {data['held_out']['images']} held-out images; widths "
        f"{study['width']}, {study['steps']} steps of {study['batch']} images, averaged with decay {study['ema']}; "
        f"measured every {study['every']} steps on {study['samples']} samples; "
        f"kimg of ADA and APA {short(study['kimg'])}; "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}; {made['device']}, torch {made['torch']}."
        f"{missing} Mean over the seeds, in brackets smallest and largest."
    )


def groups(results: Mapping[str, Any]) -> list[tuple[int, str, list[Cell]]]:
    """The cells of all seeds by number of images and technique, in the order of the study."""
    found: dict[tuple[int, str], list[Cell]] = {}
    for cell in results["cells"]:
        found.setdefault((cell["images"], cell["technique"]), []).append(cell)
    order = results["study"]["techniques"]
    return [(*key, found[key]) for key in sorted(found, key=lambda key: (key[0], order.index(key[1])))]


def named(technique: str) -> str:
    return NAMES.get(technique, technique)


def plot(results: Mapping[str, Any]) -> str:
    """KID and FD of the best and the last snapshot against the number of training images, as one SVG."""
    techniques = list(dict.fromkeys(technique for _, technique, _ in groups(results)))
    parts = [_legend(techniques)]
    for i, (title, column) in enumerate(PANELS.items()):
        across, down = i % 2 * WIDTH, TOP + i // 2 * HEIGHT
        parts.append(f'<g transform="translate({across:g} {down:g})">{_panel(results, title, column, techniques)}</g>')
    width, height = 2 * WIDTH, TOP + 2 * HEIGHT
    about = "Mean over seeds, with the range; best and last snapshot of a distance share their scale."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        'aria-labelledby="t d"><title id="t">Held-out distance against the number of training images</title>'
        f'<desc id="d">{about}</desc><style>{_style()}</style>'
        f'<rect class="paper" width="{width:g}" height="{height:g}"/>{"".join(parts)}</svg>\n'
    )


def _legend(techniques: Sequence[str]) -> str:
    parts = []
    for place, technique in enumerate(techniques):
        at = 46 + 140 * place
        dashes = f' stroke-dasharray="{dash(place)}"' if dash(place) else ""
        parts.append(f'<path class="curve {colour(place)}" d="M{at} 24h34"{dashes}/>{marker(at + 17, 24, place)}')
        parts.append(f'<text x="{at + 42}" y="28" class="name {colour(place)}">{escape(named(technique))}</text>')
    return "".join(parts)


def _panel(results: Mapping[str, Any], title: str, column: str, techniques: Sequence[str]) -> str:
    counts = sorted({images for images, _, _ in groups(results)})
    both = [DISTANCES[name] for name in (column.replace("last", "best"), column.replace("best", "last"))]
    every = [of(cell) for cell in results["cells"] for of in both]
    across = Scale(counts[0] / 1.5, counts[-1] * 1.5, 46, WIDTH - 12, log=True)
    frame = Frame(across, Scale(*around(every, zero=True), HEIGHT - 50, 30), WIDTH, HEIGHT)
    frame.axes("training images", title, counts)
    for place, technique in enumerate(techniques):
        beside = 1.06 ** (place - (len(techniques) - 1) / 2)  # so that ranges do not cover each other
        line = []
        for images, name, cells in groups(results):
            if name == technique:
                values = [DISTANCES[column](cell) for cell in cells]
                line.append((images * beside, mean(values)))
                x, low, high = frame.x(images * beside), frame.y(min(values)), frame.y(max(values))
                frame.add(f'<path class="whisker {colour(place)}" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        frame.curve(line, colour(place), dash(place))
        for at, value in line:
            frame.point(at, value, place)
    return "".join(frame.parts)


def _style() -> str:
    """The colours of reports, light and dark, and what they say of charts."""
    css = (Path(report.__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    colours = css[: css.index("* {")]
    rules = "\n".join(line for line in css.splitlines() if line.startswith("svg "))
    fonts = 'text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }'
    return f"{colours}{fonts}\n{rules}\n.paper {{ fill: var(--page); }}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
