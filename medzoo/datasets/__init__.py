"""Reference images: real pictures (and masks) to train on, test with and measure against.

``load_folder`` reads any folder of images, ``load_dataset`` one of ``registry/datasets`` with every byte checked
against the hashes recorded there. Images of patients are never shipped: the caller says where they lie.

One resize protocol everywhere: the whole picture is squeezed to a square (the aspect ratio changes, nothing is cut
off), with Pillow's antialiased bicubic filter; masks with its box filter (area average), then >= 1/2. It is the
protocol of the published polyp FastGAN, which was trained on whole frames squeezed to 256 x 256.
"""

from medzoo.datasets.folder import Images, load_folder, resize
from medzoo.datasets.registry import Dataset, describe, load_dataset

__all__ = ["Dataset", "Images", "describe", "load_dataset", "load_folder", "resize"]
