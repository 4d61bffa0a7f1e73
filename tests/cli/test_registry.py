"""medzoo list, search, info and rank, from Python and from the command line."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner, Result

import medzoo
from medzoo import catalog
from medzoo.catalog import lookup
from medzoo.cli import VERBS, main
from medzoo.cli import table as tables
from medzoo.errors import CheckpointError, EntryError, MedzooError, WeightsError
from medzoo.results import ranking
from tests.conftest import entry_fields, random_state
from tests.tools.paths import ROOT

MODELS = ROOT / "registry" / "models"
FASTGAN = "00010_FASTGAN_POLYP_PATCHES_W_MASKS"
HEAVY = ("torch", "requests", "huggingface_hub", "PIL", "rich")


@pytest.fixture(autouse=True)
def own_registry_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(catalog.ENVIRONMENT, raising=False)
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "cache"))


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def ids(*args: str) -> list[str]:
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    return [line.split("\t")[0] for line in result.stdout.splitlines()[1:]]


def broken_registry(folder: Path) -> Path:
    folder.mkdir()
    text = (MODELS / "00101_MONAI_GAN_MEDNIST_HAND.yaml").read_text().replace("00101_MONAI_GAN_MEDNIST_HAND", "90001_X")
    (folder / "90001_X.yaml").write_text(text.replace("title: ", "tittle: ", 1))
    (folder / "90002_Y.yaml").write_text(text.replace("90001_X", "90002_Y").replace("size: 1272066", "size: large"))
    return folder


# --- what is imported -----------------------------------------------------------------------------------------------


def imported_by(code: str) -> set[str]:
    """The top-level modules that are loaded after running code in a process of its own."""
    code += "\nimport sys; print('|' + ' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return set(done.stdout.rpartition("|")[2].split())


@pytest.mark.parametrize(
    ("command", "also_without"),
    [
        (["--help"], ("yaml", "pydantic", "numpy")),
        (["list"], ("pydantic", "numpy")),
        (["list", "--json"], ("numpy",)),
        (["list", "--offline"], ()),
        (["search", "polyp"], ("pydantic", "numpy")),
        (["info", "10"], ()),
        (["rank", "--by", "FID"], ("pydantic", "numpy")),
        (["generate", "--help"], ()),
    ],
)
def test_looking_around_imports_nothing_heavy(command: list[str], also_without: tuple[str, ...]) -> None:
    call = f"from medzoo.cli import main\ntry: main({command!r})\nexcept SystemExit as end: assert end.code == 0"
    loaded = imported_by(call)
    assert "medzoo" in loaded and "click" in loaded
    assert not loaded & {*HEAVY, *also_without}


def test_importing_medzoo_imports_nothing() -> None:
    loaded = imported_by("import medzoo\nassert medzoo.__version__ and dir(medzoo)")
    assert not loaded & {*HEAVY, "pydantic", "numpy", "yaml", "click"}


def test_public_names() -> None:
    assert set(medzoo.__all__) <= set(dir(medzoo))
    assert medzoo.MedzooError is MedzooError
    assert medzoo.search is lookup.search  # not a module of that name
    assert medzoo.info("gan_mednist").model_id == "00101_MONAI_GAN_MEDNIST_HAND"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = medzoo.nonsense


# --- filters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        (["--modality", "mri"], "7 21 22 23 121"),
        (["--modality", "MR"], "7 21 22 23 121"),
        (["--modality", "dce-mri"], "23"),
        (["--modality", "CXR"], "17 18 19 20"),
        (["--modality", "x-ray"], "17 18 19 20 101"),
        (["--modality", "mammo", "--masks"], "4"),
        (["--modality", "mammo", "--size", "256"], "4"),
        (["--organ", "cardiac"], "22"),
        (["--organ", "breast", "--condition", "none"], "1 2 5 6"),
        (["--family", "pix2pix"], "4"),
        (["--family", "WGAN-GP"], "6 18"),
        (["--condition", "class"], "8 12"),
        (["--condition", "images"], "7"),
        (["--condition", "attributes"], "7 22"),
        (["--size", "<100"], "101"),
        (["--size", ">=1024"], "19 20"),
        (["--size", "> 1000"], "19 20"),
        (["--size", "224x192"], "21 121"),
        (["--size", "=512"], "23"),
        (["--license", "none"], "7 21 22 121"),
        (["--license", "gpl"], "10"),
        (["--license", "apache"], "101"),
        (["--license", "bsd", "--no-masks", "--organ", "breast", "--size", "<=600"], "23"),
    ],
)
def test_filters(arguments: list[str], numbers: str) -> None:
    found = [str(int(one[:5])) for one in ids("list", *arguments) if one < "002"]  # published GANs alone
    assert found == numbers.split()


def test_python_filters_are_the_same() -> None:
    classes = [entry.model_id for entry in medzoo.list_models(condition="class")]
    assert classes and classes == ids("list", "--condition", "class")
    large = [entry.model_id for entry in medzoo.list_models(size=512, masks=False)]
    assert large and large == ids("list", "--size", "512", "--no-masks")
    assert len(medzoo.list_models()) == len(ids("list"))


def test_offline_means_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "registry"
    (folder / "weights").mkdir(parents=True)
    text = (MODELS / "00101_MONAI_GAN_MEDNIST_HAND.yaml").read_text()
    head, _, rest = text.partition("weights:\n")
    tail = rest[rest.index("checkpoint:") :]
    for name, file in (("90001_HERE", "here"), ("90002_AWAY", "away")):
        source = f'weights:\n  - {{kind: package, file: weights/{file}.safetensors, sha256: "{"0" * 64}"}}\n'
        model = (head + source + tail).replace("00101_MONAI_GAN_MEDNIST_HAND", name)
        (folder / f"{name}.yaml").write_text(model)
    (folder / "weights" / "here.safetensors").write_bytes(b"x")
    monkeypatch.setenv(catalog.ENVIRONMENT, str(folder))
    found = ids("list", "--offline")
    assert "90001_HERE" in found and "90002_AWAY" not in found and FASTGAN not in found
    assert "On this machine: yes" in run("info", "90001").stdout
    assert "On this machine: no" in run("info", "90002").stdout


def test_a_filter_that_nothing_fits_says_what_there_is() -> None:
    result = run("list", "--organ", "knee")
    assert result.exit_code == 0 and result.stdout == ""
    assert "--organ 'knee'; there are: brain, breast, chest, colon" in result.stderr


@pytest.mark.parametrize("arguments", [["--size", "big"], ["--size", "256x"], ["--condition", "mood"]])
def test_a_filter_that_means_nothing(arguments: list[str]) -> None:
    result = run("list", *arguments)
    assert result.exit_code == 2 and arguments[1] in result.stderr and "Traceback" not in result.stderr


def test_python_refuses_an_unknown_condition() -> None:
    with pytest.raises(MedzooError, match="one of none, attributes, class, image"):
        medzoo.list_models(condition="mood")


# --- search ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("mammo mass", "2 4 5 6 8 12"),
        ("Mammography masses", "2 4 5 6 8 12"),
        ("breast MRI", "23"),
        ("CXR", "19 20 17 18"),
        ("chest radiograph", "19 20 17 18"),
        ("chest x-rays", "19 20 17 18"),
        ("colonoscopy", "9 10 11 102"),
        ("gastrointestinal polyps", "9 10 11 102"),
        ("endo fastgan", "10 102"),
        ("brain tumour", "7"),
        ("MR T2", "21 121 7"),
        ("calcif", "1"),
        ("malignant", "8 12 2"),
        ("UK Biobank", "22"),
        ("hand radiograph", "101"),
        ("heart", "22"),
    ],
)
def test_search(text: str, numbers: str) -> None:
    found = [str(int(one[:5])) for one in ids("search", *text.split()) if one < "002"]  # published GANs alone
    assert found == numbers.split()


@pytest.mark.parametrize("text", ["polyp CT", "zebra", "..."])
def test_search_finds_nothing(text: str) -> None:
    result = run("search", text)
    assert result.exit_code == 0 and result.stdout == ""
    assert "try fewer words" in result.stderr


def test_search_ranks_by_where_a_word_is() -> None:
    assert [entry.model_id[:5] for entry in medzoo.search("segmentation wgan")] == ["00022"]
    assert medzoo.search("nodule lung")[0].model_id == "00017_DCGAN_XRAY_LUNG_NODULES"
    assert medzoo.search("chest")[0].model_id == "00019_PGGAN_CHEST_XRAY"


# --- rank -----------------------------------------------------------------------------------------------------------


def rows(*args: str) -> list[list[str]]:
    return [line.split("\t") for line in run("rank", *args).stdout.splitlines()[1:]]


def test_rank_puts_the_lowest_fid_first() -> None:
    found = rows("--by", "fid")
    values = [float(row[0]) for row in found]
    assert values == sorted(values)
    assert found[0][1] == "00023_PIX2PIXHD_BREAST_DCEMRI" and found[0][3] == "no protocol stated"
    assert ["63.99", FASTGAN, "reported", "ImageNet features, 1000 images"] in found
    result = run("rank", "--by", "FID")
    without = len(ids("list")) - len({row[1] for row in found})
    assert f"lower is better; {without} models without it" in result.stderr and without > 0
    assert result.stdout.startswith("FID\tID\tORIGIN\tPROTOCOL\n")
    assert "different data by different protocols" in result.stderr


def test_rank_puts_the_highest_f1_first() -> None:
    assert [row[0] for row in rows("--by", "CLF_F1")] == ["0.969", "0.96", "0.92"]
    assert rows("--by", "IoU")[0][:3] == ["0.798", FASTGAN, "reported"]


def test_rank_by_a_turing_test_puts_chance_first() -> None:
    assert [row[0] for row in rows("--by", "turing_accuracy")] == ["0.48", "0.61"]


def test_rank_tells_reported_from_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = yaml.safe_load((MODELS / "00101_MONAI_GAN_MEDNIST_HAND.yaml").read_text())
    check = {"what": "scored", "how": "by us", "when": datetime.date(2025, 1, 31), "metric": "fid", "value": 1.5}
    (tmp_path / "90001_X.yaml").write_text(yaml.safe_dump(fields | {"model_id": "90001_X", "verified": [check]}))
    monkeypatch.setenv(catalog.ENVIRONMENT, str(tmp_path))
    assert rows("--by", "FID")[0] == ["1.5", "90001_X", "verified", "by us (2025-01-31)"]
    assert "scored: fid 1.5 (lower is better); by us (2025-01-31)" in run("info", "90001", "--full").stdout


@pytest.mark.parametrize(
    ("metric", "says"),
    [("beauty", "CLF_AUC, CLF_AUPRC"), ("F1", "means several metrics: CLF_F1, SEG_F1")],
)
def test_rank_by_what_is_not_known(metric: str, says: str) -> None:
    result = run("rank", "--by", metric)
    assert result.exit_code == 2 and says in result.stderr


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("FID", "lower"),
        ("FID_RADIMAGENET", "lower"),
        ("FID_RADIMAGENET_RATIO", "higher"),
        ("FD_EFFICIENTNET_LITE0", "lower"),
        ("SEG_IOU", "higher"),
        ("SEG_DICE_TUMOR", "higher"),
        ("SEG_DICE_LOSS", "lower"),
        ("CLF_ACCURACY", "higher"),
        ("TURING_ACCURACY", "nearest 0.5"),
    ],
)
def test_directions(metric: str, better: str) -> None:
    assert ranking.direction(metric) == better


# --- info, JSON, errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "python", "shell"),
    [
        ("4", "16)", "-n 16 --out"),  # it draws its own masks
        ("7", '"T1c": "T1c/", "T2": "T2/"})', "--condition T2=T2/ --format npz --out"),
        ("21", 'condition="folder/")', "00021_CYCLEGAN_BRAIN_MRI_T1_T2 --condition folder/ --out"),
        (
            "22",
            'condition={"cardiac MRI slice": "folder/", "age_offset": 1})',
            "--condition 'cardiac MRI slice=folder/' --condition age_offset=1 --out",
        ),
    ],
)
def test_info_shows_a_condition_that_the_model_takes(number: str, python: str, shell: str) -> None:
    text = run("info", number).stdout
    assert python in text and shell in text
    assert "condition=..." not in text


def test_info_is_an_honest_page() -> None:
    assert "Checked       nothing yet" in run("info", "1").stdout
    text = run("info", "8", "--full").stdout
    for part in (
        "00008_C-DCGAN_MMG_MASSES",
        "class: malignant (0), benign (1) (optional)",
        "weights: MIT",
        "data: not known",
        "FID 137.75 (lower is better): ImageNet features, 379 images",
        "not the published numbers",
        "sha256 not known yet",
        "*/1400_ckpt_train_cbis_ddsm.pt",
        'medzoo.generate("00008_C-DCGAN_MMG_MASSES", 16, condition="malignant")',
        "medzoo generate 00008_C-DCGAN_MMG_MASSES -n 16 --condition malignant --out samples",
        "Synthetic images for research; not for clinical use.",
    ):
        assert part in text, part
    assert "Samples" not in text and "sha256 5302e6adf714" in run("info", "gan_mednist", "--full").stdout
    text = run("info", "311").stdout
    assert "Needs         text: a prompt; image may go beside it" in text
    assert "Samples       sampler dpm++, steps 50, guidance 7.5, strength 0.8 (--sampler, --steps, --guidance" in text


def test_info_compares_with_real_images() -> None:
    text = run("info", "10001").stdout
    assert "712 samples against 89 real images" in text
    rows = {line[14:].split("  ")[0]: line.split()[-1] for line in text.splitlines() if line.strip()}
    assert rows["KID"] == rows["Recall"] == "worse" and rows["Precision"] == "difference"
    assert rows["Segmentation Dice, synthetic alone"] == "worse"
    assert "same run: as many real training images" not in text  # what --full says
    assert "same run: as many real training images" in run("info", "10001", "--full").stdout


def test_every_entry_has_a_page() -> None:
    for model_id in ids("list"):
        result = run("info", model_id)
        assert result.exit_code == 0 and result.stdout.startswith(model_id), model_id


def test_json() -> None:
    entry = medzoo.info(10)
    assert json.loads(run("info", "10", "--json").stdout) == {
        **json.loads(entry.model_dump_json()),
        "revision": entry.revision,
    }
    listed = json.loads(run("list", "--json", "--condition", "class").stdout)
    assert [one["model_id"] for one in listed] == ids("list", "--condition", "class")
    assert json.loads(run("search", "zebra", "--json").stdout) == []
    ranked = json.loads(run("rank", "--by", "FID", "--json").stdout)
    assert ranked["better"] == "lower" and ranked["rows"][0]["origin"] == "reported" and ranked["without"]


def test_a_broken_file_is_told_once_and_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalog.ENVIRONMENT, str(broken_registry(tmp_path / "mine")))
    result = run("list")
    assert result.exit_code == 0 and FASTGAN in result.stdout and "90001_X" not in result.stdout
    assert result.stderr.count("90001_X.yaml") == 2  # two problems: the wrong name and the missing field
    assert "did you mean 'title'?" in result.stderr and "Warning" not in result.stderr
    as_json = run("list", "--json")  # validates everything, so it sees the second broken file too
    assert FASTGAN in as_json.stdout and "weights.0.size" in as_json.stderr


def test_errors_take_a_line_and_no_traceback() -> None:
    result = run("info", "00010_FASTGAN_POLYP_PATCHS")
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("medzoo: no model has the id") and FASTGAN in result.stderr
    assert result.stderr.count("\n") == 1
    assert run("lsit").exit_code == 2 and "did you mean 'list'?" in run("lsit").stderr
    assert run("info").exit_code == 2 and "Missing argument" in run("info").stderr


def test_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    assert run("--version").stdout == f"medzoo {medzoo.__version__}\n"
    assert run("--help").exit_code == 0
    monkeypatch.setattr(catalog, "read_all", stop)
    result = run("list")
    assert result.exit_code == 130 and result.stderr.strip() == "medzoo: stopped"


def test_help_knows_every_verb() -> None:
    text = run("--help").stdout
    for verb, (home, line) in VERBS.items():
        assert f"  {verb} " in text
        assert (ROOT / (home.partition(":")[0].replace(".", "/") + ".py")).is_file(), verb
        command = main.get_command(click.Context(main), verb)
        assert command is not None and command.name == verb
        assert len(line) < 100


def test_a_closed_pipe_is_quiet() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "medzoo", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes standard output a terminal of so many columns, without colours."""

    def columns(wide: int) -> None:
        monkeypatch.setattr(tables, "is_terminal", lambda stream: True)
        monkeypatch.setenv("COLUMNS", str(wide))
        monkeypatch.setenv("TERM", "dumb")

    return columns


