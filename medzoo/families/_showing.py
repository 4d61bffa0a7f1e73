"""What a loaded model shows of itself, and what it says to those who look for something of torch in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo import cards

if TYPE_CHECKING:
    from medzoo.families._base import Generator

# Arguments that come too late, and where they go.
LOADED = {
    name: f"state it when the model is loaded: medzoo.load(..., {name}=...)"
    for name in (
        "truncation",
        "noise",
        "steps",
        "sampler",
        "guidance",
        "strength",
        "window",
        "axis",
        "slice",
        "device",
        "precision",
    )
} | {"folder": "samples.save(FOLDER) writes files, and medzoo.generate_into writes as it goes"}
_MOVED = "a model stays where it was loaded, and in that precision: medzoo.load(..., device=, precision=)"
_RUN = "the module of torch is .network; decode(latents) runs it, differentiably after medzoo.load(..., fused=False)"
_OF_MODULES = {
    **dict.fromkeys(("to", "cpu", "cuda", "mps", "half", "float", "bfloat16", "double"), _MOVED),
    **dict.fromkeys(("eval", "train", "parameters", "state_dict", "modules", "named_parameters", "forward"), _RUN),
}


def facts(generator: Generator) -> cards.Facts:
    """What it makes, where it runs, and how it samples."""
    chosen = {name: getattr(generator.entry.sampling, name) for name in generator.options}
    stated = [f"{name} {value}" for name, value in chosen.items() if value is not None]
    shape = generator.latent_shape
    return [
        *(fact for fact in cards.facts(generator.entry) if fact[0] in ("shows", "makes", "takes", "family")),
        ("runs on", f"{generator.device}, {generator.precision}, {'fused' if generator.fused else 'as published'}"),
        ("latents", "none" if shape is None else f"[{', '.join(map(str, ('n', *shape)))}]"),
        ("options", ", ".join(stated) or "none"),
        ("revision", generator.entry.revision),
    ]


def missing(generator: Generator, name: str) -> AttributeError:
    """The error for an attribute that is not there."""
    hint = _OF_MODULES.get(name)
    words = f"'{type(generator).__name__}' has no attribute '{name}'{f': {hint}' if hint else ''}"
    return AttributeError(words, name=name, obj=generator)
