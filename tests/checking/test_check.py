"""medzoo check: what passes, what fails and why, what is said not to have been looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from medzoo import catalog, checking, zoo
from medzoo.checking import NAMES, Report, check, goldens, numbers, status_of
from medzoo.checking.finding import Finding, failed, passed, skipped
from medzoo.cli import main
from medzoo.entry import HubSource
from medzoo.errors import DownloadError, MissingFile
from medzoo.families.monai_gan import MonaiGan
from tests.conftest import entry_fields, masked, random_state

STATED = {
    "license": {"weights": "MIT", "data": "CC0-1.0"},
    "training_data": {"datasets": ["Tiny"], "images": 3, "public": True},
}


def statuses(report: Report) -> dict[str, str]:
    return {one.name: one.status for one in report.findings}


def reason(report: Report, name: str) -> str:
    return next(one.reason for one in report.findings if one.name == name)


def medzoo_check(*args: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, args)])


def rewrite(model: str, **changes: Any) -> Path:
    """Change fields of an entry in the registry of the test."""
    path = Path(os.environ["MEDZOO_REGISTRY"]) / f"{model}.yaml"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_the_embedded_model_passes_and_its_goldens_hold(tmp_path: Path) -> None:
    report = check("10001")
    assert report.passed and tuple(one.name for one in report.findings) == NAMES
    assert {name for name, status in statuses(report).items() if status != "pass"} <= {"goldens"}
    assert report.unfit is None and str(report).startswith("10001_FASTGAN_POLYP_W_MASKS:\n  pass    schema")
    made = report.samples
    assert made["seed0.images"].shape == (4, 3, 128, 128) and made["seed3.masks"].shape == (1, 1, 128, 128)
    alone = zoo.generate("10001", 1).uint8()
    assert abs(made["seed0.images"][:1].astype(int) - alone).max() <= 1  # sums of another batch round differently
    path = tmp_path / "goldens.safetensors"
    path.write_bytes(goldens.pack(made, report.made_with))
    found, stated = goldens.read(path)
    assert stated["revision"] == zoo.info("10001").revision and stated["model_id"] == report.model
    assert goldens.compare(made, found, stated, stated["revision"]).status == "pass"


def test_python_does_what_the_command_does(add_model: Callable[..., str]) -> None:
    import medzoo

    model = add_model(**STATED)
    path = Path(os.environ["MEDZOO_REGISTRY"]) / f"{model}.yaml"
    assert str(path) in checking.every_model()
    report = medzoo.check(str(path), offline=True, write_goldens=True)
    assert isinstance(report, Report) and report.passed and report.model == model
    assert report.written == path.parent / "goldens" / f"{model}.safetensors" and report.written.is_file()
    assert status_of(medzoo.check(model).findings, "goldens") == "pass"
    rewrite(model, title="TODO")
    report = medzoo.check(model, write_goldens=True)
    assert report.written is None and report.unfit == "to do"


def test_a_further_check_breaks_nothing(add_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows from a check is decided by its name, never by its place in the list."""
    colour = ("colour", lambda located: [failed("colour", "too blue")])
    monkeypatch.setattr(checking, "STATEMENTS", (colour, *checking.STATEMENTS))
    model, honest = add_model(**STATED), numbers.findings
    assert statuses(check(model))["goldens"] == "skipped"  # there are none; the model ran

    def more(*given: Any) -> Iterator[Finding]:
        yield from honest(*given)
        yield from (passed("speed", "fast"), passed("weight", "light"), skipped("smell", "no nose"))

    monkeypatch.setattr(numbers, "findings", more)
    rewrite(model, output=entry_fields()["output"] | {"range": [-1, 1]})
    report = check(model)
    assert reason(report, "goldens") == "it does not run as it should" and report.samples is None
    rewrite(model, family="my_gan")
    assert reason(check(model), "fused") == "the family is not known"


def test_the_worst_finding_of_a_name_is_its_status() -> None:
    findings = [skipped("weights", "offline"), passed("weights", "here"), passed("family", "known")]
    assert status_of(findings, "weights") == "pass"
    assert status_of([*findings, failed("weights", "another file")], "weights") == "fail"
    assert status_of(findings[:1], "weights") == "skipped"
    with pytest.raises(KeyError, match="colour"):
        status_of(findings, "colour")


