"""The picture of a model: its first golden sample, where its registry folder has some."""

from __future__ import annotations

from functools import lru_cache

LARGEST = 64_000_000  # bytes of a file of golden samples that is opened for a picture


def thumbnail(model_id: str) -> bytes | None:
    """PNG of golden sample 0, of a volume the slice through its middle; None without any, or in a broken file."""
    from medzoo.catalog import folders

    for registry in folders():
        path = registry / "goldens" / f"{model_id}.safetensors"
        if path.is_file() and path.stat().st_size <= LARGEST:
            return _first(str(path), path.stat().st_mtime_ns)
    return None


@lru_cache(maxsize=256)
def _first(path: str, changed: int) -> bytes | None:
    import numpy as np
    from safetensors import SafetensorError, safe_open

    from medzoo.files.png import encode_png

    try:
        with safe_open(path, "np") as file:
            image = file.get_slice("seed0.images")[:1][0]
    except (SafetensorError, OSError, ValueError, IndexError):
        return None
    if image.dtype != np.uint8 or image.ndim not in (3, 4) or len(image) not in (1, 3):
        return None
    if image.ndim == 4:
        image = image[:, image.shape[1] // 2]
    return encode_png(np.ascontiguousarray(np.moveaxis(image, 0, 2)), {"Description": "Synthetic image"})
