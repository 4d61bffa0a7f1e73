"""generate_into: the folder that the command makes, in Python, stopped and resumed to the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import medzoo
from medzoo.cli import main
from medzoo.errors import ConditionError, SavingError
from medzoo.families import _request
from medzoo.imagefiles import read_image
from medzoo.zoo.wording import described, last_name
from tests.conftest import masked, read_png
from tests.tools.image_case import dicom, picture
from tests.tools.saving_case import content

AddModel = Callable[..., str]
CLASSES = {"kind": "class", "classes": ["benign", "malignant"], "required": True}


def test_the_bytes_are_those_of_the_command(add_model: AddModel, tmp_path: Path) -> None:
    model_id = add_model(**masked(), condition=CLASSES)
    arguments = ["generate", model_id, "-n", "9", "--class", "malignant", "--batch-size", "4", "--grid"]
    assert CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "cli"), "--quiet"]).exit_code == 0
    done = medzoo.generate_into(tmp_path / "python", model_id, 9, "malignant", batch_size=4, grid=True)
    assert content(tmp_path / "python") == content(tmp_path / "cli")
    assert (done.folder, done.grid) == (tmp_path / "python", tmp_path / "python" / "grid.png")
    assert (done.n, done.whole, done.made, done.stopped) == (9, 9, 9, False)


def test_stopped_and_resumed(add_model: AddModel, tmp_path: Path) -> None:
    model_id, calm, out = add_model(), tmp_path / "calm", tmp_path / "out"
    medzoo.generate_into(calm, model_id, 20, seed=3, start=2, batch_size=4, grid=True)
    seen: list[tuple[int, int]] = []

    def watch(done: int, n: int, step: tuple[int, int] | None) -> None:
        seen.append((done, n))

    options: dict[str, Any] = {"seed": 3, "start": 2, "batch_size": 4, "grid": True, "progress": watch}
    stopped = medzoo.generate_into(out, model_id, 20, stop=lambda: seen[-1][0] >= 8, **options)
    assert stopped.stopped and stopped.whole == stopped.made == 8 and stopped.grid is None
    assert seen == [(0, 20), (4, 20), (8, 20)]
    with pytest.raises(SavingError, match="is not empty"):
        medzoo.generate_into(out, model_id, 20, **options)
    resumed = medzoo.generate_into(out, model_id, 20, resume=True, **options)
    assert resumed.made == 12 and not resumed.stopped and seen[3] == (8, 20)
    assert content(out) == content(calm)
    again = medzoo.generate_into(out, model_id, 1, overwrite=True)
    assert again.whole == 1 and again.run.seed == 0


def test_very_many_files_in_one_folder_are_warned_of(
    add_model: AddModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_id = add_model(**masked())
    monkeypatch.setattr("medzoo.zoo.into.MANY", 2)
    with pytest.warns(UserWarning, match="^6 files in one folder .*--format webdataset"):
        medzoo.generate_into(tmp_path / "png", model_id, 3)
    medzoo.generate_into(tmp_path / "shards", model_id, 3, format="webdataset")


def test_the_folder_and_the_number_have_defaults(
    add_model: AddModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model_id = add_model(condition=CLASSES)
    done = medzoo.generate_into(None, model_id, condition=["malignant", "benign", "benign"], format="npz")
    assert done.folder == Path("samples") / model_id and done.n == 3
    assert done.run.condition == "malignant; benign; benign"


def test_inputs_are_looked_for_once_before_the_weights_and_once_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder may be a study of thousands of files, each of which is opened for it."""
    for i in range(3):
        picture(tmp_path / "in" / f"{i}.png", np.full((16, 16), 40 * i, np.uint8))
    seen: list[int] = []
    find = _request.resolve_condition

    def counted(*args: Any) -> Any:
        seen.append(1)
        return find(*args)

    monkeypatch.setattr(_request, "resolve_condition", counted)
    done = medzoo.generate_into(tmp_path / "out", "10005", condition=tmp_path / "in", batch_size=2, start=1, grid=True)
    assert done.n == 3 and done.grid is not None and len(seen) == 2


