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
from medzoo.catalog import Located, paths
from medzoo.entry import Entry, HubSource
from medzoo.errors import ConditionError, RegistryError, UnknownModelError
from medzoo.progress import Progress
from medzoo.samples import Samples
from medzoo.text import did_you_mean
from medzoo.weights import Weights
from medzoo.zoo import options

if TYPE_CHECKING:
    import torch

    from medzoo.families._base import Generator

    Check = Callable[[type[Generator], Entry], None]

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
    model_id: str | int | Path,
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
    axis: str | None = None,
    slice: int | None = None,
    family: str | None = None,
    device: str | torch.device | None = None,
    precision: str | torch.dtype = "float32",
    progress: bool | Progress | None = None,
) -> Samples:
    """Make samples of a model.

    Sample i is decided by the model, the seed, i and its condition, and by nothing else.

    Args:
        model_id: an id, its number, a unique part of it, ``hf://org/repo[@revision]``, or the path of a model: a run of
            ``medzoo.train``, an entry, a published folder, a folder that diffusers saved, a file of weights.
        family: of a file of weights: the family to look for in it; None tries all.
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
        axis, slice: of input volumes: the plane of the slices that they are cut into (axial, coronal or sagittal; DICOM
            series are taken as acquired), and the one slice to take in place of all.
        device: "cpu", "cuda", "cuda:1", ...; None for a CUDA device if there is one.
        precision: float32, bfloat16 or float16.
        progress: a bar: True, False, or None for one where a person sees it and has to wait (the environment variable
            ``MEDZOO_PROGRESS=0`` turns that off); or a function, called with (samples done, of how many, (network
            calls done, of how many) of the batch under way or None).

    What is None of truncation to slice is as the entry says; what the model's family does not take is refused.

    Raises MedzooError: unknown id, weights that are not available, a wrong condition, option, device or number; all
    but the weights is checked before they are fetched.
    """
    override = options.overriding(
        truncation=truncation, noise=noise, steps=steps, sampler=sampler, guidance=guidance, strength=strength,
        window=window, axis=axis, slice=slice,
    )  # fmt: skip
    numbers: Any = {"seed": seed, "start": start, "batch_size": batch_size}
    generator, n = _cached_generator(model_id, n, condition, numbers, override, device, precision, family)
    return generator.generate(n, condition, **numbers, progress=progress)


@hinted(_IN_FILES)
def stream(
    model_id: str | int | Path,
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
    axis: str | None = None,
    slice: int | None = None,
    family: str | None = None,
    device: str | torch.device | None = None,
    precision: str | torch.dtype = "float32",
    progress: bool | Progress | None = False,
) -> Iterator[Samples]:
    """The samples of ``generate``, one batch at a time: a million need no more memory than a thousand.

    The arguments are those of ``generate``; a bar shows with ``progress=True`` only, since yours may be around it.
    """
    override = options.overriding(
        truncation=truncation, noise=noise, steps=steps, sampler=sampler, guidance=guidance, strength=strength,
        window=window, axis=axis, slice=slice,
    )  # fmt: skip
    numbers: Any = {"seed": seed, "start": start, "batch_size": batch_size}
    generator, n = _cached_generator(model_id, n, condition, numbers, override, device, precision, family)
    return generator.stream(n, condition, **numbers, progress=progress)


@hinted(_OF_SAMPLES)
def load(
    model_id: str | int | Path | None = None,
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
    axis: str | None = None,
    slice: int | None = None,
    device: str | torch.device | None = None,
    precision: str | torch.dtype = "float32",
) -> Generator:
    """A model, ready to run: ``generate``, ``stream``, ``latents`` and ``decode``.

    Args:
        model_id: as ``generate`` takes it.
        family: of a file of weights: the family to look for in it; None tries all.
        weights: instead of ``model_id``, a file of weights, or several by part.
        override: fields of the entry that are replaced for this run, such as ``{"output": {"spacing": [0.7, 0.7]}}``.
        fused: rewritten for speed, same images to 1e-4; False runs it as published, and differentiably.
        truncation, noise, steps, sampler, guidance, strength, window, axis, slice, device, precision: as ``generate``
            takes them.

    Raises MedzooError, as ``generate`` does.
    """
    from medzoo.zoo import barefile

    override = options.overriding(
        override,
        truncation=truncation, noise=noise, steps=steps, sampler=sampler, guidance=guidance, strength=strength,
        window=window, axis=axis, slice=slice,
    )  # fmt: skip

    if model_id is None and weights is not None:
        return barefile.load(family, weights, override, fused=fused, device=device, precision=precision)
    if model_id is None or weights is not None:
        raise RegistryError("load takes a model (an id, a path, an address), or weights= of a file on this machine")
    return _build(_resolve(model_id, device, precision, override, family=family), fused, device, precision)


