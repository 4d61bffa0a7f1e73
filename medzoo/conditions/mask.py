"""``kind: mask``: an image that is cut into 0 and 1 at half of its largest value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo.conditions._pictures import Pictures

if TYPE_CHECKING:
    from medzoo.entry import Condition


class Mask(Pictures):
    """A mask a sample: a file, a folder, an array or Samples."""

    binary = True

    def images(self, declared: Condition) -> str:
        name = (declared.inputs or ("image",))[0]
        return f"a mask, '{name}' (a file, a folder, an array in [0, 1] or Samples)"


KIND = Mask()
