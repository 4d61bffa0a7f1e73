"""How much a stranger's entry, file or server may make this program allocate, loop over, print or download.

Each limit is looked at before the work is done. A user who trusts what goes beyond one raises it by an environment
variable, ``MEDZOO_LIMIT_<NAME>``, for example ``MEDZOO_LIMIT_DOWNLOAD_BYTES=100e9``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from medzoo.errors import MedzooError


@dataclass(frozen=True)
class Limit:
    """One bound.

    Attributes:
        most: the largest number that is accepted.
        unit: of the number, in words.
        why: what an honest input needs at most.
    """

    most: int
    unit: str
    why: str


LIMITS = {
    "download_bytes": Limit(
        32 * 2**30, "bytes", "of one file whose entry states no size; the largest published generator has about 10 GB"
    ),
    "json_bytes": Limit(64 * 2**20, "bytes", "of one JSON or YAML file of settings, results or a vocabulary"),
    "entry_bytes": Limit(2**20, "bytes", "of one registry entry; real ones have 2 to 10 kB"),
    "image_pixels": Limit(2**26, "pixels", "of one image that a model makes or is given: 8192 x 8192"),
    "volume_voxels": Limit(2**29, "voxels", "of one volume that a model makes; 512 x 512 x 768 has 2e8"),
    "channels": Limit(4096, "channels", "of one sample, masks included"),
    "layers": Limit(10_000, "layers", "of one described network; the deepest published generators have some 1,000"),
    "layer_values": Limit(2**28, "numbers", "that one layer gives for one sample; 64 channels of 2048 x 2048"),
    "sample_flops": Limit(10**14, "operations", "of a described network for one sample; StyleGAN2 at 1024 px has 3e11"),
    "input_pixels": Limit(2**26, "pixels", "of one picture or slice; whole-slide images are read in tiles"),
    "frames": Limit(100_000, "frames", "of one file; a long cine run has some thousands"),
    "pages": Limit(10_000, "pages", "of one TIFF file; stacks of a microscope have some thousands"),
    "scans": Limit(200, "scans", "of one JPEG file; progressive pictures have about ten"),
    "extension_bytes": Limit(16 * 2**20, "bytes", "of the header extensions of one NIfTI file; real ones have some kB"),
    "input_files": Limit(200_000, "files", "below the folder of one study; large ones have some ten thousand"),
    "volume_bytes": Limit(2**32, "bytes", "of one volume as it is stored; 512 x 512 x 2048 of 16 bits has 1 GB"),
    "across_bytes": Limit(2**30, "bytes", "of a volume of which one slice across the order of the file is read"),
    "problems": Limit(50, "problems", "listed in one error"),
    "header_bytes": Limit(8_000_000, "bytes", "of the header of a safetensors file; that of 60,000 tensors"),
    "tensors": Limit(200_000, "tensors", "of one file; the largest published generators have some 5,000"),
    "pickle_steps": Limit(1_000_000, "steps", "of one pickle; a network of a thousand tensors takes some 50,000"),
    "values": Limit(200_000, "values", "of one file that are looked at; a network has one for each tensor"),
    "places": Limit(1000, "places", "of one file where a generator is looked for; a training run saves some 20"),
}


def most(name: str) -> int:
    """The limit of that name: the user's, where ``MEDZOO_LIMIT_<NAME>`` states one, else the one in ``LIMITS``.

    Raises MedzooError: the variable holds no whole number above 0.
    """
    stated = os.environ.get(_variable(name))
    if stated is None:
        return LIMITS[name].most
    try:
        number = int(float(stated))
    except (ValueError, OverflowError):
        number = 0
    if number < 1:
        raise MedzooError(f"{_variable(name)}: expected a number above 0, such as 100e9, found '{stated}'")
    return number


def check(name: str, number: int, what: str, error: type[MedzooError]) -> None:
    """Refuse what goes beyond a limit.

    Args:
        number: how much is asked for.
        what: what asks for it, in words, such as ``output of 10001_FASTGAN``.
        error: the error to raise.
    """
    if number > (bound := most(name)):
        unit = LIMITS[name].unit
        raise error(
            f"{what}: {number:,} {unit}, at most {bound:,} are accepted; if you trust it, "
            f"set {_variable(name)}={number}"
        )


def _variable(name: str) -> str:
    return f"MEDZOO_LIMIT_{name.upper()}"
