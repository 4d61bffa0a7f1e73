"""A training run -> the model that is published: exported once into ``RUN/model``, a registry folder of its own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from medzoo.errors import PublishError
from medzoo.publishing.drafts import PLUGIN, free_id

FOLDER = "model"


def exported(run: Path, model_id: str | None, repo: str, *, half: bool, data: Path | None, device: str | None) -> Path:
    """The YAML file of the model of a run. What an earlier call has exported is taken as it is, with whatever was
    written into the entry since.

    Args:
        model_id: of a new entry; None for one made of the family and the name of ``repo``.
        half: weights as float16.
        data: folder that holds the data sets, whose held-out images choose the statistics of batch norm.

    Raises PublishError: several models, or the run went on since; and whatever ``medzoo export`` raises.
    """
    registry = run / FOLDER
    files = sorted((registry / "models").glob("*.yaml"))
    if files and model_id is not None:
        files = [path for path in files if path.stem == model_id]
    if len(files) > 1:
        listed = ", ".join(path.stem for path in files)
        raise PublishError(f"{registry} holds several models: {listed}; choose one with --model-id")
    if files:
        weights, best = registry / "weights" / f"{files[0].stem}.safetensors", run / "best.safetensors"
        if weights.is_file() and best.is_file() and best.stat().st_mtime > weights.stat().st_mtime:
            typed = shlex.quote(str(files[0]))
            raise PublishError(
                f"{run} went on after {weights} was exported; keep it as it is with `medzoo publish {typed}`, or "
                f"delete {weights} and type the same command again"
            )
        if weights.is_file():
            return files[0]
        model_id = files[0].stem
    return _export(run, model_id or _proposed(run, repo), registry, half, data, device)


def _proposed(run: Path, repo: str) -> str:
    """An id for the model of a run: the next free number, its family, the name of the repository."""
    from medzoo.training import Run

    name = re.sub(r"[^A-Z0-9]+", "_", repo.rpartition("/")[2].upper()).strip("_")
    return free_id("_".join(filter(None, (Run(run).config.family.upper(), name))), PLUGIN)


def _export(run: Path, model_id: str, registry: Path, half: bool, data: Path | None, device: str | None) -> Path:
    from medzoo.training import export_run

    registry.mkdir(exist_ok=True)
    done = export_run(run, model_id, registry, half=half, data=data, device=device)
    if not done.drafted:
        text = done.entry.read_text(encoding="utf-8")
        if done.sha256 not in text:
            raise PublishError(
                f"{done.entry} states other weights than were exported now; state sha256: {done.sha256} and "
                f"size: {done.size} in it, and type the same command again"
            )
    return done.entry
