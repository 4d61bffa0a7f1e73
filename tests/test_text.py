"""medzoo.text: what strangers wrote shows, and does nothing else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medzoo.errors import CheckpointError
from medzoo.text import as_markdown, did_you_mean, first_line, nearest, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Polypen, größer 1×", "Polypen, größer 1×"),
        ("two\nlines", "two\nlines"),
        ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        ("a\tb\rc", r"a\tb\rc"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("line\u2028end", r"line\u2028end"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800.png", r"\ud800.png"),
        ("at http://bob:secret@host/x?y=1", "at http://host/x?y=1"),
        ("hf://org/name@revision", "hf://org/name@revision"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(CheckpointError(text)) == shown  # every error goes the same way


def test_long_text_is_cut() -> None:
    assert printable("a" * 30, most=10) == "a" * 10 + " ... (20 more characters)"
    assert one_line("a" * 300) == "a" * 199 + "…"


def test_one_line() -> None:
    assert one_line("title\n99999_FAKE\t8x8") == r"title\n99999_FAKE\t8x8"


def test_unknown_words_get_the_nearest() -> None:
    assert nearest("STEP", ["noise", "steps", "strength"]) == ("steps",) and nearest("unicorn", ["steps"]) == ()
    assert nearest("polypp", ["Polyp", "polyps"], most=2) == ("Polyp", "polyps")
    assert did_you_mean("step", ["steps"]) == "; did you mean 'steps'?" and did_you_mean("x", ["steps"]) == ""


@given(st.text())
def test_nothing_steers_a_terminal(text: str) -> None:
    for character in printable(text):
        assert character == "\n" or unicodedata.category(character)[0] != "C", repr(character)
    assert "\n" not in one_line(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Polyps, 128 px: 12 %", "Polyps, 128 px: 12 %"),
        ("a <script>alert(1)</script>", "a &lt;script&gt;alert(1)&lt;/script&gt;"),
        ("https://x.org/a><script>alert(1)</script>", "<https://x.org/a>&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("![beacon](https://evil/t.png)", r"!\[beacon\](<https://evil/t.png>)"),
        ("[click](javascript:alert(1))", r"\[click\](javascript:alert(1))"),
        ("\n\n# Forged heading\n\nMemorisation: none", r"\# Forged heading Memorisation: none"),
        ("a | b `code` *bold* $x$ {role}`y`", r"a \| b \`code\` \*bold\* \$x\$ \{role\}\`y\`"),
        ("see https://doi.org/10.1000/x_y.", "see <https://doi.org/10.1000/x_y>."),
    ],
)
def test_markdown_shows_text_and_does_nothing_else(text: str, shown: str) -> None:
    assert as_markdown(text, links=True) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [("one\ntwo", "one"), ("\n one \ntwo", "one"), ("", "ValueError"), ("x" * 600, "x" * 499 + "…")],
)
def test_the_first_line_of_an_error(said: str, shown: str) -> None:
    assert first_line(ValueError(said)) == shown
