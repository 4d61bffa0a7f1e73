"""Masks as a DICOM segmentation object (``--masks seg``), by highdicom: a segment for each mask of a sample."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import SavingError, pip_install
from medzoo.samples.formats._base import Run, made_by
from medzoo.samples.formats._capture import Capture, uid

if TYPE_CHECKING:
    from pydicom import Dataset

# Of the standard's own codes (SNOMED CT): what masks may show. Others are tissue, with their name as the label.
_CODES = {
    "csf": ("65216001", "Cerebrospinal fluid"),
    "cerebrospinal fluid": ("65216001", "Cerebrospinal fluid"),
    "grey matter": ("389081007", "Gray matter structure of central nervous system"),
    "white matter": ("389080008", "White matter structure of brain and spinal cord"),
    "polyp": ("441456002", "Polyp"),
}
_TISSUE = ("85756007", "Tissue")
# The standard demands a date of the content; the same samples shall have the same bytes.
_DATE, _TIME = "19700101", "000000"


def check(masks: int) -> None:
    """Raises SavingError: no masks, or highdicom is missing."""
    if not masks:
        raise SavingError("the model makes no masks, so there is nothing to segment; leave out --masks seg")
    try:
        import_module("highdicom")
    except ImportError:
        raise SavingError(f"--masks seg needs highdicom; type: {pip_install('medzoo[seg]')}") from None


def segmentation(
    images: list[Dataset], masks: NDArray[np.uint8], run: Run, record: dict[str, Any], capture: Capture
) -> Dataset:
    """Masks [K, (D,) H, W] as one object that refers to the images of the sample, one for each slice."""
    import highdicom
    from pydicom.sr.coding import Code

    names = run.mask_names or (("mask",) if len(masks) == 1 else tuple(f"mask {k}" for k in range(1, len(masks) + 1)))
    family = Code("123109", "DCM", "Artificial Intelligence")
    algorithm = highdicom.AlgorithmIdentificationSequence(record["model_id"], family, record["medzoo"])
    tissue = Code(_TISSUE[0], "SCT", _TISSUE[1])
    segments = []
    for number, name in enumerate(names, 1):
        code, meaning = _CODES.get(name.lower(), _TISSUE)
        segments.append(
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=name[:64],
                segmented_property_category=tissue,
                segmented_property_type=Code(code, "SCT", meaning),
                algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
            )
        )
    if masks.ndim == 3:
        masks = masks[:, None]
    depth = masks.shape[1]
    if len(images) != depth or (depth > 1 and not capture.placed):
        raise SavingError(
            "volumes that are askew or lie nowhere have no segmentation objects; leave out --masks seg, or take "
            "--format nifti"
        )
    sources = [copy.copy(image) for image in images]
    if not capture.placed:
        for source in sources:
            del source.FrameOfReferenceUID  # else highdicom asks where the slices lie
    data: Dataset = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=np.moveaxis(masks, 0, -1).astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=uid("series", capture.made, run.condition, run.precision, "segmentation"),
        series_number=capture.series_number("mask"),
        sop_instance_uid=uid("segmentation", capture.made, images[0].SOPInstanceUID, run.mask_kind),
        instance_number=1,
        manufacturer="medzoo",
        manufacturer_model_name=images[0].ManufacturerModelName,
        software_versions=record["medzoo"],
        device_serial_number=record["revision"] or "none",
        content_label="SYNTHETIC",
        content_description=f"Synthetic masks of {record['model_id']}"[:64],
        omit_empty_frames=bool(masks.any()),
    )
    data.SyntheticData = "YES"
    data.SeriesDescription = images[0].SeriesDescription.replace("images", "masks")
    data.DerivationDescription = made_by(record)[:1024]
    data.ContentDate, data.ContentTime = _DATE, _TIME
    for name in ("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime"):
        if name in data:
            delattr(data, name)
    for equipment in data.get("ContributingEquipmentSequence", ()):
        equipment.pop("ContributionDateTime", None)
    organization = uid("dimensions", capture.made)
    for item in (*data.DimensionOrganizationSequence, *data.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    return data
