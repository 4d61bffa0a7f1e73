"""A finished run -> a model of the registry: weights, training record, and the draft of an entry.

The averaged generator is made of averaged weights and averaged batch-norm statistics, and the second are not those of
the first. So they are computed anew from the generator's own maps, and of the two the one with the smaller held-out
KID is exported.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medzoo import catalog
from medzoo.device import find
from medzoo.errors import TrainingError
from medzoo.files.whole import check_local, write_bytes
from medzoo.randomness import Noise
from medzoo.training import data as reading
from medzoo.training.config import TrainConfig, differences, dump_config, load_config, read_config
from medzoo.training.data import About
from medzoo.training.drafting import draft
from medzoo.training.heldout import HeldOut, sample
from medzoo.training.learner import layout
from medzoo.training.recipes import Recipe, recipe
from medzoo.training.runfolder import RunFolder, read_best
from medzoo.training.statefile import read_state

LARGEST = 12_000_000  # bytes of a file of weights that comes along with the registry
SEED = 1  # of the recalibration
Checkpoint = Literal["best", "latest"]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        weights, entry: paths of the safetensors file and of the YAML file.
        drafted: whether the YAML file is new; one that was there is left alone.
        sha256, size: of the weights, in hex and bytes.
        step: of the checkpoint.
        scores: held-out distances by kind of batch-norm statistics, ``averaged`` and, where there is batch norm,
            ``recalibrated``.
        chosen: which of them was exported.
    """

    weights: Path
    entry: Path
    drafted: bool
    sha256: str
    size: int
    step: int
    scores: dict[str, dict[str, float]]
    chosen: str


def export_run(
    run: Path | str,
    model_id: str,
    registry: Path | str = "registry",
    *,
    checkpoint: Checkpoint = "best",
    half: bool = False,
    data: Path | str | None = None,
    device: str | None = None,
) -> Exported:
    """Make a model of a registry folder from a training run, measured on the images that the run held out.

    Writes ``weights/<ID>.safetensors``, ``training/<ID>/`` and, where there is none, a draft of ``models/<ID>.yaml``.

    Args:
        run: folder of the run.
        model_id: of the entry: five digits, then FAMILY_CONTENT.
        registry: the registry folder.
        checkpoint: ``best`` (smallest held-out KID) or ``latest``.
        half: store weights as float16; singular vectors and statistics stay float32. Loading makes float32 of all.
        data: folder that holds the data sets of the registry; None for ``$MEDZOO_DATA``.
        device: a torch device name; None for a CUDA device if there is one.

    Raises:
        TrainingError: no such run, checkpoint or registry folder, weights of more than 12 MB, or a full disk.
        EntryError: the id does not fit the registry's pattern.
        MedzooError: the images are not there.
    """
    check_local(registry, TrainingError)
    run = Path(run)
    config, place = load_config(run / "config.yaml"), find(device)
    images, held = reading.load(config, None if data is None else Path(data))
    held_out, about = HeldOut(held, str(place), images), reading.about(config, images)
    return export(run, model_id, Path(registry), held_out, about, checkpoint=checkpoint, half=half, device=place)


def export(
    run: Path,
    model_id: str,
    registry: Path,
    held_out: HeldOut,
    about: About,
    *,
    checkpoint: Checkpoint = "best",
    half: bool = False,
    device: torch.device | None = None,
    batches: int = 64,
    batch: int = 32,
    largest: int = LARGEST,
) -> Exported:
    """:func:`export_run` with the images at hand.

    Args:
        held_out: measures the candidates on the samples that the configuration's ``held`` states.
        about: the images that the run learned from.
        batches, batch: of generated images, from which statistics of batch norm are computed anew.
        largest: bytes that the file of weights may take.
    """
    device = device or torch.device("cpu")
    config = load_config(run / "config.yaml")
    chosen_recipe = recipe(config, about.facts)
    if not registry.is_dir():
        raise TrainingError(f"{registry}: not a folder; give the registry folder with --registry")
    sketch = draft(model_id, config, about, chosen_recipe, sha256="0" * 64, size=1)
    catalog.parse(sketch, f"draft of {model_id}")  # a bad id is said before anything is measured
    step, state = read_checkpoint(run, checkpoint)
    network = chosen_recipe.generator()
    load_state(network, state, run)
    network.to(device).eval().requires_grad_(False)
    network.to(memory_format=layout(config))  # type: ignore[call-overload]
    candidates = {"averaged": network}
    if norms_of(network):
        candidates["recalibrated"] = recalibrate(chosen_recipe, network, device, batches, batch)
    scores = {}
    for name, candidate in candidates.items():
        candidate.load_state_dict(stored(candidate.state_dict(), half))  # measure the numbers that will be read back
        scores[name] = held_out(*sample(chosen_recipe, candidate, config.held.samples, config.held.seed, device))
    chosen = min(scores, key=lambda name: scores[name]["kid"])
    content = pack(stored(candidates[chosen].state_dict(), half), half, largest)
    sha256 = hashlib.sha256(content).hexdigest()

    weights, entry = registry / "weights" / f"{model_id}.safetensors", registry / "models" / f"{model_id}.yaml"
    drafted = not entry.exists()
    with RunFolder(registry).disk_errors():
        for folder in (weights.parent, entry.parent, registry / "training" / model_id):
            folder.mkdir(parents=True, exist_ok=True)
        copy_record(run, registry / "training" / model_id, config)
        write_bytes(weights, content)
        if drafted:
            text = draft(model_id, config, about, chosen_recipe, sha256=sha256, size=len(content))
            write_bytes(entry, text.encode())
    return Exported(weights, entry, drafted, sha256, len(content), step, scores, chosen)


