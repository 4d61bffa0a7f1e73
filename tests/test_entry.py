"""Entry: what a record accepts, and what its revision depends on."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from medzoo.entry import Condition, Entry, Output
from medzoo.errors import fields_at, problems
from tests.tools.paths import ROOT

MEDNIST = ROOT / "registry" / "models" / "00101_MONAI_GAN_MEDNIST_HAND.yaml"


@pytest.fixture
def fields() -> dict[str, Any]:
    return dict(yaml.safe_load(MEDNIST.read_text()))


def test_a_record_is_frozen_and_holds_tuples(fields: dict[str, Any]) -> None:
    entry = Entry.model_validate(fields)
    assert entry.output.size == (64, 64)
    assert entry.number == "00101"
    assert isinstance(entry.weights, tuple)
    with pytest.raises(ValidationError, match="frozen"):
        entry.title = "another"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("model_id",), "101_X", "pattern"),
        (("title",), None, "valid string"),
        (("family",), "FastGAN", "pattern"),
        (("output", "type"), "picture", "'image', 'image\\+mask'"),
        (("output", "size"), [64], "needs 2 positive numbers"),
        (("output", "size"), [64, 0], "needs 2 positive numbers"),
        (("output", "channels"), True, "valid integer"),
        (("output", "channels"), 0, "contradict"),
        (("output", "masks"), 1, "contradict"),
        (("output", "range"), [1, 0], "low < high"),
        (("output", "range"), ["0", 1], "valid number"),
        (("output", "range"), [0, float("inf")], "finite number"),
        (("output", "range"), [float("nan"), 1], "finite number"),
        (("weights", 0, "file"), "../../model.pt", "expected a name inside the repository"),
        (("weights", 0, "file"), "/etc/passwd", "expected a name inside the repository"),
        (("weights", 0, "file"), "a\\..\\b", "expected a name inside the repository"),
        (("weights", 0, "revision"), "../../refs", "expected a name inside the repository"),
        (("output", "spacing"), [0.5], "as many numbers as size"),
        (("sampling", "latent"), "gaussian", "'normal' or 'uniform'"),
        (("weights", 0, "kind"), "ftp", "'package', 'hub', 'http', 'local'"),
        (("weights", 0, "sha256"), "5302E6", "pattern"),
        (("weights", 0, "size"), 0, "greater than or equal to 1"),
        (("checkpoint", "container"), "zip", "'safetensors', 'torch', 'pickle' or 'unknown'"),
        (("license", "weights"), False, "valid string"),
        (("nonsense",), 1, "Extra inputs"),
    ],
)
def test_a_wrong_value_is_refused(fields: dict[str, Any], path: tuple[Any, ...], value: object, says: str) -> None:
    inner: Any = fields
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    with pytest.raises(ValidationError, match=says):
        Entry.model_validate(fields)


@pytest.mark.parametrize("kind", ["package", "hub", "http", "local"])
def test_every_kind_of_source(fields: dict[str, Any], kind: str) -> None:
    sources = {
        "package": {"kind": "package", "file": "weights/x.safetensors", "sha256": "a" * 64},
        "hub": {"kind": "hub", "repo": "org/name", "revision": None, "file": "x.pt", "sha256": None},
        "http": {"kind": "http", "url": "https://example.org/x.zip", "member": "*/x.pt", "sha256": None},
        "local": {"kind": "local", "path": "x.pt", "sha256": None},
    }
    fields["weights"] = [sources[kind]]
    assert Entry.model_validate(fields).weights[0].kind == kind


def test_what_came_along_must_have_its_hash(fields: dict[str, Any]) -> None:
    fields["weights"] = [{"kind": "package", "file": "weights/x.safetensors", "sha256": None}]
    with pytest.raises(ValidationError, match="sha256"):
        Entry.model_validate(fields)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ({"kind": "class"}, "needs classes"),
        ({"kind": "image"}, "needs inputs"),
        ({"kind": "attributes"}, "needs attributes"),
    ],
)
def test_a_condition_says_what_goes_in(condition: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Condition.model_validate(condition)
    assert Condition.model_validate({"kind": "text"}).required


def test_a_volume_has_three_sides() -> None:
    volume = {"type": "volume", "size": [8, 16, 16], "channels": 1, "masks": 0, "range": [0, 1], "spacing": [2, 1, 1]}
    assert Output.model_validate(volume).size == (8, 16, 16)
    with pytest.raises(ValidationError, match="needs 3 positive numbers"):
        Output.model_validate({**volume, "size": [16, 16]})


def test_revision_follows_pixels_and_nothing_else(fields: dict[str, Any]) -> None:
    before = Entry.model_validate(copy.deepcopy(fields)).revision
    words = copy.deepcopy(fields)
    words.update(title="another", notes="more", license={"weights": None, "data": None})
    words["verified"] = [{"what": "loads", "how": "strictly", "when": datetime.date(2025, 1, 31)}]
    assert Entry.model_validate(words).revision == before
    for change in (
        {"config": {**fields["config"], "latent": 32}},
        {"sampling": {**fields["sampling"], "latent": "normal"}},
        {"output": {**fields["output"], "range": [-1, 1]}},
        {"weights": [{**fields["weights"][0], "sha256": "b" * 64}]},
    ):
        assert Entry.model_validate({**copy.deepcopy(fields), **change}).revision != before


def test_where_no_hash_is_known_the_revision_follows_the_place(fields: dict[str, Any]) -> None:
    def revision(*weights: dict[str, Any]) -> str:
        return Entry.model_validate({**copy.deepcopy(fields), "weights": list(weights)}).revision

    hub = {"kind": "hub", "repo": "org/name", "revision": None, "file": "x.pt", "sha256": None}
    vae, unet = ({**hub, "part": part, "file": f"{part}.pt"} for part in ("vae", "unet"))
    known = [{**one, "sha256": letter * 64} for one, letter in zip((vae, unet), "ab", strict=True)]
    swapped = [{**one, "sha256": letter * 64} for one, letter in zip((vae, unet), "ba", strict=True)]
    places = [hub, {**hub, "repo": "org/other"}, {**hub, "file": "y.pt"}, {**hub, "revision": "0" * 40}]
    found = [*map(revision, places), revision(vae, unet), revision(*known), revision(*swapped)]
    assert len(set(found)) == len(found)
    assert revision(unet, vae) == revision(vae, unet) and revision({**hub, "size": 5}) == revision(hub)
    assert revision({**known[0], "repo": "org/mirror"}, known[1]) == revision(*known)


def test_an_unknown_field_gets_the_one_that_was_meant(fields: dict[str, Any]) -> None:
    assert fields_at(Entry, ("sampling",))[:2] == ("latent", "norm_stats") and "title" in fields_at(Entry, ())
    assert {"repo", "url"} <= set(fields_at(Entry, ("weights", 0))) and "metric" in fields_at(Entry, ("reported", 3))
    fields["sampling"]["step"] = fields["licence"] = None
    with pytest.raises(ValidationError) as error:
        Entry.model_validate(fields)
    assert sorted(problems(error.value, record=Entry)) == [
        "licence: unknown field; did you mean 'license'?", "sampling.step: unknown field; did you mean 'steps'?"
    ]  # fmt: skip