def load_checked(
    model_id: str | int | Path,
    check: Check,
    *,
    override: Mapping[str, Any],
    device: str | torch.device | None,
    precision: str | torch.dtype,
    family: str | None = None,
) -> Generator:
    """A model for a request that is known: ``check`` gets family and entry before any weights are fetched."""
    return _build(_resolve(model_id, device, precision, override, check, family), True, device, precision)


def info(model_id: str | int | Path, *, family: str | None = None) -> Entry:
    """The entry that an id, a number, a unique part of an id, a path or an ``hf://`` address means.

    Its id is what samples carry: of an address that one with its commit, of a run its step, of a file its name.

    Raises UnknownModelError for none or several.
    """
    return find(model_id, family).named


def fetch_weights(model_id: str | int | Path) -> tuple[Weights, ...]:
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


def find(model_id: str | int | Path, family: str | None = None, override: Mapping[str, Any] | None = None) -> Located:
    """An entry and the folders that its weights may be relative to: both None where it comes from the Hub.

    Args:
        model_id: an id, an address, or the path of a model (``medzoo.catalog.paths``).
        family, override: of a bare file of weights, as ``load`` takes them.

    Raises UnknownModelError: no entry, or several, fit; EntryError: its file is broken; CheckpointError: a bare file
    is of no family, or of several.
    """
    if isinstance(model_id, str) and model_id.startswith("hf://"):
        entry, address = _hub_entry(model_id)
        return Located(entry, None, None, address)
    at = paths.what_is(model_id)
    if at is not None and at.is_bare:
        from medzoo.zoo import barefile

        return barefile.located(at.path, family, override)
    located = catalog.resolve(model_id)
    if family is not None and family != located.entry.family:
        raise RegistryError(f"{model_id}: is of family '{located.entry.family}'; leave family '{family}' out")
    return located


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
    model_id: str | int | Path,
    n: int | None,
    condition: Any,
    numbers: Mapping[str, Any],
    override: Mapping[str, Any],
    device: str | torch.device | None,
    precision: str | torch.dtype,
    family: str | None,
) -> tuple[Generator, int]:
    """The model of a request, and the number of samples."""
    global _last
    amount = 0

    def check(cls: type[Generator], entry: Entry) -> None:
        nonlocal amount
        amount = cls.check_request(entry, n, condition, **numbers)

    resolved = _resolve(model_id, device, precision, override, check, family)
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
    file = weights_module.fetch_text(repo, match["revision"], paths.HUB_FILE)
    entry = catalog.parse(file.text, f"hf://{repo}@{file.commit[:12]}/{paths.HUB_FILE}")

    # A file cannot state the commit that it becomes part of: weights beside it belong to the same one.
    def pinned(source: Any) -> Any:
        same = isinstance(source, HubSource) and source.repo == repo and source.revision is None
        return source.model_copy(update={"revision": file.commit}) if same else source

    pinned_entry = entry.model_copy(update={"weights": tuple(pinned(source) for source in entry.weights)})
    return pinned_entry, f"hf://{repo}@{file.commit}"


def _fetch(located: Located) -> tuple[Weights, ...]:
    return tuple(fetch_part(located, part) for part in located.entry.parts)


def _resolve(
    model_id: str | int | Path,
    device: str | torch.device | None,
    precision: str | torch.dtype,
    override: Mapping[str, Any],
    check: Check | None = None,
    family: str | None = None,
) -> _Resolved:
    """Everything checked that can be, then the weights, which may take a long download."""
    from medzoo.families import get_family, known_families
    from medzoo.zoo import barefile

    located = find(model_id, family, override)
    entry, known = located.entry, known_families()
    if entry.family not in known:
        running = [other.entry.model_id for other in catalog.scan()[0] if other.entry.family in known]
        raise RegistryError(
            f"{entry.model_id}: its family '{entry.family}' is not built yet"
            f"{did_you_mean(entry.family, known) or '.'} Models that run: "
            f"{', '.join(running[:8]) or 'none'}{', ...' if len(running) > 8 else ''}"
        )
    cls = get_family(entry.family)
    cls.check_options(device, precision)
    below = override.get("condition")
    stated = below if isinstance(below, Mapping) else {}
    of_images = [name for name in ("window", "axis", "slice") if stated.get(name) is not None]
    if of_images and (entry.condition is None or not entry.condition.inputs):
        raise ConditionError(f"{entry.model_id} takes no images, which a {of_images[0]} would be of; leave it out")
    chosen = barefile.overridden(entry, override, cls.options) if override else entry
    if check is not None:
        check(cls, chosen)
    return _Resolved(replace(located, entry=chosen), _fetch(located), cls)


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
    generator.name = resolved.located.name
    return generator
