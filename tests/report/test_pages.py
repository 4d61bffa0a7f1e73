"""The page, the Markdown and the rows of a report: nothing missing, nothing unescaped, the same numbers everywhere."""

from __future__ import annotations

import base64
import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo import report
from medzoo.metrics import GROUPS, Group, _groups
from medzoo.report import bars, charts, remarks
from medzoo.report.board import Board, build
from medzoo.report.pictures import Pair, Pictures, Strip
from tests.tools.report_case import CONTENDERS, FEATURES, edit, image, results

VOID = {"meta", "img", "br", "wbr", "input", "link", "hr"}
SVG_VOID = {"path", "circle", "rect", "polygon"}  # closed in their tag
CSS = (Path(report.__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Elements with their attributes, and the text of each; fails where tags do not close as they opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is there twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SVG_VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"{tag} closes what it did not open"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def pictures(size: int = 24, channels: int = 3, count: int = 8) -> Pictures:
    """Pictures of all contenders, with masks of all but the folder."""
    images = np.stack([image(i, size, channels) for i in range(count)])
    masks = (images[:, :1] > 150).astype(np.uint8)
    masks[0] = 0
    ids = [name for name, *_ in CONTENDERS]
    return Pictures(
        {name: Strip(images, None if name == ids[-1] else masks) for name in ids},
        {name: [Pair(images[0], images[1], 0.25, False), Pair(images[2], images[3], 0.5, True)] for name in ids[:2]},
        Strip(images, masks),
        "efficientnet_lite0 features",
    )


def test_page_is_whole_and_needs_nothing_from_elsewhere() -> None:
    page = Page(report.html_page(results(), pictures()))
    assert len(page.all("h1")) == 1
    assert len(page.all("img")) == 5 * 8 + 2 * 4
    assert all(one["alt"] and one["src"].startswith("data:image/") for one in page.all("img"))
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"url\(|@import", CSS)
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "data", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))


def test_links_and_labels_lead_somewhere() -> None:
    page = Page(report.html_page(results(), pictures()))
    ids = [one["id"] for _, one in page.elements if one.get("id")]
    assert len(ids) == len(set(ids))
    for _, one in page.elements:
        if (one.get("href") or "").startswith("#"):
            assert one["href"][1:] in ids
        for label in (one.get("aria-labelledby") or "").split():
            assert label in ids


def test_every_chart_is_named_and_scales_with_the_page() -> None:
    text = report.html_page(results(), pictures())
    drawn = re.findall(r'<svg viewBox="[^"]*" role="img" aria-labelledby="([^"]*)">(.*?)</svg>', text)
    assert [labels.split()[0] for labels, _ in drawn] == [
        "precision-recall-t", *(f"distances-{i}-{j}-t" for i, j in histograms(results())), "spectrum-t",
        "useful-seg-dice-t", "fidelity-usefulness-t",
    ]  # fmt: skip
    for _, inside in drawn:
        assert inside.startswith("<title id=") and "<desc id=" in inside
    assert not re.search(r"<svg[^>]* width=", text)


