"""Layouts of samples: the folders that other programs read, and the same bytes however often a run is killed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.datasets import Protocol, load_path
from medzoo.errors import SavingError
from medzoo.samples import layouts
from medzoo.samples.saving import Run, Writer, check_layout, save
from tests.conftest import read_png
from tests.tools.paths import ROOT
from tests.tools.saving_case import RUN, N, batch, content, in_child, killed_at, write

NAMES = layouts.builtin()
MASKED = [name for name in NAMES if name != "classes"]
CLASSES = ("no finding", "Fraktur, alt")
FILES = {
    "flat": ("00000011.png", "00000011_mask.png"),
    "pairs": ("images/00000011_Fraktur-alt.png", "masks/00000011_Fraktur-alt.png"),
    "classes": ("images/Fraktur-alt/00000011.png", "masks/Fraktur-alt/00000011.png"),
    "nnunet": ("imagesTr/00000011_Fraktur-alt_0000.png", "labelsTr/00000011_Fraktur-alt.png"),
    "huggingface": ("train/images/00000011_Fraktur-alt.png", "train/masks/00000011_Fraktur-alt.png"),
}


def run_of(layout: str, **changes: Any) -> Run:
    """A run of the samples of ``saving_case``, which have masks and no classes."""
    return replace(RUN, layout=layout, **{"channels": 3, "masks": 1, **changes})


def labelled(n: int = 6, **changes: Any) -> Any:
    """Samples 10, 11, ... of two classes in turn, with masks."""
    labels = np.arange(10, 10 + n) % 2
    return batch(range(10, 10 + n), labels=labels, classes=CLASSES, **changes)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_every_layout_has_its_row_in_the_documentation() -> None:
    text = (ROOT / "docs" / "formats.md").read_text().partition("## Layouts")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows) == NAMES
    assert all(f"| {layouts.load(row.split('`')[1]).about} |" in row for row in rows)


@pytest.mark.parametrize("layout", NAMES)
def test_where_the_files_of_a_sample_lie(tmp_path: Path, layout: str) -> None:
    folder = save(labelled(), tmp_path / "out", layout=layout)
    line = lines(folder)[1]
    assert (line["file"], line["mask_file"]) == FILES[layout]
    samples, white = labelled(), 1 if layout == "nnunet" else 255
    assert np.array_equal(read_png(folder / line["file"])[0], samples.uint8()[1].transpose(1, 2, 0))
    mask, words = read_png(folder / line["mask_file"])
    assert np.array_equal(mask, samples.masks[1, 0] * white) and "Synthetic" in words["Description"]
    assert len(list(folder.rglob("*.png"))) == 12


# Without a manifest, masks of classes lie apart from the folders of classes.
@pytest.mark.parametrize(("layout", "bare"), [*((name, False) for name in NAMES), *((name, True) for name in MASKED)])
def test_medzoo_reads_what_it_writes(tmp_path: Path, layout: str, bare: bool) -> None:
    """With its manifest, and as somebody else's folder."""
    folder, samples = save(labelled(), tmp_path / "out", layout=layout), labelled()
    if bare:
        (folder / "manifest.jsonl").unlink()
    split = "train" if bare and layout == "huggingface" else None
    read = load_path(folder, Protocol(size=8), split=split)
    assert (
        read.masks is not None
        and np.array_equal(read.images, samples.uint8())
        and np.array_equal(read.masks, samples.masks)
    )
    if not bare:
        assert read.labels is not None and read.labels.tolist() == [0, 1] * 3
    elif layout == "huggingface":
        assert read.classes == ("Fraktur, alt", "no finding")


def test_classes_are_read_as_a_folder_a_class(tmp_path: Path) -> None:
    masked = save(labelled(), tmp_path / "masked", layout="classes")
    plain = save(labelled(masks=None), tmp_path / "plain", layout="classes")
    # ImageFolder: each folder a class, by the alphabet; files beside them are passed over.
    for folder in (plain, masked / "images", masked / "masks"):
        found = {path.name: sorted(p.name for p in path.iterdir()) for path in folder.iterdir() if path.is_dir()}
        assert found == {
            "Fraktur-alt": [f"{i:08d}.png" for i in (11, 13, 15)],
            "no-finding": [f"{i:08d}.png" for i in (10, 12, 14)],
        }
    (plain / "manifest.jsonl").unlink()
    read = load_path(plain, Protocol(size=8))
    assert read.classes == ("Fraktur-alt", "no-finding") and read.labels is not None and len(read) == 6


