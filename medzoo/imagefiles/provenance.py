"""What an image was made from: where its pixels lie, and which DICOM objects it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from medzoo.imagefiles.world import Geometry


@dataclass(frozen=True)
class Instance:
    """One DICOM object, or a frame of it (counted from 1)."""

    sop_class: str
    uid: str
    frame: int | None = None


@dataclass(frozen=True)
class Study:
    """Of which patient, study and series DICOM objects are.

    Attributes:
        patient, study, series: tell them apart: what the files state, or what stands for it.
        series_number: as stated, or None.
        frame_of_reference: as stated, or None.
        instances: one for each slice, in order.
        stated: attributes of patient and study by keyword, for outputs that shall stay in the same study.
        at_detector: distances between pixels are those at the detector (Imager Pixel Spacing).
    """

    patient: str
    study: str
    series: str
    series_number: int | None
    frame_of_reference: str | None
    instances: tuple[Instance, ...]
    stated: tuple[tuple[str, str], ...]
    at_detector: bool = False


@dataclass(frozen=True)
class Provenance:
    """Of one image or volume.

    Attributes:
        size: rows and columns.
        geometry: where it lies; None where nothing is known.
        placed: whether its position is known; else only its distances are.
        study: None where it was no DICOM file.
    """

    size: tuple[int, int]
    geometry: Geometry | None
    placed: bool = True
    study: Study | None = None

    def resized(self, to: tuple[int, int]) -> Provenance:
        """The same with other numbers of rows and columns."""
        geometry = None if self.geometry is None else self.geometry.resized(self.size, to)
        return replace(self, size=to, geometry=geometry)

    def slice(self, k: int) -> Provenance:
        """Of slice ``k`` alone."""
        geometry = None if self.geometry is None else self.geometry.slice(k)
        study = None if self.study is None else replace(self.study, instances=self.study.instances[k : k + 1])
        return replace(self, geometry=geometry, study=study)
