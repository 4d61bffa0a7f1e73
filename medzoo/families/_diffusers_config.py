"""Networks of latent diffusion from the configuration files of diffusers and transformers, read field by field.

Only classes that are listed here are ever made, and only with fields that they know; nothing of a repository is run.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.errors import CheckpointError, MedzooError, pip_install
from medzoo.files.reading import parse_json

# Parts of a model, and the classes of diffusers that a part may be.
CLASSES = {
    "unet": ("UNet2DModel", "UNet2DConditionModel"),
    "vae": ("AutoencoderKL", "VQModel"),
    "controlnet": ("ControlNetModel",),
}
TEXT_ENCODER = "CLIPTextModel"
# Fields of CLIPTextModel's configuration that make the network.
TEXT_FIELDS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("max_position_embeddings", "hidden_act", "layer_norm_eps", "bos_token_id", "eos_token_id", "pad_token_id"),
)
# Those that say nothing about what the network computes.
TEXT_IDLE = (
    *("architectures", "model_type", "dtype", "torch_dtype", "transformers_version", "projection_dim"),
    *("dropout", "attention_dropout", "initializer_factor", "initializer_range", "use_cache", "return_dict"),
)
# Fields that make a network need inputs which no model served here has, unless they are null.
UNSERVED = (
    *("class_embed_type", "addition_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim"),
    *("latents_mean", "latents_std"),
)
# Fields that this project counts with.
COUNTS = (
    *("in_channels", "out_channels", "latent_channels", "vq_embed_dim", "conditioning_channels", "num_class_embeds"),
    *("vocab_size", "max_position_embeddings"),
)
# Of the others those that may be null, or one number for each level, where the library's default is a number.
NULL = ("norm_num_groups", "attention_head_dim")
LISTS = ("layers_per_block", "attention_head_dim", "cross_attention_dim", "transformer_layers_per_block")
# No network served here comes near them; a file that goes beyond would take hours or all memory to make one of.
LARGEST, MOST_LAYERS, LONGEST_LIST, LARGEST_FILE = 1_000_000, 100, 64, 16_000_000


def needs_libraries() -> None:
    """Raises MedzooError, which says what to type, where diffusers or transformers are not installed."""
    try:
        import diffusers  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MedzooError(
            f"a model of diffusers needs the package {error.name or 'diffusers'}; type: "
            f"{pip_install('medzoo[diffusers]')}"
        ) from None


def words(state: Mapping[str, Tensor], part: str) -> str | None:
    """The content of a part that is a text file; None if there is no such part. Raises CheckpointError."""
    found = state.get(f"{part}.text")
    if found is None:
        return None
    if found.dtype != torch.uint8 or len(found) > LARGEST_FILE:
        raise CheckpointError(f"{part}: expected a text file of at most {LARGEST_FILE} bytes")
    try:
        return found.numpy().tobytes().decode()
    except UnicodeDecodeError:
        raise CheckpointError(f"{part}: expected text in UTF-8, found other bytes") from None


def json_words(state: Mapping[str, Tensor], part: str) -> dict[str, Any] | None:
    """The content of a part that is a JSON file. Raises CheckpointError."""
    text = words(state, part)
    if text is None:
        return None
    try:
        content = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{part}.json: expected JSON, found something else ({error})") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{part}.json: expected fields by name, found {type(content).__name__}")
    return content


def network(part: str, fields: Mapping[str, Any]) -> nn.Module:
    """An untrained network of a part. Raises ValueError, which names the field, or MedzooError."""
    if part == "text_encoder":
        return _text_encoder(fields)
    known, checked = _class(part, fields), _checked(part, fields)
    return _made(part, lambda: known(**checked))


def _made(part: str, make: Callable[[], Any]) -> nn.Module:
    try:
        made = make()
    except Exception as error:  # whatever a library says of fields that contradict each other
        raise ValueError(f"{part}: its fields make no network ({type(error).__name__}: {short(error)})") from None
    assert isinstance(made, nn.Module)
    return made


def plausible(part: str, fields: Mapping[str, Any]) -> None:
    """Whether values are of a kind and size that some network has, library or not. Raises ValueError."""
    for name, value in fields.items():
        if name.startswith("_"):
            continue
        if not _is_plain(value):
            raise ValueError(f"{part}.{name} must be a number, a word or a list of them, found {short(value)}")
        numbers = [one for one in _flat(value) if isinstance(one, int | float)]
        most = MOST_LAYERS if "layers" in name else LARGEST
        if not all(math.isfinite(one) and abs(one) <= most and (one >= 0 or type(one) is float) for one in numbers):
            raise ValueError(f"{part}.{name} must lie between 0 and {most}, found {short(value)}")
        if name in COUNTS and not (value is None or (type(value) is int and value >= 1)):
            raise ValueError(f"{part}.{name} must be a whole number of at least 1, found {short(value)}")
    widths = fields.get("block_out_channels", (1,))
    if not isinstance(widths, list | tuple) or not widths or any(type(w) is not int or w < 1 for w in widths):
        raise ValueError(f"{part}.block_out_channels must be a list of whole numbers, found {short(widths)}")


def short(value: Any) -> str:
    """A value in a few words."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def settings(part: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a network, those that are not stated as the class has them by default. Raises as ``network``."""
    defaults = {name: one.default for name, one in _parameters(_class(part, fields)).items()}
    return defaults | _checked(part, fields)


