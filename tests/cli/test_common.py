"""What all commands have in common: exit codes, -v, help, addresses in place of paths, words of errors, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import medzoo
from medzoo.cli import VERBS, main
from medzoo.errors import MedzooError
from tests.conftest import entry_fields
from tests.tools.paths import ROOT
from tests.tools.servers import Fault, ZenodoServer

AddModel = Callable[..., str]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# --- exit codes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def zenodo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZenodoServer]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("medzoo.weights.sources.retry.time.sleep", lambda seconds: None)
    with ZenodoServer() as server:
        yield server


def remote_model(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, sha256: str | None = None) -> str:
    """A model in a registry of its own, whose weights are at a URL."""
    fields = entry_fields(weights=[{"kind": "http", "url": url, "sha256": sha256}])
    (folder / f"{fields['model_id']}.yaml").write_text(json.dumps(fields))
    monkeypatch.setenv("MEDZOO_REGISTRY", str(folder))
    return str(fields["model_id"])


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Fault(status=503, always=True), 75), (Fault(drop_after=0, always=True), 75), (Fault(status=404), 2)],
)
def test_what_may_pass_ends_with_75(
    zenodo: ZenodoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, code: int
) -> None:
    model = remote_model(tmp_path, monkeypatch, zenodo.add("x.pt", b"\x93\x00numbers"))
    zenodo.faults = [fault]
    for arguments in (("cache", "warm", model), ("generate", model, "--out", tmp_path / "out")):
        zenodo.faults = [fault]
        done = run(*arguments)
        assert done.exit_code == code and "Traceback" not in done.output, done.output


def test_no_connection_ends_with_75_and_no_network_wanted_with_2(
    zenodo: ZenodoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = remote_model(tmp_path, monkeypatch, "http://127.0.0.1:9/x.pt")
    assert run("cache", "warm", model).exit_code == 75
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run("cache", "warm", model).exit_code == 2


def test_the_exit_codes_are_in_the_help_and_in_the_documentation() -> None:
    words = " ".join(run("--help").stdout.split())
    page = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
    for code in ("0", "1", "2", "75", "130"):
        assert f" {code} " in words[words.index("Exit codes:") :] and f"\n| {code} |" in page


# --- -v --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
def test_verbose_says_what_is_asked_tried_again_and_found_here(
    zenodo: ZenodoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    model = remote_model(tmp_path, monkeypatch, zenodo.add("x.pt", b"\x93\x00numbers"))
    zenodo.faults = [Fault(status=502)]
    done = run(*(["-v"] if before else []), "cache", "warm", model, *([] if before else ["-v"]))
    assert f"medzoo: {model}: not on this machine; asking http {zenodo.url}" in done.stderr
    assert "answers 502" in done.stderr and "trying again in" in done.stderr
    zenodo.faults = [Fault(status=502)]
    assert "trying again" not in run("cache", "warm", model).stderr  # it was for that one command


def test_verbose_names_what_was_found_here(add_model: AddModel, tmp_path: Path) -> None:
    done = run("generate", add_model(), "-n", 1, "--out", tmp_path / "out", "--verbose")
    assert done.exit_code == 0 and "is on this machine: " in done.stderr


# --- help, and words of errors ---------------------------------------------------------------------------------------


def test_help_is_that_of_the_command() -> None:
    assert run("help").stdout == run("--help").stdout
    for words in (["generate"], ["cache"], ["cache", "warm"]):
        assert run("help", *words).stdout == run(*words, "--help").stdout
    assert "did you mean 'generate'?" in run("help", "genrate").stderr
    assert "has no commands below it" in run("help", "generate", "x").stderr


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["genrate"], "did you mean 'generate'?"),
        (["download", "00101"], "did you mean 'cache warm'?"),
        (["unicorn"], "see medzoo --help"),
        (["cache", "lst"], "Did you mean 'list'?"),
        (["list", "polyp", "mask"], "type: medzoo search polyp mask"),
        (["generate", "10001", "--seed", "abc"], "'abc' is not a valid integer."),
        (["generate", "10001", "--guidance", "abc"], "'abc' is not a valid number."),
        (["generate", "10001", "--out", "s3://bucket/x"], "aws s3 sync"),
    ],
)
def test_words(typed: list[str], words: str) -> None:
    done = run(*typed)
    assert done.exit_code == 2 and words in done.stderr


def options() -> Iterator[tuple[str, click.Option]]:
    """Every option of every command."""
    context = click.Context(main)
    for verb in VERBS:
        yield from below(main.get_command(context, verb), verb)


def below(command: click.Command | None, name: str) -> Iterator[tuple[str, click.Option]]:
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield name, parameter
    for verb, inner in (command.commands if isinstance(command, click.Group) else {}).items():
        yield from below(inner, f"{name} {verb}")


def test_every_option_says_what_it_does() -> None:
    """And not only which values it takes."""
    said = {
        f"{verb} {option.opts[-1]}": (option.help or "").partition("[default")[0].strip() for verb, option in options()
    }
    assert len(said) > 150
    assert not [option for option, words in said.items() if not words]


PATH_OPTIONS = [(verb, option.opts[-1]) for verb, option in options() if isinstance(option.type, click.Path)]


@pytest.mark.parametrize(("verb", "option"), PATH_OPTIONS)
def test_an_address_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, option: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*verb.split(), option, "gs://bucket/x")
    assert done.exit_code == 2 and "'gs://bucket/x' is an address" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "call",
    [
        lambda model, out: medzoo.generate_into(out, model, 1),
        lambda model, out: medzoo.generate(model, 1).save(out),
        lambda model, out: medzoo.train(family="fastgan", size=32, data=".", out=out),
        lambda model, out: medzoo.benchmark(fake=["."], real=".", out=out),
        lambda model, out: medzoo.publish(model, "you/x", out=out, dry_run=True),
    ],
    ids=["generate_into", "save", "train", "benchmark", "publish"],
)
def test_an_address_is_no_path_in_python(
    add_model: AddModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[str, object], object]
) -> None:
    model = add_model()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in ("s3://bucket/x", Path("s3://bucket/x")):
        with pytest.raises(MedzooError, match="is an address"):
            call(model, out)
    assert not list((tmp_path / "here").iterdir())


# --- completion ------------------------------------------------------------------------------------------------------


def completions(*words: str, incomplete: str) -> list[str]:
    """What bash is offered after some words."""
    done = subprocess.run(
        [sys.executable, "-c", "from medzoo.cli import main; main(prog_name='medzoo')"],
        env=os.environ | {
            "_MEDZOO_COMPLETE": "bash_complete", "COMP_CWORD": str(len(words) + 1), "PYTHONPATH": str(ROOT),
            "COMP_WORDS": " ".join(["medzoo", *words, incomplete]),
        },
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["generate"], "10001", "plain,10001_FASTGAN_POLYP_W_MASKS"),
        (["info"], "0010", "plain,00101_"),
        (["cache", "warm"], "10003", "plain,10003_DIFFUSION_CHEST_XRAY"),
        (["list", "--family"], "fast", "plain,fastgan"),
        (["bench", "--benchmark"], "pol", "plain,polyp_128"),
        (["check"], "reg", "file,reg"),
        ([], "gen", "plain,generate"),
    ],
)
def test_the_shell_completes(words: list[str], incomplete: str, offered: str) -> None:
    assert any(line.startswith(offered) for line in completions(*words, incomplete=incomplete))