def test_every_entry_of_the_registry_can_be_read() -> None:
    from medzoo.checking import statements

    found, broken = catalog.scan()
    assert not broken
    for located in found:
        for statement in (statements.to_do, statements.data, statements.family):
            assert statement(located).status == "pass", located.entry.model_id
        assert statements.licence(located).status in ("pass", "skipped")


def test_a_broken_file_lists_every_problem_with_its_line(add_model: Callable[..., str]) -> None:
    path = rewrite(add_model(), title=3, organ=True, contct=None)
    done = medzoo_check(path, "--json")
    (report,) = json.loads(done.stdout)
    assert done.exit_code == 2 and not report["passed"]
    first, *rest = report["checks"]
    assert first["status"] == "fail"
    assert all(f"{path}:1: {field}" in first["reason"] for field in ("title", "organ", "contct"))
    assert {one["status"] for one in rest} == {"skipped"} and len(rest) == len(NAMES) - 1


def test_unknown_licences_are_said_and_fail_nothing(add_model: Callable[..., str]) -> None:
    report = check(add_model(training_data={"datasets": [], "images": None, "public": None, "about": "drawn"}))
    assert report.passed and statuses(report)["licence"] == "skipped"
    assert "license.weights, license.data: null" in reason(report, "licence")


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"title": "TODO: a title"}, "to do", ", line 1"),
        ({"license": {"weights": " ", "data": "MIT"}}, "licence", "license.weights is empty"),
        ({"training_data": {"datasets": [], "images": 3, "public": True}}, "data", "name the data sets"),
        ({"family": "my_gan"}, "family", "no family is named 'my_gan'"),
        ({"weights": []}, "weights", "no source of weights"),
        ({"weights": [{"kind": "local", "path": "none.pt", "sha256": None}]}, "weights", "there is no file"),
        ({"weights": [{"kind": "local", "path": "99001_TINY.safetensors", "sha256": "0" * 64}]}, "weights", "sha256"),
        ({"config": {"latent": 5, "start_shape": [4, 4, 4], "channels": [4, 1], "strides": [2, 1]}}, "fused", "shape"),
        ({"output": entry_fields()["output"] | {"size": [16, 16]}}, "output", "the network gave [4, 1, 8, 8]"),
        ({"output": entry_fields()["output"] | {"range": [-1, 1]}}, "output", "darker half of the range"),
        ({"output": entry_fields()["output"] | {"range": [0, 0.1]}}, "output", "are cut off"),
        ({"output": entry_fields()["output"] | {"range": [-600, 800]}}, "output", "without contrast"),
    ],
)
def test_what_fails(add_model: Callable[..., str], changes: dict[str, Any], name: str, words: str) -> None:
    model = add_model(**STATED)
    rewrite(model, **changes)
    report = check(model)
    assert statuses(report)[name] == "fail" and words in reason(report, name)
    assert not report.passed