def test_nnunet_keeps_the_rules_of_its_documentation(tmp_path: Path) -> None:
    """https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md."""
    for name, channels in (("grey", {"0": "grey"}), ("colour", {"0": "R", "1": "G", "2": "B"})):
        samples = labelled()
        images = samples.images[:, : len(channels)]
        folder = save(replace(samples, images=images), tmp_path / f"Dataset501_{name}", layout="nnunet")
        about = json.loads((folder / "dataset.json").read_text())
        assert about["channel_names"] == channels and about["labels"] == {"background": 0, "mask": 1}
        assert about["numTraining"] == 6 and about["file_ending"] == ".png"
        cases = {path.name.removesuffix(".png") for path in (folder / "labelsTr").iterdir()}
        assert len(cases) == 6
        assert {path.name for path in (folder / "imagesTr").iterdir()} == {f"{case}_0000.png" for case in cases}
        for case in cases:
            image = read_png(folder / "imagesTr" / f"{case}_0000.png")[0]
            label = read_png(folder / "labelsTr" / f"{case}.png")[0]
            assert image.shape[:2] == label.shape and set(np.unique(label)) <= {0, 1}


def test_nnunet_numbers_several_masks_and_holds_volumes(tmp_path: Path) -> None:
    import nibabel

    masks = np.zeros((1, 2, 3, 8, 8), np.uint8)
    masks[0, 0, :, :4], masks[0, 1, 1, 3:6] = 1, 1
    volume = batch(range(1), masks=False, images=np.random.default_rng(0).random((1, 1, 3, 8, 8), np.float32))
    folder = save(replace(volume, masks=masks), tmp_path / "out", layout="nnunet", format="nifti")
    about = json.loads((folder / "dataset.json").read_text())
    assert about["labels"] == {"background": 0, "mask_1": 1, "mask_2": 2} and about["file_ending"] == ".nii.gz"
    label = nibabel.load(folder / "labelsTr" / "00000000.nii.gz")
    image = nibabel.load(folder / "imagesTr" / "00000000_0000.nii.gz")
    assert isinstance(label, nibabel.Nifti1Image) and isinstance(image, nibabel.Nifti1Image)
    wanted = np.where(masks[0, 1] > 0, 2, masks[0, 0])
    assert np.array_equal(np.asarray(label.dataobj), wanted.transpose(2, 1, 0))
    assert label.shape == image.shape and np.array_equal(label.affine, image.affine)


def test_huggingface_rows(tmp_path: Path) -> None:
    folder = save(labelled(), tmp_path / "out", layout="huggingface")
    rows = [json.loads(line) for line in (folder / "train" / "metadata.jsonl").read_text().splitlines()]
    assert rows[1] == {
        "file_name": "images/00000011_Fraktur-alt.png", "mask_file_name": "masks/00000011_Fraktur-alt.png",
        "label": "Fraktur, alt", "index": 11, "seed": 7, "model_id": "99001_TINY", "synthetic": True,
    }  # fmt: skip
    assert len(rows) == 6 and all((folder / "train" / row["file_name"]).is_file() for row in rows)
    # A folder "train" decides the split; else a file that is named like one would.
    assert {path.name for path in folder.iterdir()} == {"train", "manifest.jsonl", "run.json"}


@pytest.mark.parametrize("layout", NAMES)
def test_shards_are_sub_folders(tmp_path: Path, layout: str) -> None:
    if layout == "nnunet":
        with pytest.raises(SavingError, match="nnU-Net reads no sub-folders; leave out --shard"):
            save(labelled(), tmp_path / "out", layout=layout, shard=4)
        return
    folder = save(labelled(), tmp_path / "out", layout=layout, shard=4)
    file = FILES[layout][0]
    name = Path(file).name
    assert lines(folder)[1]["file"] == file.replace(name, f"00000008/{name}")
    assert Path(lines(folder)[2]["file"]).parent.name == "00000012"
    assert len(load_path(folder, Protocol(size=8))) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(("layout", "shard"), [("flat", 5), ("pairs", None), ("nnunet", None), ("huggingface", 5)])
