"""Secondary captures: the DICOM objects of one sample."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.imagefiles.provenance import Instance, Provenance
from medzoo.samples.formats._base import Run, made_by

if TYPE_CHECKING:
    from pydicom import Dataset

_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage; multi-frame kinds lie below it
_BYTES, _WORDS, _COLOUR = f"{_CAPTURE}.2", f"{_CAPTURE}.3", f"{_CAPTURE}.4"
_NAMESPACE = uuid.UUID("30ed80d7-d35e-4e91-bf32-854e62f6a2e6")
_SQUARE = 0.01  # greatest cosine between rows and columns, which DICOM wants at right angles


@dataclass(frozen=True)
class Capture:
    """What all objects of one sample share.

    Attributes:
        record: its ``origin``.
        lie: where it lies and what it was made from; None where nothing is known.
        usual_spacing: of the model; another one makes another object.
    """

    run: Run
    record: dict[str, Any]
    lie: Provenance | None
    usual_spacing: tuple[float, ...] | None

    def objects(self, pixels: NDArray[Any], role: str) -> list[Dataset]:
        """[C, (D,) H, W] unsigned as objects, one for each slice of a volume that lies somewhere, else one.

        Args:
            role: image or mask.
        """
        if pixels.ndim == 3 or self.lie is None:
            return [self._object(pixels, role, None)]
        return [self._object(np.ascontiguousarray(pixels[:, k]), role, k) for k in range(pixels.shape[1])]

    def identify(self, data: Dataset, role: str) -> None:
        """Patient, study, series and equipment."""
        record, run = self.record, self.run
        made, owner = self._made, self._owner
        data.SpecificCharacterSet = "ISO_IR 192"
        # Patient and study: none, and one for the run, or for each of the inputs'.
        data.PatientName = "SYNTHETIC^MEDZOO"
        data.PatientID = f"SYNTHETIC-{_uuid('patient', made, *owner[:1]).hex[:12]}"
        data.PatientBirthDate = data.PatientSex = data.StudyDate = data.StudyTime = ""
        data.ReferringPhysicianName = data.AccessionNumber = data.StudyID = ""
        data.StudyInstanceUID = uid("study", made, *owner[:2])
        data.StudyDescription = "Synthetic images, not for clinical use"
        study = None if self.lie is None else self.lie.study
        if run.keep_patient and study is not None:
            del data.StudyDescription
            for name, value in study.stated:
                setattr(data, name, value)
        # Series and equipment.
        data.Modality = "OT"
        data.SeriesInstanceUID = uid("series", made, run.condition, run.precision, run.bits, role, *owner[1:])
        data.SeriesNumber = self.series_number(role)
        data.SeriesDescription = _short(f"Synthetic {role}s {record['model_id']}")
        data.FrameOfReferenceUID = uid("frame of reference", made, *owner[:2])
        if study is not None and study.frame_of_reference is not None and self.placed:
            data.FrameOfReferenceUID = study.frame_of_reference
        data.PositionReferenceIndicator = data.Laterality = ""
        data.Manufacturer = "medzoo"
        data.ManufacturerModelName = _short(record["model_id"])
        data.SoftwareVersions = record["medzoo"]
        data.ConversionType = "SYN"

    def series_number(self, role: str) -> int:
        """1 for images and 2 for masks, behind the number of the series that they were made from."""
        study = None if self.lie is None else self.lie.study
        before = 0 if study is None or study.series_number is None else 100 * study.series_number
        return (before if 0 <= before < 2**31 - 100 else 0) + (1 if role == "image" else 2)

    @property
    def placed(self) -> bool:
        """Whether it lies at a known place, with rows and columns at right angles."""
        if self.lie is None or self.lie.geometry is None or not self.lie.placed:
            return False
        rows, columns = (_unit(one) for one in (self.lie.geometry.rows, self.lie.geometry.columns))
        return bool(abs(rows @ columns) < _SQUARE)

    @property
    def made(self) -> tuple[Any, ...]:
        """What tells this sample from others, for identifiers."""
        return (*self._made, *self._owner, self.record["index"])

    @property
    def _made(self) -> tuple[Any, ...]:
        record = self.record
        return record["model_id"], record["revision"], record["weights_sha256"], record["seed"]

    @property
    def _owner(self) -> tuple[Any, ...]:
        """Patient, study and series of the input, as far as they are known; a volume is a series of its own."""
        if self.lie is None:
            return ()
        if self.lie.study is None:
            return self.record["input"], self.record["input"], self.record["index"]
        study = self.lie.study
        series = [study.series, self.record["index"] if len(study.instances) > 1 else None]
        return study.patient, study.study, [*series, *(["kept"] if self.run.keep_patient else [])]

    def _object(self, pixels: NDArray[Any], role: str, slice: int | None) -> Dataset:
        """One object of [C, (D,) H, W]; ``slice`` is its place in a volume."""
        from pydicom import Dataset

        run, record = self.run, self.record
        hashed = hashlib.sha256(pixels.tobytes()).hexdigest()
        data = Dataset()
        self.identify(data, role)
        place: list[Any] = [] if self.lie is None else [slice, self._owner, [one.uid for one in self._instances(slice)]]
        # Distances that somebody states in place of the model's make another object.
        place += [] if run.spacing == self.usual_spacing else [run.spacing]
        data.SOPClassUID = _sop_class(pixels)
        data.SOPInstanceUID = uid(role, self._made, record["index"], hashed, *place)
        data.SyntheticData = "YES"
        number = record["index"] if slice is None else slice
        data.InstanceNumber = number + 1 if number < 2**31 - 1 else None
        data.ImageType = ["DERIVED", "SECONDARY"]
        data.PatientOrientation = ""
        data.BurnedInAnnotation = "NO"
        data.LossyImageCompression = "00"
        about = "" if role == "image" else "Mask of the image of this index, 255 inside. "
        if role == "mask" and run.mask_names is not None and len(run.mask_names) > 1:
            step = 255 // len(run.mask_names)
            names = ", ".join(f"{k * step} {name}" for k, name in enumerate(run.mask_names, 1))
            about = f"Masks of the image of this index: {names}. "
        data.DerivationDescription = (about + made_by(record))[:1024]
        data.ImageComments = json.dumps(record)[:10240]
        if instances := self._instances(slice):
            data.SourceImageSequence = [_source(instance) for instance in instances]
        self._set_pixels(data, pixels, role, slice)
        return data

    def _instances(self, slice: int | None) -> tuple[Instance, ...]:
        """The DICOM objects that a slice, or all of it, was made from."""
        if self.lie is None or self.lie.study is None:
            return ()
        all_ = self.lie.study.instances
        chosen = all_ if slice is None or slice >= len(all_) else (all_[slice],)
        return tuple(one for one in chosen if one.uid)

    def _set_pixels(self, data: Dataset, pixels: NDArray[Any], role: str, slice: int | None) -> None:
        bits = 8 * pixels.dtype.itemsize
        data.SamplesPerPixel = len(pixels)
        data.PhotometricInterpretation = "MONOCHROME2" if len(pixels) == 1 else "RGB"
        if len(pixels) == 3:
            data.PlanarConfiguration = 0
        data.Rows, data.Columns = pixels.shape[-2:]
        data.BitsAllocated = data.BitsStored = bits
        data.HighBit, data.PixelRepresentation = bits - 1, 0
        if self.lie is not None and self.lie.geometry is not None:
            self._set_place(data, slice)
        elif self.run.spacing:
            data.PixelSpacing = [_decimal(length) for length in self.run.spacing[-2:]]
        if pixels.ndim == 4:
            self._set_frames(data, pixels.shape[1])
        if len(pixels) == 1:
            if pixels.ndim == 4:
                data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
                data.PresentationLUTShape = "IDENTITY"
            data.WindowCenter, data.WindowWidth = 2 ** (bits - 1), 2**bits
        content = np.moveaxis(pixels, 0, -1).astype(pixels.dtype.newbyteorder("<")).tobytes()
        data.PixelData = content + b"\0" * (len(content) % 2)
        data["PixelData"].VR = "OW" if bits == 16 else "OB"

    def _set_place(self, data: Dataset, slice: int | None) -> None:
        """Distances, position and orientation, as far as they are known."""
        assert self.lie is not None and self.lie.geometry is not None
        geometry, study = self.lie.geometry, self.lie.study
        lengths = [_decimal(length) for length in geometry.spacing[1:]]
        if study is not None and study.at_detector:
            data.ImagerPixelSpacing = lengths
        else:
            data.PixelSpacing = lengths
        if not self.placed:
            return
        rows, columns = _unit(geometry.rows), _unit(geometry.columns)
        data.ImageOrientationPatient = [_decimal(number) for number in (*columns, *rows)]
        data.ImagePositionPatient = [_decimal(number) for number in geometry.place(slice or 0)]
        between = abs(float(np.cross(columns, rows) @ np.array(geometry.slices)))
        if between:
            data.SliceThickness = _decimal(between)
            if slice is not None:
                data.SpacingBetweenSlices = _decimal(between)

    def _set_frames(self, data: Dataset, frames: int) -> None:
        """The slices of a volume are numbered pages."""
        data.NumberOfFrames = frames
        data.FrameIncrementPointer = 0x00182001  # Page Number Vector
        data.PageNumberVector = list(range(1, frames + 1))
        if self.run.spacing:
            data.SpacingBetweenSlices = _decimal(self.run.spacing[0])


def pointer(image: Dataset) -> Dataset:
    """A reference to an object."""
    from pydicom import Dataset

    pointer = Dataset()
    pointer.ReferencedSOPClassUID = image.SOPClassUID
    pointer.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return pointer


def as_bytes(data: Dataset) -> bytes:
    """The file of an object."""
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(uid("implementation"))
    meta.ImplementationVersionName = "MEDZOO"
    data.file_meta = meta
    stream = io.BytesIO()
    dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def uid(*key: Any) -> str:
    """An identifier under 2.25, the same for the same key."""
    return f"2.25.{_uuid(*key).int}"


def _source(instance: Instance) -> Dataset:
    from pydicom import Dataset

    source, purpose = Dataset(), Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = instance.sop_class, instance.uid
    if instance.frame is not None:
        source.ReferencedFrameNumber = instance.frame
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    source.PurposeOfReferenceCodeSequence = [purpose]
    return source


def _sop_class(pixels: NDArray[Any]) -> str:
    if pixels.ndim == 3:
        return _CAPTURE
    if len(pixels) == 3:
        return _COLOUR
    return _BYTES if pixels.dtype == np.uint8 else _WORDS


def _uuid(*key: Any) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, json.dumps(key))


def _short(text: str) -> str:
    """A value of type LO: 64 characters, of which none parts values."""
    return text.replace("\\", "/")[:64]


def _unit(step: Any) -> NDArray[np.float64]:
    vector = np.array(step, float)
    return np.asarray(vector / np.linalg.norm(vector) + 0.0)


def _decimal(number: float) -> str:
    """A value of type DS: 16 characters."""
    return f"{number:.8g}"
