"""Drafts of the files that a contributor writes: an entry, or a family with its first entry.

What only the contributor knows is marked TODO, and ``medzoo check`` fails as long as the word is there.
"""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medzoo import catalog
from medzoo.catalog import paths
from medzoo.entry import Entry
from medzoo.errors import RegistryError
from medzoo.publishing import templates
from medzoo.weights import inspection
from medzoo.zoo import barefile

# Where the numbers of models published elsewhere, of this project's own, and of other packages begin.
PUBLISHED, OWN, PLUGIN = 101, 10001, 90001


@dataclass(frozen=True)
class Drafted:
    """What was written.

    Attributes:
        files: new files; none was there before.
        model_id: id of the drafted entry.
        case: the line for ``CASES`` in ``tests/families/test_contract.py``; None where there is none to add.
        package: folder of a package that was drafted; None for files of a checkout.
    """

    files: tuple[Path, ...]
    model_id: str
    case: str | None = None
    package: Path | None = None


def new_model(nearest: str | int, registry: Path, *, model_id: str | None = None, own: bool = False) -> Drafted:
    """Draft ``models/<ID>.yaml`` from the entry of the nearest relative.

    Args:
        nearest: an id, as every command takes it.
        registry: the registry folder to write in.
        model_id: ``NNNNN_NAME``, or ``NAME`` alone for the next free number; None for ``FAMILY_TODO``.
        own: numbers of this project's own models, from 10001, instead of those of models published elsewhere.

    Raises RegistryError: no such folder, an id that is taken or no id, a file that exists; UnknownModelError.
    """
    relative = catalog.resolve(nearest).entry
    models = _models(registry)
    model_id = free_id(model_id or f"{relative.family.upper()}_TODO", OWN if own else PUBLISHED, models)
    fields = relative.model_dump(mode="json")
    sources = templates.to_be_found(fields["weights"])
    return _write(models, model_id, templates.entry_text(fields, model_id, relative.model_id, sources))


def model_of_weights(
    weights: str | Path,
    registry: Path | None = None,
    *,
    family: str | None = None,
    checkpoint: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    model_id: str | None = None,
    own: bool = False,
) -> Drafted:
    """Draft the entry of a file of weights, or of a folder that diffusers saved: how it runs is found in it.

    Args:
        weights: the file or folder, which stays where it is.
        registry: the registry folder to write in; None for ``registry``, or the working folder where there is none.
        family: None finds it.
        checkpoint: fields of ``checkpoint`` that choose among several networks: ``key``, ``strip_prefix``, ``ema``.
        config: fields of the network that the file does not tell.
        model_id: as for ``new_model``; None for family and name of the file.
        own: as for ``new_model``.

    Raises RegistryError, as ``new_model`` does; MedzooError: it is no such file, or no family or several fit.
    """
    at = paths.what_is(Path(weights))
    if at is None or not at.is_bare:
        kind = "a run, which `medzoo export` makes an entry of" if at and at.kind == "run" else "an entry already"
        raise RegistryError(f"{weights}: is {kind}")
    stated = {"checkpoint": dict(checkpoint or {}), "config": dict(config or {})}
    generator = barefile.load(
        family, at.path, {name: value for name, value in stated.items() if value},
        fused=False, device="cpu", precision="float32",
    )  # fmt: skip
    entry = generator.entry
    checkout = Path("registry")
    folder = registry or (checkout if checkout.is_dir() else Path())
    first = OWN if own else PLUGIN if folder == Path() else PUBLISHED
    models = _models(folder)
    name = re.sub(r"[^A-Z0-9]+", "_", Path(generator.name).stem.upper()).strip("_")
    model_id = free_id(model_id or f"{entry.family.upper()}_{name or 'TODO'}", first, models)
    fields = entry.model_dump(mode="json") | {"modality": "TODO"}
    fields["checkpoint"]["container"] = _container(entry)
    stated_order = ("kind", "part", "path", "sha256", "size")
    sources = [
        {name: source[name] for name in stated_order if source[name] is not None}
        | {"path": _from(models, Path(source["path"]))}
        for source in fields["weights"]
    ]
    known = generator.config.model_dump(mode="json", exclude_defaults=True)
    inferred = f"the weights say {shown}" if len(shown := templates.flow(known)) < 160 else "the weights say the rest"
    return _write(models, model_id, templates.entry_text(fields, model_id, generator.name, sources, inferred))


def _write(models: Path, model_id: str, text: str) -> Drafted:
    path = models / f"{model_id}.yaml"
    catalog.parse(text, str(path))  # a draft that no other command reads would help nobody
    write_new({path: text})
    return Drafted((path,), model_id)


def _container(entry: Entry) -> str:
    """What ``checkpoint.container`` has to be for the files of an entry: no more than they need."""
    numbers = [Path(source.name) for source in entry.weights if not source.is_text]
    found = {inspection.inspect(path).container or "pickle" for path in numbers}
    return next(kind for kind in ("pickle", "torch", "safetensors") if kind in found)


