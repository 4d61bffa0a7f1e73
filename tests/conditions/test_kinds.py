"""Kinds of conditions: their files are the list that entries, filters and the command line read, and need no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest

from medzoo import conditions
from medzoo.catalog.lookup import CONDITIONS
from medzoo.conditions import from_words, kind_of
from medzoo.entry import Condition
from medzoo.errors import ConditionError

DECLARED: dict[str, dict[str, Any]] = {
    "attributes": {"attributes": [{"name": "age", "low": 20.0, "high": 80.0, "unit": "years"}]},
    "class": {"classes": ["benign", "malignant"]},
    "image": {"inputs": ["scan"]},
    "images": {"inputs": ["T1", "T2"]},
    "mask": {"inputs": ["mass"]},
    "text": {},
}


def declared(kind: str, **fields: Any) -> Condition:
    return Condition.model_validate({"kind": kind, **DECLARED[kind], **fields})


def test_the_list_is_written_once() -> None:
    names = conditions.KINDS.builtin()
    assert names == sorted(DECLARED)
    assert get_args(Condition.model_fields["kind"].annotation) == tuple(names)
    assert ("none", *names) == CONDITIONS
    for name in names:
        kind = kind_of(declared(name))
        assert type(kind).__name__.casefold() == name and kind.needs in (*Condition.model_fields, None)


@pytest.mark.parametrize("kind", sorted(DECLARED))
def test_every_kind_says_what_it_is_and_parses_what_it_shows(kind: str) -> None:
    condition = declared(kind)
    rules = kind_of(condition)
    assert rules.accepted(condition) and rules.about(condition)[0].startswith(kind)
    example, trial = rules.example(condition), rules.trial(condition, prompt="CT", size=(8, 8), numbers=True)
    assert example and trial

    def gather(model_id: str, wanted: Condition, stated: Any) -> list[conditions.Input]:
        return [conditions.Input(lambda: np.zeros((1, 8, 8), np.float32), "scan.png", "scan", lambda: "0" * 64)]

    for stated in (example, trial):
        parsed = rules.parse("99001_TINY", condition, stated, range(2, 5), gather)
        assert parsed.words is not None and len(parsed.words) == 3


@pytest.mark.parametrize(
    ("kind", "fields", "words", "expected"),
    [
        ("class", {}, ["malignant"], "malignant"),
        ("class", {}, ["0", "1"], ["0", "1"]),
        ("attributes", {}, ["30"], 30.0),
        ("attributes", {}, ["age=30,40"], {"age": [30.0, 40.0]}),
        ("image", {}, ["a.png"], "a.png"),
        ("image", {}, [], None),
        ("image", DECLARED["attributes"], ["a.png", "age=30"], {"age": 30.0, "images": "a.png"}),
        ("images", {}, ["T1=a.png", "T2=b.png"], {"T1": "a.png", "T2": "b.png"}),
        ("text", {"inputs": ["scan"]}, ["x=1", "scan=a.png"], {"text": "x=1", "scan": "a.png"}),
    ],
)
def test_words_of_the_command_line(kind: str, fields: dict[str, Any], words: list[str], expected: Any) -> None:
    assert from_words(declared(kind, **fields), tuple(words)) == expected


def test_words_that_do_not_go_together() -> None:
    with pytest.raises(ConditionError, match="--condition b.png: give every part a name: T1, T2"):
        from_words(declared("images"), ("T1=a.png", "b.png"))
    assert from_words(None, ("left",)) == "left" and from_words(None, ()) is None


def test_an_entry_is_validated_without_numpy_and_torch() -> None:
    code = (
        "import sys; from medzoo.entry import Condition\n"
        "Condition.model_validate({'kind': 'class', 'classes': ['a']})\n"
        "print([name for name in ('numpy', 'torch') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