def test_a_terminal_gets_columns_and_a_pipe_gets_tabs(terminal: Callable[[int], None]) -> None:
    header, lines = ["ID", "LICENCE", "TITLE"], [["00001_A_LONG_ID_THAT_STAYS_WHOLE", "x" * 40, "y" * 200]]
    assert tables.table(header, lines) == "ID\tLICENCE\tTITLE\n" + "\t".join(lines[0])
    terminal(90)
    head, *rows = tables.table(header, lines).splitlines()
    assert head.split() == header and rows[0].startswith(lines[0][0] + "  x")
    assert max(map(len, rows)) <= 90 and "".join(rows).count("y") == 200  # folded, nothing is lost


@pytest.mark.parametrize("wide", [60, 80, 100, 120, 200])
def test_a_list_fits_the_terminal(terminal: Callable[[int], None], wide: int) -> None:
    terminal(wide)
    result = run("list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= wide
    own = next(line for line in lines if line.startswith("10001"))
    assert "Polyp images with masks" in own and own.rstrip().endswith("here")
    assert next(line for line in lines if line.startswith("00101")).rstrip().endswith("1.3 MB")
    assert ("MODALITY" in lines[0]) == (wide >= 120)
    assert "run here at once" in result.stderr


def test_a_pipe_gets_every_column_whole_and_no_escape_codes() -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split("\t") == [
        "ID", "SIZE", "MASKS", "CONDITION", "MODALITY", "ORGAN", "FAMILY", "LICENCE", "WEIGHTS", "TITLE"
    ]  # fmt: skip
    titles = {entry.model_id: entry.title for entry in medzoo.list_models()}
    assert {line.split("\t")[0]: line.split("\t")[-1] for line in lines[1:]} == titles
    assert "\x1b" not in run("list").stdout + run("info", "10001").stdout + run("rank", "--by", "FID").stdout


def test_text_of_strangers_is_no_markup(terminal: Callable[[int], None]) -> None:
    """Neither of rich, nor of the terminal."""
    terminal(120)
    hostile = "[red]x[/] [link=file:///etc]y[/link] :smile: \x1b]0;title\x07 \u202e"
    shown = "[red]x[/] [link=file:///etc]y[/link] :smile: \\x1b]0;title\\x07 \\u202e"
    assert shown in tables.table(["ID", hostile], [["1", hostile]])
    page = tables.page([hostile], [(hostile, [hostile, tables.Grid([hostile], [[hostile]])])], "end")
    assert page.count("[red]x[/]") == 5 and "\x1b" not in page and "\u202e" not in page


def test_a_page_folds_paragraphs_but_nothing_that_is_typed(terminal: Callable[[int], None]) -> None:
    command = "medzoo generate " + "x" * 200
    terminal(60)
    page = tables.page(["id"], [("Notes", ["word " * 40]), ("Use", [tables.Typed(command)])], "end")
    notes = page.partition("Use")[0].splitlines()
    assert max(map(len, notes)) <= 60 and notes[3].startswith(" " * 16 + "word")
    assert command in page


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["list"], ["info", "00101"]])
def test_a_full_disk_behind_the_output_is_told(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "medzoo", *arguments]
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    assert result.returncode == 2 and result.stderr == "medzoo: the output: No space left on device\n"


