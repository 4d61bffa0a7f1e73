"""The page of ``medzoo info``: what one model is, and how far to trust it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from medzoo import conditions, weights
from medzoo.catalog import RawEntry
from medzoo.catalog.downloads import in_words
from medzoo.cli import table
from medzoo.cli.scores import measured
from medzoo.cli.table import Grid, Typed
from medzoo.errors import MedzooError
from medzoo.families import known_families
from medzoo.results.ranking import direction

if TYPE_CHECKING:
    from medzoo.catalog import Located
    from medzoo.cli.table import Section
    from medzoo.entry import Condition, Entry, Sampling, Score, Verified, WeightSource

NOTICE = "Synthetic images for research; not for clinical use."


def page(
    located: Located, *, full: bool = False, results: Path | None = Path("results"), typed: str | None = None
) -> str:
    """The whole page as text, wrapped to the terminal (not wrapped in a pipe).

    Args:
        full: also what checks and scores say in their own words, hashes, and every source of weights.
        results: folder of the person's own results of ``medzoo bench``.
        typed: what commands call a model that no id leads to: its path or address; None for its id.
    """
    entry = located.entry
    shown = [
        (name, [*parts, _here(located)] if name == "Weights" else parts)
        for name, parts in sections(entry, full=full, results=results, typed=typed)
    ]
    more = "" if full else f"\nMore: medzoo info {entry.number if typed is None else shlex.quote(typed)} --full"
    return table.page([located.name, entry.title], shown, NOTICE + more)


def sections(
    entry: Entry, *, full: bool = True, results: Path | None = None, typed: str | None = None
) -> list[Section]:
    """What the page says beside the title: (name, paragraphs and tables), the same on every machine.

    Args:
        full, results, typed: as for ``page``.
    """
    license = entry.license
    runs = "" if entry.family in known_families() else " (not built yet: cannot run here)"
    scores = measured(entry, results, full=full)
    return [
        ("Makes", [_makes(entry)]),
        ("Of", [", ".join(part for part in (entry.modality, entry.organ) if part)]),
        ("Family", [entry.family + runs]),
        ("Needs", _needs(entry.condition)),
        ("Samples", _samples(entry.sampling)),
        ("Licences", [f"weights: {license.weights or 'none stated'}", f"data: {license.data or 'not known'}"]),
        ("Learned from", _data(entry)),
        ("Scores", scores),
        ("Reported", _reported(entry, full)),
        ("Checked", _checked(entry, full, bool(scores))),
        ("Weights", _weights(entry, full)),
        ("Cite", [_citation(entry)]),
        ("Notes", [entry.notes] if entry.notes else []),
        ("Use", [Typed(line) for line in _use(entry, typed)]),
    ]


def _reported(entry: Entry, full: bool) -> list[str | Grid]:
    """What others published: in their own words, or as a table."""
    if not entry.reported:
        return ["no scores"]
    if full:
        return [_score(score) for score in entry.reported]
    rows = [
        (score.metric, f"{score.value:g}", _better(score.metric), score.protocol or "no protocol stated")
        for score in entry.reported
    ]
    return [Grid(("SCORE", "VALUE", "BETTER", "PROTOCOL"), rows)]


def _checked(entry: Entry, full: bool, measured_here: bool) -> list[str]:
    """What was looked at here; in short without what the table of scores shows, and without how it was done."""
    if not entry.verified:
        return ["nothing yet"]
    if full:
        return [_check(check) for check in entry.verified]
    kept = [check for check in entry.verified if not (measured_here and check.metric)]
    return [f"{check.what} ({check.when.isoformat()})" for check in kept]


def _weights(entry: Entry, full: bool) -> list[str]:
    if full or not entry.weights:
        return [_source(source) for source in entry.weights]
    first = _place(entry.weights[0])
    more = len(entry.weights) - 1
    return [first + (f", and {more} more source{'s' * (more > 1)}" if more else "")]


def _makes(entry: Entry) -> str:
    output = entry.output
    what = {"image": "images", "image+mask": "images with masks", "mask": "masks"} | {
        "volume": "volumes",
        "volume+mask": "volumes with masks",
    }
    size = " x ".join(str(side) for side in output.size) + " pixels" if output.size else "of varying size"
    channels = f"{output.channels} channel{'s' * (output.channels != 1)}"
    masks = f", {output.masks} mask channel{'s' * (output.masks != 1)}" if output.masks else ""
    spacing = f", spacing {' x '.join(f'{side:g}' for side in output.spacing)} mm" if output.spacing else ""
    return f"{what[output.type]}, {size}, {channels}{masks}{spacing}"


def _needs(condition: Condition | None) -> list[str]:
    return ["nothing but noise"] if condition is None else conditions.kind_of(condition).about(condition)


def _samples(sampling: Sampling) -> list[str]:
    """The usual values of what users can choose of its sampling; nothing for a model without such choices."""
    chosen = (
        ("truncation", sampling.truncation),
        ("sampler", sampling.sampler),
        ("steps", sampling.steps),
        ("guidance", sampling.guidance),
        ("strength", sampling.strength),
    )
    known = [f"{name} {value}" if isinstance(value, str) else f"{name} {value:g}" for name, value in chosen if value]
    options = ", ".join(f"--{one.split()[0]}" for one in known)
    return [f"{', '.join(known)} ({options} say otherwise)"] if known else []


def _data(entry: Entry) -> list[str]:
    data = entry.training_data
    access = {True: "public", False: "not public", None: None}[data.public]
    known = [f"{data.images} images" if data.images else None, access]
    detail = ", ".join(part for part in known if part)
    line = ", ".join(data.datasets) + (f" ({detail})" if detail else "")
    return [line] + ([data.about] if data.about else [])


def _score(score: Score) -> str:
    return f"{score.metric} {score.value:g}{_way(score.metric)}: {score.protocol or 'no protocol stated'}" + (
        f" [{score.source}]" if score.source else ""
    )


def _check(check: Verified) -> str:
    number = f": {check.metric} {check.value:g}{_way(check.metric)}" if check.metric and check.value is not None else ""
    return f"{check.what}{number}; {check.how} ({check.when.isoformat()})"


def _way(metric: str) -> str:
    better = _better(metric)
    return f" ({better} is better)" if better != "-" else ""


def _better(metric: str) -> str:
    try:
        return direction(metric)
    except MedzooError:
        return "-"


def _source(source: WeightSource) -> str:
    unknown = "sha256 not known yet: the first download is recorded and compared ever after"
    return f"{_place(source)}; {f'sha256 {source.sha256}' if source.sha256 else unknown}"


def _place(source: WeightSource) -> str:
    if source.kind == "package":
        return f"came along: {source.file}"
    if source.kind == "hub":
        return f"Hugging Face Hub: {source.repo}, {source.file}, revision {source.revision or 'not pinned'}"
    if source.kind == "http":
        return source.url + (f", member {source.member}" if source.member else "")
    return f"local file: {source.path}"


def _here(located: Located) -> str:
    """Whether it runs now, or what is downloaded first."""
    entry = located.entry
    if weights.is_available_offline(entry, located.registry, located.path):
        return "On this machine: yes"
    size = ""
    if located.path is not None and located.registry is not None:
        size = in_words(RawEntry(entry.model_dump(include={"weights"}), located.path, located.registry))
    return "On this machine: no; downloaded when it is first used" + (f", {size}" if size.endswith("MB") else "")


def _citation(entry: Entry) -> str:
    if entry.citation is None:
        return "nothing known"
    doi = f"https://doi.org/{entry.citation.doi}" if entry.citation.doi else None
    return "; ".join(part for part in (entry.citation.text, doi) if part) or "nothing known"


def _use(entry: Entry, typed: str | None) -> list[str]:
    """What to type, with everything that the model needs: in Python, then in a shell."""
    kind = None if entry.condition is None else conditions.kind_of(entry.condition)
    given = "" if kind is None or entry.condition is None else kind.example(entry.condition)
    python = f", condition={json.dumps(given, ensure_ascii=False)}" if given else ""
    if isinstance(given, str):
        words = [given] if given else []
    else:
        words = [f"{name}={value}" for name, value in given.items()]
    flags = "".join(f" --condition {shlex.quote(word)}" for word in words)
    output = entry.output
    if output.channels not in (1, 3) or (output.masks > 1 and output.mask_names is None):
        flags += " --format npz"  # a PNG cannot hold it
    count = "" if given and kind is not None and kind.one_each else " -n 16"
    return [
        f'medzoo.generate("{typed or entry.model_id}", 16{python})',
        f"medzoo generate {shlex.quote(typed or entry.model_id)}{count}{flags} --out samples",
    ]
