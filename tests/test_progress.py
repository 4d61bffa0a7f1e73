"""medzoo.progress: who sees a bar, and when."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from medzoo.progress import is_notebook, is_wanted, shown


def test_a_bar_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(True) as show:
        for done in range(4):
            show(done, 3, (1, 2))
    assert "3/3" in (text := capsys.readouterr().err) and "step 1 of 2" in text


@pytest.mark.parametrize("progress", [None, False])
def test_nobody_sees_a_pipe(progress: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    with shown(progress) as show:
        show(0, 3, None)
    assert capsys.readouterr().err == ""


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("MEDZOO_PROGRESS", raising=False)
    assert is_wanted()
    with shown(None) as show:
        show(0, 3, None)
        show(3, 3, None)
    assert "3/3" not in capsys.readouterr().err
    monkeypatch.setenv("MEDZOO_PROGRESS", "0")
    assert not is_wanted()


def test_a_function_of_ones_own() -> None:
    seen: list[Any] = []
    with shown(lambda *state: seen.append(state)) as show:
        show(1, 2, None)
    assert seen == [(1, 2, None)]


def test_a_notebook_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    assert is_notebook()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))  # type: ignore[arg-type]
    assert not is_notebook()
