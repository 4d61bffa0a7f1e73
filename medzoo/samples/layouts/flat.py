"""``--layout flat``: all files in the folder itself, masks as ``00000012_mask.png``."""

from __future__ import annotations

from medzoo.samples.layouts._base import Layout

LAYOUT = Layout(
    about="all in one folder", folder=lambda run, record, role: "", folders=lambda run: [""], says_class=False
)
