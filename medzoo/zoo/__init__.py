"""From an id to samples: load, generate, stream. The only orchestration.

Id -> entry (catalog, or a Hub repository) -> weights on this disk -> family -> Generator -> Samples.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo import catalog
from medzoo import weights as weights_module
from medzoo.arguments import hinted
from medzoo.catalog import Located
from medzoo.entry import Entry, HubSource
from medzoo.errors import ConditionError, RegistryError, UnknownModelError
from medzoo.progress import Progress
from medzoo.samples import Samples
from medzoo.weights import Weights
from medzoo.zoo import options

if TYPE_CHECKING:
    import torch

    from medzoo.families._base import Generator

    Check = Callable[[type[Generator], Entry], None]

HUB_FILE = "medzoo.yaml"
# What callers may look for here, and where it is.
_IN_FILES = {
    **dict.fromkeys(("folder", "save_images"), "samples.save(FOLDER) writes files, medzoo.generate_into as it goes"),
    **{name: f"medzoo.load(MODEL, {name}=...).generate(N) takes it" for name in ("override", "fused", "weights")},
}
_OF_SAMPLES = {
    name: f"it is for samples: medzoo.load(MODEL).generate(N, {name}=...)"
    for name in ("n", "condition", "seed", "start", "batch_size", "progress")
}
_HUB_ID = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?/?")


@hinted(_IN_FILES)
def generate(
    model_id: str | int,
    n: int | None = None,
    condition: Any = None,
    *,
    seed: int = 0,
    start: int = 0,
    batch_size: int | None = None,
    truncation: float | None = None,
    noise: str | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    window: tuple[float, float] | None = None,
    device: str | torch.device | None = None,
    precision: str | torch.dtype = "float32",
    progress: bool | Progress | None = None,
) -> Samples:
    """Make samples of a model.

    Sample i is decided by the model, the seed, i and its condition, and by nothing else.

    Args:
        model_id: an id, its number, a unique part of it, or ``hf://org/repo[@revision]``.
        n: how many; None for one for each input that ``condition`` lists, else 10.
        condition: what the model is conditioned on: one for all samples or one for each.
        start: index of the first sample.
        batch_size: samples at a time; None lets the memory decide.
        truncation: of a GAN that supports it: below 1 trades variety for quality.
        noise: injected noise of StyleGAN: const, random or none.
        steps, sampler, guidance: of a diffusion model: sampler steps, the sampler (ddpm, ddim, dpm++, heun), and the
            scale of classifier-free guidance, 1 for none.
        strength: of a diffusion model that begins with an image: how much noise it gets, in (0, 1].
        window: numbers of input image files that become black and white, in their units.
        device: "cpu", "cuda", "cuda:1", ...; None for a CUDA device if there is one.
        precision: float32, bfloat16 or float16.
        progress: a bar: True, False, or None for one where a person sees it and has to wait (the environment variable
            ``MEDZOO_PROGRESS=0`` turns that off); or a function, called with (samples done, of how many, (network
            calls done, of how many) of the batch under way or None).

    What is None of truncation to window is as the entry says; what the model's family does not take is refused.

    Raises MedzooError: unknown id, weights that are not available, a wrong condition, option, device or number; all
    but the weights is checked before they are fetched.
    """
    override = options.overriding(
        truncation=truncation, noise=noise, steps=steps, sampler=sampler, guidance=guidance, strength=strength,
        window=window,
    )  # fmt: skip
    numbers: Any = {"seed": seed, "start": start, "batch_size": batch_size}
    generator, n = _cached_generator(model_id, n, condition, numbers, override, device, precision)
    return generator.generate(n, condition, **numbers, progress=progress)


@hinted(_IN_FILES)
def stream(
    model_id: str | int,
    n: int | None = None,
    condition: Any = None,
    *,
    seed: int = 0,
    start: int = 0,
    batch_size: int | None = None,
    truncation: float | None = None,
    noise: str | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    window: tuple[float, float] | None = None,
    device: str | torch.device | None = None,
    precision: str | torch.dtype = "float32",
    progress: bool | Progress | None = False,
) -> Iterator[Samples]:
    """The samples of ``generate``, one batch at a time: a million need no more memory than a thousand.

    The arguments are those of ``generate``; a bar shows with ``progress=True`` only, since yours may be around it.
    """
    override = options.overriding(
        truncation=truncation, noise=noise, steps=steps, sampler=sampler, guidance=guidance, strength=strength,
        window=window,
    )  # fmt: skip
    numbers: Any = {"seed": seed, "start": start, "batch_size": batch_size}
    generator, n = _cached_generator(model_id, n, condition, numbers, override, device, precision)
    return generator.stream(n, condition, **numbers, progress=progress)


@hinted(_OF_SAMPLES)
def load(
    model_id: str | int | None = None,
    *,
    family: str | None = None,
    weights: str | Path | Mapping[str, str | Path] | None = None,
    override: Mapping[str, Any] | None = None,
    fused: bool = True,
    truncation: float | None = None,
    noise: str | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    window: tuple[float, float] | None = None,
    device: str | torch.device | None = None,
    precision: str | torch.dtype = "float32",
) -> Generator:
    """A model, ready to run: ``generate``, ``stream``, ``latents`` and ``decode``.

    Args:
        family, weights: instead of an id, a family and a file of weights on this machine (several: a mapping of
            files by part); what an entry would state is inferred from the file.
        override: fields of the entry that are replaced for this run, such as ``{"output": {"spacing": [0.7, 0.7]}}``.
        fused: rewritten for speed, same images to 1e-4; False runs it as published, and differentiably.
        truncation, noise, steps, sampler, guidance, strength, window, device, precision: as ``generate`` takes them.

    Raises MedzooError, as ``generate`` does.
    """
    from medzoo.zoo import barefile

    override = options.overriding(
        override,
        truncation=truncation, noise=noise, steps=steps, sampler=sampler, guidance=guidance, strength=strength,
        window=window,
    )  # fmt: skip

    if model_id is None and family is not None and weights is not None:
        return barefile.load(family, weights, override, fused=fused, device=device, precision=precision)
    if model_id is None or family is not None or weights is not None:
        raise RegistryError("load takes the id of a model, or family= and weights= of a file on this machine")
    return _build(_resolve(model_id, device, precision, override), fused, device, precision)


def load_checked(
    model_id: str | int,
    check: Check,
    *,
    override: Mapping[str, Any],
    device: str | torch.device | None,
    precision: str | torch.dtype,
) -> Generator:
    """A model for a request that is known: ``check`` gets family and entry before any weights are fetched."""
    return _build(_resolve(model_id, device, precision, override, check), True, device, precision)


def info(model_id: str | int) -> Entry:
    """The entry that an id, a number, a unique part of an id or an ``hf://`` address means.

    Raises UnknownModelError for none or several.
    """
    return find(model_id).entry


def fetch_weights(model_id: str | int) -> tuple[Weights, ...]:
    """Make sure that the weights of a model are on this disk, without running it; one for each of its parts."""
    return _fetch(find(model_id))


def fetch_part(located: Located, part: str | None) -> Weights:
    """One file of the weights of an entry; where the entry comes from decides which files and hosts it may name."""
    from medzoo.weights import checkpoints

    return weights_module.fetch(
        located.entry,
        base=located.registry,
        yaml_path=located.path,
        convert=checkpoints.convert,
        part=part,
        public_only=located.address is not None,  # a stranger's
    )


def find(model_id: str | int) -> Located:
    """An entry and the folders that its weights may be relative to: both None where it comes from the Hub.

    Raises UnknownModelError: no entry, or several, fit; EntryError: its file is broken.
    """
    if isinstance(model_id, str) and model_id.startswith("hf://"):
        entry, address = _hub_entry(model_id)
        return Located(entry, None, None, address)
    path = Path(str(model_id))
    if path.suffix.lower() not in (".yaml", ".yml") and len(path.suffix) > 1 and path.is_file():
        raise UnknownModelError(
            f"'{model_id}' is a file: medzoo.load(family=..., weights='{model_id}') runs it, `medzoo info {model_id}` "
            "says what is in it"
        )
    return catalog.resolve(model_id)


@dataclass(frozen=True)
class _Resolved:
    """All that a Generator is made of: the entry, its weights on this disk, its family."""

    located: Located
    weights: tuple[Weights, ...]
    family: type[Generator]


# The last model that ``generate`` or ``stream`` used, so that calls in a loop do not load it again. Threads that ask
# for other models replace it at any moment, so it is looked at, built and returned under the lock.
_last: tuple[tuple[object, ...], Generator] | None = None
_last_lock = threading.Lock()


def _cached_generator(
    model_id: str | int,
    n: int | None,
    condition: Any,
    numbers: Mapping[str, Any],
    override: Mapping[str, Any],
    device: str | torch.device | None,
    precision: str | torch.dtype,
) -> tuple[Generator, int]:
    """The model of a request, and the number of samples."""
    global _last
    amount = 0

    def check(family: type[Generator], entry: Entry) -> None:
        nonlocal amount
        amount = family.check_request(entry, n, condition, **numbers)

    resolved = _resolve(model_id, device, precision, override, check)
    key = (resolved, device, precision)
    with _last_lock:
        if _last is not None and _last[0] == key:
            return _last[1], amount
        _last = None  # free the old one before the new one takes memory
        generator = _build(resolved, True, device, precision)
        _last = (key, generator)
        return generator, amount


def _hub_entry(address: str) -> tuple[Entry, str]:
    """The entry in the ``medzoo.yaml`` of a Hub repository, and its address with the commit."""
    match = _HUB_ID.fullmatch(address)
    if match is None:
        raise UnknownModelError(f"'{address}' is no address; type hf://organisation/repository or add @revision")
    repo = match["repo"]
    file = weights_module.fetch_text(repo, match["revision"], HUB_FILE)
    entry = catalog.parse(file.text, f"hf://{repo}@{file.commit[:12]}/{HUB_FILE}")

    # A file cannot state the commit that it becomes part of: weights beside it belong to the same one.
    def pinned(source: Any) -> Any:
        same = isinstance(source, HubSource) and source.repo == repo and source.revision is None
        return source.model_copy(update={"revision": file.commit}) if same else source

    pinned_entry = entry.model_copy(update={"weights": tuple(pinned(source) for source in entry.weights)})
    return pinned_entry, f"hf://{repo}@{file.commit}"


def _fetch(located: Located) -> tuple[Weights, ...]:
    return tuple(fetch_part(located, part) for part in located.entry.parts)


def _resolve(
    model_id: str | int,
    device: str | torch.device | None,
    precision: str | torch.dtype,
    override: Mapping[str, Any],
    check: Check | None = None,
) -> _Resolved:
    """Everything checked that can be, then the weights, which may take a long download."""
    from medzoo.families import get_family, known_families
    from medzoo.zoo import barefile

    located = find(model_id)
    entry, known = located.entry, known_families()
    if entry.family not in known:
        running = [other.entry.model_id for other in catalog.scan()[0] if other.entry.family in known]
        raise RegistryError(
            f"{entry.model_id}: its family '{entry.family}' is not built yet. "
            f"Models that run: {', '.join(running[:8]) or 'none'}{', ...' if len(running) > 8 else ''}"
        )
    family = get_family(entry.family)
    family.check_options(device, precision)
    window = override.get("condition", {}).get("window") if isinstance(override.get("condition"), Mapping) else None
    if window is not None and (entry.condition is None or not entry.condition.inputs):
        raise ConditionError(f"{entry.model_id} takes no images, which a window would be of; leave it out")
    chosen = barefile.overridden(entry, override, family.options) if override else entry
    if check is not None:
        check(family, chosen)
    return _Resolved(replace(located, entry=chosen), _fetch(located), family)


def _build(
    resolved: _Resolved, fused: bool, device: str | torch.device | None, precision: str | torch.dtype
) -> Generator:
    from medzoo.weights import checkpoints

    states = {part.part: checkpoints.load_safetensors(part.path) for part in resolved.weights}
    generator = resolved.family(
        resolved.located.entry,
        weights_module.joined(states),
        fused=fused,
        device=device,
        precision=precision,
        weights_sha256=weights_module.joint_sha256({part.part: part.sha256 for part in resolved.weights}),
    )
    if resolved.located.address is not None:
        generator.name = resolved.located.address
    return generator
