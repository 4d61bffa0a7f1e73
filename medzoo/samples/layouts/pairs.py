"""``--layout pairs``: ``images/`` and ``masks/``, in which image and mask have the same name."""

from __future__ import annotations

from medzoo.errors import SavingError
from medzoo.samples.formats import Run
from medzoo.samples.layouts._base import Layout, without_word


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    if masks and run.format == "npz":
        raise SavingError("npz holds image and mask in one file, layout pairs keeps them apart; take --format npy")


LAYOUT = Layout(
    about="segmentation: MONAI, Albumentations, `medzoo bench --real`, `medzoo train --data`",
    folder=lambda run, record, role: f"{role}s/",
    folders=lambda run: ["images/", "masks/"],
    ending=without_word,
    check=check,
)