def test_killed_and_resumed_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, shard: int | None
) -> None:
    run = run_of(layout, shard=shard)
    write(tmp_path / "calm", run=run)
    calm = content(tmp_path / "calm")
    killed, ends = 0, ("manifest.jsonl", ".part", "metadata.jsonl", "dataset.json")
    for step in (7, 31, 60, 96, 102):
        folder = tmp_path / str(step)
        status = in_child(killed_at(step, folder, monkeypatch, run))
        killed += status == -9
        assert status in (0, -9)
        for name, found in content(folder).items() if folder.exists() else ():
            assert name.endswith(ends) or found == calm[name]
        write(folder, run=run, resume=True)
        assert content(folder) == calm
    assert killed > 2


@pytest.mark.parametrize("layout", MASKED)
def test_what_is_damaged_is_made_again(tmp_path: Path, layout: str) -> None:
    run = run_of(layout)
    write(tmp_path, run=run)
    calm, all_lines = content(tmp_path), lines(tmp_path)
    (tmp_path / all_lines[2]["mask_file"]).write_bytes(b"damaged")
    (tmp_path / all_lines[17]["file"]).unlink()
    table = layouts.load(layout).table
    if table is not None:
        (tmp_path / table.path).unlink()
    assert write(tmp_path, run=run, resume=True) == [10, 11, 12, 13, 26, 27]
    assert content(tmp_path) == calm
    assert write(tmp_path, run=run, resume=True) == []
    assert content(tmp_path) == calm


def test_a_line_of_another_layout_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path / "pairs", run=run_of("pairs"))
    write(tmp_path / "nnunet", run=run_of("nnunet"))
    calm = content(tmp_path / "pairs")
    (tmp_path / "pairs" / "manifest.jsonl").write_bytes((tmp_path / "nnunet" / "manifest.jsonl").read_bytes())
    assert write(tmp_path / "pairs", run=run_of("pairs"), resume=True) == list(range(10, 28))
    assert content(tmp_path / "pairs") == calm
    away = lines(tmp_path / "pairs")[0] | {"file": "images/../../00000010.png"}
    (tmp_path / "pairs" / "manifest.jsonl").write_text(json.dumps(away) + "\n")
    assert write(tmp_path / "pairs", run=run_of("pairs"), resume=True) == list(range(10, 28))


@pytest.mark.parametrize("layout", MASKED)
@pytest.mark.parametrize("shard", [None, 5])
def test_overwriting_removes_the_run_and_nothing_else(tmp_path: Path, layout: str, shard: int | None) -> None:
    out, calm = tmp_path / "out", tmp_path / "calm"
    write(out, 30, run_of(layout, start=0, seed=1, shard=None if layout == "nnunet" else shard))
    first = out / lines(out)[0]["file"]
    (first.parent / "20240101_left.png").write_text("mine")
    first.with_name(first.name.replace("00000000", "00000031_x")).write_text("of a batch that was killed")
    (out / "notes").mkdir()
    (out / "notes" / "00000001.png").write_text("mine")
    (out / "grid.png").write_text("old")
    mine = {"notes/00000001.png", (first.parent / "20240101_left.png").relative_to(out).as_posix()}
    write(out, overwrite=True)
    write(calm)
    assert content(out) == content(calm) | dict.fromkeys(mine, b"mine")
    folders = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_dir()}
    assert folders == {str(above) for name in mine for above in Path(name).parents} - {"."}


def test_an_unread_run_is_overwritten_by_its_manifest(tmp_path: Path) -> None:
    write(tmp_path, run=run_of("pairs"))
    (tmp_path / "run.json").write_text("{")
    write(tmp_path, 2, overwrite=True)
    assert sorted(content(tmp_path)) == [
        "00000010.png", "00000010_mask.png", "00000011.png", "00000011_mask.png", "manifest.jsonl", "run.json"
    ]  # fmt: skip


def test_links_in_place_of_folders_are_not_followed(tmp_path: Path) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    write(out, run=run_of("pairs"))
    (out / "images").rename(elsewhere)
    (out / "images").symlink_to(elsewhere)
    before = content(elsewhere)
    with pytest.raises(SavingError, match="images: expected a folder, found a link"):
        write(out, run=run_of("pairs"), overwrite=True)
    assert content(elsewhere) == before and not (out / "masks").exists()


