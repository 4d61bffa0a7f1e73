"""``--layout pairs``: ``images/`` and ``masks/``, in which image and mask have the same name."""

from __future__ import annotations

from medzoo.samples.layouts._base import Layout, check_apart, without_word

LAYOUT = Layout(
    about="segmentation: MONAI, Albumentations, `medzoo bench --real`, `medzoo train --data`",
    folder=lambda run, record, role: f"{role}s/",
    folders=lambda run: ["images/", "masks/"],
    ending=without_word,
    check=lambda run, shape, masks: check_apart(run, masks),
)
