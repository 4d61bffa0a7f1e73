"""The model card: whatever an entry and its results say, it is shown and does nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from medzoo.entry import Entry
from medzoo.publishing import card
from medzoo.publishing.evidence import Memorisation
from medzoo.publishing.rendering import bibtex, table
from tests.conftest import entry_fields

HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=y> [a](javascript:b) `c` | d | \n# e\n---\n```\n{{ f }} {% g %} $h$ "
    "\\} @misc{i,\n\u202ej"
)
MEMORISED = Memorisation(0.0, 0.01, None, 712, HOSTILE)


def written(entry: Entry, **options: Any) -> tuple[dict[str, Any], str]:
    given: dict[str, Any] = {"allowed": False, "files": ["README.md", "medzoo.yaml", "a`b.bin"]} | options
    _, front, text = card.write(entry, "user/tiny", [], MEMORISED, **given).split("---\n", 2)
    return yaml.safe_load(front), text


def hostile_entry() -> Entry:
    """Of text alone, everywhere: what no YAML file could state is refused before, and is none the less tried here."""
    classes = {"kind": "class", "classes": (HOSTILE, "b"), "required": True, "about": HOSTILE}
    fields = entry_fields() | {
        "title": HOSTILE, "modality": HOSTILE, "organ": HOSTILE, "tags": [HOSTILE], "notes": HOSTILE,
        "license": {"weights": HOSTILE, "data": HOSTILE}, "citation": {"text": HOSTILE, "doi": HOSTILE},
        "training_data": {"datasets": [HOSTILE], "images": 3, "public": True, "about": HOSTILE},
        "condition": classes,
    }  # fmt: skip
    return Entry.model_validate(fields)


@pytest.mark.parametrize(
    "training", [None, card.Training({"steps": HOSTILE, "techniques": [{"name": HOSTILE}]}, HOSTILE)]
)
def test_text_of_strangers_stays_text(training: card.Training | None) -> None:
    front, text = written(hostile_entry(), training=training)
    assert front["license"] == "other" and re.fullmatch(r"[a-z0-9.-]+", front["license_name"])
    assert "\u202e" not in text and "\u202e" not in str(front) and "datasets" not in front
    fences = re.split(r"^```.*$", text, flags=re.MULTILINE)
    assert len(fences) % 2 == 1  # every block that was opened is closed by the card
    outside = "".join(fences[::2])
    assert "<script" not in outside and "<img" not in outside and not re.search(r"(?<!\\)\](?=\(javascript:)", outside)
    assert set(re.findall(r"<(/?\w+)", outside)) <= {"details", "/details", "summary", "/summary"}
    headings = re.findall(r"^#+ .*$", outside, flags=re.MULTILINE)
    assert not any(heading.endswith(" e") for heading in headings[1:])
    rows = [line for line in outside.splitlines() if line.startswith("| Modality")]
    assert len(rows) == 1 and len(re.findall(r"(?<!\\)\|", rows[0])) == 3
    assert "{{ f }}" in text or r"\{\{ f \}\}" in text  # shown, not evaluated


def test_a_value_of_bibtex_stays_inside_its_braces() -> None:
    made = bibtex("misc", "key", title=HOSTILE, doi=None, note="a {b} \\c")
    assert made.count("{") == made.count("}") == 3 and "```" not in made and made.splitlines()[-1] == "}"
    assert len(made.splitlines()) == 4


def test_a_table_has_as_many_cells_as_it_should() -> None:
    lines = table(("a|b", "c"), [("d\ne", "|")]).splitlines()
    assert lines == [r"| a\|b | c |", "| --- | --- |", r"| d e | \| |"]


def test_what_is_known_of_the_training_is_shown() -> None:
    settings = {"steps": 200, "batch": 8, "techniques": [{"name": "ada"}]}
    _, text = written(Entry.model_validate(entry_fields()), training=card.Training(settings, yaml.safe_dump(settings)))
    assert "| steps | 200 |" in text and "| techniques | ada |" in text and "```yaml\nbatch: 8" in text
    assert "## Training" not in written(Entry.model_validate(entry_fields()))[1]
