"""The verdict: three sentences that claim what intervals hold, and the same words everywhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from medzoo import report
from medzoo.report.text import summary_table
from medzoo.results import differences
from medzoo.results.differences import key_of
from tests.tools.report_case import edit, results

MODEL = "10001_FASTGAN_POLYP_W_MASKS"


def of(rows: list[dict[str, Any]]) -> list[str]:
    found: list[str] = report.verdicts(rows)[MODEL]
    return found


def row_of(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in rows if row["contender"]["id"] == name)


def test_what_it_is_better_than() -> None:
    looks = of(results())[0]
    assert looks.startswith(
        "Looks (KID 0.0868, 0.0808–0.0928): better than real images with blur of 2 px, blur of 4 px"
    )
    assert looks.endswith("; worse than real images.") and "copies" not in looks
    rows = results()
    edit(row_of(rows, MODEL), "kid", value=0.24, low=0.2, high=0.28)
    assert "cannot be told apart from real images with blur of 2 px and noise of 0.05" in of(rows)[0]
    edit(row_of(rows, MODEL), "kid", low=None, high=None)
    assert "better" not in of(rows)[0] and "worse" not in of(rows)[0]


def test_useful_at_which_share() -> None:
    rows = results()
    assert of(rows)[1].startswith("Useful for Dice? Cannot be said: no difference beside real images at real + 1×")
    edit(row_of(rows, MODEL), "seg_dice_2x", detail={"gain": 0.05, "gain_low": 0.02, "gain_high": 0.08})
    assert of(rows)[1].startswith("Useful for Dice: helps beside real images at real + 2× (+0.050).")
    # One of two whose interval just leaves out 0: with two shares tried, that is no evidence.
    edit(row_of(rows, MODEL), "seg_dice_2x", detail={"gain": 0.021, "gain_low": 0.0005, "gain_high": 0.0415})
    assert "Cannot be said" in of(rows)[1]
    edit(row_of(rows, MODEL), "seg_dice_1x", detail={"gain": -0.09, "gain_low": -0.12, "gain_high": -0.06})
    assert "harms at real + 1× (−0.090)" in of(rows)[1]
    assert "Synthetic images alone give 0.682 (0.662–0.702), real ones alone 0.771" in of(rows)[1]


def test_copies_or_none() -> None:
    rows = results()
    assert of(rows)[2] == (
        "Copies of training images: none found among 712 images; a share of up to 0.2 % would not show."
    )
    edit(row_of(rows, MODEL), "near_copies", value=0.3, low=0.25, high=0.35)
    assert of(rows)[2].startswith("Copies of training images: yes, Near copies 30.0 % (25.0–35.0 %), where new real")
    edit(row_of(rows, MODEL), "near_copies", value=0.001, low=0.0, high=0.01)
    assert "no more than chance gives" in of(rows)[2]


@pytest.mark.parametrize("group", ["cost", "none"])
def test_what_was_not_measured_is_said(group: str) -> None:
    rows = results()
    for row in rows:
        row["scores"] = [score for score in row["scores"] if score["group"] == group]
        row["references"] = {}
    sentences = of(rows)
    assert "cannot be said" in sentences[0] and "not measured" in sentences[1] and "cannot be said" in sentences[2]


def test_the_same_words_everywhere() -> None:
    rows = results()
    page, text = report.html_page(rows), report.markdown(rows)
    assert page.index('id="verdict"') < page.index('id="leaderboard"')
    assert text.index("## Verdict") < text.index("## Leaderboard")
    for sentences in report.verdicts(rows).values():
        for words in sentences:
            assert words.replace("-", "−") in page and words in text


def test_headings_of_a_terminal_are_short_differ_and_are_explained() -> None:
    header, _ = summary_table(results())
    assert max(map(len, header)) <= 16 and len(set(header)) == len(header)
    (legend,) = report.legend(results())
    assert "Dice synth: Dice, synthetic alone" in legend and "lower is better" in legend


def test_images_that_were_enlarged_or_mixed_are_said() -> None:
    rows = results()
    sizes = {"n": 712, "smallest": [64, 64], "largest": [64, 64], "different": 1, "enlarged": 712, "squeezed": 0}
    row_of(rows, MODEL)["data"]["fake"] = {"n": 712, "sizes": sizes}
    mixed = {"n": 89, "smallest": [200, 256], "largest": [256, 256], "different": 31, "enlarged": 0, "squeezed": 80}
    for row in rows:
        row["data"]["real"] = {"n": 89, "sha256": "ab" * 32, "sizes": mixed}
    said = report.size_notes(rows)
    assert said == [
        "Held-out real images: 31 sizes, 200 x 256 to 256 x 256 px; 80 of 89 squeezed to a square of 128 px.",
        f"{MODEL}: all 712 ENLARGED to 128 px from 64 x 64 px: scores measure that too; --size 64 or less avoids it.",
    ]
    for words in said:
        assert words in report.html_page(rows)
        assert words.replace("_", "\\_") in report.markdown(rows) or words in report.markdown(rows)


def test_the_differences_of_two_are_a_matrix() -> None:
    rows = results(2)
    page, text = report.html_page(rows), report.markdown(rows)
    assert 'id="differences"' in page and "−0.0646" in page and "unpaired" in page
    assert "## Differences" in text and "### KID" in text
    assert 'id="differences"' not in report.html_page(results(1))


def test_many_contenders_are_compared_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two the scores of the matrices alone, and each quantile once: twelve contenders are 66 pairs."""
    rows = results(4, references=False)
    for i, row in enumerate(rows):
        row["draws"] = {key_of(score): [i + 0.1 * k * k for k in range(24)] for score in row["scores"]}
    calls: list[float] = []

    def tail(t: float, freedom: float) -> float:
        calls.append(t)
        return float(2.0 ** -min(t, 50))

    monkeypatch.setattr(differences, "t_tail", tail)
    differences.t_quantile.cache_clear()
    report.html_page(rows)
    differences.t_quantile.cache_clear()
    assert len(calls) <= 50 + 6 * 10  # one search, and a call for each pair and score


def test_a_difference_without_interval_has_no_empty_parentheses() -> None:
    rows = results(3)
    edit(rows[-1], "kid", low=None, high=None)
    text = report.markdown(rows)
    assert "0.0702 |" in text and "(; )" not in text


def test_a_benchmark_of_which_nothing_was_measured_is_on_the_first_page() -> None:
    none = results(1)
    for row in none:
        row["scores"], row["references"] = [], {}
    page = report.html_index("All", [(results(), "a.html"), (none, "b.html")])
    assert 'href="b.html"' in page and "Nothing was measured" in page


def test_whatever_is_certain_is_marked_on_the_page() -> None:
    """Better or worse: each cell of a matrix below 0.05 differs from the others in more than a class."""
    page = report.html_page(results(2))
    for kind in ("best", "worse"):
        assert f'class="{kind}"' in page and re.search(rf"\.{kind} \.v {{ font-weight: 700", page)


def test_notes_are_those_of_the_benchmark_today() -> None:
    """A result that is older than its benchmark's file must not repeat what was true then."""
    rows = results()
    for row in rows:
        row["benchmark"]["notes"] = "Nobody makes polyps yet."
    assert "Nobody makes" not in report.html_page(rows).split("<footer>")[0]
    assert "89 held-out frames" in report.markdown(rows)
    for row in rows:
        row["benchmark"]["name"] = "of_my_own"
    assert "Nobody makes" in report.markdown(rows)
