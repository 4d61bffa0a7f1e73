"""Which family a bare file of weights is of: every family is tried, and none is guessed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medzoo.errors import CheckpointError, MedzooError, RegistryError
from medzoo.families import get_family, known_families
from medzoo.zoo.barefile import BareFiles, NotFitting, entry_for
from medzoo.zoo.choosing import OverrideError, words

if TYPE_CHECKING:
    from medzoo.families._base import Generator


@dataclass(frozen=True)
class Fits:
    """What every family says of a file.

    Attributes:
        generators: family -> its generator in the file; of families with one and the same network the first alone.
        same: family -> others that have its network and would make the same images.
        undecided: family -> why its generator, which is there, cannot be used: several, or numbers that are not finite.
        failures: family -> why nothing is of it.
    """

    generators: dict[str, Generator] = field(default_factory=dict)
    same: dict[str, tuple[str, ...]] = field(default_factory=dict)
    undecided: dict[str, MedzooError] = field(default_factory=dict)
    failures: dict[str, MedzooError] = field(default_factory=dict)


def fits(bare: BareFiles, families: Sequence[str] | None = None, **options: Any) -> Fits:
    """Try every family.

    Args:
        families: these alone; None for all that there are.
        options: those of Generator.
    """
    found = Fits()
    for family in known_families() if families is None else families:
        try:
            found.generators[family] = bare.fit(family, **options)
        except (NotFitting, OverrideError) as error:
            found.failures[family] = error
        except CheckpointError as error:
            found.undecided[family] = error
        except RegistryError as error:  # a family of another package that cannot be imported
            if families is not None:
                raise
            found.failures[family] = error
    for family in list(found.generators):
        above = [name for name, made in found.generators.items() if _is_special_case(found.generators[family], made)]
        if above:
            found.same[above[0]] = (*found.same.get(above[0], ()), family)
            del found.generators[family]
    for family in list(found.undecided):  # as for generators, by the class alone
        if any(_is_subclass(family, other) for other in (*found.generators, *found.undecided)):
            del found.undecided[family]
    return found


def only(bare: BareFiles, **options: Any) -> Generator:
    """The generator of the only family that fits. Raises CheckpointError: none or several do, or it cannot be used."""
    found = fits(bare, **options)
    names = (*found.generators, *found.undecided)
    if len(names) > 1:
        raise CheckpointError(
            f"{bare.name}: generators of the families {', '.join(names)} are in it; state which one is meant: "
            f'family="{names[0]}", or --family {names[0]}'
        )
    if found.undecided:
        raise next(iter(found.undecided.values()))
    if not found.generators:
        raise _nothing(bare, found.failures)
    return next(iter(found.generators.values()))


def nearest(failures: Mapping[str, MedzooError]) -> list[tuple[str, str]]:
    """(family, fields that it lacks) of those that would fit if one or two fields of their config were stated.

    A family that lacks the same fields of an empty file has recognised nothing, and is not near.
    """
    found = []
    for family, error in failures.items():
        lacks = _lacking(family, error)
        if 0 < len(lacks) <= 2:
            try:
                entry_for(get_family(family), family, {}, {})
            except MedzooError as empty:
                if lacks < _lacking(family, empty):
                    found.append((family, f"which needs {' and '.join(sorted(lacks))}"))
    return found


def _lacking(family: str, error: MedzooError) -> set[str]:
    """The fields that an error calls missing; none where it says anything else."""
    reason = str(error).partition(f"does not fit family '{family}': ")[2].partition("\n")[0]
    stated = [one.partition(": ") for one in reason.split("; config.")]
    missing = {"config." + name.removeprefix("config.") for name, _, said in stated if said == "missing; state it"}
    return missing if len(missing) == len(stated) else set()


def how(generator: Generator) -> str:
    """Where in the file a generator was found, in words: ``key g, ema g_ema (averaged weights)``."""
    from medzoo.weights import averages

    checkpoint = generator.entry.checkpoint
    parts = [*(checkpoint.key or "").split("."), *(checkpoint.strip_prefix or "").split(".")]
    averaged = checkpoint.ema is not None or averages.is_averaged([part for part in parts if part])
    return words(checkpoint) + (" (averaged weights)" if averaged else "")


def _nothing(bare: BareFiles, failures: Mapping[str, MedzooError]) -> MedzooError:
    wrong = [error for error in failures.values() if isinstance(error, OverrideError)]
    if len(wrong) == len(failures) and wrong:
        return wrong[0]
    path = shlex.quote(str(next(iter(bare.files.values()))))
    near = "".join(f"; the closest is {family}, {lacks}" for family, lacks in nearest(failures))
    return CheckpointError(
        f"{bare.name}: none of the {len(failures)} families fits it as it is{near}. `medzoo info {path}` says what is "
        "in it; with family= (or --family) the error says what that family lacks"
    )


def _is_special_case(one: Generator, other: Generator) -> bool:
    """Whether the family of one generator is that of the other under another name."""
    return type(one) is not type(other) and isinstance(one, type(other)) and type(one.network) is type(other.network)


def _is_subclass(family: str, other: str) -> bool:
    return family != other and issubclass(get_family(family), get_family(other))
