"""``medzoo doctor``: what it says of this machine, without passwords, and without waiting for a network."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from medzoo.cli import doctor as module
from medzoo.cli import main
from medzoo.errors import pip_install
from tests.tools.paths import ROOT
from tests.tools.servers import ZenodoServer


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


def found(*arguments: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(it["section"], it["name"]): it for it in json.loads(doctor("--json", *arguments).stdout)}


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "cache"))
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_every_section_has_its_lines() -> None:
    findings = found("--offline")
    assert {section for section, _ in findings} == {
        "versions", "extras", "device", "cache", "registries", "network",
    }  # fmt: skip
    assert findings["network", "hosts"]["value"] == "not asked: --offline"
    assert "of" in findings["device", "threads"]["value"] and "GB free" in findings["cache", "medzoo"]["value"]
    plain = doctor("--offline")
    assert plain.exit_code == 0 and "Versions\n" in plain.stdout and plain.stdout.endswith("Nothing to fix.\n")


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    there = module._version
    monkeypatch.setattr(module, "_version", lambda name: None if name == "pydicom" else there(name))
    finding = found("--offline")["extras", "dicom"]
    assert finding["status"] == "missing" and pip_install("medzoo[dicom]") in finding["advice"]


@pytest.mark.parametrize("name", ["huggingface_hub", "pydantic", "packaging"])
def test_a_library_that_does_not_load_is_a_finding_and_the_other_sections_stay(name: str) -> None:
    code = f"import sys; sys.modules['{name}'] = None; from medzoo.cli import main; main(['doctor', '--offline'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and not done.stderr
    assert re.search(f"^! .*{name}", done.stdout, re.MULTILINE)
    assert {"Versions", "Extras", "Device", "Cache", "Registries", "Network"} <= set(done.stdout.splitlines())


@pytest.mark.parametrize("name", ["rich", "requests", "PyYAML", "tqdm"])
def test_every_library_that_is_needed_is_looked_for(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    there = module._version
    monkeypatch.setattr(module, "_version", lambda asked: None if asked.lower() == name.lower() else there(asked))
    done = doctor("--offline")
    assert done.exit_code == 2 and f"type: {pip_install(name.lower())}" in done.stdout


def test_the_cache_of_the_hub_is_the_folder_that_downloads_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", "~/hub")
    assert found("--offline")["cache", "hub"]["value"].startswith(f"{tmp_path / 'hub'}: ")


def test_a_cache_that_cannot_be_written_is_to_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "access", lambda *_: False)
    done = doctor("--offline")
    assert done.exit_code == 2 and "set MEDZOO_CACHE to another folder" in done.stdout and "to fix" in done.stdout


def test_a_broken_entry_and_a_home_that_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reg").mkdir()
    (tmp_path / "reg" / "99001_X.yaml").write_text("x: [")
    monkeypatch.setenv("MEDZOO_REGISTRY", str(tmp_path / "reg"))
    monkeypatch.setenv("MEDZOO_CACHE", "~nosuchuser/x")
    findings = found("--offline")
    assert findings["registries", "broken"]["advice"] == "type: medzoo check --all"
    assert findings["cache", "cache"]["status"] == "problem"


def test_hosts_that_answer_and_that_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken, ZenodoServer() as server:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("MEDZOO_MIRROR", server.url)
        findings = found()
    assert findings["network", "hub"]["status"] == "missing" and "HF_ENDPOINT" in findings["network", "hub"]["advice"]
    assert "answers in" in findings["network", "http"]["value"]


def test_passwords_and_tokens_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    for arguments in ((), ("--json",)):
        done = doctor("--offline", *arguments)
        assert "secret" not in done.output and "http://127.0.0.1:9" in done.output and "set" in done.stdout
