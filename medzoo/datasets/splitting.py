"""Which image belongs to which split, where neighbours correlate: by patient, or by block with gaps between."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import tee
from typing import Annotated, Literal

from pydantic import Field, model_validator

from medzoo.datasets.gathering import Item
from medzoo.datasets.images import Images
from medzoo.entry import PositiveInt, Record
from medzoo.errors import DatasetError

SPLITS: Mapping[str, tuple[str, ...]] = {  # what people call them
    "train": ("train", "training", "train_set", "trainset", "training_set"),
    "val": ("val", "valid", "validation", "dev", "validate", "val_set", "valset", "validation_set"),
    "test": ("test", "testing", "test_set", "testset"),
}


def usual_split(name: str) -> str | None:
    """``train``, ``val`` or ``test`` of a name that people give them, in any case; None for another name."""
    name = name.strip().casefold()
    return next((split for split, usual in SPLITS.items() if name in usual), None)


def is_split(name: str) -> bool:
    return usual_split(name) is not None


class Stretch(Record):
    """So many images in a row for a split; null for none (a gap)."""

    split: str | None
    n: PositiveInt


class ByBlock(Record):
    """Images in their order (slices of a volume): the stretches of ``pattern`` in turn, again from the start in each
    group. Gaps between stretches of different splits keep slices apart that are nearly the same picture.
    """

    by: Literal["block"]
    pattern: Annotated[tuple[Stretch, ...], Field(min_length=1)]


class ByGroup(Record):
    """All images of a group (patient, slide) in one split.

    Attributes:
        shares: split -> share of the groups, 1 in sum. The hash of ``salt`` and a group decides, so that groups stay
            where they are when others are added.
    """

    by: Literal["group"]
    shares: dict[str, Annotated[float, Field(gt=0, le=1)]]
    salt: str = ""

    @model_validator(mode="after")
    def _whole(self) -> ByGroup:
        if not self.shares or abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares must be 1 in sum, found {sum(self.shares.values()):g}")
        return self


Rule = Annotated[ByBlock | ByGroup, Field(discriminator="by")]


def assign(rule: ByBlock | ByGroup, groups: Iterable[str | None], where: str) -> Iterator[tuple[str | None, str]]:
    """The split of each image (None for a gap), and its group: by block, the stretch that it lies in.

    Args:
        groups: of all images, in their order.

    Raises:
        DatasetError: an image without a group, where the rule asks for it.
    """
    seen: dict[str | None, int] = defaultdict(int)
    cycle = list(enumerate(rule.pattern)) if isinstance(rule, ByBlock) else []
    stretches = [(at, one.split) for at, one in cycle for _ in range(one.n)]
    for group in groups:
        if isinstance(rule, ByBlock):
            turn, place = divmod(seen[group], len(stretches))
            at, split = stretches[place]
            yield split, f"{group or 'all'} block {turn * len(cycle) + at}"
            seen[group] += 1
        elif group is None:
            raise DatasetError(f"{where}: a split by group needs the group of every image; state the group column")
        else:
            yield _drawn(rule, group), group


def part(images: Images, rule: ByBlock | ByGroup, split: str) -> Images:
    """The images of one split of a set that is in memory, such as a user's own folder."""
    groups = images.groups or (None,) * len(images)
    found = list(assign(rule, groups, "images"))
    at = [i for i, (one, _) in enumerate(found) if one == split]
    if not at:
        raise DatasetError(f"the rule leaves no image for the split '{split}'")
    return replace(images[at], groups=tuple(found[i][1] for i in at))


def filtered(items: Iterable[Item], rule: ByBlock | ByGroup | None, split: str | None, where: str) -> Iterator[Item]:
    """The items of one split, as they come; all of them without a rule."""
    if rule is None:
        yield from items
        return
    ahead, kept = tee(items)
    for item, (found, group) in zip(kept, assign(rule, (one.group for one in ahead), where), strict=True):
        if found == split:
            yield replace(item, group=group)


def check_apart(pairs: Iterable[tuple[str, str]], where: str) -> None:
    """Raises DatasetError when a group is in two splits; ``pairs`` are (group, split) of each image."""
    first: dict[str, str] = {}
    for group, split in pairs:
        if first.setdefault(group, split) != split:
            raise DatasetError(f"{where}: group '{group}' is in the splits {first[group]} and {split}; put it in one")


def _drawn(rule: ByGroup, group: str) -> str:
    digest = hashlib.sha256(f"{rule.salt}\0{group}".encode()).digest()
    point, total = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for split, share in rule.shares.items():
        total += share
        if point < total:
            return split
    return list(rule.shares)[-1]
