"""A model to the Hugging Face Hub, so that everybody can run it the same minute.

prepare(...)    writes the folder that would be uploaded, or says why the model may not be published
upload(...)     uploads it, in one commit
for_registry()  writes the one file of a pull request to the registry
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medzoo import catalog, zoo
from medzoo import results as results_module
from medzoo.catalog import Located
from medzoo.entry import Entry, HubSource
from medzoo.errors import PublishError
from medzoo.files.whole import write_bytes
from medzoo.publish import evidence, staging
from medzoo.publish.evidence import Memorisation
from medzoo.publish.hub import check_name, token, upload
from medzoo.publish.staging import Staged

__all__ = ["Prepared", "check_name", "prepare", "registry_file", "token", "upload", "write_registry_file"]


@dataclass(frozen=True)
class Prepared:
    """A model that may be published.

    Attributes:
        staged: the folder.
        memorised: near copies of training images among its samples.
    """

    staged: Staged
    memorised: Memorisation


def prepare(
    what: str | int,
    repo: str,
    folder: Path,
    *,
    results: Path | None = None,
    allow_memorised: bool = False,
    device: str | None = None,
) -> Prepared:
    """Write the folder of a model: weights, entry, card, samples, golden samples.

    Args:
        what: an id, or the path of a YAML file.
        repo: ``user/name`` that it is to be published as.
        folder: what is written there.
        results: folder of ``medzoo bench``; those of the registry count too.
        allow_memorised: publish although it repeats training images, which the card then says.

    Raises PublishError: no licence, no statement of data, no check of memorisation, too many near copies, or what
    does not pass ``medzoo check``; MedzooError: a model that cannot be had.
    """
    check_name(repo)
    found = zoo.find(what)
    _stated(found)
    folders = results_module.folders(results, catalog.registry_folders())
    measured = evidence.of_model(found.entry, folders)
    memorised = evidence.memorisation(found.entry, measured, folders, _how(what))
    if memorised.too_many and not allow_memorised:
        raise PublishError(
            f"{found.entry.model_id} repeats training images: {memorised.share:.2%} of {memorised.samples} samples are "
            f"near copies ({memorised.benchmark}), allowed are {memorised.allowed:.2%}. Train with more images, more "
            "augmentation or fewer steps; --allow-memorised publishes it all the same, and the card will say so"
        )
    staged = staging.stage(
        found, what, repo, folder, measured, memorised, allowed=memorised.too_many, device=device
    )  # fmt: skip
    return Prepared(staged, memorised)


def registry_file(entry: Entry, registry: Path, *, update: bool = False) -> Path:
    """Where the one file of a pull request goes: ``models/<ID>.yaml``.

    Args:
        registry: a registry folder, or a checkout with one.
        update: a file of that name may be there.

    Raises PublishError: no registry folder, a number that is taken, or a file that is there.
    """
    inner = registry / "registry"
    models = (inner if inner.is_dir() else registry) / "models"
    if not models.is_dir():
        raise PublishError(f"{registry}: no checkout and no registry folder (there is no {models}); mend --registry-pr")
    path = models / f"{entry.model_id}.yaml"
    others = [other.name for other in models.glob(f"{entry.number}_*") if other.stem != entry.model_id]
    if others:
        raise PublishError(f"{models}: the number {entry.number} is that of {others[0]}; give the entry another id")
    if path.exists() and not update:
        raise PublishError(f"{path} exists; write over it with --update, or give the entry another id")
    return path


def write_registry_file(path: Path, entry: Entry, commit: str) -> None:
    """The entry as it was staged, with its weights pinned to the commit. Raises PublishError: the disk refuses."""
    pinned = tuple(
        one.model_copy(update={"revision": commit}) if isinstance(one, HubSource) else one for one in entry.weights
    )
    with staging.publish_errors(path.parent):
        write_bytes(path, staging.as_yaml(entry.model_copy(update={"weights": pinned})).encode())


def _stated(found: Located) -> None:
    """Refuse what nobody may use, or nobody could judge."""
    entry, where = found.entry, found.path or "the entry"
    missing = []
    if not _words(entry.license.weights):
        missing.append("license.weights: the licence that you give the weights, such as CC-BY-4.0")
    if not _words(entry.license.data):
        missing.append("license.data: that of the images it learned from, in the words of their source")
    if not (any(map(_words, entry.training_data.datasets)) or _words(entry.training_data.about)):
        missing.append("training_data: 'datasets' or 'about', what it learned from")
    if missing:
        raise PublishError(f"{where}: not published without\n  " + "\n  ".join(missing))


def _words(text: str | None) -> str:
    """A statement, without what a draft left to do."""
    return "" if text is None or re.search(r"(?<![A-Za-z])TODO(?![A-Za-z])", text) else text.strip()


def _how(what: str | int) -> str:
    from medzoo.bench import names

    listed: Sequence[str] = names()
    one = listed[0] if len(listed) == 1 else "NAME"
    choice = f" (NAME: {', '.join(listed)})" if len(listed) > 1 else ""
    return (
        f"medzoo bench {what} --benchmark {one}{choice}, or with images of your own "
        f"medzoo bench {what} --real HELD_OUT --training TRAINING"
    )
