"""The files of a published model: one safetensors file, or for the parts of a pipeline the layout of diffusers.

A folder of the second kind is read by ``DiffusionPipeline.from_pretrained`` as well as by medzoo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from medzoo.entry import Entry
from medzoo.files.reading import parse_json
from medzoo.weights import Weights
from medzoo.weights.diffusers_folder import INDEX

# Part of an entry -> the file of its numbers in a folder of that name.
_NUMBERS = {
    "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "controlnet": "diffusion_pytorch_model",
    "text_encoder": "model",
}  # fmt: skip
_OF_TRANSFORMERS = {"text_encoder": "CLIPTextModel", "tokenizer": "CLIPTokenizer"}
_SCHEDULER = "scheduler/scheduler_config"


def contents(entry: Entry, weights: Mapping[str | None, Weights]) -> dict[str, tuple[str | None, bytes]]:
    """Name of a file -> the part that it is, None for one that no entry lists, and its bytes.

    Args:
        weights: of each part, as they were fetched.
    """
    texts = {part: _text(weights[part].path) for part in entry.parts if part is not None and _suffix(entry, part)}
    pipeline = _pipeline(entry, texts)
    files: dict[str, tuple[str | None, bytes]] = {}
    for part in entry.parts:
        content = texts[part] if part in texts else weights[part].path.read_bytes()
        files[_name(entry, part, pipeline)] = (part, content)
    if pipeline is not None:
        files[INDEX] = (None, (json.dumps(pipeline, indent=2) + "\n").encode())
    return files


def _name(entry: Entry, part: str | None, pipeline: Mapping[str, Any] | None) -> str:
    if part is None:
        return "model.safetensors"
    suffix = _suffix(entry, part)
    if pipeline is None:
        return part.replace("/", "_") + (suffix or ".safetensors")
    folder, _, file = part.partition("/")
    shown = "vqvae" if folder == "vae" and "vqvae" in pipeline else folder
    return f"{shown}/{file}{suffix}" if suffix else f"{shown}/{_NUMBERS[folder]}.safetensors"


def _suffix(entry: Entry, part: str) -> str:
    """``.json`` or ``.txt`` of a part that is text; empty for numbers."""
    source = next(source for source in entry.weights if source.part == part)
    return PurePosixPath(source.name).suffix if source.is_text else ""


def _text(path: Path) -> bytes:
    """The text that was stored as a tensor of its bytes."""
    from safetensors.numpy import load_file

    return load_file(path)["text"].tobytes()


def _pipeline(entry: Entry, texts: Mapping[str, bytes]) -> dict[str, Any] | None:
    """``model_index.json``, made from the classes that the parts name; None where they make no pipeline."""
    numbers = [part for part in entry.parts if part not in texts]
    stated = {part: _class_of(texts.get(f"{part}/config")) for part in numbers if part in _NUMBERS}
    scheduler = _class_of(texts.get(_SCHEDULER))
    own = {part: name for part, name in stated.items() if part not in _OF_TRANSFORMERS}
    if len(stated) < len(numbers) or "unet" not in stated or scheduler is None or None in own.values():
        return None
    prompted = "text_encoder" in stated and any(part.startswith("tokenizer/") for part in texts)
    parts: dict[str, Any] = {
        "vqvae" if name == "VQModel" else part: ["diffusers", name] for part, name in own.items()
    } | {"scheduler": ["diffusers", scheduler]}  # fmt: skip
    if prompted:
        parts |= {part: ["transformers", name] for part, name in _OF_TRANSFORMERS.items()}
        parts |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    return {"_class_name": _class_for(parts, scheduler, prompted), "_diffusers_version": "0.30.0"} | parts


def _class_for(parts: Mapping[str, Any], scheduler: str, prompted: bool) -> str:
    if prompted:
        return "StableDiffusionControlNetPipeline" if "controlnet" in parts else "StableDiffusionPipeline"
    if "vqvae" in parts or "vae" in parts:
        return "LDMPipeline"
    return "DDPMPipeline" if scheduler == "DDPMScheduler" else "DDIMPipeline"


def _class_of(config: bytes | None) -> str | None:
    try:
        found = parse_json(config or b"{}").get("_class_name")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