def test_another_layout_is_another_run(tmp_path: Path) -> None:
    write(tmp_path, 4, run_of("pairs"))
    with pytest.raises(SavingError, match="holds another run: layout was 'pairs', now 'huggingface'. .*--overwrite"):
        write(tmp_path, run=run_of("huggingface"), resume=True)
    with pytest.raises(SavingError, match="layout was 'pairs', now 'flat'"):
        write(tmp_path, resume=True)
    with pytest.raises(SavingError, match="shard was None, now 3"):
        write(tmp_path, run=run_of("pairs", shard=3), resume=True)


@pytest.mark.parametrize(
    ("changes", "shape", "masks", "said"),
    [
        ({"layout": "nnunet"}, (3, 8, 8), 0, "these samples have no masks"),
        ({"layout": "nnunet", "format": "npy"}, (3, 8, 8), 1, "needs masks of numbers; take --format nifti or png"),
        ({"layout": "nnunet", "format": "nifti"}, (3, 8, 8), 1, "one channel a NIfTI file, the samples have 3"),
        ({"layout": "nnunet"}, (1, 4, 8, 8), 1, "PNG holds no volumes.*nifti"),
        ({"layout": "classes"}, (3, 8, 8), 0, "is for samples that have a class"),
        ({"layout": "classes", "classes": ("a b", "A-B")}, (3, 8, 8), 0, "two classes would share the folder 'a-b'"),
        ({"layout": "pairs", "format": "npz"}, (3, 8, 8), 1, "keeps them apart; take --format npy"),
        ({"layout": "pairs", "format": "webdataset"}, (3, 8, 8), 1, "tar files, which have no layout"),
        ({"layout": "huggingface", "format": "dicom"}, (3, 8, 8), 1, "holds pictures, and dicom files are none"),
        ({"layout": "pair"}, (3, 8, 8), 1, "no layout is named 'pair'; did you mean 'pairs'"),
        ({"shard": 0}, (3, 8, 8), 1, "one sample or more, found 0"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], shape: tuple[int, ...], masks: int, said: str) -> None:
    with pytest.raises(SavingError, match=said):
        check_layout(replace(RUN, **changes), shape, masks)


def test_a_layout_of_an_installed_package_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_layout.py").write_text(
        """
from medzoo.samples.layouts import Layout, Table

LAYOUT = Layout(
    about="a list of files",
    folder=lambda run, record, role: f"data/{role}/",
    folders=lambda run: ["data/image/", "data/mask/"],
    table=Table("data/list.txt", lambda run, lines: (line["file"].encode() + b"\\n" for line in lines)),
)
"""
    )
    point = EntryPoint("listed", "their_layout:LAYOUT", "medzoo.samples.layouts")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("medzoo.plugins.installed", lambda group: [point] * (group == point.group))
    run, out = run_of("listed"), tmp_path / "out"
    assert "listed" in layouts.names()
    write(out, 5, run)
    write(out, 8, run, resume=True)
    text = (out / "data" / "list.txt").read_text().splitlines()
    assert text == [f"data/image/{index:08d}.png" for index in range(10, 18)]
    assert lines(out)[0]["mask_file"] == "data/mask/00000010_mask.png" and len(load_path(out, Protocol(size=8))) == 8
    write(out, 1, overwrite=True)
    assert not (out / "data").exists()


def test_names_that_are_no_letters_become_numbers(tmp_path: Path) -> None:
    samples = replace(labelled(), classes=("正常", "異常"), masks=None)
    folder = save(samples, tmp_path / "out", layout="classes")
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"0", "1"}
    assert all(re.fullmatch(r"[01]/\d{8}\.png", line["file"]) for line in lines(folder))


def test_a_stopped_run_is_a_whole_data_set(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path, run_of("nnunet")) as writer:
        writer.put(batch(range(10, 14)))
        raise KeyboardInterrupt
    assert json.loads((tmp_path / "dataset.json").read_text())["numTraining"] == 4
    write(tmp_path, run=run_of("nnunet"), resume=True)
    assert json.loads((tmp_path / "dataset.json").read_text())["numTraining"] == N
