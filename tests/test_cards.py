"""What Python and notebooks show of entries, models, lists and samples: it fits a screen, and nothing gets in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import medzoo
from medzoo import cards
from medzoo.catalog import RegistryWarning
from medzoo.catalog.models import Models
from medzoo.catalog.thumbnails import thumbnail
from medzoo.datasets import Images
from medzoo.entry import Entry
from medzoo.errors import ArgumentError

AddModel = Callable[..., str]
HOSTILE = "</td><script>alert(1)</script>"


def test_an_entry_fits_a_few_lines() -> None:
    for entry in medzoo.list_models():
        lines = repr(entry).splitlines()
        assert lines[0].startswith(entry.model_id) and len(lines) == 8 and max(map(len, lines)) < 250
    shown = repr(medzoo.info("10001"))
    assert "makes       RGB 128x128 + mask" in shown and 'use         medzoo.generate("10001_FASTGAN' in shown
    assert str(medzoo.info("10001")) == shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "volume", "size": [4, 8, 8], "channels": 1}, "grey volume 4x8x8"),
        ({"type": "mask", "channels": 0, "masks": 2}, "2 masks 8x8"),
        ({"type": "image+mask", "channels": 2, "masks": 3}, "2 channels 8x8 + 3 masks"),
        ({"size": None}, "grey of any size"),
    ],
)
def test_what_a_model_makes(tiny_entry: Callable[..., Entry], changes: dict[str, Any], words: str) -> None:
    output = {"type": "image", "size": [8, 8], "channels": 1, "masks": 0, "range": [0.0, 1.0], "spacing": None}
    assert cards.made(tiny_entry(output=output | changes).output) == words


def test_the_text_of_strangers_is_no_markup(tiny_entry: Callable[..., Entry]) -> None:
    entry = tiny_entry(title=HOSTILE, organ=HOSTILE, license={"weights": HOSTILE, "data": None})
    for html in (entry._repr_html_(), Models([entry])._repr_html_()):
        assert "<script" not in html and "&lt;script&gt;" in html
    images = medzoo.Samples(np.zeros((1, 1, 4, 4), np.float32), np.arange(1), model_id=HOSTILE)
    assert "<script" not in images._repr_html_()


def test_a_list_of_models_is_a_table() -> None:
    models = medzoo.list_models(masks=True)
    lines = repr(models).splitlines()
    assert lines[0].startswith("ID ") and lines[-1] == f"{len(models)} models" and len(lines) == len(models) + 2
    assert repr(medzoo.list_models()).endswith("not shown") and repr(medzoo.list_models()).count("\n") < 24
    assert isinstance(models[:2], Models) and isinstance(models[0], Entry)
    html = models._repr_html_()
    assert (
        html.count("data:image/png;base64,") == sum(model.model_id[0] == "1" for model in models)
        and "10002_VQVAE_POLYP_W_MASKS" in html
    )


def test_models_that_come_along_have_a_picture() -> None:
    for model_id in ("10001_FASTGAN_POLYP_W_MASKS", "10004_LDM_BRAIN_T1_VOLUME"):
        assert (thumbnail(model_id) or b"").startswith(b"\x89PNG")
        assert "data:image/png" in medzoo.info(model_id)._repr_html_()
    assert thumbnail("00001_DCGAN_MMG_CALC_ROI") is None


def test_a_filter_that_there_is_not_gets_a_hint() -> None:
    with pytest.raises(ArgumentError, match=r"list_models\(\) takes no 'modalty'; did you mean 'modality'\?"):
        medzoo.list_models(modalty="mri")  # type: ignore[call-arg]


def test_nothing_found_says_what_there_is() -> None:
    for filters, words in (
        (
            {"modality": "endoscpy"},
            r"no model fits modality 'endoscpy'; did you mean 'endoscopy'\? There are: .*mammography",
        ),
        ({"family": "fastgn"}, "did you mean 'fastgan'"),
        ({"organ": "unicorn"}, "no model fits organ 'unicorn'; there are: .*breast"),
        ({"modality": "mri", "size": 7}, "no model fits all of it at once: modality mri, size 7"),
    ):
        with pytest.warns(RegistryWarning, match=words):
            found = medzoo.list_models(**filters)  # type: ignore[arg-type]
        assert found == [] and repr(found) == "no models"
    for text, words in (
        ("unicorn", "no model has all of 'unicorn'; try fewer words"),
        ("endoscpy polyp", "Did you mean 'endoscopy' by 'endoscpy'?"),
    ):
        with pytest.warns(RegistryWarning) as warned:
            assert medzoo.search(text) == []
        assert words in str(warned[0].message)


def test_a_loaded_model_says_what_it_is(add_model: AddModel) -> None:
    model = medzoo.load(add_model(title=HOSTILE))
    assert repr(model).startswith("99001_TINY, loaded\n") and "cpu, float32, fused" in repr(model)
    assert "<td" in model._repr_html_() and "<script" not in model._repr_html_()
    for name, words in (
        ("to", "device=, precision="),
        ("parameters", r"\.network"),
        ("unicorn", "no attribute 'unicorn'$"),
    ):
        with pytest.raises(AttributeError, match=words):
            getattr(model, name)


def test_real_images_are_counted_not_printed() -> None:
    pixels = np.zeros((3, 3, 8, 6), np.uint8)
    assert repr(Images(pixels, None, ("a", "b", "c"))) == "Images(3 real, 3x8x6)"
    labels = np.array([0, 0, 1])
    full = Images(pixels, pixels[:, :1], tuple("abc"), labels=labels, classes=("ill", "well"), groups=tuple("ppq"))
    assert repr(full) == "Images(3 real, 3x8x6 with masks; 2 classes: ill 2, well 1; 2 groups)"


def test_small_images_and_volumes_are_large_enough_to_see() -> None:
    small = medzoo.Samples(np.zeros((4, 1, 28, 28), np.float32), np.arange(4))
    volumes = medzoo.Samples(np.zeros((2, 1, 40, 16, 12), np.float32), np.arange(2))
    wide = int(small._repr_html_().partition("width:")[2].partition("px")[0])
    assert wide > 2 * 100
    html = volumes._repr_html_()
    assert "slices 4, 9, 13, 17, 22, 26, 30, 35 of 40" in html and "2 synthetic volumes" in html
    assert "slices 0 of 1" in medzoo.Samples(np.zeros((1, 1, 1, 4, 4), np.float32), np.arange(1))._repr_html_()
