"""``kind: images``: several images a sample, such as the contrasts of one slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo.conditions._pictures import Pictures

if TYPE_CHECKING:
    from medzoo.entry import Condition


class Images(Pictures):
    """Images by name, one of each for a sample."""

    def images(self, declared: Condition) -> str:
        return f"the images {', '.join(declared.inputs or ())} (a mapping of files, folders or arrays by name)"


KIND = Images()
