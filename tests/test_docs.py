"""The documentation builds without a warning, and what it tells people to type exists."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

import medzoo
from medzoo.catalog import FIELDS
from medzoo.cli import main
from tests.tools import browser, pages
from tests.tools.pages import PAGES
from tests.tools.paths import ROOT

MODELS = {path.stem for path in (ROOT / "registry" / "models").glob("*.yaml")}


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documentation; the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("docs")
    written_here = shutil.ignore_patterns("_build", "models", "cli.md", "scores.md", "__pycache__")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=written_here)
    shutil.copytree(ROOT / "packaging", folder / "packaging")  # files that pages offer
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", folder / "docs", folder / "html"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.mark.packaging
def test_every_model_has_its_page(html: Path) -> None:
    names = {path.stem for path in (html / "models").glob("*.html")}
    assert names == MODELS | {"index"}
    index = (html / "models" / "index.html").read_text(encoding="utf-8")
    here, _, others = index.partition('id="need-a-download"')
    for name in MODELS:
        assert f'href="{name}.html"' in (here if name > "1" else others), name
    for name in sorted(names):
        assert "not for clinical use" in (html / "models" / f"{name}.html").read_text(encoding="utf-8"), name


@pytest.mark.packaging
def test_a_page_says_what_matters_of_a_model(html: Path) -> None:
    page = plain((html / "models" / "00010_FASTGAN_POLYP_PATCHES_W_MASKS.html").read_text(encoding="utf-8"))
    facts = ("images with masks, 256 x 256 pixels", "weights: GNU GENERAL PUBLIC LICENSE", "data: CC-BY-4.0")
    for fact in (*facts, "FID 63.99 (lower is better): ImageNet features, 1000 images", "HyperKvasir"):
        assert fact in page, fact
    assert "not built yet" not in page


@pytest.mark.packaging
def test_every_command_is_described(html: Path) -> None:
    page = plain((html / "cli.html").read_text(encoding="utf-8"))
    for path, command in commands(main, "medzoo"):
        assert f"{path} [OPTIONS]" in page
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.opts[0] in page


@pytest.mark.packaging
def test_every_public_name_is_described(html: Path) -> None:
    page = (html / "api.html").read_text(encoding="utf-8")
    for name in medzoo.__all__:
        assert f'id="medzoo.{name}"' in page or f'id="medzoo.errors.{name}"' in page, name


@pytest.mark.packaging
def test_fields_of_settings_are_words_and_not_types(html: Path) -> None:
    page = plain((html / "architectures" / "fastgan.html").read_text(encoding="utf-8"))
    assert "field im_size" in page and "Annotated[" not in page


@pytest.mark.packaging
def test_pages_need_nothing_from_elsewhere(html: Path) -> None:
    """No font, script, style or picture of another host: they are read offline, and nobody learns who reads them."""
    for path in html.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]+)', text)
        loaded += re.findall(r'<link\b(?=[^>]*rel="(?:stylesheet|preload|icon|preconnect)")[^>]*href="([^"]+)', text)
        assert not [url for url in loaded if re.match(r"(\w+:)?//", url)], path
    for path in html.rglob("*.css"):
        found = re.findall(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')]+)""", path.read_text(encoding="utf-8"))
        assert not found, path


@pytest.mark.packaging
def test_no_page_is_wider_than_the_screen(html: Path, tmp_path: Path) -> None:
    """On a phone and on a laptop: tables and listings scroll by themselves."""
    wide = browser.widths(html, (390, 1280), tmp_path)
    assert len(wide) == 2 * len(list(html.rglob("*.html")))
    too_wide = {f"{page} at {screen}": found for (page, screen), found in wide.items() if found > screen}
    assert not too_wide


def test_the_schema_of_an_entry_is_that_of_the_record() -> None:
    path = ROOT / "registry" / "entry.schema.json"
    done = subprocess.run(
        [sys.executable, "-c", "import generate; print(generate.entry_schema(), end='')"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'docs'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == path.read_text(encoding="utf-8"), "type: python docs/generate.py --schema"
    schema = json.loads(done.stdout)
    assert set(schema["required"]) == set(schema["properties"]) == FIELDS
    assert schema["properties"]["family"]["description"]


@pytest.mark.parametrize("text", PAGES, ids=lambda path: path.name)
class TestText:
    def test_commands_are_complete(self, text: Path) -> None:
        """Verb, options, arguments and their values, as the command itself would read them."""
        for words in pages.commands(text):
            parse(main, words, "medzoo")

    def test_commands_in_the_prose_exist(self, text: Path) -> None:
        """They may leave arguments and values out: `medzoo generate --truncation`."""
        for code in re.findall(r"`medzoo ([^`]+)`", text.read_text(encoding="utf-8")):
            parse(main, shlex.split(code), "medzoo", complete=False)

    def test_names_of_medzoo_exist(self, text: Path) -> None:
        code = "\n".join(block.text for block in pages.blocks(text, "python"))
        for name in set(re.findall(r"\bmedzoo\.(\w+)", code)):
            assert hasattr(medzoo, name) or (ROOT / "medzoo" / name).exists() or (ROOT / f"medzoo/{name}.py").exists()

    def test_no_name_with_an_underscore_is_imported(self, text: Path) -> None:
        code = text.read_text(encoding="utf-8")
        assert not re.findall(r"(?:from|import) medzoo[\w.]*\._\w+|\bimport _\w+", code)

    def test_models_exist(self, text: Path) -> None:
        named = set(re.findall(r"\b[0-8]\d{4}_[A-Z][A-Z0-9_-]+", text.read_text(encoding="utf-8")))  # 9....: examples
        assert named <= MODELS

    def test_links_lead_somewhere(self, text: Path) -> None:
        generated = {"docs/cli.md", "docs/scores.md", "docs/models/index.md", "docs/architectures/index.md"}
        for target in re.findall(r"\]\(([^)#]+)", text.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                path = (text.parent / target).resolve()
                assert path.exists() or path.relative_to(ROOT).as_posix() in generated, target


def test_commands_in_messages_exist() -> None:
    """What errors and docstrings ask people to type; values that are filled in become X."""
    for node in (node for path in (ROOT / "medzoo").rglob("*.py") for node in ast.walk(ast.parse(path.read_bytes()))):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        else:
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        for code in re.findall(r"`+medzoo ([^`|]+?)`+", text):
            parse(main, shlex.split(code), "medzoo", complete=False)


def parse(command: click.Command, words: list[str], name: str, *, complete: bool = True) -> None:
    """Fail unless ``command`` takes ``words``; without ``complete`` only verbs and options are looked at."""
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        verb = command.get_command(context, words[0])
        assert verb is not None, f"{name} has no command {words[0]}"
        parse(verb, words[1:], f"{name} {words[0]}", complete=complete)
    elif not complete:
        known = {option for parameter in command.get_params(context) for option in flags(parameter)}
        unknown = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)} - known
        assert not unknown, f"{name} has no option {', '.join(unknown)}"
    elif not {"--help", "-h", "--version"} & set(words):
        try:
            command.make_context(name, list(words))
        except click.UsageError as error:
            pytest.fail(f"{name} {shlex.join(words)}: {error.format_message()}")


def flags(parameter: click.Parameter) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


def commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    found = [(name, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for verb in command.list_commands(context):
            below = command.get_command(context, verb)
            assert below is not None
            found += commands(below, f"{name} {verb}")
    return found


def plain(html: str) -> str:
    text = re.sub(r"<[^>]+>", "", html)
    return re.sub(r"\s+", " ", text.replace("&#x27;", "'").replace("&amp;", "&"))
