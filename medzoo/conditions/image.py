"""``kind: image``: an image, which the model translates, fills or begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo.conditions._pictures import Pictures

if TYPE_CHECKING:
    from medzoo.entry import Condition


class Image(Pictures):
    """An image a sample: a file, a folder, an array or Samples."""

    def images(self, declared: Condition) -> str:
        name = (declared.inputs or ("image",))[0]
        return f"an image, '{name}' (a file, a folder, an array in [0, 1] or Samples)"


KIND = Image()