def _from(folder: Path, path: Path) -> str:
    """A path as an entry in that folder states it: relative where it lies near, so that both can be moved together."""
    near = os.path.relpath(path, folder.resolve())
    return str(path) if near.startswith(os.path.join("..", "..", "..")) else near


def new_family(name: str, families: Path, registry: Path, *, own: bool = False) -> Drafted:
    """Draft ``<name>.py`` and an entry of that family.

    Args:
        name: lower-case letters, digits and underscores.
        families: the folder ``medzoo/families`` of a checkout.
        registry: the registry folder of it.
        own: as for ``new_model``.

    Raises RegistryError: no such folder, a name that is taken or none, a file that exists.
    """
    check_family_name(name)
    if not families.is_dir():
        raise RegistryError(
            f"{families} is not a folder; go to a checkout of medzoo, name it with --families, or draft a package "
            "of your own with --plugin"
        )
    models = _models(registry)
    model_id = free_id(f"{name.upper()}_TODO", OWN if own else PUBLISHED, models)
    code, path = families / f"{name}.py", models / f"{model_id}.yaml"
    write_new({code: templates.family_code(name), path: templates.family_entry(name, model_id)})
    return Drafted((code, path), model_id, f"{templates.case_of(name)},")


def new_plugin(name: str, folder: Path) -> Drafted:
    """Draft a package of your own with a family, an entry of it, and the contract tests.

    Args:
        name: of the family, as for ``new_family``.
        folder: of the new package, which is called as it is: ``medzoo-toy`` holds the package ``medzoo_toy``.

    Raises RegistryError: a name that is taken or none, a file that exists.
    """
    check_family_name(name)
    project = folder.resolve().name
    package = re.sub(r"[-.]", "_", project.lower())
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package) or keyword.iskeyword(package):
        raise RegistryError(f"'{project}' makes no name of a package; call the folder as one, such as medzoo-{name}")
    if (spec := importlib.util.find_spec(package)) is not None and spec.origin is not None:
        raise RegistryError(f"there is a package '{package}' already ({spec.origin}); call the folder something else")
    model_id = free_id(name.upper(), PLUGIN)
    entry = folder / package / "registry" / "models" / f"{model_id}.yaml"
    texts = {
        folder / "pyproject.toml": templates.plugin_project(project, package, name),
        folder / "README.md": templates.plugin_readme(project, package, name, model_id),
        folder / package / "__init__.py": f'"""The family {name} for medzoo, and its models."""\n',
        folder / package / f"{name}.py": templates.family_code(name),
        folder / "tests" / f"test_{name}.py": templates.plugin_test(name),
        entry: templates.family_entry(name, model_id),
    }
    write_new(texts)
    return Drafted(tuple(texts), model_id, package=folder)


def check_family_name(name: str) -> None:
    """Raises RegistryError for a name that no family can have, or that one has."""
    from medzoo.families import known_families

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise RegistryError(f"'{name}' is no name of a family; take lower-case letters, digits and _, such as my_gan")
    if name in known_families():
        raise RegistryError(f"there is a family '{name}' already; for a new model of it: medzoo new model")


def _models(registry: Path) -> Path:
    if not registry.is_dir():
        raise RegistryError(f"{registry} is not a folder; go to a checkout of medzoo, or name one with --registry")
    models = registry / "models"
    return models if models.is_dir() else registry


def free_id(name: str, first: int, *folders: Path) -> str:
    """``NNNNN_NAME`` as it is, or ``NAME`` with the next free number from ``first`` on.

    Args:
        folders: of entries, beside those of the catalog.

    Raises RegistryError: a number that is taken, or no id.
    """
    numbered = re.fullmatch(r"([0-9]{5})_(.+)", name)
    numbers = {path.stem[:5]: path for folder in folders for path in folder.glob("*.y*ml")}
    numbers |= {known[:5]: path for known, (path, _) in catalog.model_files().items()}
    if numbered is None:
        last = OWN - 1 if first < OWN else 99999
        free = next(number for number in range(first, last) if f"{number:05d}" not in numbers)
        name = f"{free:05d}_{name}"
    elif numbered[1] in numbers:
        raise RegistryError(f"the number {numbered[1]} is taken by {numbers[numbered[1]]}; leave it out for a free one")
    if not re.fullmatch(r"[0-9]{5}_[A-Z0-9][A-Z0-9_-]*", name):
        raise RegistryError(f"'{name}' is no id: five digits, then capitals, digits, _ and -: 00123_FASTGAN_POLYPS")
    return name


def write_new(texts: dict[Path, str]) -> None:
    """All files or none; never over one that is there. Raises RegistryError."""
    for path in texts:
        if path.exists():
            raise RegistryError(f"{path} exists, and nothing is written over; move it away, or take another name")
    made: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        raise RegistryError(
            f"{error.filename or path} cannot be written ({error.strerror}); nothing is left of it"
        ) from (error)
