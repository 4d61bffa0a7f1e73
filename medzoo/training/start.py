"""Fine-tuning: a run that begins with the weights of a model of the zoo, or of another run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medzoo import zoo
from medzoo.errors import TrainingError
from medzoo.training.config import load_config
from medzoo.training.recipes import Recipe
from medzoo.training.runfolder import RunFolder
from medzoo.training.statefile import read_state


def begin(recipe: Recipe[Any], start: str, networks: Mapping[str, nn.Module]) -> None:
    """Load the weights of ``start`` into new networks.

    Args:
        recipe: of the networks.
        start: id of a model of the zoo, which has a generator only, or the folder of a run, which has every network.
        networks: by their names in a run's state, ``generator`` and others.

    Raises:
        TrainingError: another family or other networks.
        MedzooError: no such model, or its weights are not available.
    """
    family = recipe.settings.family
    states: Mapping[str, Mapping[str, Tensor]]
    if (config := Path(start) / "config.yaml").exists():
        name = start
        _check_family(name, load_config(config).family, family)
        states = _of_run(Path(start), list(networks))
    elif Path(start).is_dir() and Path(start).name != start:  # no id has a slash
        raise TrainingError(f"start: {start} is no folder of a run, it has no config.yaml; name one, or a model's id")
    else:
        entry = zoo.info(start)
        name = entry.model_id
        _check_family(name, entry.family, family)
        states = {"generator": zoo.load(start, fused=False, device="cpu").network.state_dict()}
    for which, state in states.items():
        fitting = recipe.fit_state(state, networks[which]) if which == "generator" else state
        _load(name, which, networks[which], fitting)


def _check_family(start: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise TrainingError(f"start: {start} is of family {found}, this run of {wanted}; take another")


def _of_run(run: Path, names: list[str]) -> Mapping[str, Any]:
    latest = RunFolder(run).latest
    if not latest.exists():
        raise TrainingError(f"start: {run} has no {latest.name}: nothing was saved there yet; train it first")
    try:
        state = read_state(latest)
        return {name: dict(state[name]) for name in names}
    except (TrainingError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"start: {latest} is not a state that this program wrote ({error})") from None


def _load(start: str, which: str, network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Everything that the network has; heads that techniques of the other run had are left out."""
    wanted = network.state_dict()
    for name, value in wanted.items():
        if name not in state or state[name].shape != value.shape:
            there = list(state[name].shape) if name in state else "not there"
            raise TrainingError(
                f"start: the {which} of {start} does not fit this configuration: {name} is {there}, "
                f"{list(value.shape)} is needed; state the same size, config, critic, masks and classes"
            )
    network.load_state_dict({name: state[name] for name in wanted})
