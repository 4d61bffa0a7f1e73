"""Plain words: a short list of expressions is kept out of pages, help texts, docstrings and messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from medzoo.cli import main
from tests.tools.pages import PAGES
from tests.tools.paths import ROOT

# What to avoid, and what to write.
BANNED = {
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bNone for none\b": "None if there is none",
    r"\bcannot be had\b": "is not available",
    r"\bfiles? of words\b": "text file",
    r"\bsaying_why\b": "disk_errors",
    r"\btold\b(?! apart\b| from chance\b)": "said, stated, recognised, inferred",
    r"\bthe other way( round)?\b": "the reverse, inverse",
    r"\bwhoever\b": "anybody who",
}
WRITTEN = [page for page in PAGES if page.name != "leaderboard.md"]  # that one quotes recorded results
CODE = sorted([*(ROOT / "medzoo").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), ROOT / "docs" / "generate.py"])

# Files that still have such words. This list only gets shorter.
TO_DO = {
    "benchmarks/bench_families.py",
    "benchmarks/bench_few_steps.py",
    "docs/publishing.md",
    "medzoo/bench/__init__.py",
    "medzoo/bench/contenders.py",
    "medzoo/catalog/__init__.py",
    "medzoo/check/__init__.py",
    "medzoo/cli/page.py",
    "medzoo/datasets/dicom.py",
    "medzoo/datasets/pictures.py",
    "medzoo/device.py",
    "medzoo/diffusion/samplers.py",
    "medzoo/diffusion/unet.py",
    "medzoo/entry.py",
    "medzoo/families/_autoencoder.py",
    "medzoo/families/_base.py",
    "medzoo/families/_diffusers_config.py",
    "medzoo/families/dcgan.py",
    "medzoo/families/diffusion.py",
    "medzoo/families/inpaint/__init__.py",
    "medzoo/families/latent_diffusion/__init__.py",
    "medzoo/families/latent_diffusion/facts.py",
    "medzoo/families/latent_diffusion/names.py",
    "medzoo/families/monai_ldm/decoding.py",
    "medzoo/families/monai_ldm/orientation.py",
    "medzoo/families/pggan/__init__.py",
    "medzoo/families/singan/__init__.py",
    "medzoo/families/stylegan2/__init__.py",
    "medzoo/families/stylegan2/config.py",
    "medzoo/features/__init__.py",
    "medzoo/features/_base.py",
    "medzoo/features/_files.py",
    "medzoo/features/clip.py",
    "medzoo/features/dinov2.py",
    "medzoo/features/inception_fid.py",
    "medzoo/features/radimagenet_resnet50.py",
    "medzoo/imagefiles/__init__.py",
    "medzoo/metrics/_base.py",
    "medzoo/metrics/memorisation.py",
    "medzoo/metrics/mifid.py",
    "medzoo/publish/__init__.py",
    "medzoo/publish/card.py",
    "medzoo/publish/drafts.py",
    "medzoo/report/remarks.py",
    "medzoo/training/config.py",
    "medzoo/training/recipes/_base.py",
    "medzoo/training/recipes/_fastgan_critic.py",
    "medzoo/training/start.py",
    "medzoo/training/techniques/_base.py",
    "medzoo/training/techniques/rotation.py",
    "medzoo/training/trainer.py",
    "medzoo/zoo/__init__.py",
    "medzoo/zoo/barefile.py",
}


def test_pages() -> None:
    check({name(page): list(enumerate(page.read_text(encoding="utf-8").splitlines(), 1)) for page in WRITTEN})


def test_docstrings_and_messages() -> None:
    """Every string of a module, docstrings and the parts of f-strings included."""
    check({name(path): list(strings(path)) for path in CODE})


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines of all strings of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from enumerate(node.value.splitlines(), node.lineno)


def test_help_texts() -> None:
    for command, text in helps(main, "medzoo"):
        assert not problems(text), f"{command} --help: {problems(text)}"


def check(files: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    found = {
        path: [f"{path}:{number}: {problem}" for number, line in lines for problem in problems(line)]
        for path, lines in files.items()
    }
    wrong = [problem for path, lines in found.items() if path not in TO_DO for problem in lines]
    assert not wrong, "\n".join(wrong)
    clean = [path for path, lines in found.items() if path in TO_DO and not lines]
    assert not clean, f"take them off TO_DO: {', '.join(clean)}"


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def problems(text: str) -> list[str]:
    text = re.sub(r"`[^`]*`", "", text)  # code
    return [
        f"'{match[0]}': write {better}"
        for pattern, better in BANNED.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


def helps(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name)
    yield name, command.get_help(context)
    for verb in command.list_commands(context) if isinstance(command, click.Group) else ():
        below = command.get_command(context, verb)
        assert below is not None
        yield from helps(below, f"{name} {verb}")


def test_a_banned_word_is_noticed() -> None:
    assert problems("No path is given; None for none.") and problems("Mend the file.") and not problems("Fix it.")