def checkpoint_path(run: Path, which: Checkpoint) -> Path:
    """The file of a checkpoint. Raises TrainingError where there is none."""
    folder = RunFolder(run)
    path = folder.best if which == "best" else folder.latest
    if not path.exists():
        raise TrainingError(f"{path}: no such file; train first, or choose another checkpoint (--checkpoint)")
    return path


def read_checkpoint(run: Path, which: Checkpoint) -> tuple[int, Mapping[str, Tensor]]:
    """(step, state dict of the averaged generator) of ``best`` or ``latest``. Raises TrainingError."""
    path = checkpoint_path(run, which)
    if which == "best":
        best = read_best(path)
        return best.step, best.generator
    state = read_state(path)
    if not isinstance(state.get("average"), Mapping):
        raise TrainingError(f"{path}: not a state that this program wrote (it has no averaged generator)")
    return state["step"], state["average"]


def load_state(network: nn.Module, state: Mapping[str, Tensor], run: Path) -> None:
    """Load a checkpoint of ``run`` into its generator. Raises TrainingError where it does not fit."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise TrainingError(f"{run}: the checkpoint does not fit {run / 'config.yaml'} ({error})") from None


def norms_of(network: nn.Module) -> list[_BatchNorm]:
    """The batch norms with running statistics."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


@torch.no_grad()
def recalibrate(recipe: Recipe[Any], network: nn.Module, device: torch.device, batches: int, batch: int) -> nn.Module:
    """A copy of a generator whose batch-norm statistics are the means over ``batches`` batches of its own maps.

    The batches are samples 0, 1, ... of seed 1. Weights and singular vectors stay as they are, and so do statistics
    that making images does not use.
    """
    result = copy.deepcopy(network).eval()
    norms = norms_of(result)
    before = [(norm.momentum, copy.deepcopy(norm.state_dict())) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: the plain mean over all batches
        norm.train()
    for start in range(0, batches * batch, batch):
        noise = Noise(SEED, range(start, start + batch), device)
        recipe.images(result, recipe.zoo_inputs(noise))
    for norm, (momentum, state) in zip(norms, before, strict=True):
        norm.momentum = momentum
        if not norm.num_batches_tracked:
            norm.load_state_dict(state)
    return result.eval()


def stored(state: Mapping[str, Tensor], half: bool) -> dict[str, Tensor]:
    """The numbers as the file will hold them: with ``half``, weights of two dimensions and more go to float16."""
    return {
        name: value.half() if half and value.dim() > 1 and value.numel() > 1 and value.is_floating_point() else value
        for name, value in ((name, value.detach().cpu().contiguous()) for name, value in state.items())
    }


def pack(state: Mapping[str, Tensor], half: bool, largest: int = LARGEST) -> bytes:
    """The safetensors file. Raises TrainingError where it takes more than ``largest`` bytes."""
    from safetensors.torch import save

    content = save(dict(state))
    if len(content) > largest:
        hint = "take a narrower network and train anew" if half else "try --half"
        raise TrainingError(
            f"the weights take {len(content) / 1e6:.1f} MB, and a model that comes along may take "
            f"{largest / 1e6:.3g} MB; {hint}"
        )
    return content


def copy_record(run: Path, folder: Path, config: TrainConfig) -> None:
    """Log, held-out distances and configuration; a configuration of the same values keeps its comments.

    Of a path on somebody's machine its last name stays.
    """
    paths = {name: getattr(config, name) for name in ("folder", "start") if getattr(config, name) is not None}
    config = config.model_copy(update={name: Path(path).name for name, path in paths.items()})
    for name in ("log.csv", "heldout.csv"):
        if (run / name).exists():
            shutil.copyfile(run / name, folder / name)
    target = folder / "config.yaml"
    if not target.exists() or differences(read_config(target), config) or read_config(target).steps != config.steps:
        write_bytes(target, dump_config(config).encode())
