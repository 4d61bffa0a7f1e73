"""Presets: how large and how long a run is where nothing is stated, by what the machine can do in an evening.

Each recipe states its own (``Recipe.presets``). ``full`` is what a configuration without further fields is; ``small``
is half as wide a discriminator and half as many steps, for a night on a CPU; ``tiny`` shows within the hour whether
images, masks and settings are what was meant. Stated fields always win.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from medzoo.errors import TrainingError
from medzoo.text import did_you_mean
from medzoo.training.config import STEPS, TrainConfig
from medzoo.training.pace import duration

NAMES = ("tiny", "small", "full")  # from the shortest


@dataclass(frozen=True)
class Preset:
    """Fields of a configuration, and what a step with them costs.

    Attributes:
        fields: that are stated where the user states none.
        share: of the time of a step of ``full``, on a CPU.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0


# Of a family whose networks stay the same.
LENGTHS = {"full": Preset(), "small": Preset({"steps": 10_000}), "tiny": Preset({"steps": 2_000})}


def candidates(wanted: str, device: torch.device) -> tuple[str, ...]:
    """The preset of that name; for ``auto`` all, the one for this machine first.

    Raises TrainingError: there is none of that name.
    """
    if wanted == "auto":
        first = "small" if device.type == "cpu" else "full"
        return (first, *(name for name in NAMES if name != first))
    if wanted not in NAMES:
        meant = did_you_mean(wanted, (*NAMES, "auto"))
        raise TrainingError(f"no preset is named '{wanted}'{meant or ';'} there are auto, {', '.join(NAMES)}")
    return (wanted,)


def filled(stated: Mapping[str, Any], preset: Preset) -> dict[str, Any]:
    """``stated``, with the fields of a preset where it says nothing, inside ``config`` and ``critic`` too."""
    found = dict(stated)
    for name, value in preset.fields.items():
        if isinstance(value, Mapping) and isinstance(found.get(name, {}), Mapping):
            found[name] = {**value, **found.get(name, {})}
        else:
            found.setdefault(name, value)
    return found


def shown(name: str, preset: Preset, config: TrainConfig, device: torch.device) -> str:
    """``preset small, for a CPU: critic.ndf 32, steps 10000``, with the values that the configuration has."""
    flat = []
    for key, value in preset.fields.items():
        for inner in value if isinstance(value, Mapping) else ("",):
            held = getattr(getattr(config, key), inner) if inner else getattr(config, key)
            flat.append(f"{key}.{inner} {held}" if inner else f"{key} {held}")
    machine = "a CPU" if device.type == "cpu" else f"{device.type} devices"
    others = ", ".join(other for other in NAMES if other != name)
    return f"preset {name}, for {machine}: {', '.join(flat) or 'every default'} (others: {others})"


def shorter(presets: Mapping[str, Preset], used: str, seconds: float, steps: int | None = None) -> str:
    """What the shorter presets would take, ``--preset tiny: about 40 min``; empty where there is none.

    Args:
        used: the preset of this run.
        seconds: of one of its steps.
        steps: that were stated, whatever the preset.
    """
    found = []
    for name in reversed(NAMES[: NAMES.index(used)]):
        made = steps or presets[name].fields.get("steps", STEPS)
        time = made * seconds * presets[name].share / presets[used].share
        found.append(f"--preset {name}: about {duration(time)}")
    return "; ".join(found)