def test_so_many_of_each_class(add_model: AddModel, tmp_path: Path) -> None:
    model_id, out = add_model(condition=CLASSES), tmp_path / "out"
    done = medzoo.generate_into(out, model_id, per_class=3, layout="classes", start=7, batch_size=4)
    assert done.n == done.whole == 6
    found = {name: sorted(path.name for path in (out / name).iterdir()) for name in ("benign", "malignant")}
    assert found == {
        "benign": ["00000008.png", "00000010.png", "00000012.png"],
        "malignant": ["00000007.png", "00000009.png", "00000011.png"],
    }
    # More of each is the same run: what is there stays.
    longer = medzoo.generate_into(out, model_id, per_class=5, layout="classes", start=7, resume=True)
    assert longer.made == 4 + 2  # the batch that was cut short, and one more
    one = medzoo.generate_into(tmp_path / "one", model_id, per_class=2, condition="malignant")
    assert one.n == 2 and (tmp_path / "one" / "00000001.png").is_file()
    with pytest.raises(ConditionError, match="2 of each class and 4 samples in all were asked for; state one"):
        medzoo.generate_into(tmp_path / "x", model_id, 4, per_class=2)
    with pytest.raises(ConditionError, match="takes no class, of which there could be 2 each"):
        medzoo.generate_into(tmp_path / "x", add_model(model_id="99002_TINY"), per_class=2)


@pytest.mark.parametrize("layout", ["pairs", "nnunet", "huggingface"])
def test_layouts_are_the_same_after_a_stop(add_model: AddModel, tmp_path: Path, layout: str) -> None:
    model_id, calm, out = add_model(**masked()), tmp_path / "calm", tmp_path / "out"
    options: dict[str, Any] = {"layout": layout, "batch_size": 2, "grid": True}
    medzoo.generate_into(calm, model_id, 6, **options)
    assert medzoo.generate_into(out, model_id, 6, stop=lambda: True, **options).whole == 2
    medzoo.generate_into(out, model_id, 6, resume=True, **options)
    assert content(out) == content(calm) and (out / "grid.png").is_file()
    assert "grid.png" not in {path.name for path in out.rglob("*/*.png")}
    arguments = ["generate", model_id, "-n", "6", "--layout", layout, "--batch-size", "2", "--grid", "--quiet"]
    assert CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "cli")]).exit_code == 0
    assert content(tmp_path / "cli") == content(calm)


def test_a_condition_in_words_is_another_for_another_condition() -> None:
    assert described(None) is None and described("a lung") == "a lung" and described(3) == "3"
    assert described({"age": 5, "scan": Path("a.png")}) == "age=5; scan=a.png"
    first, second = np.zeros((1, 2, 2), np.uint8), np.ones((1, 2, 2), np.uint8)
    assert described(first) == described(first.copy()) != described(second)
    assert "[1, 2, 2]" in str(described(second))
    many = ["a"] * 2000
    assert len(str(described(many))) < 200 and described(many) != described([*many, "b"])


TRANSLATES = {
    "family": "cyclegan",
    "config": {"input_nc": 1, "output_nc": 1, "ngf": 4, "n_blocks": 1, "norm": "instance"},
    "output": {"type": "image", "size": None, "channels": 1, "masks": 0, "range": [-1.0, 1.0], "spacing": None},
    "sampling": {"latent": None},
    "condition": {"kind": "image", "inputs": ["scan"], "channels": 1, "required": True},
}


@pytest.mark.parametrize("format", ["png", "npz", "dicom", "nifti", "webdataset"])
def test_a_name_that_may_be_a_patients_stays_away(add_model: AddModel, tmp_path: Path, format: str) -> None:
    scan = dicom(tmp_path / "DOE_JANE_1970.dcm", np.arange(256, dtype=np.uint8).reshape(16, 16))
    arguments = ["generate", add_model(**TRANSLATES), "--condition", str(scan), "--format", format, "--quiet"]
    found = {}
    for option in ("--input-names", "--no-input-names", ""):
        out = tmp_path / (option or "usual")
        result = CliRunner().invoke(main, [*arguments, "--out", str(out), *([option] if option else [])])
        assert result.exit_code == 0, result.output
        found[option] = any(
            b"DOE" in path.read_bytes() or "DOE" in path.name for path in out.rglob("*") if path.is_file()
        )
    assert found == {"--input-names": True, "--no-input-names": False, "": False}