# --- files of weights without an entry -------------------------------------------------------------------------------


def test_what_load_says_of_a_file_that_does_not_fit(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "weights.pt"
    torch.save({"g": random_state(entry_fields())}, path)
    stated = {"config": {"strides": (2, 1)}}
    assert medzoo.load(family="monai_gan", weights=path, override=stated, device="cpu").generate(1).images.any()
    with pytest.raises(CheckpointError) as caught:
        medzoo.load(family="monai_gan", weights=path)
    first, reason, *others, hint = str(caught.value).splitlines()
    assert first == "weights.pt: nothing in it is a generator of family 'monai_gan'."
    assert reason == "  key g: 'config' does not fit family 'monai_gan': config.strides: missing; state it"
    assert len(others) <= 2 and f"medzoo info {path}" in hint and 'override={"config": {...}}' in hint
    for wrong, said in (
        ({"confg": {}}, "override: unknown confg; there are: model_id"),
        ({"config": 3}, "override: config: "),
        ({"checkpoint": {"kye": "g"}}, "checkpoint takes container, key, strip_prefix, ema, found {'kye': 'g'}"),
        (stated | {"output": {"masks": "x"}}, "override: output.masks: "),
        (stated | {"output": 3}, "override: output: "),
        ([1], r"fields of an entry by name, found \[1\]"),
    ):
        with pytest.raises(EntryError, match=said):
            medzoo.load(family="monai_gan", weights=path, override=wrong)  # type: ignore[arg-type]
    for missing, said in ((tmp_path, "is a folder, not a file"), (5, "takes the path of a file"), ({}, "found {}")):
        with pytest.raises(WeightsError, match=said):
            medzoo.load(family="monai_gan", weights=missing)  # type: ignore[arg-type]
