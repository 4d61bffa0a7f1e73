"""Catalog: YAML -> entries with the line of every problem, registry folders, and what an id may look like."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from medzoo import catalog
from medzoo.catalog import places
from medzoo.entry import Entry
from medzoo.errors import EntryError, RegistryError, UnknownModelError
from tests.tools.paths import ROOT

MODELS = ROOT / "registry" / "models"
TEXT = (MODELS / "00101_MONAI_GAN_MEDNIST_HAND.yaml").read_text()
FASTGAN = "00010_FASTGAN_POLYP_PATCHES_W_MASKS"


def changed(*changes: tuple[str, str], model_id: str = "90001_TEST") -> str:
    """The MedNIST entry under another id, with pieces of its text replaced."""
    text = TEXT
    for old, new in (("00101_MONAI_GAN_MEDNIST_HAND", model_id), *changes):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def write(folder: Path, *changes: tuple[str, str], model_id: str = "90001_TEST") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model_id}.yaml"
    path.write_text(changed(*changes, model_id=model_id))
    return path


def line(path: Path, start: str) -> int:
    """The line of a file that begins so (blanks aside), counted from 1."""
    lines = path.read_text().splitlines()
    (found,) = [number for number, one in enumerate(lines, 1) if one.strip().startswith(start)]
    return found


@pytest.fixture(autouse=True)
def own_registry_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(catalog.ENVIRONMENT, raising=False)


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second registry folder, named by the environment variable."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv(catalog.ENVIRONMENT, str(folder))
    return folder


# --- broken files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "where", "says"),
    [
        (("family: monai_gan", "family: no"), "family:", 'found no (YAML reads no as true or false; quote it: "no")'),
        (("organ: hand", "organ: 1.10"), "organ:", 'found 1.10 (YAML reads 1.10 as a number; quote it: "1.10")'),
        (("range: [0, 1]", "range: [1e-4, 1]"), "range:", "YAML reads 1e-4 as text"),
        (("range: [0, 1]", 'range: ["0", 1]'), "range:", "write the number without quotes"),
        (("size: [64, 64]", "size: [64, 64, 64]"), "output:", "needs 2 positive numbers, found [64, 64, 64]"),
        (("latent: uniform", "latent: flat"), "sampling:", "found flat"),
        (("size: 1272066", "size: large"), "size: large", "expected a valid integer, found large"),
        (("kind: hub", "kind: ftp"), "- kind:", "'package', 'hub', 'http', 'local'"),
        (("contact: null", "contct: null"), "contct:", "contct: unknown field; did you mean 'contact'?"),
        (("contact: null", "contact: null\nshoe_size: 4"), "shoe_size:", "shoe_size: unknown field; remove it"),
        (("contact: null\n", ""), "model_id:", "contact: missing; state it (null where unknown)"),
        (("  masks: 0\n", ""), "output:", "output.masks: missing"),
        (("organ: hand", "organ: hand\norgan: foot"), "organ: foot", "organ: stated twice, first on line 5"),
        (("organ: hand", "organ: &a hand\ncontact: *a"), "contact: *", "*a repeats an anchor (&); write the value out"),
    ],
)
def test_a_problem_is_told_with_its_line(tmp_path: Path, change: tuple[str, str], where: str, says: str) -> None:
    path = write(tmp_path, change)
    with pytest.raises(EntryError) as caught:
        catalog.load_file(path)
    expected = [one for one in str(caught.value).splitlines() if says in one]
    assert expected, str(caught.value)
    assert expected[0].startswith(f"{path}:{line(path, where)}: ")


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ("organ: hand", "organ: 1.10"),
        ("channels: 1\n", "channels: one\n"),
        ("size: 1272066", "size: -1"),
        ("contact: null", "contact: null\ncontact: me"),
    )
    with pytest.raises(EntryError) as caught:
        catalog.load_file(path)
    lines = str(caught.value).splitlines()
    assert [one.split(": ")[1] for one in lines] == ["organ", "output.channels", "weights.0.size", "contact"]
    numbers = [int(one.removeprefix(f"{path}:").partition(":")[0]) for one in lines]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "x.yaml:1: expected the fields of an entry, found nothing"),
        ("- 1\n", "x.yaml:1: expected the fields of an entry, found a list"),
        ("a: [1\n", "x.yaml:2: not YAML"),
        ("a: 1\nb: !!python/object/apply:os.system [true]\n", "x.yaml:2: "),
        ("when: 2025-02-31\n", "x.yaml: day is out of range"),
        ("[" * 100_000, "x.yaml:1: more than 50 levels deep"),
        ("- " * 100_000, "x.yaml:1: more than 50 levels deep"),
        ('a: 1\nb: "\\e[31mred"\n', "x.yaml:2: b: holds \\x1b; remove"),
        ('a: 1\nb: "p.pt\\0"\n', "x.yaml:2: b: holds \\x00; remove"),
        ("a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n", "x.yaml:2: *a repeats an anchor"),
    ],
)
def test_what_is_no_entry_at_all(text: str, says: str) -> None:
    with pytest.raises(EntryError) as caught:
        catalog.parse(text, "x.yaml")
    assert says in str(caught.value)


def test_parse_gives_an_entry() -> None:
    assert isinstance(catalog.parse(TEXT, "hf://org/repo"), Entry)


def test_the_page_about_the_registry_is_true() -> None:
    page = (MODELS.parents[1] / "docs" / "registry.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    example = example.replace("<64 hex>", "a" * 64).replace("<40 hex>", "b" * 40)
    name = "90001_FASTGAN_EXAMPLE.yaml"
    assert {source.kind for source in catalog.parse(example, name).weights} == {"package", "hub", "http", "local"}
    told = page.partition("```text\n")[2].partition("\n```")[0]
    with pytest.raises(EntryError) as caught:
        catalog.parse(example.replace("organ: colon", "organ: 1.10").replace("contact:", "contct:"), name)
    assert str(caught.value) == told


def test_the_file_name_is_the_id(tmp_path: Path) -> None:
    path = write(tmp_path).rename(tmp_path / "90002_OTHER.yaml")
    with pytest.raises(EntryError, match=r"90002_OTHER\.yaml:1: model_id: '90001_TEST' differs from the file name"):
        catalog.load_file(path)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="no such file"):
        catalog.load_file(tmp_path / "90001_TEST.yaml")
    (tmp_path / "90001_TEST.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EntryError, match="cannot be read as UTF-8"):
        catalog.load_file(tmp_path / "90001_TEST.yaml")


def test_a_broken_file_hides_no_other(extra: Path) -> None:
    write(extra, ("channels: 1\n", "channels: one\n"))
    write(extra, model_id="90002_TEST")
    with pytest.warns(catalog.RegistryWarning, match=r"90001_TEST\.yaml:\d+: output\.channels") as warned:
        found = catalog.load_all()
    assert len(warned) == 1
    ids = [located.entry.model_id for located in found]
    assert "90002_TEST" in ids and FASTGAN in ids and "90001_TEST" not in ids
    assert ids == sorted(ids)
    assert catalog.resolve(FASTGAN).entry.model_id == FASTGAN
    with pytest.raises(EntryError, match="output.channels"):
        catalog.resolve("90001")


def test_a_listing_validates_what_looks_wrong_and_tells_everything(extra: Path) -> None:
    write(extra, ("title: ", "tittle: "), ("channels: 1\n", "channels: one\n"))
    write(extra, model_id="90002_TEST")
    sheets, broken = catalog.read_all()
    assert "90002_TEST" in [sheet.path.stem for sheet in sheets]
    (error,) = broken
    assert "did you mean 'title'" in str(error) and "output.channels" in str(error)


def test_a_listing_reads_the_fields_of_an_entry() -> None:
    assert set(Entry.model_fields) == catalog.FIELDS


# --- folders --------------------------------------------------------------------------------------------------------


def test_entries_remember_where_they_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat, deep = tmp_path / "flat", tmp_path / "deep"
    write(flat)
    write(deep / "models", model_id="90002_TEST")
    monkeypatch.setenv(catalog.ENVIRONMENT, os.pathsep.join([str(flat), "", str(deep), str(flat)]))
    one, two = catalog.resolve("90001"), catalog.resolve("90002")
    assert (one.path, one.registry) == (flat / "90001_TEST.yaml", flat)
    assert (two.path, two.registry) == (deep / "models" / "90002_TEST.yaml", deep)
    own = catalog.resolve(FASTGAN)
    assert own.path == own.registry / "models" / f"{FASTGAN}.yaml"


def test_an_installed_package_has_its_registry_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "medzoo" / "registry" / "models")
    monkeypatch.setattr(places, "__file__", str(tmp_path / "medzoo" / "catalog" / "places.py"))
    assert [located.path for located in catalog.load_all()] == [path]


def test_an_id_has_one_home(extra: Path) -> None:
    path = write(extra, model_id=FASTGAN)
    with pytest.raises(RegistryError) as caught:
        catalog.load_all()
    assert str(path) in str(caught.value) and str(MODELS / path.name) in str(caught.value)


def test_a_registry_folder_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalog.ENVIRONMENT, str(tmp_path / "nowhere"))
    with pytest.raises(RegistryError, match=r"MEDZOO_REGISTRY names .*nowhere"):
        catalog.resolve(FASTGAN)


# --- ids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted", [FASTGAN, 10, "10", "00010", " 10 ", "00010_FAST", "00010_fastgan_polyp_patches_w_masks"]
)
def test_what_resolves(wanted: str | int) -> None:
    assert catalog.resolve(wanted).entry.model_id == FASTGAN


def test_a_unique_part_resolves() -> None:
    assert catalog.resolve("gan_mednist").entry.model_id == "00101_MONAI_GAN_MEDNIST_HAND"
    assert catalog.resolve(str(MODELS / f"{FASTGAN}.yaml")).entry.model_id == FASTGAN


def test_a_whole_id_wins_over_longer_ones(extra: Path) -> None:
    write(extra, model_id="90001_TEST")
    write(extra, model_id="90001_TEST_B")
    assert catalog.resolve("90001_test").entry.model_id == "90001_TEST"
    with pytest.raises(UnknownModelError) as caught:
        catalog.resolve(90001)
    assert caught.value.matches == ("90001_TEST", "90001_TEST_B")


def test_an_ambiguous_part_lists_its_models() -> None:
    with pytest.raises(UnknownModelError, match="type more of the id") as caught:
        catalog.resolve("pggan_chest")
    assert caught.value.matches == ("00019_PGGAN_CHEST_XRAY", "00020_PGGAN_CHEST_XRAY")


@pytest.mark.parametrize("wanted", ["00010_FASTGAN_POLYP_PATCHS_W_MASKS", "fastgan-polyp-patches-with-masks", "00100"])
def test_an_unknown_id_gets_the_closest(wanted: str) -> None:
    with pytest.raises(UnknownModelError, match="medzoo search") as caught:
        catalog.resolve(wanted)
    assert FASTGAN in caught.value.matches or wanted == "00100"
    assert all(match in str(caught.value) for match in caught.value.matches)


@pytest.mark.parametrize("wanted", ["", "qqqqqqq", -10, 123456789])
def test_an_id_like_no_other(wanted: str | int) -> None:
    with pytest.raises(UnknownModelError, match="no model has the id"):
        catalog.resolve(wanted)


def test_a_long_wrong_value_is_cut() -> None:
    with pytest.raises(EntryError) as caught:
        catalog.parse("x" * 100_000, "x.yaml")
    assert "found xxx" in str(caught.value) and len(str(caught.value)) < 300


def test_a_number_of_thousands_of_digits_is_no_id() -> None:
    with pytest.raises(UnknownModelError, match="no model has the id"):
        catalog.resolve("1" * 5000)


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        (r'"first\n99999_FAKE_MODEL\t8x8\tfake row"', r"title: holds \\n, \\t; remove"),
        (r'"safe\u202egnp.exe"', r"title: holds \\u202e; remove"),
        (r'"\ufeffzero\u200bwidth"', r"title: holds \\u200b, \\ufeff; remove"),
        (r'"\U000e0041"', r"title: holds \\U000e0041; remove"),
        (r'"line\u2028end"', r"title: holds \\u2028; remove"),
    ],
)
def test_a_title_cannot_forge_a_row(stated: str, shown: str) -> None:
    """What steers a terminal, hides or reorders text, or ends a line is refused with its line."""
    for field in ("title", "organ", "modality"):
        with pytest.raises(EntryError, match=f"x.yaml:2: {shown.replace('title', field)}"):
            catalog.yamlfile.fields(f"family: dcgan\n{field}: {stated}\n", "x.yaml")
    catalog.yamlfile.fields('notes: "two\\nlines"\ntitle: >\n  folded\n  text\n', "x.yaml")


def test_thousands_of_problems_are_counted_not_listed() -> None:
    text = "".join(f"a{i}: 1\n" for i in range(16_000))
    with pytest.raises(EntryError, match="and 159[0-9]+ more problems") as raised:
        catalog.parse(text, "x.yaml")
    assert len(str(raised.value)) < 10_000


@pytest.mark.parametrize("stated", ["!!binary gA==", "2025-01-31", "!!set {a, b}", "{1: 2}", "[[!!binary gA==]]"])
def test_a_config_holds_what_json_holds(stated: str) -> None:
    path = MODELS / "10001_FASTGAN_POLYP_W_MASKS.yaml"
    text = re.sub(r"^config: .*$", f"config: {{a: {stated}}}", path.read_text(), flags=re.M)
    with pytest.raises(EntryError, match=r"config: config\.a: (expected numbers, text|names must be text)"):
        catalog.parse(text, "x.yaml")
