"""The contract of a family: what every generator does around the one method that a family writes.

A family file holds a ``FamilyConfig`` (the fields of ``config`` in a registry entry), the ``torch.nn.Module`` under
the original state-dict names, and a ``Generator`` with ``sample_batch``. See ``docs/families.md``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from medzoo import device as devices
from medzoo.conditions import kind_of
from medzoo.entry import Condition, Entry, Record
from medzoo.errors import CheckpointError, ConditionError, DeviceError, EntryError, GenerationError, problems
from medzoo.families._condition import Conditions, Given, count_inputs, resolve_condition
from medzoo.nets import use_statistics
from medzoo.randomness import INDICES, SEEDS, Distribution, Noise
from medzoo.samples import Samples

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class FamilyConfig(Record):
    """Base of a family's configuration: frozen, strict, closed to unknown fields; lists become tuples."""


class Generator:
    """A model ready to run: network, device, precision, and the rules that hold for every family.

    Args:
        entry: what the registry says about the model.
        state: state dict under the original names. Its tensors are taken over, not copied.
        fused: rewrite the network for speed (same images to 1e-4); False runs it as its authors ran it, and makes
            ``decode`` differentiable.
        device: "cpu", "cuda", "cuda:1", "mps"; None for a CUDA device if there is one, else the CPU.
        precision: float32, bfloat16 or float16; what comes out is float32 always.
        weights_sha256: hash of the checkpoint file, noted in every Samples.

    Raises EntryError (config), CheckpointError (state), DeviceError or GenerationError (precision).
    """

    Config: ClassVar[type[FamilyConfig]]
    # Called with the fields of the config, unless the family writes ``build``.
    Network: ClassVar[type[nn.Module]]
    # Regular expressions of state-dict keys that may be missing or left over.
    tolerates: ClassVar[tuple[str, ...]] = (r"num_batches_tracked$",)
    # Whether channels lie innermost in the memory of a fused network, which changes the last digits of sums.
    channels_last: ClassVar[bool] = True
    # What a user may choose of ``Entry.sampling``: those of truncation, noise, steps, sampler, guidance and strength
    # that such networks have.
    options: ClassVar[tuple[str, ...]] = ()
    # Whether the family draws attributes (NaN in ``Given``) that neither the caller nor the entry gives.
    draws_attributes: ClassVar[bool] = False
    # Told (calls of the network done, in all) while a batch is under way, by families that call it many times.
    tell: Callable[[int, int], None] | None = None

    def __init__(
        self,
        entry: Entry,
        state: Mapping[str, Tensor],
        *,
        fused: bool = True,
        device: str | torch.device | None = None,
        precision: str = "float32",
        weights_sha256: str | None = None,
    ) -> None:
        self.entry, self.fused, self.precision, self.weights_sha256 = entry, fused, precision, weights_sha256
        self.device, self.dtype = self.check(device, precision)
        self.config: Any = self.configure(entry, state)
        self.accepts = self._condition()
        self.begin(state)
        network = self._loaded(self.adapt(state)).float().eval().requires_grad_(False)
        use_statistics(network, entry.sampling.norm_stats or "running")
        self.network = self.prepare(network, fused).to(self.device, self.dtype)
        if fused and self.channels_last and all(weight.dim() < 5 for weight in self.network.parameters()):
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    # What a family writes or may override.

    @property
    def latent_shape(self) -> tuple[int, ...] | None:
        """Shape of one latent; None for a family that draws none."""
        return None

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Fields of the config that names and shapes of a state dict tell; what the entry states goes before them."""
        return {}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...] | None]:
        """(channels, size) of what ``sample_batch`` gives; the size None where it follows the input image."""
        raise NotImplementedError

    @classmethod
    def condition(cls, config: Any) -> dict[str, Any] | None:
        """Fields of the condition that a network of this config takes; None for none."""
        return None

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        """The raw network output [B, channels + masks, (D,) H, W] for B = ``len(noise)``.

        ``self.latent(noise)`` gives the latents, ``noise.normal(shape)`` and ``noise.uniform(shape)`` the next draw to
        inject; all have a row a sample, as has everything in ``given``.
        """
        raise NotImplementedError

    def build(self) -> nn.Module:
        """The network with any weights."""
        return self.Network(**dict(self.config))

    def begin(self, state: Mapping[str, Tensor]) -> None:
        """Called once the config is known, before a network is made.

        Families check the entry here, and keep what sampling needs of the state dict beside the network's numbers.
        """

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The state dict under the names of ``build``'s network: families rename other layouts or drop buffers here."""
        return state

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        """The network to run, made from the loaded one (float32, CPU, eval mode, the entry's statistics of batch norm).

        Families fuse here.
        """
        return network

    # What every family has.

    @staticmethod
    def check(device: str | torch.device | None, precision: str) -> tuple[torch.device, torch.dtype]:
        """What the two words mean. Raises DeviceError or GenerationError, naming what there is."""
        if precision not in PRECISIONS:
            raise GenerationError(f"unknown precision '{precision}'; choose from {', '.join(PRECISIONS)}")
        return devices.find(device), PRECISIONS[precision]

    @classmethod
    def configure(cls, entry: Entry, state: Mapping[str, Tensor]) -> Any:
        """The config that entry and state dict tell together. Raises EntryError."""
        stated = {name: value for name, value in entry.config.items() if value is not None}
        try:
            told = cls.infer(state)
        except (IndexError, KeyError, TypeError, ValueError, ArithmeticError):  # of another network altogether
            told = {}
        try:
            return cls.Config.model_validate(told | stated)
        except ValidationError as error:
            raise EntryError(
                f"{entry.model_id}: 'config' does not fit family '{entry.family}': "
                + "; ".join(problems(error, "config"))
            ) from None

    def latent(self, noise: Noise) -> Tensor:
        """The latents of a batch [B, *latent_shape], drawn as the entry's ``sampling.latent`` says."""
        if self.latent_shape is None:
            raise GenerationError(f"{self.entry.model_id}: family '{self.entry.family}' has no latents")
        distribution: Distribution = self.entry.sampling.latent or "normal"
        return noise.latent(self.latent_shape, distribution)

    def latents(self, indices: Iterable[int], seed: int = 0) -> Tensor:
        """The latents [B, *latent_shape] behind samples ``indices`` of a seed, without running the network."""
        known = [_whole("index", index, INDICES) for index in indices]
        return self.latent(Noise(_whole("seed", seed, SEEDS), known, self.device))

    def decode(self, latents: Tensor | None = None, condition: Any = None, *, noise: Noise | None = None) -> Tensor:
        """Raw network output [B, channels + masks, (D,) H, W] float32 for explicit latents [B, *latent_shape].

        Differentiable with respect to the latents (and the images of a ``Given``) when ``fused=False``.

        Args:
            latents: None draws those of ``noise``.
            condition: as ``generate`` takes it, or a ``Given``: tensors as the network sees them.
            noise: where injected draws come from; by default seed 0 and indices 0 to B - 1, so that
                ``decode(latents(range(B)))`` is what ``generate(B)`` shows.
        """
        given = condition.on(self.device, self.dtype) if isinstance(condition, Given) else None
        if latents is not None:
            self._check_latents(latents)
        if noise is None:
            count = len(latents) if latents is not None else len(given or ()) or self.count_inputs(condition) or 1
            noise = Noise(0, range(count))
        noise = noise.on(self.device, self.dtype)
        if latents is not None:
            noise = noise.given(latents)
        if given is None:
            conditions = self._resolve(condition, range(noise.indices[0], noise.indices[0] + len(noise)))
            given = Given.of(self._with_classes(conditions, noise), self.device, self.dtype)
        with devices.exact_convolutions(self.device):
            return self.sample_batch(noise, given).float()

    def generate(
        self, n: int, condition: Any = None, *, seed: int = 0, start: int = 0, batch_size: int | None = None
    ) -> Samples:
        """Samples ``start`` to ``start + n - 1`` of a seed; the same whatever the batch size.

        Args:
            condition: see ``docs/conditions.md``; one for all samples or one for each, images in turn.
            batch_size: None lets memory decide.

        Raises GenerationError, ConditionError or DeviceError (not even one sample fits in memory).
        """
        parts = list(self.stream(n, condition, seed=seed, start=start, batch_size=batch_size))
        if len({part.images.shape[1:] for part in parts}) > 1:
            raise ConditionError(
                f"{self.entry.model_id}: the inputs give images of several sizes, which do not fit in one array; "
                "take them one batch at a time (stream), or bring the inputs to one size"
            )
        return Samples.concatenate(parts) if parts else self._empty(seed)

    def stream(
        self,
        n: int,
        condition: Any = None,
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int | None = None,
        among: Sequence[range] | None = None,
    ) -> Iterator[Samples]:
        """The samples of ``generate``, one batch at a time, in constant memory. Arguments are checked at once.

        Args:
            among: only the samples with these indices, such as a killed run has left; None for all.
        """
        n, start = _whole("n", n, INDICES), _whole("start", start, INDICES)
        _whole("start + n", start + n, INDICES)
        seed = _whole("seed", seed, SEEDS)
        conditions = self._resolve(condition, range(start, start + n))
        if batch_size is not None:
            _whole("batch_size", batch_size, INDICES, least=1)
        if conditions.inputs and n:
            conditions.inputs[start % len(conditions.inputs)].read()  # before anything is written
        size = batch_size or self.suggest_batch_size()
        parts = [range(start, start + n)] if among is None else among
        return chain.from_iterable(
            self._batches(part, conditions[part.start - start : part.stop - start], seed, size) for part in parts
        )

    def suggest_batch_size(self) -> int:
        """A batch that fits in the free memory of the device by a cautious guess; 8 where the size is unknown."""
        output = self.entry.output
        if output.size is None:
            return 8
        return devices.batch_size(self.device, (output.channels + output.masks) * math.prod(output.size))

    def count_inputs(self, condition: Any) -> int | None:
        """How many samples a condition lists: images, numbers or classes; None where it is one for all."""
        return None if condition is None else count_inputs(self.entry, self.accepts, condition)

    def inputs_sha256(self, condition: Any) -> str | None:
        """Hash of the names and contents of all input images of a condition, in their order; None without any.

        Raises ConditionError: it does not fit, or a file cannot be read.
        """
        declared = self.entry.condition
        if condition is None or declared is None or kind_of(declared).needs != "inputs":
            return None
        try:
            return self._resolve(condition, range(0)).inputs_sha256()
        except OSError as error:
            raise ConditionError(f"{self.entry.model_id}: {error}") from None

    # How it is done.

    def _condition(self) -> Condition | None:
        """What the entry declares, with the channels of its images, which the network knows best."""
        declared = self.entry.condition
        if declared is None or declared.channels is not None:
            return declared
        known = self.condition(self.config) or {}
        return declared.model_copy(update={"channels": known.get("channels")})

    def _resolve(self, condition: Any, indices: range) -> Conditions:
        conditions = resolve_condition(self.entry, self.accepts, condition, indices)
        rows = conditions.attributes
        if rows is not None and not self.draws_attributes and np.isnan(rows).any():
            missing = [name for k, name in enumerate(conditions.names_of) if np.isnan(rows[:, k]).any()]
            raise ConditionError(f"{self.entry.model_id} needs a number for {', '.join(missing)}")
        return conditions

    def _with_classes(self, conditions: Conditions, noise: Noise) -> Conditions:
        """With a class for every sample where the model takes one and nobody states it: drawn from its own noise."""
        declared = self.accepts
        if declared is None or not kind_of(declared).labelled or not declared.classes or conditions.labels is not None:
            return conditions
        return replace(conditions, labels=noise.classes(len(declared.classes)), classes=declared.classes)

    def _check_latents(self, latents: Any) -> None:
        if not isinstance(latents, Tensor):
            raise GenerationError(
                f"{self.entry.model_id}: latents must be a torch tensor, found {type(latents).__name__}"
            )
        shape = self.latent_shape
        if shape is None or tuple(latents.shape[1:]) != shape:
            wanted = "None: it draws none" if shape is None else f"[n, {', '.join(map(str, shape))}]"
            raise GenerationError(f"{self.entry.model_id}: latents must be {wanted}, found {list(latents.shape)}")

    def _batches(self, indices: range, conditions: Conditions, seed: int, size: int) -> Iterator[Samples]:
        def batch(part: slice) -> Samples:
            return self._attempt(indices[part], conditions[part], seed)

        try:
            yield from devices.in_parts(batch, len(indices), size, self.device)
        except torch.OutOfMemoryError:
            raise DeviceError(
                f"{self.entry.model_id}: the memory of '{self.device}' is too small for a single sample; "
                "free some, or choose another with device= (--device)"
            ) from None

    def _attempt(self, indices: range, conditions: Conditions, seed: int) -> Samples:
        """One batch. Raises what torch raises where it does not fit in memory."""
        with torch.inference_mode(), devices.exact_convolutions(self.device):
            noise = Noise(seed, indices, self.device, self.dtype)
            conditions = self._with_classes(conditions, noise)
            raw = self.sample_batch(noise, Given.of(conditions, self.device, self.dtype))
            return self._finish(raw, indices, conditions, seed)

    def _finish(self, raw: Tensor, indices: range, conditions: Conditions, seed: int) -> Samples:
        """Raw output -> Samples: checked, scaled to [0, 1], masks cut at one half."""
        self._check(raw, indices)
        output = self.entry.output
        low, high = output.range
        images = raw[:, : output.channels].float().sub(low).div_(high - low).clamp_(0, 1)
        masks = raw[:, output.channels :].gt((low + high) / 2).to(torch.uint8) if output.masks else None
        return Samples(
            images=images.contiguous().cpu().numpy(),
            masks=None if masks is None else masks.contiguous().cpu().numpy(),
            labels=None if conditions.labels is None else conditions.labels.copy(),
            condition=conditions.words,
            names=conditions.names,
            indices=np.array(indices, dtype=np.int64),
            **self._origin(seed),
        )

    def _check(self, raw: Tensor, indices: range) -> None:
        output, name = self.entry.output, self.entry.model_id
        dims = 3 if output.type.startswith("volume") else 2
        size = output.size or tuple(raw.shape[-dims:])
        wanted = (len(indices), output.channels + output.masks, *size)
        if tuple(raw.shape) != wanted:
            raise GenerationError(
                f"{name}: the entry states output {list(wanted)} (samples, channels and masks, size), "
                f"the network gave {list(raw.shape)}; correct 'output' or 'config' in the entry"
            )
        # One number that is not finite makes the sum not finite, and a sum takes a fifth of the time.
        if not torch.isfinite(raw.sum(dtype=torch.float32)) and not torch.isfinite(raw).all():
            finite = torch.isfinite(raw).flatten(1).all(1).tolist()
            broken = [i for i, fine in zip(indices, finite, strict=True) if not fine]
            raise GenerationError(
                f"{name}: the network gave numbers that are not finite for index {_listed(broken)} "
                f"in {self.precision}; try precision float32"
            )

    def _empty(self, seed: int) -> Samples:
        output = self.entry.output
        size = output.size or (0,) * (3 if output.type.startswith("volume") else 2)
        labelled = self.entry.condition is not None and kind_of(self.entry.condition).labelled
        return Samples(
            images=np.zeros((0, output.channels, *size), np.float32),
            masks=np.zeros((0, output.masks, *size), np.uint8) if output.masks else None,
            labels=np.zeros(0, np.int64) if labelled else None,
            condition=() if self.entry.condition else None,
            indices=np.zeros(0, np.int64),
            **self._origin(seed),
        )

    def _origin(self, seed: int) -> dict[str, Any]:
        entry = self.entry
        return {
            "seed": seed, "model_id": entry.model_id, "revision": entry.revision, "weights_sha256": self.weights_sha256
        }  # fmt: skip

    def _loaded(self, state: Mapping[str, Tensor]) -> nn.Module:
        """The network with the tensors of ``state``, every key accounted for."""
        try:
            with torch.device("meta"):  # no memory, no random start values
                network = self.build()
        except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
            raise EntryError(
                f"{self.entry.model_id}: 'config' does not make a network of family '{self.entry.family}': "
                f"{str(error).partition(chr(10))[0]}"
            ) from error
        self._check_state(network.state_dict(), state)
        network.load_state_dict(state, strict=False, assign=True)
        if any(tensor.is_meta for tensor in chain(network.parameters(), network.buffers())):
            # Tensors that no checkpoint holds: those tolerated, and those that a network computes for itself.
            network = self.build()
            network.load_state_dict(state, strict=False, assign=True)
        return network

    def _check_state(self, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
        def strict(keys: Iterable[str]) -> list[str]:
            return [key for key in keys if not any(re.search(pattern, key) for pattern in self.tolerates)]

        def shapes(key: str) -> str:
            return f"{key} is {list(found[key].shape)}, the network needs {list(wanted[key].shape)}"

        wrong = [shapes(key) for key in wanted if key in found and found[key].shape != wanted[key].shape]
        problems = {
            "missing": strict(key for key in wanted if key not in found),
            "unexpected": strict(key for key in found if key not in wanted),
            "of another shape": wrong,
        }
        if any(problems.values()):
            told = "; ".join(f"{len(keys)} {what}: {_listed(keys)}" for what, keys in problems.items() if keys)
            raise CheckpointError(
                f"{self.entry.model_id}: the weights do not fit family '{self.entry.family}': {told}. "
                "Correct 'config' or 'checkpoint' (key, strip_prefix) in the entry"
            )


def _whole(name: str, value: Any, limit: int, *, least: int = 0) -> int:
    """A whole number from ``least`` to ``limit - 1``, or a GenerationError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise GenerationError(f"{name} must be a whole number, found {value!r}")
    if not least <= value < limit:
        raise GenerationError(f"{name} must lie between {least} and {limit - 1}, found {value}")
    return int(value)


def _listed(things: Sequence[Any], most: int = 4) -> str:
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(map(str, things[:most])) + more
