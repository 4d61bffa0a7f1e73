"""Which state dict of a file is the generator: every place is tried, averaged weights first, and a tie is an error.

A file gives one network in every process, or none: nothing here depends on the order of a set, and where two state
dicts fit equally well, the caller has to state which one is meant.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medzoo import limits
from medzoo.entry import Checkpoint, Entry
from medzoo.errors import CheckpointError, EntryError
from medzoo.families._base import Generator
from medzoo.text import first_line
from medzoo.weights import averages, layout, places
from medzoo.weights.checkpoints import Opened
from medzoo.weights.pickles import Refused
from medzoo.weights.places import Average, Candidate
from medzoo.weights.tensors import check_finite

_log = logging.getLogger(__name__)
_MOST_NETWORKS = 32  # that are made and do not fit; where shapes alone tell so, none is made
_MOST_OF_SEVERAL = 16  # places that are tried where each has to be there in several files
_SIMILAR = 0.5  # of the shapes of a network, from which on averaged weights are taken for its own
# What goes wrong while a family reads the weights of some other network.
_FAULTS = (CheckpointError, EntryError, RuntimeError, ArithmeticError, LookupError, TypeError, ValueError)


class OverrideError(EntryError):
    """What the caller states is wrong, whatever is in the file."""


@dataclass(frozen=True)
class Maker:
    """What becomes of a state dict.

    Attributes:
        describe: (layout, tensors) -> the entry, and the state dict of all parts. Raises EntryError, CheckpointError.
        build: the network; changes the tensors it gets. Raises EntryError, CheckpointError.
    """

    describe: Callable[[Checkpoint, Mapping[str, Tensor]], tuple[Entry, Mapping[str, Tensor]]]
    build: Callable[[Entry, Mapping[str, Tensor]], Generator]


@dataclass(frozen=True)
class _Fit:
    """A state dict whose shapes tell a network; the candidate is None where the caller stated all of it."""

    candidate: Candidate | None
    checkpoint: Checkpoint
    tensors: dict[str, Tensor]
    entry: Entry
    whole: Mapping[str, Tensor]


class Search:
    """The choice among the state dicts of one file.

    Args:
        several: whether the model has other files, too, which have to fit the same ``checkpoint``.

    Attributes:
        failures: why a place does not fit, in words, once ``choose`` gave None.
    """

    def __init__(self, file: Opened, maker: Maker, family: str, *, several: bool) -> None:
        self.file, self.maker, self.family, self.several = file, maker, family, several
        self.failures: dict[str, Exception] = {}
        self.places = places.places(file.content)
        self._networks = 0

    def choose(self, stated: Mapping[str, Any]) -> Generator | None:
        """The generator, or None where nothing fits.

        Args:
            stated: fields of ``checkpoint`` that the caller states; the others are found.

        Raises CheckpointError: several state dicts fit, averaged ones cannot be used, or numbers are not finite.
        """
        if chosen := {name: value for name, value in stated.items() if name != "container"}:
            return self._stated(chosen, stated.get("container"))
        every = places.candidates(self.places)[: _MOST_OF_SEVERAL if self.several else None]
        if not every:  # which says what is wrong with it
            return self._stated({}, stated.get("container"))
        made = self._only(self._fits(candidate for candidate in every if candidate.averaged))
        if made is not None:
            return made
        raw = self._fits(candidate for candidate in every if not candidate.averaged)
        averaged = places.averaged(self.places) if raw else []
        made = self._only(self._laid_over(raw, averaged))
        if made is None and (made := self._only(raw)) is not None:
            self._check_unused(raw[0], averaged)
        return made

    def _stated(self, stated: Mapping[str, Any], container: str | None) -> Generator | None:
        """What is stated, taken literally; else what is stated with a prefix that is not."""
        checkpoint = self._checkpoint(container=container, **stated)
        fits: list[_Fit] = []
        try:
            state = layout.state(self.file.content, checkpoint, self.file.path.name)
            fits = [self._described(checkpoint, state, None)]
        except OverrideError:
            raise
        except _FAULTS as error:
            self._note(checkpoint, error)
        made = self._only(fits)
        if made is not None or self.several:
            return made
        every = [one for one in places.candidates(self.places) if _agrees(one, stated)]
        return self._only(self._fits(every, ema=stated.get("ema"), container=container))

    def _fits(self, every: Iterable[Candidate], *, ema: str | None = None, container: str | None = None) -> list[_Fit]:
        """The candidates whose tensors are those of a network of the family; equal numbers count once."""
        described: list[_Fit] = []
        for candidate in every:
            checkpoint = self._checkpoint(candidate.key, candidate.strip_prefix, ema, container)
            try:
                state = candidate.state
                if ema is not None:
                    state = layout.state(self.file.content, checkpoint, self.file.path.name)
                described.append(self._described(checkpoint, state, candidate))
            except OverrideError:
                raise
            except _FAULTS as error:
                self._note(checkpoint, error)
        found: list[_Fit] = []
        for fit in described:
            if any(_contains(other, fit) or _same(other, fit) for other in found):
                continue
            # One alone is made once, by the caller.
            if len(described) == 1 or any(_alike(other, fit) for other in found) or self._is_network(fit):
                found.append(fit)
        return found

    def _described(self, checkpoint: Checkpoint, state: Mapping[str, Any], candidate: Candidate | None) -> _Fit:
        tensors = self.file.tensors(state)
        entry, whole = self.maker.describe(checkpoint, tensors)
        return _Fit(candidate, checkpoint, tensors, entry, whole)

    def _is_network(self, fit: _Fit) -> bool:
        if self._networks >= _MOST_NETWORKS:
            return False
        try:
            # Copies: a family may change what it gets.
            self.maker.build(fit.entry, {name: value.clone() for name, value in fit.whole.items()})
        except _FAULTS as error:
            self._networks += 1
            self._note(fit.checkpoint, error)
            return False
        return True

    def _laid_over(self, raw: Sequence[_Fit], averaged: Sequence[Average]) -> list[_Fit]:
        """Averaged weights that are no state dict of their own, over those before averaging."""
        found: list[_Fit] = []
        for average in averaged:
            for candidate in places.fitting(average, [fit.candidate for fit in raw if fit.candidate is not None]):
                checkpoint = self._checkpoint(candidate.key, candidate.strip_prefix, average.name)
                try:
                    state = layout.state(self.file.content, checkpoint, self.file.path.name)
                    fit = self._described(checkpoint, state, candidate)
                except _FAULTS as error:
                    self._note(checkpoint, error)
                    continue
                if not any(_same(known, fit) for known in found):
                    found.append(fit)
        return found

    def _only(self, fits: Sequence[_Fit]) -> Generator | None:
        """The network of the only fit, None where there is none. Raises CheckpointError where there are several."""
        if not fits:
            return None
        if len(fits) > 1:
            most = limits.most("problems")
            lines = "".join(f"\n  override={_to_type(fit.checkpoint)}" for fit in fits[:most])
            raise CheckpointError(
                f"{self.file.path.name}: {len(fits)} generators of family '{self.family}' are in it and fit equally "
                f"well; state which one is meant:{lines}"
            )
        fit = fits[0]
        check_finite(fit.whole, self.file.path.name)
        try:
            return self.maker.build(fit.entry, fit.whole)
        except _FAULTS as error:
            self._note(fit.checkpoint, error)
            return None

    def _check_unused(self, raw: _Fit, averaged: Sequence[Average]) -> None:
        """Raises CheckpointError: averaged weights of this very network are in the file, in a form that is not known.

        Others that are called averaged are pointed out in the log.
        """
        shapes = _shapes(raw.tensors)
        for average in averaged:
            inside = (average.prefix or "").startswith(raw.checkpoint.strip_prefix or "")
            if average.key == raw.checkpoint.key and average.prefix is not None and inside:
                continue  # the family was given it, and took it
            name = self.file.path.name
            instead = f"the weights before averaging are override={_to_type(raw.checkpoint)}"
            common = sum((shapes & _shapes(average.tensors)).values())
            if common >= _SIMILAR * sum(shapes.values()):
                raise CheckpointError(
                    f"{name}: '{average.name}' is called averaged and has the shapes of the generator, but does not "
                    f"fit it ({self._reason(average, raw)}). Averaged weights are those that pictures are published "
                    f'of: state where they lie, for example override={{"checkpoint": {{"key": ...}}}} or "ema"; '
                    f"{instead}"
                )
            if len(average.tensors) > 1:
                _log.warning(
                    "%s: '%s' is called averaged, but is not of family '%s'; %s, and are used. If it is the generator, "
                    "state `key`, `strip_prefix` or `ema` in override",
                    name, average.name, self.family, instead,
                )  # fmt: skip

    def _reason(self, average: Average, raw: _Fit) -> str:
        assert raw.candidate is not None
        try:
            averages.laid_over(raw.candidate.state, raw.candidate.full, average.tensors)
        except Refused as reason:
            return f"it {reason}"
        return "it is of another network"

    def _checkpoint(
        self,
        key: str | None = None,
        strip_prefix: str | None = None,
        ema: str | None = None,
        container: str | None = None,
    ) -> Checkpoint:
        return Checkpoint.model_validate(
            {"container": container or self.file.container, "key": key, "strip_prefix": strip_prefix, "ema": ema}
        )

    def _note(self, checkpoint: Checkpoint, error: Exception) -> None:
        if not isinstance(error, CheckpointError | EntryError):
            error = CheckpointError(
                f"the network cannot be made of it ({type(error).__name__}: {first_line(error, most=200)})"
            )
        self.failures.setdefault(words(checkpoint), error)


def words(checkpoint: Checkpoint) -> str:
    """Where a state dict lies, in words."""
    found = [f"key {checkpoint.key}" if checkpoint.key else "the whole file"]
    found += [f"prefix {checkpoint.strip_prefix}"] if checkpoint.strip_prefix else []
    return ", ".join(found + ([f"ema {checkpoint.ema}"] if checkpoint.ema else []))


def _to_type(checkpoint: Checkpoint) -> str:
    fields = checkpoint.model_dump(exclude={"container"}, exclude_none=True) or {"key": None}
    return json.dumps({"checkpoint": fields}, ensure_ascii=False).replace("null", "None")


def _agrees(candidate: Candidate, stated: Mapping[str, Any]) -> bool:
    found = {"key": candidate.key, "strip_prefix": candidate.strip_prefix}
    return all(found[name] == stated[name] for name in found if name in stated)


def _contains(one: _Fit, other: _Fit) -> bool:
    return one.candidate is not None and other.candidate is not None and one.candidate.contains(other.candidate)


def _alike(one: _Fit, other: _Fit) -> bool:
    """Whether two state dicts have the same names and shapes, so that both fit or none."""
    return one.tensors.keys() == other.tensors.keys() and all(
        value.shape == other.tensors[name].shape and value.dtype == other.tensors[name].dtype
        for name, value in one.tensors.items()
    )


def _same(one: _Fit, other: _Fit) -> bool:
    """Whether two state dicts hold the same numbers."""
    return _alike(one, other) and all(torch.equal(value, other.tensors[name]) for name, value in one.tensors.items())


def _shapes(state: Mapping[str, Any]) -> Counter[tuple[int, ...]]:
    return Counter(
        tuple(value.shape)
        for name, value in state.items()
        if hasattr(value, "shape") and not averages.BUFFER.search(name)
    )
