"""The page of ``medzoo info``: what one model is, and how far to trust it."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from medzoo import conditions, weights
from medzoo.errors import MedzooError
from medzoo.families import known_families
from medzoo.files.streams import is_terminal
from medzoo.results.ranking import direction

if TYPE_CHECKING:
    from medzoo.catalog import Located
    from medzoo.entry import Condition, Entry, Sampling, Score, Verified, WeightSource

NOTICE = "Synthetic images for research; not for clinical use."
_INDENT = 14


def page(located: Located) -> str:
    """The whole page as text, wrapped to the terminal (not wrapped in a pipe)."""
    entry = located.entry
    lines = [entry.model_id, entry.title, ""]
    for name, paragraphs in sections(entry):
        lines += _section(name, [*paragraphs, _here(located)] if name == "Weights" else paragraphs)
    return "\n".join([*lines, "", NOTICE])


def sections(entry: Entry) -> list[tuple[str, list[str]]]:
    """What the page says beside the title: (name, paragraphs), the same on every machine."""
    license = entry.license
    runs = "" if entry.family in known_families() else " (not built yet: cannot run here)"
    return [
        ("Makes", [_makes(entry)]),
        ("Of", [", ".join(part for part in (entry.modality, entry.organ) if part)]),
        ("Family", [entry.family + runs]),
        ("Needs", _needs(entry.condition)),
        ("Samples", _samples(entry.sampling)),
        ("Licences", [f"weights: {license.weights or 'none stated'}", f"data: {license.data or 'not known'}"]),
        ("Learned from", _data(entry)),
        ("Reported", [_score(score) for score in entry.reported] or ["no scores"]),
        ("Verified", [_check(check) for check in entry.verified] or ["nothing yet"]),
        ("Weights", [_source(source) for source in entry.weights]),
        ("Cite", [_citation(entry)]),
        ("Notes", [entry.notes] if entry.notes else []),
        ("Use", _use(entry)),
    ]


def _section(name: str, paragraphs: list[str]) -> list[str]:
    lines: list[str] = []
    for paragraph in paragraphs:
        first = f"{name if not lines else '':{_INDENT}}"
        lines += _wrapped(paragraph, first)
    return lines


def _wrapped(text: str, first: str) -> list[str]:
    if not is_terminal(sys.stdout):
        return [first + text]
    width = max(shutil.get_terminal_size().columns, 40)
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * (_INDENT + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


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
    try:
        return f" ({direction(metric)} is better)"
    except MedzooError:
        return ""


def _source(source: WeightSource) -> str:
    if source.kind == "package":
        where = f"came along: {source.file}"
    elif source.kind == "hub":
        where = f"Hugging Face Hub: {source.repo}, {source.file}, revision {source.revision or 'not pinned'}"
    elif source.kind == "http":
        where = source.url + (f", member {source.member}" if source.member else "")
    else:
        where = f"local file: {source.path}"
    unknown = "sha256 not known yet: the first download is recorded and compared ever after"
    return f"{where}; {f'sha256 {source.sha256}' if source.sha256 else unknown}"


def _here(located: Located) -> str:
    here = weights.is_available_offline(located.entry, located.registry, located.path)
    return "On this machine: " + ("yes" if here else "no")


def _citation(entry: Entry) -> str:
    if entry.citation is None:
        return "nothing known"
    doi = f"https://doi.org/{entry.citation.doi}" if entry.citation.doi else None
    return "; ".join(part for part in (entry.citation.text, doi) if part) or "nothing known"


def _use(entry: Entry) -> list[str]:
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
    if output.channels not in (1, 3) or output.masks > 1:
        flags += " --format npz"  # a PNG cannot hold it
    count = "" if given and kind is not None and kind.one_each else " -n 16"
    return [
        f'medzoo.generate("{entry.model_id}", 16{python})',
        f"medzoo generate {entry.model_id}{count}{flags} --out samples",
    ]
