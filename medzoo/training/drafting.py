"""What a training run knows of its model, as the YAML of an entry."""

from __future__ import annotations

from typing import Any

import yaml

from medzoo.entry import Entry
from medzoo.training.config import TrainConfig, VolumeConfig
from medzoo.training.data import About
from medzoo.training.recipes import Recipe


def draft(model_id: str, config: TrainConfig, about: About, recipe: Recipe[Any], *, sha256: str, size: int) -> str:
    """YAML of an entry: what is known stated, the rest null or empty, to be completed by hand."""
    fields = _known(model_id, config, about, recipe, f"Trained with medzoo (training/{model_id}/config.yaml).")
    fields["weights"] = [{"kind": "package", "file": f"weights/{model_id}.safetensors", "sha256": sha256, "size": size}]
    return yaml.safe_dump(fields, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)


def own_entry(config: TrainConfig, about: About, recipe: Recipe[Any]) -> str:
    """YAML of the entry that a run carries, ``medzoo.yaml``, by which it generates before anything is exported.

    Id, weights and checkpoint are placeholders: ``medzoo.catalog.modelfolders`` reads it, and states those of the
    snapshot at hand.
    """
    fields = _known("00000_RUN", config, about, recipe, "A run of medzoo train (config.yaml), not exported.")
    fields["weights"] = [{"kind": "local", "path": "best.safetensors", "sha256": None}]
    return yaml.safe_dump(fields, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)


def _known(model_id: str, config: TrainConfig, about: About, recipe: Recipe[Any], origin: str) -> dict[str, Any]:
    """The fields of an entry but for its weights."""
    sides = [config.size] * 2 if isinstance(config.size, int) else list(config.size)
    kind, spacing, shown = "image+mask" if config.masks else "image", None, f"{config.size} px"
    notes = f"{origin} Not for clinical use."
    if isinstance(config, VolumeConfig):
        kind, spacing = "volume", [config.spacing] * 3
        shown = f"{' x '.join(map(str, sides))} voxels of {config.spacing:g} mm"
        notes += (
            f" It learned {about.images} volume(s), deformed anew in each step: every sample must be taken for a "
            "deformed copy of one of them, and the variety is that of the deformations."
        )
    return Entry.blank(
        model_id,
        config.family,
        **{
            "title": f"{recipe.title or config.family}, {shown}: {about.title}",
            "modality": about.modality,
            "organ": about.organ,
            "tags": ["mask", "segmentation"] if config.masks else [],
            "output": {
                "type": kind,
                "size": sides,
                "channels": about.facts.colours,
                "masks": about.facts.masks,
                "range": [-1, 1],
                "spacing": spacing,
            },
            **recipe.entry(),
            "checkpoint": {"container": "safetensors", "key": None, "strip_prefix": None, "ema": None},
            "license": {"weights": None, "data": about.license},
            "training_data": {
                "datasets": [about.name],
                "images": about.images,
                "public": about.public,
                "about": about.attribution,
            },
            "notes": notes,
        },
    )
