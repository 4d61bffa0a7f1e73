"""Arguments by name that a function does not take: which one was meant, and what is called otherwise elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

from medzoo.errors import ArgumentError
from medzoo.text import nearest

P = ParamSpec("P")
R = TypeVar("R")

# Names of medigan, diffusers, PyTorch and habit -> those of medzoo.
MEANT = {
    synonym: name
    for name, synonyms in {
        "n": "num_samples n_samples samples number count num num_images n_images num_images_per_prompt",
        "condition": "labels label classes class_name class_label class_labels prompt prompts cond conditions image "
        "images mask masks",
        "model_id": "model id name model_name pretrained_model_name_or_path repo_id",
        "steps": "num_inference_steps num_steps n_steps ddim_steps sampling_steps timesteps",
        "guidance": "guidance_scale cfg cfg_scale",
        "truncation": "truncation_psi psi trunc",
        "sampler": "scheduler",
        "strength": "denoising_strength",
        "noise": "noise_mode",
        "seed": "generator random_state random_seed rng",
        "precision": "torch_dtype dtype",
        "batch_size": "batch bs",
        "progress": "verbose show_progress progress_bar",
        "start": "offset first",
        "folder": "output_path out output outdir out_dir output_dir save_dir",
    }.items()
    for synonym in synonyms.split()
}


def hinted(elsewhere: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function: names that it does not take raise ``ArgumentError``, which says which one is meant.

    Args:
        elsewhere: name -> what to do instead of handing it to this function; of ``MEANT``'s names first.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        takes = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name != "self"
        ]

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in takes:
                    raise ArgumentError(f"{function.__name__}() takes no '{name}'; {_instead(name, takes, elsewhere)}")
            return function(*args, **kwargs)

        return checked

    return decorate


def _instead(name: str, takes: list[str], elsewhere: Mapping[str, str]) -> str:
    meant = MEANT.get(name, name)
    if meant in elsewhere:
        return elsewhere[meant]
    close = (meant,) if meant in takes else nearest(name, takes)
    return f"did you mean '{close[0]}'?" if close else f"it takes {', '.join(takes)}"
