"""Every layout, in the order in which a folder is compared with them."""

from __future__ import annotations

from typing import get_args

from medzoo.datasets.arrays import ArrayLayout
from medzoo.datasets.dicom import DicomLayout
from medzoo.datasets.folder import FlatLayout, LabelLayout
from medzoo.datasets.layout import Layout
from medzoo.datasets.manifest import ManifestLayout
from medzoo.datasets.tables import FolderLayout, MetadataLayout
from medzoo.datasets.volumes import VolumeLayout

LAYOUTS: tuple[type[Layout], ...] = (
    ManifestLayout,
    MetadataLayout,
    FlatLayout,
    VolumeLayout,
    ArrayLayout,
    LabelLayout,
    DicomLayout,
    FolderLayout,
)


def kind_of(layout: type[Layout]) -> str:
    """The name of a layout in entries: ``kind``."""
    return str(get_args(layout.model_fields["kind"].annotation)[0])
