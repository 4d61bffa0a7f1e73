"""Reference images: real pictures, with masks, labels and groups, to train on, test with and measure against.

``load_dataset`` reads one of ``registry/datasets``, every byte checked against the hashes recorded there; ``load_path``
whatever a person has: folders, array files, DICOM, NIfTI, samples of medzoo. Images of patients are never shipped: the
caller says where they lie.

One protocol everywhere (``Protocol``), because distances between sets of images change with it: the whole picture is
squeezed to a square (the aspect ratio changes, nothing is cut off), with Pillow's antialiased bicubic filter unless
another is stated; masks with its box filter (area average), then >= 1/2.

How the files of a data set lie is a ``Layout``, whose ``items(source, split)`` yields one ``Item`` at a time;
``gather`` squeezes them as they come. A new layout is one subclass and its line in ``medzoo.datasets.layouts``.
"""

from medzoo.datasets.folder import load_folder
from medzoo.datasets.gathering import Item, gather, warn_if_dark
from medzoo.datasets.images import Images, content_sha256, relabel
from medzoo.datasets.layout import Layout
from medzoo.datasets.layouts import LAYOUTS
from medzoo.datasets.paths import load_path, smallest_side, window_of
from medzoo.datasets.pictures import decode, foreground
from medzoo.datasets.protocol import Protocol, fit
from medzoo.datasets.registry import Dataset, dataset_names, describe, load_dataset, load_volumes
from medzoo.datasets.source import Source
from medzoo.datasets.splitting import ByBlock, ByGroup, Stretch, part
from medzoo.datasets.volumes import Slices, VolumeLayout

__all__ = [
    "ByBlock",
    "ByGroup",
    "Dataset",
    "Images",
    "Item",
    "LAYOUTS",
    "Layout",
    "Protocol",
    "Slices",
    "Source",
    "Stretch",
    "VolumeLayout",
    "content_sha256",
    "dataset_names",
    "decode",
    "describe",
    "fit",
    "foreground",
    "gather",
    "load_dataset",
    "load_folder",
    "load_path",
    "load_volumes",
    "part",
    "relabel",
    "smallest_side",
    "warn_if_dark",
    "window_of",
]