def histograms(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [
        (row.place, i)
        for row in build(rows).contenders
        for i, score in enumerate(row.result["scores"])
        if score["name"] == "nearer_than_5"
    ]


HOSTILE = "<script>alert(1)</script>\"'&|`*_[x](javascript:alert(1))\n# <img src=x onerror=alert(1)>"


def poisoned(value: Any, keep: tuple[str, ...] = ("kind", "better", "group", "name", "features", "url")) -> Any:
    """The same JSON with hostile words in every text, keys of free dicts included."""
    if isinstance(value, dict):
        free = bool(value) and set(value) <= {"usefulness", "images", "frechet", "spectrum", "cost"}
        return {
            (key + HOSTILE if free else key): one if key in keep and isinstance(one, str) else poisoned(one, keep)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [poisoned(one, keep) for one in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_text_from_elsewhere_stays_text() -> None:
    rows = poisoned(results())
    for row in rows:
        edit(row, "kid", note=HOSTILE)
        row["extractors"][HOSTILE] = {"dim": 2000, HOSTILE: HOSTILE}
        row["references"] = {f"{HOSTILE}": row["references"].get("real", [])}
        row["scores"].append(copy.deepcopy(row["scores"][0]) | {"features": HOSTILE, "name": HOSTILE})
    given = pictures()
    hostile = {name + HOSTILE: strip for name, strip in given.strips.items()}
    near = {name + HOSTILE: pairs for name, pairs in given.pairs.items()}
    page = Page(report.html_page(rows, Pictures(hostile, near, given.real, HOSTILE), {HOSTILE: HOSTILE}))
    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script>alert(1)</script>" in page.text
    assert all("onerror" not in attributes for _, attributes in page.elements)
    assert len(page.all("img")) == 5 * 8 + 2 * 4

    lines = report.markdown(rows, {HOSTILE: HOSTILE}).split("\n")
    assert not [line for line in lines if re.search(r"<(?!/?(?:br)>)", line)]
    assert not [line for line in lines if re.search(r"(?<!\\)\]\(", line)]
    assert_tables(lines)


def test_headings_of_hostile_names_stay_one_line() -> None:
    rows = results()
    rows[-1]["contender"]["id"] = "a\n\n## Leaderboard"
    headings = [line for line in report.markdown(rows).split("\n") if line.startswith("## ")]
    assert headings.count("## Leaderboard") == 1


PARTS: dict[str, Callable[[], str]] = {
    "no results": lambda: report.html_page([]),
    "one contender alone": lambda: report.html_page(results(1, references=False)),
    "reference points alone": lambda: report.html_page(results(0)),
    "no pictures": lambda: report.html_page(results()),
    "empty pictures": lambda: report.html_page(results(), Pictures()),
    "strips alone": lambda: report.html_page(results(), Pictures(pictures().strips)),
    "pairs alone": lambda: report.html_page(results(), Pictures({}, pictures().pairs)),
    "no details": lambda: report.html_page(without(results(), "detail")),
    "no values": lambda: report.html_page(without(results(), "value", "low", "high")),
    "no intervals": lambda: report.html_page(without(results(), "low", "high")),
    "nothing but cost": lambda: report.html_page(only(results(), "cost")),
    "no scores": lambda: report.html_page(only(results(), "none")),
    "two extractors": lambda: report.html_page(results(features=(FEATURES, "dinov2"))),
    "sparse records": lambda: report.html_page([sparse(row) for row in results()]),
}


def without(rows: list[dict[str, Any]], *fields: str) -> list[dict[str, Any]]:
    for row in rows:
        for score in [*row["scores"], *(one for scores in row["references"].values() for one in scores)]:
            score.update({field: None for field in fields if field in score})
    return rows


def only(rows: list[dict[str, Any]], group: str) -> list[dict[str, Any]]:
    for row in rows:
        row["scores"] = [score for score in row["scores"] if score["group"] == group]
        row["references"] = {}
    return rows


def sparse(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"benchmark": {"name": "x"}, "data": {}, "made": {}, "extractors": {}}


@pytest.mark.parametrize("part", PARTS)
def test_page_does_without(part: str) -> None:
    page = Page(PARTS[part]())
    assert len(page.all("h1")) == 1
    assert "None" not in page.text and "nan" not in page.text.split()


def test_sections_without_content_are_left_out() -> None:
    assert 'id="samples"' not in report.html_page(results())
    assert 'id="usefulness"' not in report.html_page(only(results(), "cost"))


def test_curves_that_do_not_fit_are_not_drawn() -> None:
    rows = results()
    for row in rows[-4:]:
        edit(row, "spectrum_gap", detail={"frequencies": [0.1, 0.2], "fake": [1.0], "real": "x", "real_low": None})
        edit(row, "nearer_than_5", detail={"fake_distances": {"edges": [0, 1], "counts": [None]}})
    board = build(rows)
    assert charts.spectrum(board) == ""
    assert 'id="distances' not in report.html_page(rows)


def test_same_results_same_page_in_any_order() -> None:
    once = report.html_page(results(), pictures())
    assert once == report.html_page(results(), pictures())
    board, turned = build(results()), build(results()[::-1])
    assert [row.id for row in board.rows] == [row.id for row in turned.rows]
    assert [row.cells for row in board.contenders] == [row.cells for row in turned.contenders]


def test_best_knows_the_direction_of_each_score() -> None:
    rows = build(results())

    def marked(name: str, mark: str) -> list[str]:
        column = rows.find(name)
        return [row.id[:5] for row in rows.rows if row.cell(column).mark == mark]

    assert marked("kid", "best") == ["00009"] and marked("kid", "level") == ["10001"]  # lower
    assert marked("precision", "best") == ["10001"]  # higher
    assert marked("mask_area", "best") == ["00009"]  # 16.2 % lies nearest to the 15.5 % of real images
    assert marked("near_copies", "best") == ["00009", "10001", "my-di"]  # equals share it
    assert all(row.cell(rows.find("kid")).mark == "" for row in rows.references)


def test_nothing_is_best_of_one_or_of_equals() -> None:
    assert {cell.mark for row in build(results(1)).rows for cell in row.cells.values()} == {""}
    equal = results()
    for row in equal[-4:]:
        edit(row, "kid", value=0.1)
    board = build(equal)
    assert {row.cell(board.find("kid")).mark for row in board.contenders} == {""}


def test_page_marks_best_in_words_too() -> None:
    text = report.html_page(results())
    cell = re.search(r'<td class="(?:first )?best">(.*?)</td>', text)
    assert "★" in cell[1] and "(best)" in cell[1]
    assert "(lower is better)" in text and "(higher is better)" in text


def test_missing_values_are_dashes_with_their_notes() -> None:
    rows = results()
    edit(rows[-4], "kid", value=None, low=None, high=None, note="two images are too few")
    page = Page(report.html_page(rows))
    assert "–" in page.text and "two images are too few" in page.text
    assert "two images are too few" in report.markdown(rows)


def assert_tables(lines: list[str]) -> None:
    """Rows of a table have as many cells as its head."""
    width = None
    for line in lines:
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert width in (None, cells), line
        width = cells


def test_markdown_tables_are_tables() -> None:
    text = report.markdown(results())
    lines = text.split("\n")
    assert_tables(lines)
    assert text.startswith("# Polyps at 128 pixels\n")
    board = lines.index("## Leaderboard")
    assert lines[board + 2].startswith("| | KID ↓ |") and set(lines[board + 3]) <= set("|-:")
    assert lines[board + 4].startswith("| `00009_PGGAN_POLYP_PATCHES_W_MASKS` | ★ **0.0812** (0.0752–0.0872) |")
    assert "| *real* | -0.0002 (-0.0062 to 0.0058) |" in text
    assert "research" in text and "CC-BY-4.0" in text and "Borgli et al." in text


def test_terminal_has_the_numbers_of_the_page() -> None:
    header, rows = report.summary_table(results())
    assert header[:2] == ["ID", "KID ↓"] and {len(row) for row in rows} == {len(header)}
    assert [row[0] for row in rows][:2] == ["00009_PGGAN_POLYP_PATCHES_W_MASKS", "10001_FASTGAN_POLYP_W_MASKS"]
    assert rows[0][1] == "★ 0.0812"
    text, page = report.markdown(results()), Page(report.html_page(results())).text
    for row in rows:
        for cell in row[1:]:
            bare = cell.lstrip("★☆ ")
            assert bare in text and bare.replace("-", "−") in page


def test_json_inside_the_page_is_that_of_the_results() -> None:
    rows = results()
    edit(rows[-1], "kid", value=float("nan"))
    page = Page(report.html_page(rows))
    link = next(one for one in page.all("a") if "download" in one)
    assert link["download"] == "polyp_128.json"
    found = json.loads(base64.b64decode(link["href"].partition("base64,")[2]))
    edit(rows[-1], "kid", value=None)
    assert found == rows


def test_real_people_are_announced() -> None:
    words = "This page shows images of real people."
    assert words in report.html_page(results(), pictures())
    assert words in report.html_page(results(), Pictures({"blur_2px": Strip(np.stack([image(0)]))}))
    assert words not in report.html_page(results(), Pictures(pictures().strips))
    assert words not in report.html_page(results())


def test_nothing_is_wider_than_a_phone() -> None:
    text = report.html_page(results(), pictures(128))
    for size, unit in re.findall(r"(?:^|[;{\s])(?:min-)?width:\s*([\d.]+)(px|rem)", CSS):
        assert float(size) * (16 if unit == "rem" else 1) <= 390
    for size, unit in re.findall(r"minmax\(([\d.]+)(px|rem)", CSS):
        assert float(size) * (16 if unit == "rem" else 1) <= 360
    assert max(int(width) for width in re.findall(r'<img [^>]*width="(\d+)"', text)) <= 128
    assert not re.search(r"style=\"[^\"]*width", text)
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_lines_stand_out(theme: str) -> None:
    """WCAG 2 AA: 4.5 : 1 for text, which colours of contenders are used for as well."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[0] + (blocks[1] if theme == "dark" else "")))
    for name in ("ink", "quiet", "link", "ref", "c0", "c1", "c2", "c3", "c4", "c5"):
        assert contrast(colours[name], colours["page"]) >= 4.5, name
    for behind in ("raised", "warn", "best"):
        assert contrast(colours["ink"], colours[behind]) >= 4.5 and contrast(colours["quiet"], colours[behind]) >= 4.5


def contrast(one: str, other: str) -> float:
    lights = []
    for colour in (one, other):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_page_of_five_contenders_is_light() -> None:
    rng = np.random.default_rng(0)
    grain = rng.integers(-6, 7, (8, 3, 128, 128))
    images = np.clip(np.stack([image(i, 128) for i in range(8)]) + grain, 0, 255).astype(np.uint8)
    masks = (images[:, :1] > 150).astype(np.uint8)
    ids = [name for name, *_ in CONTENDERS] + ["real", "copies"]
    given = Pictures({name: Strip(images, masks) for name in ids[:5]}, {}, Strip(images, masks))
    assert len(report.html_page(results(), given).encode()) < 1_500_000


def warnings(rows: list[dict[str, Any]], failed: dict[str, str] | None = None) -> list[str]:
    groups = remarks.grouped(build(rows), rows, failed)
    return [words for group in groups for words in (group["words"], *group["more"])]


def test_warnings_say_what_limits_the_numbers() -> None:
    told = "\n".join(warnings(results(), {"00020": "no weights"}))
    assert "00020 could not be measured: no weights" in told
    assert "my-diffusion-run-7: usefulness was not measured: the images have no masks" in told
    assert "89 images are fewer than the 1280 numbers" in told and "Rather read FD∞ or KID or CMMD." in told
    assert "only 89 held-out real images" in told
    bare = results(1, references=False)
    assert "floor" in "\n".join(warnings(bare))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row["benchmark"].update(revision="other"), "settings of the benchmark"),
        (lambda row: row["data"].update(real={"n": 89, "sha256": "00" * 32}), "held-out real images"),
        (lambda row: row["extractors"][FEATURES].update(weights_sha256="00" * 32), f"weights of {FEATURES}"),
        (lambda row: row["made"].update(cpu="another"), "costs cannot be compared"),
        (lambda row: edit(row, "kid", version=2), "KID was measured with different versions"),
    ],
)
def test_rows_that_do_not_belong_together_are_told(change: Callable[[dict[str, Any]], None], words: str) -> None:
    rows = results()
    before = warnings(rows)
    change(next(row for row in reversed(rows) if any(score["group"] == "cost" for score in row["scores"])))
    (added,) = set(warnings(rows)) - set(before)
    assert words in added


def test_agreement_of_fidelity_and_usefulness() -> None:
    assert "too few models to say" in remarks.agreement(build(results(2)))
    # KID orders 00009, 10001, 00010; Dice orders 00010, 00009, 10001: Spearman 1 - 6 (1 + 1 + 4) / (3 (9 - 1)) = -0.5
    assert "they disagree" in remarks.agreement(build(results())) and "−0.50" in remarks.agreement(build(results()))
    alike = results()
    for row, value in zip(alike[-4:], (0.5, 0.4, 0.6, 0.3), strict=True):
        if row["contender"]["kind"] == "model":
            edit(row, "seg_dice", value=value)
    assert "they agree" in remarks.agreement(build(alike)) and "+1.00" in remarks.agreement(build(alike))
    assert remarks.agreement(build(only(results(), "cost"))) == ""


def test_rank_correlation_is_spearmans() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(20):
        xs, ys = rng.integers(0, 5, 7).tolist(), rng.integers(0, 5, 7).tolist()
        assert remarks.rank_correlation(xs, ys) == pytest.approx(scipy_stats.spearmanr(xs, ys).statistic)
    assert remarks.rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_gains_over_real_images_are_told_from_chance() -> None:
    told = bars.gains(build(results()))
    assert "00009 pggan, Dice, real + 1×: +0.017 (+0.005 to +0.029) over real images alone; helps." in told
    assert any("00010 fastgan" in one and one.endswith("no difference that can be told from chance.") for one in told)


@pytest.mark.parametrize("count", [1, 4])
def test_labels_of_points_keep_clear_of_each_other(count: int) -> None:
    chart = charts.precision_recall(build(results(count)))
    boxes = [
        (float(x), float(y) - 11, float(x) + 6.9 * len(words), float(y) + 2)
        for x, y, words in re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="name[^>]*>([^<]*)<', chart)
    ]
    assert len(boxes) == count + 6
    for i, a in enumerate(boxes):
        assert a[0] >= 0 and a[2] <= 425 and a[1] >= 0 and a[3] <= 314
        for b in boxes[:i]:
            assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


def test_names_of_charts_are_short_and_differ() -> None:
    rows = results()
    rows[-1]["contender"]["id"] = "x" * 40
    again = copy.deepcopy(rows[-2])
    again["contender"]["revision"] = "fedcba987654"
    board: Board = build([*rows, again])
    labels = [row.label for row in board.contenders]
    assert len(set(labels)) == 5 and max(map(len, labels)) <= 22
    assert "10001 fastgan" in labels


def test_report_needs_no_torch() -> None:
    code = "import sys, medzoo.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_note_that_only_names_the_aim_is_no_warning() -> None:
    rows = results()
    for row in rows[-4:]:
        edit(row, "mask_area", note="real 0.13", detail={"real": 0.13})
        edit(row, "kid", note="one subset")
    told = warnings(rows)
    assert "KID: one subset" in told and not any("0.13" in one for one in told)
    assert "held-out real 13.0 %" in Page(report.html_page(rows)).text


def test_pictures_of_reference_points_are_few_and_called_real() -> None:
    given = Pictures({"blur_2px": pictures().strips[CONTENDERS[0][0]], "real": pictures().strips[CONTENDERS[0][0]]})
    page = Page(report.html_page(results(), given))
    assert [one["alt"].startswith("real, changed image of blur 2px") for one in page.all("img")] == [True] * 4


def test_a_group_is_added_by_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its title, its question and its place are read from there; its scores come to the first table."""
    beauty = Group("beauty", "Beauty", "Are they nice to look at?", 1, ("symmetry",))
    monkeypatch.setattr(_groups, "GROUPS", (GROUPS[0], beauty, *GROUPS[1:]))
    found = results()
    for result in found:
        for score in list(result["scores"]):
            if score["name"] == "spectrum_gap":
                result["scores"].append({**score, "name": "symmetry", "title": "Symmetry", "group": "beauty"})
    board = build(found)
    assert [group.name for group in board.groups[:3]] == ["fidelity", "beauty", "coverage"]
    assert "symmetry" in [column.key[0] for column in board.headline()]
    page, text = report.html_page(found), report.markdown(found)
    assert '<h2 id="beauty-h">Beauty</h2><p class="question">Are they nice to look at?</p>' in page
    assert "## Beauty\n\nAre they nice to look at?" in text
