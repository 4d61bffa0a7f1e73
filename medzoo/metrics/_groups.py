"""Groups of scores: the sections of a report, each stated here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A section of a report.

    Attributes:
        name: what metrics and results state.
        title: its heading.
        question: what its scores answer, in a sentence.
        headline: how many of its scores the first table of a report shows.
        first: names of scores, in the order in which they are chosen for that table as far as they were measured.
    """

    name: str
    title: str
    question: str = ""
    headline: int = 1
    first: tuple[str, ...] = ()


GROUPS = (
    Group("fidelity", "Fidelity", "Do the images look like real ones?", 2, ("kid", "fd_infinity", "fd", "cmmd")),
    Group(
        "coverage", "Coverage", "Is the variety of real images there?", 2,
        ("precision", "recall", "density", "coverage"),
    ),
    Group(
        "memorisation", "Memorisation", "Are training images given away?", 1,
        ("near_copies", "nearer_than_5", "authenticity"),
    ),
    Group("frequency", "Frequencies", "Are fine structures as in real images?", 1, ("spectrum_gap",)),
    Group(
        "masks", "Masks", "Do masks look like real ones, and lie on what they name?", 1,
        ("mask_agreement", "mask_empty"),
    ),
    Group(
        "usefulness", "Usefulness", "What does a network learn from the images that is tested on real ones?", 2,
        ("seg_dice", "seg_dice_1x", "clf_auc", "clf_auc_1x"),
    ),
    Group("cost", "Cost", "What does it take to make them?", 1, ("images_per_s", "first_image_s")),
)  # fmt: skip
"""In the order of a report."""


def group_of(name: str) -> Group:
    """The group of that name; one without a question for a name that is not known, as results of others may state."""
    return next((group for group in GROUPS if group.name == name), Group(name, name.capitalize()))


def place_of(name: str) -> int:
    """Place of a group in a report, from 0; groups that are not known come last."""
    return next((place for place, group in enumerate(GROUPS) if group.name == name), len(GROUPS))
