"""A model to the Hugging Face Hub, so that everybody can run it the same minute.

publish(...)        all of it, as ``medzoo publish`` does it
prepare(...)        writes the folder that would be uploaded, or says why the model may not be published
upload(...)         uploads it, in one commit
registry_file(...)  where the one file of a pull request to the registry goes
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medzoo import catalog, zoo
from medzoo import results as results_module
from medzoo.catalog import Located, paths
from medzoo.checking import statements
from medzoo.entry import Entry, HubSource
from medzoo.errors import PublishError
from medzoo.files.whole import check_local, write_bytes
from medzoo.publishing import evidence, run, staging
from medzoo.publishing.evidence import Memorisation
from medzoo.publishing.hub import check_name, token, upload
from medzoo.publishing.staging import Staged

__all__ = [
    "Prepared",
    "Published",
    "check_name",
    "prepare",
    "publish",
    "registry_file",
    "token",
    "upload",
    "write_registry_file",
]


@dataclass(frozen=True)
class Prepared:
    """A model that may be published.

    Attributes:
        staged: the folder.
        memorised: near copies of training images among its samples.
    """

    staged: Staged
    memorised: Memorisation


@dataclass(frozen=True)
class Published:
    """What ``publish`` has done.

    Attributes:
        repo: ``user/name`` on the Hub.
        prepared: the folder, and what was measured.
        commit: the full commit; None where nothing was uploaded.
        registry_file: the file of a pull request; None if none was written.
    """

    repo: str
    prepared: Prepared
    commit: str | None
    registry_file: Path | None


def publish(
    model: str | int | Path,
    repo: str,
    *,
    out: Path | str | None = None,
    dry_run: bool = False,
    results: Path | str | None = Path("results"),
    allow_memorised: bool = False,
    update: bool = False,
    private: bool = False,
    registry: Path | str | None = None,
    message: str | None = None,
    model_id: str | None = None,
    half: bool = False,
    data: Path | str | None = None,
    device: str | None = None,
    confirm: Callable[[Prepared], bool] | None = None,
    report: Callable[[str], None] | None = None,
) -> Published:
    """Publish a model on the Hugging Face Hub, so that ``medzoo.generate("hf://USER/NAME", 4)`` runs it everywhere.

    Args:
        model: an id, or the path of an entry, a training run or a published folder.
        repo: ``user/name``; made where there is none.
        out: folder to write; None for ``published/NAME``.
        dry_run: write the folder and stop: nothing is sent, no token is needed.
        results: folder of results of ``medzoo bench``; those of the registry count too.
        allow_memorised: publish although it repeats training images; the card says so.
        update: add a commit to a repository that holds files already.
        private: make a new repository private.
        registry: checkout of the registry that the entry is written into as well.
        message: of the commit.
        model_id, half, data: of a run: id of its entry (None for one made of family and ``repo``), weights as float16,
            folder that holds the data sets.
        confirm: shown what would be uploaded; False stops before anything is sent. None uploads without asking.
        report: called with a line of progress.

    Raises PublishError: what ``prepare`` and ``upload`` refuse, which says what to do.
    """
    check_name(repo)
    check_local(out, PublishError)
    if not dry_run:
        token()  # said before anything slow
    at = paths.what_is(model)
    if at is not None and at.is_bare:
        raise PublishError(_how_to_publish(at.path, repo))
    if at is not None and at.kind == "run":
        data_folder = None if data is None else Path(data)
        model = run.exported(at.path, model_id, repo, half=half, data=data_folder, device=device)
        if report is not None:
            report(f"entry of the run: {model}" + ("" if model_id else " (--model-id gives it another id)"))
    prepared = prepare(
        model if isinstance(model, int) else str(model),
        repo,
        Path("published") / repo.rpartition("/")[2] if out is None else Path(out),
        results=None if results is None else Path(results),
        allow_memorised=allow_memorised,
        device=device,
    )
    entry = prepared.staged.entry
    # Said before anything is sent.
    file = None if registry is None else registry_file(entry, Path(registry), update=update)
    agreed = confirm is None or confirm(prepared)
    if dry_run or not agreed:
        return Published(repo, prepared, None, None)
    message = message or f"Publish {entry.model_id} with medzoo"
    commit = upload(prepared.staged, repo, update=update, private=private, message=message)
    if file is not None:
        write_registry_file(file, entry, commit)
    return Published(repo, prepared, commit, file)


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
        what: an id, or the path of an entry or a published folder.
        repo: ``user/name`` that it is to be published as.
        folder: what is written there.
        results: folder of ``medzoo bench``; those of the registry count too.
        allow_memorised: publish although it repeats training images, which the card then says.

    Raises PublishError: no licence, no statement of data, no check of memorisation, too many near copies, or what
    does not pass ``medzoo check``; MedzooError: a model that is not available.
    """
    check_name(repo)
    located = zoo.find(what)
    folders = results_module.folders(results, catalog.folders())
    measured = evidence.of_model(located.entry, folders)
    missing = _missing(located)
    try:
        memorised = evidence.memorisation(located.entry, measured, folders, _how(what))
    except PublishError as error:  # said together with all else that is missing
        raise (_not_without(located, [*missing, str(error)]) if missing else error) from None
    if missing:
        raise _not_without(located, missing)
    if memorised.too_many and not allow_memorised:
        raise PublishError(
            f"{located.entry.model_id} repeats training images: {memorised.share:.2%} of {memorised.samples} samples "
            f"are near copies ({memorised.benchmark}), allowed are {memorised.allowed:.2%}. Train with more images, "
            "more augmentation or fewer steps; --allow-memorised publishes it all the same, and the card will say so"
        )
    staged = staging.stage(located, repo, folder, measured, memorised, allowed=memorised.too_many, device=device)
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
        raise PublishError(
            f"{registry}: no checkout and no registry folder (there is no {models}); correct --registry-pr"
        )
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
        source.model_copy(update={"revision": commit}) if isinstance(source, HubSource) else source
        for source in entry.weights
    )
    with staging.publish_errors(path.parent):
        write_bytes(path, staging.as_yaml(entry.model_copy(update={"weights": pinned})).encode())


