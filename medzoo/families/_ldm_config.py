"""Networks of latent diffusion from the configuration files of diffusers and transformers, read field by field.

Only classes that are listed here are ever made, and only with fields that they know; nothing of a repository is run.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.errors import CheckpointError, MedzooError

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


def needs_libraries() -> None:
    """Raises MedzooError, which says what to type, where diffusers or transformers are not installed."""
    try:
        import diffusers  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MedzooError(
            f"a model of diffusers needs the package {error.name or 'diffusers'}: pip install 'medzoo[diffusers]'"
        ) from None


def words(state: Mapping[str, Tensor], part: str) -> str | None:
    """The text of a part that is a file of words; None where there is no such part."""
    found = state.get(f"{part}.text")
    return None if found is None else found.numpy().tobytes().decode()


def json_words(state: Mapping[str, Tensor], part: str) -> dict[str, Any] | None:
    """The content of a part that is a JSON file. Raises CheckpointError."""
    text = words(state, part)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{part}.json: expected JSON, found something else ({error})") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{part}.json: expected fields by name, found {type(content).__name__}")
    return content


def network(part: str, fields: Mapping[str, Any]) -> nn.Module:
    """The network of a part with any weights. Raises ValueError, which names the field, or MedzooError."""
    if part == "text_encoder":
        return _text_encoder(fields)
    made = _class(part, fields)(**_checked(part, fields))
    assert isinstance(made, nn.Module)
    return made


def settings(part: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a network, those that are not stated as the class has them by default. Raises as ``network``."""
    defaults = {name: one.default for name, one in _parameters(_class(part, fields)).items()}
    return defaults | _checked(part, fields)


def _class(part: str, fields: Mapping[str, Any]) -> type[Any]:
    needs_libraries()
    import diffusers

    name = fields.get("_class_name")
    if name not in CLASSES[part]:
        raise ValueError(f"{part}._class_name must be {' or '.join(CLASSES[part])}, found {name!r}")
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
    for name, value in stated.items():
        if name not in known:
            raise ValueError(f"{part}.{name} is no field of {fields['_class_name']}; known are {', '.join(known)}")
        if not _is_plain(value):
            raise ValueError(f"{part}.{name} must be a number, a word or a list of them, found {value!r}")
        if name in UNSERVED and value is not None:
            raise ValueError(f"{part}.{name} must be null, found {value!r}: such networks are not served")
    return stated


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _text_encoder(fields: Mapping[str, Any]) -> nn.Module:
    needs_libraries()
    from transformers import CLIPTextConfig, CLIPTextModel

    stated = {name: value for name, value in fields.items() if not name.startswith("_") and name not in TEXT_IDLE}
    architectures = fields.get("architectures") or [TEXT_ENCODER]
    if list(architectures) != [TEXT_ENCODER]:
        raise ValueError(f"text_encoder.architectures must be {TEXT_ENCODER}, found {', '.join(architectures)}")
    for name, value in stated.items():
        if name not in TEXT_FIELDS:
            raise ValueError(f"text_encoder.{name} is not known; known are {', '.join(TEXT_FIELDS)}")
        if not _is_plain(value):
            raise ValueError(f"text_encoder.{name} must be a number or a word, found {value!r}")
    encoder = CLIPTextModel(CLIPTextConfig(**stated))
    # Counted, and in no checkpoint: where parameters have no numbers yet it would have none either.
    for module in encoder.modules():
        if isinstance(getattr(module, "position_ids", None), Tensor):
            count = module.position_ids.shape[-1]
            module.position_ids = torch.arange(count, device="cpu").expand(1, -1)
    made: nn.Module = encoder
    return made
