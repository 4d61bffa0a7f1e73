"""A folder that diffusers' ``save_pretrained`` wrote -> its files by part, without running any of diffusers.

``model_index.json`` names a class for each part. The classes must be among those known here; the files of a part
describe the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medzoo.errors import CheckpointError
from medzoo.files import reading

INDEX = "model_index.json"
# Folder -> part, and the classes that it may hold.
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "unet": ("unet", ("UNet2DModel", "UNet2DConditionModel")),
    "vae": ("vae", ("AutoencoderKL", "VQModel")),
    "vqvae": ("vae", ("AutoencoderKL", "VQModel")),
    "controlnet": ("controlnet", ("ControlNetModel",)),
    "text_encoder": ("text_encoder", ("CLIPTextModel",)),
    "tokenizer": ("tokenizer", ("CLIPTokenizer", "CLIPTokenizerFast")),
    "scheduler": ("scheduler", ()),  # its own file says whether it is known
}
# Parts that change no image: a filter that is applied afterwards, and what it needs.
LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
WEIGHT_FILES = ("diffusion_pytorch_model", "model", "pytorch_model")
TEXT_FILES = {
    "tokenizer": ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"),
    "scheduler": ("scheduler_config.json",),
}
# The defaults of diffusers' pipelines for such models.
STEPS, GUIDANCE = 50, 7.5


def read(folder: Path) -> tuple[dict[str | None, Path], dict[str, Any]]:
    """The files of a pipeline by part, and what an entry would state about its sampling and the layout of its files.

    Raises CheckpointError: a class or part is unknown, or a file is missing.
    """
    files: dict[str | None, Path] = {}
    stated = _index(folder)
    for name, class_name in stated.items():
        if name in LEFT_OUT or class_name is None:
            continue
        if name not in PARTS:
            raise CheckpointError(f"{folder / INDEX}: the part '{name}' is not known; known are {', '.join(PARTS)}")
        part, known = PARTS[name]
        if known and class_name not in known:
            raise CheckpointError(f"{folder / INDEX}: '{name}' must be {' or '.join(known)}, found {class_name}")
        files |= _files(folder / name, part)
    sampling: dict[str, Any] = {"steps": STEPS} if "vae" in files else {}
    sampling |= {"guidance": GUIDANCE} if "text_encoder" in files else {}
    return files, {"sampling": sampling, "checkpoint": {"key": None}}


def _index(folder: Path) -> dict[str, str | None]:
    """Part -> name of its class; None if the pipeline does without it."""
    try:
        content = reading.read_json(folder / INDEX)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / INDEX}: cannot be read ({error})") from None
    content = content if isinstance(content, dict) else {}
    pairs = {name: value for name, value in content.items() if isinstance(value, list) and len(value) == 2}
    if not any(value[1] for value in pairs.values()):
        raise CheckpointError(f"{folder / INDEX}: names no parts of a pipeline")
    return {name: None if value[1] is None else str(value[1]) for name, value in pairs.items()}


def _files(folder: Path, part: str) -> dict[str | None, Path]:
    if part in TEXT_FILES:
        found = [folder / name for name in TEXT_FILES[part] if (folder / name).is_file()]
        if not found:
            raise CheckpointError(f"{folder}: expected {', '.join(TEXT_FILES[part])} in it, found none of them")
        return {f"{part}/{path.stem}": path for path in found}
    config, numbers = folder / "config.json", _numbers(folder)
    if not config.is_file():
        raise CheckpointError(
            f"{folder}: expected config.json and numbers in it, such as {WEIGHT_FILES[0]}.safetensors; config.json is "
            f"not among {_listed(folder)}"
        )
    if numbers is None:
        raise CheckpointError(f"{folder}: {_without_numbers(folder)}")
    return {part: numbers, f"{part}/config": config}


def _numbers(folder: Path) -> Path | None:
    """The file of numbers, or the index of several, in full precision if there are any; None where there is neither."""
    for kind in ("", ".fp16"):
        for name in WEIGHT_FILES:
            for suffix in (".safetensors", ".bin"):
                # diffusers and transformers have each put the kind in several places.
                for file in (
                    f"{name}{kind}{suffix}",
                    f"{name}{suffix}.index{kind}.json",
                    f"{name}{kind}{suffix}.index.json",
                    f"{name}.index{kind}{suffix}.json",
                ):
                    if (folder / file).is_file():
                        return folder / file
    return None


def _without_numbers(folder: Path) -> str:
    wanted = f"{WEIGHT_FILES[0]}.safetensors"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if before := [name for name in names if ".non_ema." in name]:
        return (
            f"holds only the weights before averaging ({', '.join(before[:3])}), which are for further training; "
            f"fetch {wanted} or its shards, too, or rename the file to run it as it is"
        )
    if shards := [name for name in names if "-of-" in name]:
        return (
            f"holds shards ({', '.join(shards[:3])}), but not the index that says what is in each; "
            f"fetch {wanted}.index.json, too"
        )
    return f"expected numbers beside config.json, such as {wanted}, found {_listed(folder)}"


def _listed(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "nothing"