def test_sources_that_were_not_looked_at(add_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    model = add_model(**STATED)
    path = Path(os.environ["MEDZOO_REGISTRY"]) / f"{model}.yaml"
    local = json.loads(path.read_text())["weights"]
    web = [{"kind": "hub", "repo": "org/name", "revision": None, "file": "model.safetensors", "sha256": "0" * 64}]
    rewrite(model, weights=local + web)
    report = check(model, offline=True)
    assert report.passed and os.environ.get("HF_HUB_OFFLINE") is None
    assert [one.status for one in report.findings if one.name == "weights"] == ["pass", "skipped"]
    assert "org/name@main/model.safetensors: not looked at" in report.findings[6].reason
    assert statuses(report)["fused"] == "pass"  # from the other source

    rewrite(model, weights=web)
    report = check(model, offline=True)
    assert report.passed and set(list(statuses(report).values())[5:]) == {"skipped"}
    assert reason(report, "seed rule") == "there are no weights to run it with"


def test_the_network_comes_back_after_an_offline_check() -> None:
    code = "from medzoo.checking import statements\n"
    code += "with statements.network(off=True):\n    import huggingface_hub.constants as hub\n"
    code += "assert not hub.HF_HUB_OFFLINE"
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_family_that_mixes_samples_is_found(add_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    model, honest = add_model(**STATED), MonaiGan.sample_batch

    def mixed(self: Any, noise: Any, given: Any) -> torch.Tensor:
        raw = honest(self, noise, given)
        return (raw - 0.2 * raw.mean(0, keepdim=True)).clamp(0, 1)

    monkeypatch.setattr(MonaiGan, "sample_batch", mixed)
    report = check(model)
    assert statuses(report)["seed rule"] == "fail" and "sample 3 alone" in reason(report, "seed rule")
    assert statuses(report)["goldens"] == "skipped" and report.samples is None

    monkeypatch.setattr(
        MonaiGan, "sample_batch", lambda self, noise, given: honest(self, noise.given(_same(noise)), given)
    )
    report = check(model)
    assert statuses(report)["seeds"] == "fail" and "seeds 0 and 1" in reason(report, "seeds")


def _same(noise: Any) -> torch.Tensor:
    return torch.linspace(0, 1, 4)[None].expand(len(noise), 4)


@pytest.mark.parametrize(("only", "name"), [(None, "output"), (1, "seed rule")])
def test_a_family_that_breaks_is_told_where(
    add_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch, only: int | None, name: str
) -> None:
    honest = MonaiGan.sample_batch

    def breaking(self: Any, noise: Any, given: Any) -> torch.Tensor:
        if only is None or len(noise) == only:
            raise KeyError("layer")
        return honest(self, noise, given)

    monkeypatch.setattr(MonaiGan, "sample_batch", breaking)
    report = check(add_model(**STATED))
    assert statuses(report)[name] == "fail" and "KeyError: 'layer'" in reason(report, name)
    assert "test_check.py:" in reason(report, name)


def test_a_fused_network_that_differs_is_found(add_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    model, honest = add_model(**STATED), MonaiGan.sample_batch

    def differing(self: Any, noise: Any, given: Any) -> torch.Tensor:
        return honest(self, noise, given) * (0.999 if self.fused else 1.0)

    monkeypatch.setattr(MonaiGan, "sample_batch", differing)
    report = check(model)
    assert [name for name, status in statuses(report).items() if status == "fail"] == ["fused = published"]


def test_goldens_are_written_and_compared(add_model: Callable[..., str]) -> None:
    model = add_model(**STATED, **masked())
    done = medzoo_check(model)
    assert done.exit_code == 0 and "\tgoldens\tskipped\tthere are none; medzoo check --write-goldens" in done.stdout
    done = medzoo_check(model, "--write-goldens")
    path = Path(os.environ["MEDZOO_REGISTRY"]) / "goldens" / f"{model}.safetensors"
    assert done.exit_code == 0 and f"written: {path}" in done.stderr and path.is_file()
    first = path.read_bytes()
    report = check(model)
    assert statuses(report)["goldens"] == "pass" and "0 of 255 apart" in reason(report, "goldens")
    medzoo_check(model, "--write-goldens")
    assert path.read_bytes() == first

    arrays, stated = goldens.read(path)
    arrays["seed2.images"] = np.where(arrays["seed2.images"] > 128, arrays["seed2.images"] - 3, 255).astype(np.uint8)
    path.write_bytes(goldens.pack(arrays, stated | {"revision": "older"}))
    report = check(model)
    assert statuses(report)["goldens"] == "fail"
    assert "worst: seed2.images" in reason(report, "goldens") and "of revision older" in reason(report, "goldens")
    path.write_bytes(b"no safetensors")
    assert "no file of golden samples" in reason(check(model), "goldens")

    rewrite(model, license={"weights": "", "data": ""})
    assert "no golden samples were written (licence)" in medzoo_check(model, "--write-goldens").stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [(MissingFile("gone"), "there are none"), (DownloadError("has no file like a network"), "has no file like a")],
)
def test_a_repository_without_goldens_is_no_failed_download(
    add_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch, error: DownloadError, words: str
) -> None:
    model = add_model(**STATED)
    source = {"kind": "hub", "repo": "org/name", "revision": None, "file": "model.safetensors", "sha256": None}
    located = zoo.find(model)
    entry = located.entry.model_copy(update={"weights": (HubSource.model_validate(source),)})

    def obtain(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("medzoo.weights.sources.hub.obtain", obtain)
    finding = goldens.finding(replace(located, entry=entry), {})
    assert finding.status == "skipped" and words in finding.reason


@pytest.mark.parametrize(
    ("apart", "masks", "status"),
    [(goldens.LEVELS, 0, "pass"), (goldens.LEVELS + 1, 0, "fail"), (0, 4, "pass"), (0, 5, "fail")],
)
def test_the_tolerance_of_goldens(apart: int, masks: int, status: str) -> None:
    """Of 4096 mask pixels 0.1 % are four."""
    images, outlines = np.full((1, 1, 64, 64), 100, np.uint8), np.zeros((1, 1, 64, 64), np.uint8)
    made = {"seed0.images": images, "seed0.masks": outlines}
    other = {"seed0.images": images.copy(), "seed0.masks": outlines.copy()}
    other["seed0.images"][0, 0, 3, 3] -= apart
    other["seed0.masks"][0, 0, 0, :masks] = 1
    assert goldens.compare(made, other, {}, "r").status == status
    assert goldens.compare(made, {"seed0.images": images[:, :, :32]}, {}, "r").status == "fail"


@pytest.mark.parametrize(
    ("condition", "family", "config", "expected"),
    [
        (None, "monai_gan", None, None),
        ({"kind": "class", "classes": ["a", "b"]}, "monai_gan", None, "a"),
        ({"kind": "class", "classes": ["a", "b"], "required": False}, "monai_gan", None, None),
        (
            {"kind": "attributes", "attributes": [{"name": "age", "low": 20.0, "high": 60.0, "unit": None}]},
            "monai_gan",
            None,
            {"age": 40.0},
        ),
        ({"kind": "text"}, "monai_gan", None, {"text": "x-ray"}),
    ],
)
def test_conditions_are_made_up(condition: Any, family: str, config: Any, expected: Any, tiny_entry: Any) -> None:
    entry = tiny_entry(condition=condition)
    generator = MonaiGan(entry, random_state(entry_fields()), device="cpu")
    assert numbers.example(generator) == expected


def test_a_model_from_image_to_image_passes(add_model: Callable[..., str]) -> None:
    model = add_model(
        **STATED,
        family="cyclegan",
        config={"input_nc": 1, "output_nc": 1, "ngf": 4, "n_blocks": 2, "norm": "instance"},
        output=entry_fields()["output"] | {"size": [20, 24], "range": [-1, 1]},
        sampling={"latent": None},
        condition={"kind": "image", "inputs": ["picture"]},
    )
    report = check(model)
    assert report.passed, report
    assert "nothing is drawn" in reason(report, "seeds")


def test_all_and_what_users_mistype(add_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = add_model(**STATED)
    only = {model: (Path(os.environ["MEDZOO_REGISTRY"]) / f"{model}.yaml", Path(os.environ["MEDZOO_REGISTRY"]))}
    monkeypatch.setattr(catalog, "model_files", lambda: only)
    done = medzoo_check("--all", "--offline")
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 1 + len(NAMES)
    assert medzoo_check("--all", "--quiet").stdout == ""
    rewrite(model, title="TODO")
    done = medzoo_check("--all", "--quiet")
    assert done.exit_code == 2 and done.stdout.startswith(f"ID\tCHECK\tSTATUS\tREASON\n{model}\tto do\tfail\t")
    assert medzoo_check().exit_code == 2 and "name the models" in medzoo_check().stderr
    assert "no model has the id 'nonsense'" in medzoo_check("nonsense").stderr
    gone = medzoo_check("none.yaml", "--json")  # as an id that nobody has: there is nothing to check
    assert gone.exit_code == 2 and gone.stderr.startswith("medzoo: there is no file or folder none.yaml")
