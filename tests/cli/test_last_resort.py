"""The last resort of the command line: a few lines for an error that nobody foresaw, which no known input needs."""

from __future__ import annotations

import email.message
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from medzoo import cli
from medzoo.cli import main
from medzoo.files import cache
from medzoo.weights import lockfile
from tests.conftest import entry_fields
from tests.tools.damage import DAMAGE, NO_FILE

AddModel = Callable[..., str]


class Panic(BaseException):
    """What a library in Rust raises: no ``Exception``."""


def medzoo(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def foreseen(result: Result) -> bool:
    """Whether it ended as it should: done, or with an error that says what to do."""
    clean = "unforeseen" not in result.output and "Traceback" not in result.output
    return clean and result.exit_code in (0, 2) and isinstance(result.exception, SystemExit | None)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """A verb ``fail`` that raises."""

    def install(error: BaseException) -> None:
        @click.command()
        def fail() -> None:
            raise error

        module = types.ModuleType("failing_verb")
        module.fail = fail  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "failing_verb", module)
        monkeypatch.setitem(cli.VERBS, "fail", ("failing_verb:fail", "Fail."))

    return install


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ValueError("a\x1b]0;x\x07\nb"), r"ValueError: a\x1b]0;x\x07\nb"),
        (MemoryError(), "MemoryError: the memory is not enough"),
        (RecursionError("maximum recursion depth exceeded"), "RecursionError: maximum recursion depth exceeded"),
        (Panic("called unwrap on None"), "Panic: called unwrap on None"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_four_lines(failing: Callable[[BaseException], None], error: BaseException, what: str) -> None:
    failing(error)
    result = medzoo("fail")
    assert result.exit_code == 1
    first, second, third, fourth = result.stderr.splitlines()
    assert first == f"medzoo: unforeseen {what}"
    assert second.startswith("  at medzoo.cli:") and "(medzoo " in second
    assert "report" in third and "as an issue of the repository" in third and "`medzoo doctor`" in third
    assert "MEDZOO_TRACEBACK=1" in fourth


def test_the_tracker_that_the_package_states_is_named(
    failing: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = email.message.Message()
    stated["Project-URL"] = "Issues, https://example.org/medzoo/issues"
    monkeypatch.setattr("importlib.metadata.metadata", lambda name: stated)
    failing(ValueError("x"))
    assert "prints at https://example.org/medzoo/issues;" in medzoo("fail").stderr


def test_the_traceback_is_shown_to_who_asks(
    failing: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(ValueError("x"))
    monkeypatch.setenv("MEDZOO_TRACEBACK", "1")
    result = medzoo("fail")
    assert "Traceback (most recent call last)" in result.stderr and "unforeseen ValueError: x" in result.stderr


# --- no known input needs it -----------------------------------------------------------------------------------------


@pytest.fixture
def run(add_model: AddModel, tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder of a run of eight samples, and the arguments that go on with it."""
    arguments = ("generate", add_model(), "-n", "8", "--out", str(tmp_path / "out"), "--quiet")
    assert medzoo(*arguments, "--batch-size", "4").exit_code == 0
    return tmp_path / "out", (*arguments, "--resume")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_samples_and_manifests_are_made_anew(run: tuple[Path, tuple[str, ...]], damage: str) -> None:
    folder, resume = run
    whole = content(folder)
    for name in ("manifest.jsonl", "00000003.png"):
        (folder / name).write_bytes(DAMAGE[damage](whole[name]))
    result = medzoo(*resume)
    assert foreseen(result) and result.exit_code == 0, result.output
    assert content(folder) == whole
    (folder / "manifest.jsonl").write_bytes(DAMAGE[damage](whole["manifest.jsonl"]))
    assert medzoo(*resume[:-1], "--overwrite", "--batch-size", "4").exit_code == 0
    assert content(folder) == whole


LINES: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": lambda line: line.replace(b"\n", b"\r\n"),
    "byte order mark": lambda line: b"\xef\xbb\xbf" + line,
    "another model": lambda line: line.replace(b"99001_TINY", b"99002_TINY"),
    "other weights": lambda line: line.replace(b'"weights_sha256": "', b'"weights_sha256": "0'),
    "another file": lambda line: line.replace(b"00000002.png", b"00000003.png"),
    "a file elsewhere": lambda line: line.replace(b'"00000002.png"', b'"../00000002.png"'),
    "a list": lambda line: line.replace(b'"00000002.png"', b'["00000002.png"]'),
    "a number": lambda line: line.replace(b'"00000002.png"', b"3"),
    "NUL": lambda line: line.replace(b'"00000002.png"', b'"00000002\\u0000.png"'),
    "a surrogate": lambda line: line.replace(b'"condition": null', b'"condition": "\\ud800"'),
    "another seed": lambda line: line.replace(b'"seed": 0', b'"seed": false'),
    "one more field": lambda line: line.replace(b'{"file"', b'{"more": 1, "file"'),
}


@pytest.mark.parametrize("change", LINES)
def test_a_line_that_is_not_of_the_run_is_written_anew(run: tuple[Path, tuple[str, ...]], change: str) -> None:
    folder, resume = run
    whole = content(folder)
    lines = whole["manifest.jsonl"].splitlines(keepends=True)
    changed = LINES[change](lines[2])
    assert changed != lines[2]
    (folder / "manifest.jsonl").write_bytes(b"".join([*lines[:2], changed, *lines[3:]]))
    result = medzoo(*resume)
    assert result.exit_code == 0, result.output
    assert "4 samples" in result.output or "8 synthetic samples" in result.output
    assert content(folder) == whole


@pytest.mark.parametrize("damage", [*DAMAGE, "batch size"])
def test_a_damaged_record_of_a_run_is_named(run: tuple[Path, tuple[str, ...]], damage: str) -> None:
    folder, resume = run
    path = folder / "run.json"
    if damage == "batch size":
        path.write_text(path.read_text().replace('"batch_size": 4', '"batch_size": 1000000000'))
    else:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    result = medzoo(*resume)
    assert foreseen(result) and result.exit_code == 2
    assert "run.json" in result.stderr and "--overwrite" in result.stderr
    assert medzoo(*resume[:-1], "--overwrite").exit_code == 0


@pytest.mark.parametrize("name", ["manifest.jsonl", "run.json", "00000003.png"])
@pytest.mark.parametrize("thing", NO_FILE)
def test_what_is_no_file_is_refused_or_replaced(run: tuple[Path, tuple[str, ...]], name: str, thing: str) -> None:
    folder, resume = run
    whole = content(folder)
    NO_FILE[thing](folder / name)
    result = medzoo(*resume)
    assert foreseen(result), result.output
    if name == "00000003.png":
        assert result.exit_code == 0 and content(folder) == whole
    else:
        assert result.exit_code == 2 and name in result.stderr


def test_a_manifest_that_leads_to_a_file_of_somebody_is_refused(
    run: tuple[Path, tuple[str, ...]], tmp_path: Path
) -> None:
    folder, resume = run
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (folder / "manifest.jsonl").unlink()
    (folder / "manifest.jsonl").symlink_to(victim)
    for mode in ("--resume", "--overwrite"):
        result = medzoo(*resume[:-1], mode)
        assert foreseen(result) and result.exit_code == 2 and "link" in result.stderr
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("damage", [*DAMAGE, *NO_FILE])
def test_damaged_records_of_the_cache_end_no_listing(damage: str) -> None:
    folder = cache.root() / "weights" / "99001_TINY"
    folder.mkdir(parents=True)
    part = folder / "weights.part"
    part.write_bytes(b"numbers")
    stored = cache.store(part, model_id="99001_TINY", layout="1", source="local x", source_sha256="f" * 64)
    lockfile.record("99001_TINY", "http x", "f" * 64, 7)
    for path in (stored.path.with_suffix(".json"), lockfile.path()):
        NO_FILE[damage](path) if damage in NO_FILE else path.write_bytes(DAMAGE[damage](path.read_bytes()))
    listing = medzoo("cache", "list")
    assert foreseen(listing) and listing.exit_code == 0 and "the record is not what was written" in listing.stderr
    assert foreseen(medzoo("cache", "list", "--json")) and foreseen(medzoo("cache", "clear", "99001_TINY"))
    verified = medzoo("cache", "verify")
    assert foreseen(verified) and verified.exit_code == 2
    assert foreseen(medzoo("cache", "clear", "--all", "--yes"))


def test_a_record_of_the_wrong_types_ends_no_listing() -> None:
    folder = cache.root() / "weights" / "99001_TINY"
    folder.mkdir(parents=True)
    for number, change in enumerate([{"size": "x"}, {"date": None}, {"model_id": []}, {"source": "\x1b]0;own\x07"}]):
        fields = {
            "model_id": "99001_TINY", "size": 1, "sha256": "f" * 64, "source": "x", "source_sha256": "f" * 64,
            "date": "2026-01-01",
        } | change  # fmt: skip
        (folder / f"{number}.json").write_text(json.dumps(fields))
    for arguments in (("list",), ("list", "--json"), ("verify",)):
        result = medzoo("cache", *arguments)
        assert foreseen(result) and "\x1b" not in result.output


@pytest.mark.parametrize("name", ["MEDZOO_CACHE", "MEDZOO_REGISTRY"])
@pytest.mark.parametrize("verb", [("list",), ("cache", "list"), ("generate", "99001_TINY")])
def test_a_home_that_is_not_known(monkeypatch: pytest.MonkeyPatch, name: str, verb: tuple[str, ...]) -> None:
    monkeypatch.setenv(name, "~nosuchuser/x")
    result = medzoo(*verb)
    assert foreseen(result)
    if (name, verb[0]) in (("MEDZOO_CACHE", "cache"), ("MEDZOO_REGISTRY", "list")):
        assert result.exit_code == 2 and "home folder is not known" in result.stderr


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "registry" / "models").mkdir(parents=True)
    monkeypatch.setenv("MEDZOO_REGISTRY", str(tmp_path / "registry"))
    (tmp_path / "registry" / "models" / "99001_TINY.yaml").write_text(json.dumps(entry_fields()))
    return tmp_path / "registry"


@pytest.mark.parametrize("thing", [*NO_FILE, "huge", "not UTF-8"])
def test_what_is_no_entry_hides_no_other(registry: Path, thing: str) -> None:
    path = registry / "models" / "99002_X.yaml"
    path.write_text("x")
    if thing in NO_FILE:
        NO_FILE[thing](path)
    elif thing == "huge":
        os.truncate(path, 2**33)
    else:
        path.write_bytes(b"\xff\xfe\x00")
    result = medzoo("list")
    assert foreseen(result) and "99001_TINY" in result.stdout and "99002_X" in result.stderr
    assert foreseen(medzoo("info", "99002_X")) and foreseen(medzoo("check", "99002_X", "--offline"))


def test_a_file_with_an_odd_name(registry: Path) -> None:
    name = os.fsdecode(b"bad\xff\x1b]0;own\x07\n.yaml")
    (registry / "models" / name).write_text("x: 1")
    for arguments in (("list",), ("search", "tiny"), ("check", registry / "models" / name, "--offline")):
        result = medzoo(*arguments)
        assert foreseen(result) and "\x1b" not in result.output and "\x07" not in result.output


@pytest.mark.parametrize("damage", [*DAMAGE, *NO_FILE])
def test_damaged_results_hide_no_other(tmp_path: Path, damage: str) -> None:
    place = tmp_path / "results" / "x" / "y" / "polyp_128.json"
    place.parent.mkdir(parents=True)
    place.write_text('{"schema": 1}')
    NO_FILE[damage](place) if damage in NO_FILE else place.write_bytes(DAMAGE[damage](place.read_bytes()))
    arguments = ("rank", "--by", "kid", "--benchmark", "polyp_128", "--features", "efficientnet_lite0")
    result = medzoo(*arguments, "--results", tmp_path / "results")
    assert foreseen(result)
    assert result.stdout == medzoo(*arguments, "--results", tmp_path / "none").stdout
