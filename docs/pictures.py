"""Write the pictures of the gallery, docs/images/gallery/NUMBER.jpg: samples 0 to 7 of each model, all synthetic.

    python docs/pictures.py [MODEL...]

Without MODEL those whose weights are on this machine and that need no input. The files are committed; run it again
for a new model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import medzoo

FOLDER = Path(__file__).parent / "images" / "gallery"
TILE = 128  # pixels a side
ROWS, COLUMNS = 2, 4
LARGEST = 60_000  # bytes of a file


def picture(model: str) -> Image.Image:
    """Two rows of samples; of volumes the middle slice of each, by their first axis."""
    samples = medzoo.generate(model, ROWS * COLUMNS)
    images = samples.images if samples.images.ndim == 4 else samples.images[:, :, samples.images.shape[2] // 2]
    sheet = Image.new("RGB", (COLUMNS * TILE, ROWS * TILE))
    for i, image in enumerate(images):
        grey = np.repeat(image[:1], 3, axis=0) if len(image) != 3 else image
        tile = Image.fromarray((grey * 255).round().astype(np.uint8).transpose(1, 2, 0))
        pixels = tile.resize((tile.width * 8, tile.height * 8), Image.Resampling.NEAREST)  # few pixels stay visible
        tile = ImageOps.contain(pixels, (TILE, TILE), Image.Resampling.BOX)
        corner = (i % COLUMNS * TILE, i // COLUMNS * TILE)
        sheet.paste(tile, (corner[0] + (TILE - tile.width) // 2, corner[1] + (TILE - tile.height) // 2))
    return sheet


def main(models: list[str]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    here = [entry for entry in medzoo.list_models(offline=True) if not (entry.condition and entry.condition.required)]
    for entry in map(medzoo.info, models) if models else here:
        path = FOLDER / f"{entry.number}.jpg"
        sheet = picture(entry.model_id)
        for quality in (90, 80, 70, 60):
            sheet.save(path, quality=quality, optimize=True)
            if path.stat().st_size <= LARGEST:
                break
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
