"""``--format dicom``: secondary captures, uncompressed, by pydicom.

Secondary Capture says what these are: images that no modality acquired (conversion type SYN). The objects of a
modality (mammography, CT, MR, ...) demand acquisition parameters that would have to be invented. Pictures are
Secondary Capture Images, volumes Multi-frame Grayscale Byte, Grayscale Word or True Color Secondary Captures. Masks
(0 and 255) are a second series with the frame of reference of the first, each of them pointing at its image.

A run is one study; all identifiers are hashes under 2.25, of the model, revision, weights and seed, and of a single
object also of its index and pixels. No dates: the types that must be there are empty.
"""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import SavingError
from medzoo.samples import Samples
from medzoo.samples.formats._base import Encoded, Format, Run, check_picture, made_by, whole_numbers

if TYPE_CHECKING:
    from pydicom import Dataset

_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage; multi-frame kinds lie below it
_BYTES, _WORDS, _COLOUR = f"{_CAPTURE}.2", f"{_CAPTURE}.3", f"{_CAPTURE}.4"
_NAMESPACE = uuid.UUID("30ed80d7-d35e-4e91-bf32-854e62f6a2e6")


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    if run.model_id is None:
        raise SavingError("DICOM is written of samples that a model made, these have no model_id; take another format")
    check_picture(run, "DICOM", shape, masks)
    if max(shape) > 65535:
        raise SavingError(f"DICOM holds up to 65535 pixels a side, the samples are {list(shape)}; take --format npz")


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    pixels = whole_numbers(samples.images[i], run.bits)
    image = _dataset(pixels, run, record, "image")
    if samples.masks is None:
        return Encoded((".dcm", _bytes(image)))
    mask = _dataset(samples.masks[i] * np.uint8(255), run, record, "mask")
    mask.ReferencedImageSequence = [_pointer(image)]
    return Encoded((".dcm", _bytes(image)), ("_mask.dcm", _bytes(mask)))


def _dataset(pixels: NDArray[Any], run: Run, record: dict[str, Any], role: str) -> Dataset:
    """One object of [C, (D,) H, W] unsigned; ``role`` is image or mask."""
    from pydicom import Dataset

    made = (record["model_id"], record["revision"], record["weights_sha256"], record["seed"])
    hashed = hashlib.sha256(pixels.tobytes()).hexdigest()
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    # Patient and study: none, and one for the run.
    data.PatientName = "SYNTHETIC^MEDZOO"
    data.PatientID = f"SYNTHETIC-{_uuid('patient', made).hex[:12]}"
    data.PatientBirthDate = data.PatientSex = data.StudyDate = data.StudyTime = ""
    data.ReferringPhysicianName = data.AccessionNumber = data.StudyID = ""
    data.StudyInstanceUID = _uid("study", made)
    data.StudyDescription = "Synthetic images, not for clinical use"
    # Series and equipment.
    data.Modality = "OT"
    data.SeriesInstanceUID = _uid("series", made, run.condition, run.precision, run.bits, role)
    data.SeriesNumber = 1 if role == "image" else 2
    data.SeriesDescription = _short(f"Synthetic {role}s {record['model_id']}")
    data.FrameOfReferenceUID = _uid("frame of reference", made)
    data.PositionReferenceIndicator = data.Laterality = ""
    data.Manufacturer = "medzoo"
    data.ManufacturerModelName = _short(record["model_id"])
    data.SoftwareVersions = record["medzoo"]
    data.ConversionType = "SYN"
    # The object.
    data.SOPClassUID = _sop_class(pixels)
    data.SOPInstanceUID = _uid(role, made, record["index"], hashed)
    data.SyntheticData = "YES"
    data.InstanceNumber = record["index"] + 1 if record["index"] < 2**31 - 1 else None
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.PatientOrientation = ""
    data.BurnedInAnnotation = "NO"
    data.LossyImageCompression = "00"
    about = "" if role == "image" else "Mask of the image of this index, 255 inside. "
    data.DerivationDescription = (about + made_by(record))[:1024]
    data.ImageComments = json.dumps(record)[:10240]
    _set_pixels(data, pixels, run, role)
    return data


def _set_pixels(data: Dataset, pixels: NDArray[Any], run: Run, role: str) -> None:
    bits = 8 * pixels.dtype.itemsize
    data.SamplesPerPixel = len(pixels)
    data.PhotometricInterpretation = "MONOCHROME2" if len(pixels) == 1 else "RGB"
    if len(pixels) == 3:
        data.PlanarConfiguration = 0
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, 0
    if run.spacing:
        data.PixelSpacing = [_decimal(length) for length in run.spacing[-2:]]
    if pixels.ndim == 4:
        _set_frames(data, pixels.shape[1], run)
    if len(pixels) == 1:
        if pixels.ndim == 4:
            data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
            data.PresentationLUTShape = "IDENTITY"
        data.WindowCenter, data.WindowWidth = 2 ** (bits - 1), 2**bits
    content = np.moveaxis(pixels, 0, -1).astype(pixels.dtype.newbyteorder("<")).tobytes()
    data.PixelData = content + b"\0" * (len(content) % 2)
    data["PixelData"].VR = "OW" if bits == 16 else "OB"


def _set_frames(data: Dataset, frames: int, run: Run) -> None:
    """The slices of a volume are numbered pages."""
    data.NumberOfFrames = frames
    data.FrameIncrementPointer = 0x00182001  # Page Number Vector
    data.PageNumberVector = list(range(1, frames + 1))
    if run.spacing:
        data.SpacingBetweenSlices = _decimal(run.spacing[0])


def _sop_class(pixels: NDArray[Any]) -> str:
    if pixels.ndim == 3:
        return _CAPTURE
    if len(pixels) == 3:
        return _COLOUR
    return _BYTES if pixels.dtype == np.uint8 else _WORDS


def _pointer(image: Dataset) -> Dataset:
    from pydicom import Dataset

    pointer = Dataset()
    pointer.ReferencedSOPClassUID = image.SOPClassUID
    pointer.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return pointer


def _bytes(data: Dataset) -> bytes:
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_uid("implementation"))
    meta.ImplementationVersionName = "MEDZOO"
    data.file_meta = meta
    stream = io.BytesIO()
    dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def _uid(*key: Any) -> str:
    return f"2.25.{_uuid(*key).int}"


def _uuid(*key: Any) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, json.dumps(key))


def _short(text: str) -> str:
    """A value of type LO: 64 characters, of which none parts values."""
    return text.replace("\\", "/")[:64]


def _decimal(number: float) -> str:
    """A value of type DS: 16 characters."""
    return f"{number:.8g}"


FORMAT = Format(
    suffixes=(".dcm",),
    about="pictures and volumes, grey or RGB, one mask",
    check=check,
    encode=encode,
    needs=("pydicom", "medzoo[dicom]"),
)
