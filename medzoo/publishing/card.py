"""The model card: README.md of a Hub repository, with the front matter that the Hub reads (scores among it)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medzoo import __version__
from medzoo.conditions import Kind, kind_of
from medzoo.entry import Entry
from medzoo.publishing.evidence import Memorisation
from medzoo.publishing.rendering import Markdown, bibtex, render
from medzoo.results import Result, ScoreRecord
from medzoo.text import as_markdown, one_line

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

GRID = "samples.png"
HEADLINES = ("fd", "kid", "precision", "recall", "near_copies")  # and the first score of usefulness
# Licences that the Hub has a word for, by their SPDX identifier; any other is "other" with its name.
_KNOWN = {
    "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "gpl", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0",
    "mpl-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0", "unlicense",
}  # fmt: skip
_OF_HUB = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")  # what may be the name of a data set there
_ABOUT = {
    "medzoo.yaml": ": how to run it (the entry)",
    "model.safetensors": ": the weights",
    "model_index.json": ": the parts of the pipeline, for diffusers",
    "goldens.safetensors": ": samples of seeds 0 to 3, with which `medzoo check` compares",
    GRID: ": samples 0 to 15 of seed 0",
}


@dataclass(frozen=True)
class Training:
    """Settings of ``medzoo train``: the fields of its configuration, and its text."""

    fields: Mapping[str, Any]
    text: str

    @property
    def shown(self) -> list[tuple[str, str]]:
        """The few that a reader asks for first."""
        techniques = ", ".join(str(one.get("name")) for one in self.fields.get("techniques") or ()) or "none"
        names = ("steps", "batch", "lr", "ema", "mirror", "precision", "seed")
        rows = [(name, str(self.fields[name])) for name in names if name in self.fields]
        return [*rows, ("techniques", techniques)]


def write(
    entry: Entry,
    repo: str,
    results: Sequence[Result],
    memorised: Memorisation,
    *,
    allowed: bool,
    files: Sequence[str],
    training: Training | None = None,
) -> str:
    """The text of README.md.

    Args:
        entry: as it is published.
        repo: ``user/name``.
        results: of ``medzoo bench``; none for no table.
        memorised: near copies of training images.
        allowed: whether more of them than usual were let pass, which is then said.
        files: names of the files of the repository.
        training: settings, where medzoo trained it.
    """
    citation = entry.citation
    doi = f" doi {as_markdown(citation.doi)}" if citation and citation.doi else ""
    body = render(
        "card.md",
        entry=entry, repo=repo, memorised=memorised, allowed=allowed, training=training, version=__version__,
        grid=Markdown(GRID), pipeline="model_index.json" in files, makes=_makes(entry), data=Markdown(_data(entry)),
        boards=[_board(result) for result in results if _shown(result)],
        citation=Markdown(as_markdown(citation.text or "") + doi) if citation and (citation.text or doi) else "",
        outlined=", each beside itself with the outline of its mask" if entry.output.masks else "",
        call=_call(entry), flags=_flags(entry), bibtex=_bibtex(entry, repo),
        files=[(name, Markdown(_ABOUT.get(name, ""))) for name in files],
    )  # fmt: skip
    return f"---\n{_front(entry, repo, results, 'model_index.json' in files)}\n---\n\n{body}"


def _front(entry: Entry, repo: str, results: Sequence[Result], pipeline: bool) -> str:
    """The YAML that the Hub reads, by its own client; ``model-index`` holds the headline scores."""
    from huggingface_hub import ModelCardData

    licence = (entry.license.weights or "").strip()
    known = licence.lower() in _KNOWN
    name = None if known else re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")[:60] or "other"
    task = kind_of(entry.condition).task if entry.condition else Kind.task
    words = ["medical", "synthetic", "medzoo", entry.family, entry.modality, entry.organ, *entry.tags]
    words += ["diffusers"] if pipeline else []
    scores = [score for result in results for score in _scores(result, task)]
    data = ModelCardData(
        license=licence.lower() if known else "other",
        license_name=name,
        library_name="medzoo",
        pipeline_tag=task,
        tags=list(dict.fromkeys(one_line(word) for word in words if word)),
        datasets=[name for name in entry.training_data.datasets if _OF_HUB.fullmatch(name)] or None,
        model_name=repo.rpartition("/")[2] if scores else None,
        eval_results=scores or None,
    )
    return data.to_yaml(line_break="\n").strip()


def _scores(result: Result, task: str) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    setting = result.benchmark
    return [
        EvalResult(
            task_type=task,
            dataset_type=one_line(str(setting["name"])),
            dataset_name=one_line(str(setting.get("title") or setting["name"])),
            dataset_revision=one_line(str(setting.get("revision"))),
            metric_type=score.name,
            metric_name=_title(score),
            metric_value=float(f"{score.value:.6g}"),
        )
        for score in _shown(result)
        if score.value is not None and _is_headline(score, result)
    ]


def _board(result: Result) -> dict[str, Any]:
    """The scores of one benchmark as rows: those to be read first, and the rest."""
    real = {(score.name, score.features): score.value for score in result.references.get("real", ())}
    better = {"lower": "lower", "higher": "higher", "neither": "as real"}
    rows = [
        (
            _is_headline(score, result),
            (
                _title(score),
                _number(score.value, score.percent) + _interval(score),
                _number(real.get((score.name, score.features)), score.percent),
                better[score.better],
            ),
        )
        for score in _shown(result)
    ]
    first = [row for headline, row in rows if headline]
    rest = [row for headline, row in rows if not headline]
    setting = result.benchmark
    return {
        "name": str(setting["name"]), "revision": str(setting.get("revision")), "n": str(setting.get("n")),
        "header": ("score", "this model", "real images", "better"),
        "first": first or rest, "rest": rest if first else [],
    }  # fmt: skip


def _shown(result: Result) -> list[ScoreRecord]:
    return [score for score in result.scores if score.value is not None and score.group != "cost"]


def _is_headline(score: ScoreRecord, result: Result) -> bool:
    useful = next((one for one in _shown(result) if one.group == "usefulness"), None)
    return score.name in HEADLINES or score is useful


def _title(score: ScoreRecord) -> str:
    return one_line(score.title + (f" ({score.features})" if score.features else ""))


def _interval(score: ScoreRecord) -> str:
    if score.low is None or score.high is None:
        return ""
    return f" ({_number(score.low, score.percent)} to {_number(score.high, score.percent)})"


def _number(value: float | None, percent: bool) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if percent else f"{value:.4g}"


def _call(entry: Entry) -> str:
    """What follows the number of samples in a call."""
    if entry.condition is None or not entry.condition.required:
        return ""
    return f", {json.dumps(kind_of(entry.condition).example(entry.condition), ensure_ascii=False)}"


def _flags(entry: Entry) -> str:
    if entry.condition is None or not entry.condition.required:
        return ""
    given = kind_of(entry.condition).example(entry.condition)
    words = [given] if isinstance(given, str) else [f"{name}={value}" for name, value in given.items()]
    return "".join(f" --condition {shlex.quote(word)}" for word in words if word)


def _bibtex(entry: Entry, repo: str) -> Markdown:
    key = re.sub(r"[^a-z0-9]+", "_", repo.rpartition("/")[2].lower()).strip("_") or "model"
    citation, made = entry.citation, f"medzoo entry {entry.model_id}, revision {entry.revision}"
    return bibtex(
        "misc",
        key,
        title=entry.title,
        howpublished=f"https://huggingface.co/{repo}",
        doi=citation.doi if citation else None,
        note="; ".join(filter(None, (citation.text if citation else None, made))),
    )


def _makes(entry: Entry) -> list[tuple[str, str]]:
    output = entry.output
    size = "as its input" if output.size is None else " x ".join(map(str, output.size)) + " pixels"
    masks = f", {_counted(output.masks, 'mask')}" if output.masks else ""
    rows = [
        ("Kind", f"{output.type}, {size}, {_counted(output.channels, 'channel')}{masks}"),
        ("Modality", ", ".join(filter(None, (entry.modality, entry.organ)))),
        ("Family", entry.family),
    ]
    if entry.condition is not None:
        names = entry.condition.classes or entry.condition.inputs or ()
        names = names or tuple(number.name for number in entry.condition.attributes or ())
        rows.append(("Condition", ": ".join(filter(None, (entry.condition.kind, ", ".join(names))))))
    return rows


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _data(entry: Entry) -> str:
    data = entry.training_data
    public = {True: "public", False: "not public", None: "not known whether public"}[data.public]
    images = "number of images not stated" if data.images is None else f"{data.images} training images"
    named = as_markdown(", ".join(data.datasets)) or "No named data set"
    return f"{named}: {images}, {public}." + (f" {as_markdown(data.about)}" if data.about else "")