def test_the_sheet_shows_inputs_beside_outputs(add_model: AddModel, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    pixels = [np.full((16, 16), 60 * k, np.uint8) for k in (1, 2, 3)]
    for k, one in enumerate(pixels):
        picture(tmp_path / "scans" / f"{k}.png", one)
    model_id, condition = add_model(**TRANSLATES), tmp_path / "scans"
    done = medzoo.generate_into(tmp_path / "out", model_id, condition=condition, start=1, grid=True)
    assert done.grid is not None
    sheet = read_png(done.grid)[0]
    assert sheet.shape == (2 * (128 + 15 + 2) + 2, 2 * (256 + 2) + 2, 3)
    assert sheet[60, 60, 0] == 120 and sheet[60, 60 + 258, 0] == 180  # samples 1 and 2; sample 3 has the first input
    assert sheet[60 + 145, 60, 0] == 60


def test_a_window_of_the_inputs(add_model: AddModel, tmp_path: Path) -> None:
    pixels = np.linspace(0, 4000, 256).astype(np.uint16).reshape(16, 16)
    scan, model_id = picture(tmp_path / "x.png", pixels), add_model(**TRANSLATES)
    arguments = ["generate", model_id, "--condition", str(scan), "--quiet", "--window"]
    shown = picture(tmp_path / "y.png", (np.float32(pixels).clip(1000, 2000) - 1000).astype(np.uint16) * 65)
    for name, given, window in (("x", scan, ("1000", "2000")), ("y", shown, ("0", "65000"))):
        arguments = ["generate", model_id, "--condition", str(given), "--out", str(tmp_path / name), "--quiet"]
        result = CliRunner().invoke(main, [*arguments, "--window", *window])
        assert result.exit_code == 0, result.output
    images = [read_image(tmp_path / name / f"00000000_{name}.png") for name in "xy"]
    np.testing.assert_allclose(*images, atol=2 / 255)
    plain = add_model()
    with pytest.raises(ConditionError, match="takes no images, which a window would be of"):
        medzoo.generate_into(tmp_path / "z", plain, 1, window=(0, 1))


def test_a_run_is_not_resumed_with_other_inputs(add_model: AddModel, tmp_path: Path) -> None:
    from PIL import Image

    condition = {"kind": "image", "inputs": ["scan"], "channels": 1, "size": [8, 8], "required": True}
    model_id, folder, out = add_model(condition=condition), tmp_path / "Patients of Dr Smith", tmp_path / "out"
    folder.mkdir()
    for k, name in enumerate("bc"):
        Image.new("L", (8, 8), 40 * k).save(folder / f"{name}.png")
    options: dict[str, Any] = {"condition": folder, "batch_size": 2}
    medzoo.generate_into(out, model_id, 4, **options)
    text = (out / "run.json").read_text()
    assert str(tmp_path) not in text and '"condition": "Patients of Dr Smith"' in text
    moved = folder.rename(tmp_path / "elsewhere").rename(tmp_path / "x")
    (tmp_path / "y").mkdir()
    folder = moved.rename(tmp_path / "y" / "Patients of Dr Smith")
    options["condition"] = folder
    assert medzoo.generate_into(out, model_id, 6, resume=True, **options).made == 2
    before = content(out)
    Image.new("L", (8, 8), 9).save(folder / "a.png")
    with pytest.raises(SavingError, match="inputs_sha256 was .*--overwrite"):
        medzoo.generate_into(out, model_id, 8, resume=True, **options)
    (folder / "a.png").unlink()
    Image.new("L", (8, 8), 200).save(folder / "b.png")
    with pytest.raises(SavingError, match="inputs_sha256 was"):
        medzoo.generate_into(out, model_id, 8, resume=True, **options)
    assert content(out) == before


def test_words_of_files_lose_their_folders() -> None:
    assert described({"left": "/home/a/b.png", "age": 5}, files=True) == "left=b.png; age=5"
    assert last_name("left=/home/a/b.png") == "left=b.png" and last_name("/home/x=y/b.png") == "b.png"
    assert last_name("age=5") == "age=5" and last_name(".") == Path.cwd().name