def _missing(located: Located) -> list[str]:
    """What nobody may use, or nobody could judge, without."""
    entry = located.entry
    missing = []
    if not _words(entry.license.weights):
        missing.append("license.weights: the licence that you give the weights, such as CC-BY-4.0")
    if not _words(entry.license.data):
        missing.append("license.data: that of the images it learned from, in the words of their source")
    if not (any(map(_words, entry.training_data.datasets)) or _words(entry.training_data.about)):
        missing.append("training_data: 'datasets' or 'about', what it learned from")
    if (to_do := statements.to_do(located)).status == "fail":
        missing.append(to_do.reason)
    return missing


def _not_without(located: Located, missing: Sequence[str]) -> PublishError:
    return PublishError(f"{located.path or located.name}: not published without\n  " + "\n  ".join(missing))


def _how_to_publish(path: Path, repo: str) -> str:
    return (
        f"{path}: weights alone say neither what they learned from nor who may use them. To publish them:\n"
        f"  1. medzoo new model --weights {shlex.quote(str(path))}    drafts an entry, ENTRY.yaml\n"
        "  2. replace every TODO in it: title, modality, licences of weights and data, what it learned from\n"
        "  3. medzoo bench ENTRY.yaml --real HELD_OUT --training TRAINING    looks for copies of training images\n"
        f"  4. medzoo publish ENTRY.yaml --repo {repo}"
    )


def _words(text: str | None) -> str:
    """A statement, without what a draft left to do."""
    return "" if text is None or re.search(r"(?<![A-Za-z])TODO(?![A-Za-z])", text) else text.strip()


def _how(what: str | int) -> str:
    from medzoo.bench import names

    listed: Sequence[str] = names()
    name = listed[0] if len(listed) == 1 else "NAME"
    typed = shlex.quote(str(what))
    choice = f" (NAME: {', '.join(listed)})" if len(listed) > 1 else ""
    return (
        f"medzoo bench {typed} --benchmark {name}{choice}, or with images of your own "
        f"medzoo bench {typed} --real HELD_OUT --training TRAINING"
    )
