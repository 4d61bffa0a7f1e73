"""The images of a run: how a plain folder is split, and what is said of one that cannot be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.datasets import Images
from medzoo.errors import DatasetError, TrainingError
from medzoo.files.png import encode_png
from medzoo.training import parallel
from medzoo.training.data import about, facts_of, held_out, load
from medzoo.training.launch import from_fields
from tests.tools.training import medzoo_, small_config, two_classes, write_folder


def named(names: list[str], groups: list[str] | None = None) -> Images:
    pixels = np.zeros((len(names), 1, 16, 16), np.uint8)
    return Images(pixels, None, tuple(names), groups=None if groups is None else tuple(groups))


def config(folder: Path, **changes: Any) -> Any:
    return small_config("dcgan", dataset=None, folder=str(folder), **changes)


def png(path: Path, channels: int = 1, size: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.parent.name))
    path.write_bytes(encode_png(rng.integers(0, 256, (size, size, channels), dtype=np.uint8), {}))


# --- the split -------------------------------------------------------------------------------------------------------


def test_a_tenth_is_held_out_whatever_the_order() -> None:
    names = [f"image {i}" for i in range(100)]
    out = held_out(named(names))
    chosen = {name for name, kept in zip(names, out, strict=True) if kept}
    assert len(chosen) == 10
    turned = held_out(named(names[::-1]))
    assert {name for name, kept in zip(names[::-1], turned, strict=True) if kept} == chosen
    assert held_out(named(names[:12])).sum() == 2  # two at least
    assert held_out(named(names[:21])).sum() == 3  # a tenth, rounded up


def test_the_split_of_today_is_the_split_of_tomorrow() -> None:
    """The last two of ten by SHA-256 of their names."""
    assert np.flatnonzero(held_out(named([str(i) for i in range(10)]))).tolist() == [5, 6]


def test_a_group_is_never_parted() -> None:
    groups = [f"patient {i // 7}" for i in range(70)]
    out = held_out(named([str(i) for i in range(70)], groups))
    assert out.sum() == 7 and len({group for group, kept in zip(groups, out, strict=True) if kept}) == 1
    with pytest.raises(TrainingError, match=r"20 images are of 2 groups .* leaves 0; add images of others"):
        held_out(named([str(i) for i in range(20)], ["few"] + ["most"] * 19))


def test_folders_train_and_val_are_taken_as_they_are(tmp_path: Path) -> None:
    for split, n in (("train", 5), ("val", 3)):
        for i in range(n):
            png(tmp_path / split / f"{split}{i}.png")
    train, held = load(config(tmp_path))
    assert (len(train), len(held)) == (5, 3) and held.names == ("val0", "val1", "val2")


def test_splits_of_an_array_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", train_images=pixels[:5], val_images=pixels[5:8], test_images=pixels)
    train, held = load(config(tmp_path / "a.npz"))
    assert (len(train), len(held)) == (5, 3)
    np.savez(tmp_path / "b.npz", images=pixels)
    train, held = load(config(tmp_path / "b.npz"))
    assert (len(train), len(held)) == (10, 2)


def test_what_an_entry_says_of_a_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", two_classes(20), classes=True, masks=False)
    settings = config(folder, classes=True)
    train, held = load(settings)
    found = about(settings, train)
    assert (found.name, found.images, found.public, found.license) == ("mine", 18, None, None)
    assert found.facts.classes == ("a", "b") and found.facts.channels == 1 and len(held) == 2


# --- what cannot be learned ------------------------------------------------------------------------------------------


def test_bad_folders_are_said_in_words(tmp_path: Path) -> None:
    few, mixed, orphan, maskless, lonely, single = (tmp_path / f"case{i}" for i in range(6))
    for i in range(9):
        png(few / f"{i}.png")
    for i in range(12):
        png(mixed / f"{i:02}.png", channels=3 if i == 7 else 1)
        for folder in (orphan, maskless):
            png(folder / "images" / f"{i}.png")
            png(folder / "masks" / f"{i}.png")
        png(lonely / "common" / f"{i}.png")
        png(single / "only" / f"{i}.png")
    png(orphan / "masks" / "99.png")
    (maskless / "masks" / "3.png").unlink()
    png(lonely / "rare" / "0.png")
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (tmp_path / "none", {}, "no such file or folder"),
        (few, {}, "at least 10 images are needed, found 9; add images"),
        (mixed, {}, r"07\.png: 3 channel\(s\), but .*00\.png has 1"),
        (orphan, {"masks": True}, r"masks/99\.png: no image of this name in .*images"),
        (maskless, {"masks": True}, r"3\.png: no mask .*every image needs one"),
        (lonely, {"classes": True}, r"class 'rare' has [01] training image\(s\), which cannot be learned; add images"),
        (single, {"classes": True}, r"one class only \('only'\); set classes: false"),
    ]
    for folder, changes, message in cases:
        with pytest.raises((DatasetError, TrainingError), match=message):
            load(config(folder, **changes))
    train, _ = load(config(single))
    with pytest.raises(TrainingError, match="masks: true, but .*case5 has no masks; set masks: false"):
        facts_of(config(single, masks=True), train)


def test_grey_and_colour_pictures_of_any_size(tmp_path: Path) -> None:
    """Sizes are brought to one; channels only when asked, because they decide the network."""
    mixed, parts = tmp_path / "mixed", tmp_path / "parts"
    for i in range(12):
        png(mixed / f"{i:02}.png", channels=3 if i == 7 else 1)
        png(parts / ("train" if i < 8 else "val") / f"{i}.png", channels=1 if i < 8 else 3)
    (mixed / "12.png").write_bytes(encode_png(np.full((40, 25, 1), 200, np.uint8), {}))
    for folder in (mixed, parts):
        with pytest.raises((DatasetError, TrainingError), match="--channels RGB or --channels L"):
            load(config(folder))
        for mode, channels in (("RGB", 3), ("L", 1)):
            assert [one.images.shape[1:] for one in load(config(folder, channels=mode))] == [(channels, 16, 16)] * 2
    options: list[Any] = ["--family", "dcgan", "--data", mixed, "--size", 16, "--no-held-out", "--quiet", "--steps", 1]
    done = medzoo_("train", *options, "--out", tmp_path / "run")
    assert done.exit_code == 2 and "--channels RGB" in done.stderr and not (tmp_path / "run").exists()
    done = medzoo_("train", *options, "--out", tmp_path / "run", "--channels", "L")
    assert done.exit_code == 0 and "channels: L" in (tmp_path / "run" / "config.yaml").read_text(), done.output


def test_classes_need_classes() -> None:
    with pytest.raises(TrainingError, match="classes: true, but tiny has no classes; give one folder a class"):
        facts_of(small_config("dcgan", classes=True), named(["1", "2"]))


def test_a_default_batch_can_be_shared_by_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_folder(tmp_path / "mine", two_classes(30), classes=False, masks=False)
    for processes, batch in ((1, 27), (2, 26)):
        monkeypatch.setattr(parallel, "world", lambda processes=processes: processes)
        assert from_fields({"family": "vae", "size": 28}, images).config.batch == batch


def test_what_users_mistype(tmp_path: Path) -> None:
    images = write_folder(tmp_path / "mine", two_classes(30), classes=False, masks=False)
    yaml = tmp_path / "c.yaml"
    yaml.write_text("family: dcgan\n")
    usual: list[Any] = ["--family", "dcgan", "--data", images, "--size", 16, "--out", tmp_path / "run"]
    cases: list[tuple[list[Any], str]] = [
        (["--out", tmp_path / "run"], "give CONFIG (a YAML file), or --family, --data and --size"),
        ([yaml, *usual], "--family is for a run without CONFIG; state it in"),
        ([*usual, "--size", 100], "size: expected 16, 28, 32, 56, 64, 112, 128, 224 or 256, found 100"),
        ([*usual, "--family", "dcgam"], "is named 'dcgam'; did you mean 'dcgan'? There are dcgan, "),
        ([*usual, "--technique", "adaa"], "techniques.0: no technique is named 'adaa'; did you mean 'ada'? There are"),
        (
            [*usual, "--technique", "diffaugment:strength=2"],
            "name; diffaugment takes policy",
        ),
        ([*usual, "--technique", "diffaugment:policy"], "expected NAME:OPTION=VALUE"),
        ([*usual, "--classes"], "mine has no classes; give one folder a class"),
        ([*usual, "--batch", 40], "27 training images are fewer than a batch of 40"),
        ([*usual, "--family", "wgan_gp", "--classes"], "classes: this family learns none; leave --classes out"),
    ]
    for arguments, message in cases:
        done = medzoo_("train", *arguments, "--no-held-out", "--quiet")
        assert done.exit_code == 2 and message in done.stderr, (message, done.output)
        assert "Traceback" not in done.output and not (tmp_path / "run").exists()
