"""The model card: README.md of a Hub repository, with the front matter that the Hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from medzoo import __version__
from medzoo.conditions import Kind, kind_of
from medzoo.entry import Entry
from medzoo.publishing.evidence import Memorisation
from medzoo.results import Result
from medzoo.text import as_markdown

GRID = "samples.png"
# Licences that the Hub has a word for, by their SPDX identifier; any other is "other" with its name.
_KNOWN = {
    "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "gpl", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0",
    "mpl-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0", "unlicense",
}  # fmt: skip


def write(
    entry: Entry, repo: str, results: Sequence[Result], memorised: Memorisation, *, allowed: bool, files: Sequence[str]
) -> str:
    """The text of README.md.

    Args:
        entry: as it is published.
        repo: ``user/name``.
        results: of ``medzoo bench``; none for no table.
        memorised: near copies of training images.
        allowed: whether more of them than usual were let pass, which is then said.
        files: names of the files of the repository.
    """
    parts = [
        f"---\n{yaml.safe_dump(_front(entry), sort_keys=False, allow_unicode=True, width=120)}---\n",
        f"# {as_markdown(entry.title)}\n",
        "**Synthetic images for research. Not for clinical use.**\n",
        f"![Samples 0 to 15 of seed 0{_outlined(entry)}]({GRID})\n\nSamples 0 to 15 of seed 0{_outlined(entry)}.\n",
        "## Use\n",
        f'```python\nimport medzoo\n\nsamples = medzoo.generate("hf://{repo}", 100{_call(entry)})\n```\n',
        "Sample i is decided by the model, the seed, i and its condition. Weights are safetensors: numbers alone.\n",
        "## What it makes\n",
        _table(("", ""), _makes(entry)),
        "## Data\n",
        _data(entry),
        "## Licence\n",
        _licences(entry),
        "## Intended use\n",
        "Research on synthetic medical images: augmentation, teaching, trying methods where real images are not "
        "available. Not for diagnosis, treatment or any other clinical use, and no evidence about any patient. What "
        "the training images lack, these images lack too.\n",
        "## Memorisation\n",
        _memorised(memorised, allowed),
        "## Scores\n",
        _scores(results),
    ]
    if entry.notes:
        parts += ["## Notes\n", f"{as_markdown(entry.notes)}\n"]
    if entry.citation and (entry.citation.text or entry.citation.doi):
        doi = f" doi {as_markdown(entry.citation.doi)}" if entry.citation.doi else ""
        parts += ["## Citation\n", f"{as_markdown(entry.citation.text or '')}{doi}\n"]
    parts += ["## Files\n", "\n".join(f"- `{name}`{_ABOUT.get(name, '')}" for name in files) + "\n"]
    parts.append(f"Written by medzoo {__version__}; entry {entry.model_id}, revision {entry.revision}.\n")
    return "\n".join(parts)


_ABOUT = {
    "medzoo.yaml": ": how to run it (the entry)",
    "model.safetensors": ": the weights",
    "goldens.safetensors": ": samples of seeds 0 to 3, with which `medzoo check` compares",
    GRID: ": samples 0 to 15 of seed 0",
}


def _front(entry: Entry) -> dict[str, Any]:
    licence = (entry.license.weights or "").strip()
    known = licence.lower() in _KNOWN
    fields: dict[str, Any] = {"license": licence.lower() if known else "other"}
    if not known:
        fields["license_name"] = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")[:60] or "other"
    fields["library_name"] = "medzoo"
    fields["pipeline_tag"] = kind_of(entry.condition).task if entry.condition else Kind.task
    words = ["medical", "synthetic", "medzoo", entry.family, entry.modality, entry.organ, *entry.tags]
    fields["tags"] = list(dict.fromkeys(word for word in words if word))
    return fields


def _call(entry: Entry) -> str:
    if entry.condition is None or not entry.condition.required:
        return ""
    return f", {json.dumps(kind_of(entry.condition).example(entry.condition), ensure_ascii=False)}"


def _makes(entry: Entry) -> list[tuple[str, str]]:
    output = entry.output
    size = "as its input" if output.size is None else " x ".join(map(str, output.size)) + " pixels"
    rows = [
        (
            "Kind",
            f"{output.type}, {size}, {_counted(output.channels, 'channel')}"
            + (f", {_counted(output.masks, 'mask')}" if output.masks else ""),
        ),
        ("Modality", ", ".join(filter(None, (entry.modality, entry.organ)))),
        ("Family", entry.family),
    ]
    if entry.condition is not None:
        names = entry.condition.classes or entry.condition.inputs or ()
        names = names or tuple(number.name for number in entry.condition.attributes or ())
        rows.append(("Condition", ": ".join(filter(None, (entry.condition.kind, ", ".join(names))))))
    return rows


def _outlined(entry: Entry) -> str:
    return ", each beside itself with the outline of its mask" if entry.output.masks else ""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _data(entry: Entry) -> str:
    data = entry.training_data
    public = {True: "public", False: "not public", None: "not known whether public"}[data.public]
    images = "number of images not stated" if data.images is None else f"{data.images} training images"
    named = as_markdown(", ".join(data.datasets)) or "No named data set"
    return f"{named}: {images}, {public}." + (f" {as_markdown(data.about)}" if data.about else "") + "\n"


def _licences(entry: Entry) -> str:
    weights, data = (as_markdown(licence or "none stated") for licence in (entry.license.weights, entry.license.data))
    return f"Weights: {weights}. Data it learned from: {data}.\n"


def _memorised(measured: Memorisation, allowed: bool) -> str:
    heldout = "" if measured.heldout is None else f" Of held-out real images it is {measured.heldout:.2%}."
    text = (
        f"Near copies of training images (Carlini et al. 2023, in pixels): {measured.share:.2%} of {measured.samples} "
        f"samples a seed in benchmark {as_markdown(measured.benchmark)}.{heldout} The limit for publishing is "
        f"{measured.allowed:.2%}. Measured by `medzoo bench`; a part of an image pasted elsewhere is not found by it.\n"
    )
    if allowed:
        text = (
            f"> **This model repeats training images.** {measured.share:.2%} of its samples are near copies, above the "
            f"limit of {measured.allowed:.2%}. Its authors published it all the same (`--allow-memorised`): treat its "
            "samples as you would treat the training images.\n\n" + text
        )
    return text


def _scores(results: Sequence[Result]) -> str:
    if not any(result.scores for result in results):
        return "None measured.\n"
    blocks = []
    for result in results:
        real = {(score.name, score.features): score.value for score in result.references.get("real", ())}
        rows = [
            (
                score.title + (f" ({score.features})" if score.features else ""),
                _number(score.value, score.percent)
                + (
                    f" ({_number(score.low, score.percent)} to {_number(score.high, score.percent)})"
                    if score.low is not None and score.high is not None
                    else ""
                ),
                _number(real.get((score.name, score.features)), score.percent),
                {"lower": "lower", "higher": "higher", "neither": "as real"}[score.better],
            )
            for score in result.scores
            if score.value is not None and score.group != "cost"
        ]
        setting = result.benchmark
        name = as_markdown(str(setting["name"]))
        title = f"Benchmark {name}, revision {setting.get('revision')}, {setting.get('n')} samples a seed:\n"
        blocks.append(title + "\n" + _table(("score", "this model", "real images", "better"), rows))
    return "\n".join(blocks)


def _number(value: float | None, percent: bool) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if percent else f"{value:.4g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(as_markdown(cell) for cell in row) + " |" for row in lines) + "\n"
