"""The contract of a family: what every generator does around the one method that a family writes.

A family file holds a ``FamilyConfig`` (the fields of ``config`` in a registry entry), the ``torch.nn.Module`` under
the original state-dict names, and a ``Generator`` with ``sample_batch``. See ``docs/families.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from medzoo import cards
from medzoo import device as devices
from medzoo.arguments import hinted
from medzoo.conditions import kind_of
from medzoo.entry import Condition, Entry, Record
from medzoo.errors import ConditionError, GenerationError
from medzoo.families import _loading, _request, _running, _showing
from medzoo.families._condition import Conditions, Given, accepted, count_inputs
from medzoo.families._finishing import draw_classes
from medzoo.families._running import whole_number
from medzoo.nets import use_statistics
from medzoo.progress import Progress
from medzoo.randomness import INDICES, SEEDS, Distribution, Noise
from medzoo.samples import Samples


class FamilyConfig(Record):
    """Base of a family's configuration: frozen, strict, closed to unknown fields; lists become tuples at every depth,
    so that a config can be compared and hashed.
    """


class Generator:
    """A model ready to run: network, device, precision, and the rules that hold for every family.

    Args:
        entry: what the registry says about the model.
        state: state dict under the original names. Its tensors are taken over, not copied.
        fused: rewrite the network for speed (same images to 1e-4); False runs it as its authors ran it, and makes
            ``decode`` differentiable.
        device: "cpu", "cuda", "cuda:1", "mps"; None for a CUDA device if there is one, else the CPU.
        precision: float32, bfloat16 or float16, or the type of torch; what comes out is float32 always.
        weights_sha256: hash of the checkpoint file, noted in every Samples.

    Attributes:
        config: the validated configuration, an instance of ``Config``.
        network: what ``prepare`` gave.
        name: what samples say they come from: the id of the entry, or the ``hf://`` address and commit of one of the
            Hub, which may state any id.
        declared: the condition that the entry declares, with the channels of its images; None without one.

    Raises EntryError (config, condition), CheckpointError (state), DeviceError or GenerationError (precision).
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
    # Kinds of condition that an entry of the family may declare, () for none; None where ``sample_batch`` decides.
    kinds: ClassVar[tuple[str, ...] | None] = None
    # Whether the family draws attributes (NaN in ``Given``) that neither the caller nor the entry gives.
    draws_attributes: ClassVar[bool] = False
    # Called with (calls of the network done, calls in all) during a batch, by families that call it many times.
    on_progress: Callable[[int, int], None] | None = None
    # Whether samples carry the names of the files that they were made from, which may be those of patients; None for
    # all but those of DICOM and NIfTI files.
    input_names: bool | None = None

    def __init__(
        self,
        entry: Entry,
        state: Mapping[str, Tensor],
        *,
        fused: bool = True,
        device: str | torch.device | None = None,
        precision: str | torch.dtype = "float32",
        weights_sha256: str | None = None,
    ) -> None:
        self.entry, self.fused, self.weights_sha256 = entry, fused, weights_sha256
        self.name = entry.model_id
        self.device, self.dtype = self.check_options(device, precision)
        self.precision = str(self.dtype).removeprefix("torch.")
        self.config: Any = self.configure(entry, state)
        self.declared = self._declared()
        _loading.check_sizes(self)
        self.begin(state)
        network = _loading.load_network(self, self.adapt(state)).float().eval().requires_grad_(False)
        _loading.check_norms(entry, network)
        use_statistics(network, entry.sampling.norm_stats or "running")
        self.network = self.prepare(network, fused).to(self.device, self.dtype)
        if fused and self.channels_last and all(weight.dim() < 5 for weight in self.network.parameters()):
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        _loading.check_declared(self)

    def __repr__(self) -> str:
        return cards.text(f"{self.name}, loaded", _showing.facts(self))

    def _repr_html_(self) -> str:
        return cards.card(f"{self.name}, loaded", _showing.facts(self), model_id=self.entry.model_id)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise _showing.missing(self, name)

    # What a family writes or may override.

    @property
    def latent_shape(self) -> tuple[int, ...] | None:
        """Shape of one latent; None for a family that draws none."""
        return None

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Fields of the config that names and shapes of a state dict show; what the entry states goes before them."""
        return {}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...] | None]:
        """(channels, size) of what ``sample_batch`` gives; the size None where it follows the input image."""
        raise NotImplementedError

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        """Fields of the condition that a network of this config takes; None if it takes none."""
        return None

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        """The raw network output [B, channels + masks, (D,) H, W] for B = ``len(noise)``.

        ``self.latent(noise)`` gives the latents, ``noise.normal(shape)`` and ``noise.uniform(shape)`` the next draw to
        inject; all have a row a sample, as has everything in ``given``.
        """
        raise NotImplementedError

    def build(self) -> nn.Module:
        """An untrained network; its weights are replaced."""
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

    def resolve(self, condition: Any, indices: range) -> Conditions:
        """A condition, as ``generate`` takes it or this has given it, for the samples ``indices``.

        Raises ConditionError.
        """
        if isinstance(condition, Conditions):  # to find it may have taken the headers of a whole study
            first = condition.indices.start
            return condition[indices.start - first : indices.stop - first] if indices else condition[:0]
        conditions = _request.conditions(type(self), self.entry, self.declared, condition, indices)
        if not self.input_names:
            conditions = replace(
                conditions,
                inputs=tuple(
                    replace(file, words=f"input {i}", name=f"input{i}")
                    if file.private or self.input_names is not None
                    else file
                    for i, file in enumerate(conditions.inputs)
                ),
            )
        return conditions

    def check_given(self, given: Given) -> None:
        """Raises ConditionError where the network takes a class, images or numbers that nobody gave.

        Families that draw what is missing override it, or state ``"required": False`` in ``takes``.
        """
        takes = self.takes(self.config)
        if not takes or not takes.get("required", True):
            return
        missing = {
            "class": given.labels is None and given.attributes is None,
            "attributes": given.attributes is None and not self.draws_attributes,
            "text": False,  # no prompt is an empty one
        }
        if missing.get(takes["kind"], given.images is None):
            wanted = self.declared or Condition.model_validate(takes)
            undeclared = "; declare it as 'condition' in the entry" if self.declared is None else ""
            raise ConditionError(f"{self.entry.model_id} needs {accepted(wanted)}{undeclared}")

    # What every family has.

    @staticmethod
    def check_options(
        device: str | torch.device | None, precision: str | torch.dtype
    ) -> tuple[torch.device, torch.dtype]:
        """What the two words mean. Raises DeviceError or GenerationError, naming what there is."""
        dtype = _request.precision_type(precision)
        return devices.find(device), dtype

    @classmethod
    def check_request(cls, entry: Entry, n: int | None, condition: Any = None, **numbers: Any) -> int:
        """Check a request as far as the entry tells, before weights are there; gives the number of samples.

        Args:
            numbers: ``seed``, ``start`` and ``batch_size`` of ``generate``.

        Raises GenerationError, ConditionError or ImageFileError.
        """
        return _request.check(cls, entry, n, condition, **numbers)

    @classmethod
    def configure(cls, entry: Entry, state: Mapping[str, Tensor]) -> Any:
        """The config that entry and state dict give together. Raises EntryError."""
        return _loading.configure(cls, entry, state)

    def latent(self, noise: Noise) -> Tensor:
        """The latents of a batch [B, *latent_shape], drawn as the entry's ``sampling.latent`` says."""
        if self.latent_shape is None:
            raise GenerationError(f"{self.entry.model_id}: family '{self.entry.family}' has no latents")
        distribution: Distribution = self.entry.sampling.latent or "normal"
        return noise.latent(self.latent_shape, distribution)

    def latents(self, indices: Iterable[int], seed: int = 0) -> Tensor:
        """The latents [B, *latent_shape] behind samples ``indices`` of a seed, without running the network."""
        rows = [whole_number("index", index, INDICES) for index in indices]
        return self.latent(Noise(whole_number("seed", seed, SEEDS), rows, self.device))

    def given(self, condition: Any, indices: range) -> Given:
        """What the network sees of a condition for the samples ``indices``. Raises ConditionError, ImageFileError."""
        return Given.of(self.resolve(condition, indices), self.device, self.dtype)

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
            _running.check_latents(self, latents)
        if noise is None:
            count = len(latents) if latents is not None else len(given or ()) or self.count_inputs(condition) or 1
            noise = Noise(0, range(count))
        noise = noise.on(self.device, self.dtype)
        if latents is not None:
            noise = noise.given(latents)
        if given is None:
            conditions = self.resolve(condition, range(noise.indices[0], noise.indices[0] + len(noise)))
            given = Given.of(draw_classes(self, conditions, noise), self.device, self.dtype)
        self.check_given(given)
        with devices.exact_convolutions(self.device):
            return self.sample_batch(noise, given).float()

    def samples(
        self,
        latents: Tensor,
        condition: Any = None,
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        batch_size: int | None = None,
        progress: bool | Progress | None = None,
    ) -> Samples:
        """Samples of explicit latents [n, *latent_shape]: images in [0, 1], masks cut, as ``generate`` gives them.

        They are numbered 0 to n - 1, and of no seed: ``samples(latents(at), indices=at)`` has the images of ``at``.

        Args:
            condition: as ``generate`` takes it.
            seed, indices: sample whose injected noise (and class, where none is stated) each gets; None for 0 to n - 1.

        Raises GenerationError: latents of another shape; ConditionError; DeviceError.
        """
        _running.check_latents(self, latents)
        n, injected = len(latents), range(len(latents)) if indices is None else tuple(indices)
        _request.numbers(n, seed, 0, batch_size)
        if len(injected) != n:
            raise GenerationError(f"{self.entry.model_id}: {n} latents need as many indices, found {len(injected)}")
        for index in injected:
            whole_number("index", index, INDICES)
        conditions = self.resolve(condition, range(n))
        size = batch_size or self.suggest_batch_size()
        parts = _running.of_latents(self, latents.detach(), conditions, seed, injected, size)
        made = list(_running.watched(self, parts, n, progress))
        return Samples.concatenate(made) if made else replace(_running.no_samples(self, seed), seed=None)

    @hinted(_showing.LOADED)
    def generate(
        self,
        n: int | None = None,
        condition: Any = None,
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int | None = None,
        progress: bool | Progress | None = None,
    ) -> Samples:
        """Samples ``start`` to ``start + n - 1`` of a seed; the same whatever the batch size.

        Args:
            n: how many; None for one for each thing that ``condition`` lists, else 10.
            condition: see ``docs/conditions.md``; one for all samples or one for each, images in turn.
            batch_size: None lets memory decide.
            progress: a bar: True, False, or None where a person sees it and has to wait; or a function.

        Raises GenerationError, ConditionError or DeviceError (not even one sample fits in memory).
        """
        parts = list(self.stream(n, condition, seed=seed, start=start, batch_size=batch_size, progress=progress))
        if len({part.images.shape[1:] for part in parts}) > 1:
            raise ConditionError(
                f"{self.entry.model_id}: the inputs give images of several sizes, which do not fit in one array; "
                "take them one batch at a time (stream), or bring the inputs to one size"
            )
        return Samples.concatenate(parts) if parts else _running.no_samples(self, seed)

    @hinted(_showing.LOADED)
    def stream(
        self,
        n: int | None = None,
        condition: Any = None,
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int | None = None,
        among: Sequence[range] | None = None,
        progress: bool | Progress | None = False,
    ) -> Iterator[Samples]:
        """The samples of ``generate``, one batch at a time, in constant memory. Arguments are checked at once.

        Args:
            among: only the samples with these indices, such as a killed run has left; None for all.
        """
        n, seed, start = _request.numbers(
            _request.number(self.entry, self.declared, n, condition), seed, start, batch_size
        )
        conditions = self.resolve(condition, range(start, start + n))
        _request.read_first(conditions)
        size = batch_size or (1 if conditions.has_volumes else self.suggest_batch_size())
        parts = [range(start, start + n)] if among is None else among
        samples = chain.from_iterable(
            _running.batches(self, part, conditions[part.start - start : part.stop - start], seed, size)
            for part in parts
        )
        return samples if progress is False else _running.watched(self, samples, sum(map(len, parts)), progress)

    def suggest_batch_size(self) -> int:
        """A batch that fits in the free memory of the device by a cautious guess; 8 where the size is unknown."""
        output = self.entry.output
        if output.size is None:
            return 8
        return devices.batch_size(self.device, (output.channels + output.masks) * math.prod(output.size))

    def count_inputs(self, condition: Any) -> int | None:
        """How many samples a condition lists: images, numbers or classes; None where it is one for all."""
        return None if condition is None else count_inputs(self.entry, self.declared, condition)

    def inputs_sha256(self, condition: Any) -> str | None:
        """Hash of the names and contents of all input images of a condition, in their order; None without any.

        Raises ConditionError: it does not fit, or a file cannot be read.
        """
        declared = self.entry.condition
        if condition is None or declared is None or kind_of(declared).needs != "inputs":
            return None
        try:
            return self.resolve(condition, range(0)).inputs_sha256()
        except OSError as error:
            raise ConditionError(f"{self.entry.model_id}: {error}") from None

    def _declared(self) -> Condition | None:
        """What the entry declares, with the channels of its images, which the network knows best."""
        declared = self.entry.condition
        if declared is None or declared.channels is not None:
            return declared
        return declared.model_copy(update={"channels": (self.takes(self.config) or {}).get("channels")})