def _class(part: str, fields: Mapping[str, Any]) -> type[Any]:
    needs_libraries()
    import diffusers

    name = fields.get("_class_name")
    if name not in CLASSES[part]:
        raise ValueError(f"{part}._class_name must be {' or '.join(CLASSES[part])}, found {short(name)}")
    found: type[Any] = getattr(diffusers, name)
    return found


def _parameters(network_class: type[Any]) -> dict[str, inspect.Parameter]:
    known = dict(inspect.signature(network_class.__init__).parameters)
    known.pop("self")
    return known


def _checked(part: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the class takes; names with an underscore are notes of the library that wrote the file."""
    stated = {name: value for name, value in fields.items() if not name.startswith("_")}
    known = _parameters(_class(part, fields))
    plausible(part, fields)
    for name, value in stated.items():
        if name not in known:
            raise ValueError(f"{part}.{name} is no field of {fields['_class_name']}; known are {', '.join(known)}")
        if name in UNSERVED and value is not None:
            raise ValueError(f"{part}.{name} must be null, found {short(value)}: such networks are not served")
        if not _fits(name, value, known[name].default):
            raise ValueError(f"{part}.{name} must be such as {known[name].default!r}, found {short(value)}")
    return stated


def _fits(name: str, value: Any, default: Any) -> bool:
    """Whether a value is of the type of a default, null, or a list of them; without one it is no truth value."""
    if isinstance(default, float) or name == "mid_block_scale_factor":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, tuple):
        return isinstance(value, list | tuple)
    if default is None or default is inspect.Parameter.empty:
        return not isinstance(value, bool)
    if type(default) is int:
        lists = isinstance(value, list | tuple) and name in LISTS and len(value) > 0
        whole = (lists or type(value) is int) and all(type(one) is int for one in _flat(value))
        return whole or (value is None and name in NULL)
    return all(one is None or type(one) is type(default) for one in _flat(value))


def _flat(value: Any) -> list[Any]:
    return [one for inner in value for one in _flat(inner)] if isinstance(value, list | tuple) else [value]


def _is_plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list | tuple):
        return depth < 2 and len(value) <= LONGEST_LIST and all(_is_plain(one, depth + 1) for one in value)
    return value is None or isinstance(value, bool | int | float | str)


def _text_encoder(fields: Mapping[str, Any]) -> nn.Module:
    needs_libraries()
    from transformers import CLIPTextConfig, CLIPTextModel

    stated = {name: value for name, value in fields.items() if not name.startswith("_") and name not in TEXT_IDLE}
    architectures = fields.get("architectures") or [TEXT_ENCODER]
    if architectures != [TEXT_ENCODER]:
        raise ValueError(f"text_encoder.architectures must be [{TEXT_ENCODER}], found {short(architectures)}")
    for name, value in stated.items():
        if name not in TEXT_FIELDS:
            raise ValueError(f"text_encoder.{name} is not known; known are {', '.join(TEXT_FIELDS)}")
        if value is None:
            raise ValueError(f"text_encoder.{name} must not be null")
        if name.endswith("_token_id") and type(value) is not int:
            raise ValueError(f"text_encoder.{name} must be a whole number, found {short(value)}")
    plausible("text_encoder", stated)
    encoder = _made("text_encoder", lambda: CLIPTextModel(CLIPTextConfig(**stated)))
    # Counted, and in no checkpoint: where parameters have no numbers yet it would have none either.
    for module in encoder.modules():
        if isinstance(getattr(module, "position_ids", None), Tensor):
            count = module.position_ids.shape[-1]
            module.position_ids = torch.arange(count, device="cpu").expand(1, -1)
    return encoder
