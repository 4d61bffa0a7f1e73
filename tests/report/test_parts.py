"""Numbers, axes and pictures of reports."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from medzoo.report.numbers import decimals, number, numbers, seconds, short, shown, span
from medzoo.report.pictures import data_link, outline
from medzoo.report.svg import Scale, steps
from tests.tools.report_case import image


@pytest.mark.parametrize(
    ("values", "percent", "places"),
    [
        ([0.0868, 0.1514, 0.0812], False, 4),
        ([95.5, 142.1, 88.4], False, 1),
        ([1180.0, 612.0, 734.0], False, 0),
        ([0.0], False, 2),
        ([None, 0.5], False, 3),
        ([0.0112, 0.35], True, 1),
        ([0.0], True, 1),
        ([1e-9], False, 6),
    ],
)
def test_a_column_has_one_number_of_decimals(values: list[float | None], percent: bool, places: int) -> None:
    assert decimals(values, percent) == places


def test_numbers_as_people_read_them() -> None:
    assert shown(0.0868, 4) == "0.0868"
    assert shown(-0.00001, 3) == "0.000"  # no sign before nothing
    assert shown(0.1234, 1, percent=True) == "12.3 %"
    assert shown(None, 3) == "–"
    assert span(0.1, 0.2, 2) == "0.10–0.20" and span(-0.1, 0.2, 1) == "-0.1 to 0.2"
    assert span(0.1, 0.2, 0, percent=True) == "10–20 %" and span(None, 0.2, 2) == ""
    assert [short(value) for value in (0.0868, 95.51, 1280.0, 0.0, 4e-7, None)] == [
        "0.0868", "95.5", "1280", "0", "4e-07", "–",
    ]  # fmt: skip
    assert [seconds(value) for value in (0.42, 12.3, 200.0, 7500.0)] == ["0.42 s", "12 s", "3 min 20 s", "2 h 5 min"]


def test_only_finite_numbers_are_numbers() -> None:
    assert number(3) == 3.0 and number(float("inf")) is None and number(True) is None and number("3") is None
    assert numbers([1, 2.5]) == [1.0, 2.5] and numbers([1, None]) is None and numbers("12") is None


def test_ticks_are_round_and_inside() -> None:
    assert steps(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert steps(-0.013, 0.163, 5) == [0.0, 0.05, 0.1, 0.15]
    assert steps(2, 2) == [2]
    assert Scale(0.02, 3000, 0, 1, log=True).ticks() == pytest.approx([0.1, 1, 10, 100, 1000])
    assert Scale(1, 100, 0, 1, log=True)(10) == pytest.approx(0.5)


def test_outline_has_each_edge_of_the_mask_once() -> None:
    mask = (np.random.default_rng(0).random((9, 13)) > 0.5).astype(np.uint8)
    drawn = np.zeros_like(mask, float)
    across, down = np.zeros((10, 13), int), np.zeros((9, 14), int)
    for part in outline(mask).split("M")[1:]:
        begin, y = part.replace("H", " ").replace("V", " ").split()[:2]
        end = int(part.replace("H", " ").replace("V", " ").split()[2])
        if "H" in part:
            across[int(y), int(begin) : end] += 1
        else:
            down[int(y) : end, int(begin)] += 1
    np.testing.assert_array_equal(across[1:-1], mask[1:] != mask[:-1])
    np.testing.assert_array_equal(down[:, 1:-1], mask[:, 1:] != mask[:, :-1])
    assert not across[[0, -1]].any() and not down[:, [0, -1]].any() and drawn.sum() == 0


def test_outline_of_nothing_and_of_all_is_empty() -> None:
    assert outline(np.zeros((4, 4), np.uint8)) == "" == outline(np.ones((4, 4), np.uint8))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_small_pictures_are_exact(channels: int) -> None:
    picture = image(1, 28, channels)
    read, info = opened(data_link(picture, "Synthetic image"))
    assert info["Comment"] == "Synthetic image"
    np.testing.assert_array_equal(read, picture.transpose(1, 2, 0) if channels == 3 else picture[0])


def test_large_pictures_become_small_jpegs_that_say_what_they_are() -> None:
    grain = np.random.default_rng(0).integers(0, 40, (3, 256, 192))
    picture = np.clip(image(2, 256)[:, :, :192].astype(int) + grain, 0, 255).astype(np.uint8)
    link = data_link(picture, "Real image of a patient")
    read, info = opened(link)
    assert link[0].startswith("data:image/jpeg") and link[1:] == (96, 128) and read.shape == (128, 96, 3)
    assert info["comment"] == b"Real image of a patient"
    means = picture.reshape(3, 128, 2, 96, 2).mean((2, 4)).transpose(1, 2, 0)
    assert np.abs(read - means).mean() < 4  # grey levels, of 255


def opened(link: tuple[str, int, int]) -> tuple[np.ndarray, dict[str, object]]:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(link[0].partition("base64,")[2]))) as picture:
        return np.asarray(picture), dict(picture.info)
