"""Reading image files: what their numbers mean, which way up they are, and what is wrong with broken ones."""

from __future__ import annotations

import io
import re
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from medzoo.errors import ImageFileError, pip_install
from medzoo.files.png import encode_png
from medzoo.imagefiles import ReadingWarning, list_images, read_image, resize
from medzoo.samples import Samples
from medzoo.samples.saving import save

GREY = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)  # fifths
FIFTHS = np.array([[0, 1, 2], [3, 4, 5]]) / 5


def close(found: NDArray[np.float32], wanted: Any, most: float = 1e-6) -> bool:
    """Whether it is float32 of the wanted shape and values."""
    wanted = np.asarray(wanted)
    return found.dtype == np.float32 and found.shape == wanted.shape and bool(np.abs(found - wanted).max() <= most)


def picture(folder: Path, image: Image.Image, name: str = "x.png", **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def dicom(folder: Path, pixels: NDArray[Any], **changes: Any) -> Path:
    """A DICOM file of [H, W], [frames, H, W] or [H, W, 3]; changes are attributes."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    data.Rows, data.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        data.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    bits = 8 * pixels.dtype.itemsize
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    data["PixelData"].VR = "OW"
    for name, value in changes.items():
        setattr(data, name, value)
    pydicom.dcmwrite(folder / "x.dcm", data, enforce_file_format=True)
    return folder / "x.dcm"


def nifti(folder: Path, array: NDArray[Any], affine: Any = None, name: str = "x.nii.gz") -> Path:
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1]) if affine is None else affine), folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (Image.fromarray(GREY), FIFTHS[None]),
        (Image.fromarray(GREY.astype(np.uint16) * 257), FIFTHS[None]),
        (Image.fromarray(np.stack([GREY, GREY * 0, 255 - GREY], 2)), [FIFTHS, FIFTHS * 0, 1 - FIFTHS]),
        (Image.fromarray(np.stack([GREY, GREY * 0, 255 - GREY, GREY], 2), "RGBA"), [FIFTHS, FIFTHS * 0, 1 - FIFTHS]),
        (Image.fromarray(np.stack([GREY, 255 - GREY], 2), "LA"), FIFTHS[None]),
        (Image.fromarray(GREY > 100), FIFTHS[None] > 0.3),
    ],
    ids=["8", "16", "rgb", "rgba", "grey with alpha", "1"],
)
@pytest.mark.parametrize("name", ["x.png", "x.tif"])
@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
def test_whole_numbers_are_scaled_by_their_range(tmp_path: Path, image: Image.Image, wanted: Any, name: str) -> None:
    assert close(read_image(picture(tmp_path, image, name)), wanted)


def test_a_palette_is_a_colour_image(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 51, 0, 0, 0, 102])
    assert close(read_image(picture(tmp_path, image)), [[[1, 0, 0]], [[0, 0.2, 0]], [[0, 0, 0.4]]])


def test_jpeg_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    smooth = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (16, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    path = picture(tmp_path, Image.fromarray(smooth), "x.jpg", exif=exif, quality=95)
    assert close(read_image(path), np.rot90(smooth, -1)[None] / 255, most=0.02)


def test_floats_are_scaled_by_their_least_and_largest_value(tmp_path: Path) -> None:
    values = (FIFTHS * 300 - 100).astype(np.float32)
    for path in (picture(tmp_path, Image.fromarray(values), "x.tif"), tmp_path / "x.npy"):
        np.save(tmp_path / "x.npy", values)
        assert close(read_image(path), FIFTHS[None])
        assert close(read_image(path, window=(-100, 300)), FIFTHS[None] * 0.75)
        assert close(read_image(path, window=(0, 100)), (FIFTHS[None] * 3 - 1).clip(0, 1))
    np.save(tmp_path / "x.npy", np.full((2, 2), 7.0))
    assert close(read_image(tmp_path / "x.npy"), np.zeros((1, 2, 2)))
    np.save(tmp_path / "x.npy", np.array([[-5, 5]], np.int16))
    assert close(read_image(tmp_path / "x.npy"), [[[0, 1]]])


def test_channels_become_those_asked_for(tmp_path: Path) -> None:
    colour = picture(tmp_path, Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)))
    assert close(read_image(colour, channels=1), [[[0.299, 0.587, 0.114]]])
    grey = picture(tmp_path, Image.fromarray(GREY), "grey.png")
    assert close(read_image(grey, channels=3), [FIFTHS] * 3)
    with pytest.raises(ImageFileError, match=r"grey.png: has 1 channels; expected 4"):
        read_image(grey, channels=4)


def test_shrinking_does_not_alias_and_growing_does_not_overshoot(tmp_path: Path) -> None:
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    small = read_image(picture(tmp_path, Image.fromarray(board.astype(np.uint8))), size=(8, 16))
    assert small.shape == (1, 8, 16) and np.abs(small[:, 1:-1, 1:-1] - 0.5).max() < 0.01
    ramp = np.tile(np.linspace(0, 1, 4, dtype=np.float32), (2, 1, 1))
    large = resize(ramp.reshape(2, 1, 4), (2, 8))
    assert large.shape == (2, 2, 8) and (np.diff(large) >= 0).all() and large.min() == 0 and large.max() == 1


@pytest.mark.parametrize("slice", [None, 0, 2])
def test_one_slice_of_a_volume(tmp_path: Path, slice: int | None) -> None:
    volume = np.arange(4 * 2 * 5, dtype=np.uint8).reshape(4, 2, 5)  # depth, height, width
    wanted = volume[2 if slice is None else slice][None] / 255
    pages = [Image.fromarray(page) for page in volume]
    np.save(tmp_path / "x.npy", volume)
    np.save(tmp_path / "one.npy", volume[None])
    for path in (
        picture(tmp_path, pages[0], "x.tif", save_all=True, append_images=pages[1:]),
        tmp_path / "x.npy",
        tmp_path / "one.npy",
        dicom(tmp_path, volume),
        nifti(tmp_path, volume.transpose(2, 1, 0)),
    ):
        assert close(read_image(path, slice=slice), wanted), path
        with pytest.raises(ImageFileError, match=rf"{path.name}: has no slice 4; it takes 0 to 3"):
            read_image(path, slice=4)


def test_arrays_may_have_their_channels_first_or_last(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 7), np.uint8)
    for array in (image, image.transpose(1, 2, 0)):
        np.save(tmp_path / "x.npy", array)
        assert close(read_image(tmp_path / "x.npy"), image / 255)
    np.save(tmp_path / "x.npy", np.zeros((4, 5, 7), np.uint8))
    assert read_image(tmp_path / "x.npy", channels=4).shape == (4, 5, 7)


def test_dicom_values_are_those_after_the_rescale_slope(tmp_path: Path) -> None:
    stored = np.array([[-1000, 0, 1000]], np.int16)
    path = dicom(tmp_path, stored, RescaleSlope=2, RescaleIntercept=100)  # -1900, 100, 2100
    assert close(read_image(path, window=(-900, 1100)), [[[0, 0.5, 1]]])
    assert close(read_image(path), [[[0, 0.5, 1]]])  # signed: least and largest
    path = dicom(tmp_path, np.array([[0, 819, 4095]], np.uint16), BitsStored=12, HighBit=11, RescaleSlope=-1)
    assert close(read_image(path), [[[1, 0.8, 0]]])


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    path = dicom(tmp_path, GREY, PhotometricInterpretation="MONOCHROME1")
    assert close(read_image(path), 1 - FIFTHS[None])
    assert close(read_image(path, window=(0, 102)), [[[1, 0.5, 0], [0, 0, 0]]])


def test_a_ct_slice_of_pydicom_by_its_own_means() -> None:
    path = pydicom_file("CT_small.dcm")
    wanted = pydicom.pixels.apply_rescale(*(lambda data: (data.pixel_array, data))(pydicom.dcmread(path)))
    assert close(read_image(path, window=(-200, 300)), ((wanted + 200) / 500).clip(0, 1)[None])


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("SC_rgb_rle.dcm", "SC_ybr_full_422_uncompressed.dcm"),
    ],
)
def test_other_transfer_syntaxes_hold_the_same_image(name: str, like: str) -> None:
    assert np.abs(read_image(pydicom_file(name)) - read_image(pydicom_file(like))).mean() < 0.005


def test_a_palette_in_dicom_is_a_colour_image() -> None:
    image = read_image(pydicom_file("examples_palette.dcm"))
    assert image.shape == (3, 350, 800) and 0.9 < image.max() <= 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("JPEGLSNearLossless_16.dcm", r"is compressed \(JPEG-LS .*type: pip install 'pylibjpeg\[all\]'"),
        ("image_dfl.dcm", "deflated DICOM file; write it anew with dcmconv"),
        ("rtplan.dcm", "DICOM file without an image"),
        ("MR_truncated.dcm", "a DICOM file that cannot be read"),
        ("badVR.dcm", "a DICOM file that cannot be read"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_dicom_that_cannot_be_shown(name: str, told: str) -> None:
    with pytest.raises(ImageFileError, match=rf"{name}: .*{told}"):
        read_image(pydicom_file(name))


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SPL", "PIR", "ASR"])
def test_nifti_slices_look_the_same_whatever_the_axes_of_the_file(tmp_path: Path, axes: str) -> None:
    """Axial slices seen from the feet: columns to the left, rows to the back; a number upwards."""
    volume = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)  # to the left, back, up
    image = nibabel.Nifti1Image(volume, np.diag([-0.5, -0.7, 2, 1]))
    turned = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(axes)))
    nibabel.save(turned, tmp_path / "x.nii")
    assert "".join(nibabel.aff2axcodes(turned.affine)) == axes
    assert close(read_image(tmp_path / "x.nii", slice=0), volume[:, :, 0].T[None] / 255)


def test_nifti_kinds(tmp_path: Path) -> None:
    values = np.array([[0, 50], [150, 200]], np.float32)
    assert close(read_image(nifti(tmp_path, values)), [[[0, 0.75], [0.25, 1]]])  # two axes
    scaled = nibabel.Nifti1Image(values[..., None].astype(np.int16), np.diag([-1, -1, 1, 1]))
    scaled.header.set_slope_inter(2, -100)  # -100, 0, 200, 300
    nibabel.save(scaled, tmp_path / "x.nii")
    assert close(read_image(tmp_path / "x.nii", window=(0, 200)), [[[0, 1], [0, 1]]])
    second = nibabel.Nifti2Image(values[..., None], np.diag([-1, -1, 1, 1]))
    nibabel.save(second, tmp_path / "second.nii.gz")
    assert close(read_image(tmp_path / "second.nii.gz"), [[[0, 0.75], [0.25, 1]]])
    colours = np.zeros((2, 2, 1), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"][1, 0] = 51
    assert close(read_image(nifti(tmp_path, colours)), [[[0, 0], [0, 0]], [[0, 0.2], [0, 0]], [[0, 0], [0, 0]]])
    with pytest.raises(ImageFileError, match=r"has shape \[2, 2, 2, 7\]; expected .*\[x, y, z, channels\]"):
        read_image(nifti(tmp_path, np.zeros((2, 2, 2, 7), np.uint8)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("format", "ending"), [("png", "png"), ("npy", "npy"), ("dicom", "dcm"), ("nifti", "nii.gz")])
def test_what_was_written_is_read_again(tmp_path: Path, format: str, ending: str, channels: int) -> None:
    images = np.random.default_rng(0).random((1, channels, 5, 7), np.float32)
    images[0, :, 0, :2] = 0, 1  # floats are scaled by their least and largest
    made = Samples(images=images, indices=np.arange(1), model_id="99001_TINY")
    folder = save(made, tmp_path / "out", format=format, bits=16 if channels == 1 and format != "npy" else 8)
    assert close(read_image(folder / f"00000000.{ending}"), images[0], most=0.51 / 255)


def test_content_decides_what_a_file_is(tmp_path: Path) -> None:
    path = picture(tmp_path, Image.fromarray(GREY))
    assert close(read_image(path.rename(tmp_path / "photo.jpg")), FIFTHS[None])
    assert close(read_image(dicom(tmp_path, GREY).rename(tmp_path / "IM0001")), FIFTHS[None])
    volume = nifti(tmp_path, GREY.T[..., None])
    assert close(read_image(volume.rename(tmp_path / "brain")), FIFTHS[None])


def test_images_of_a_folder_in_the_order_that_people_count(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.png", "a.png", "B11.png", ".hidden.png"):
        picture(tmp_path, Image.fromarray(GREY), name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "page.png").write_text("<html>404</html>")
    (tmp_path / "folder.png").mkdir()
    dicom(tmp_path, GREY)
    with pytest.warns(ReadingWarning, match="1 .png file: not read"):
        found = list_images(tmp_path)
    assert [path.name for path in found] == ["a.png", "b9.png", "b10.png", "B11.png", "x.dcm"]
    with pytest.raises(ImageFileError, match="folder.png: holds no image; expected a PNG, JPEG, TIFF, DICOM"):
        list_images(tmp_path / "folder.png")
    with pytest.raises(ImageFileError, match="nowhere: no such folder"):
        list_images(tmp_path / "nowhere")


def pydicom_file(name: str) -> Path:
    return Path(pydicom.__file__).parent / "data" / "test_files" / name


def png_header(width: int, height: int) -> bytes:
    """A PNG file up to where its pixels begin."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\1\0IDAT"
    )


def npy_header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def nifti_header(*shape: int) -> bytes:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header["dim"][: len(shape) + 1] = [len(shape), *shape]
    header["magic"], header["vox_offset"] = b"n+1", 352
    return bytes(header.binaryblock) + b"\0" * 4


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><html>404", "is a web page .*; expected a PNG, JPEG, TIFF, DICOM or NIfTI file"),
        (b"", "is empty; expected"),
        (b"GIF89a" + b"\0" * 600, "a GIF image that cannot be read"),
        (b"GIF" + b"\0" * 600, "is of no known kind; expected"),
        (encode_png(GREY[:, :, None], {})[:45], "a PNG image that cannot be read"),
        (png_header(100_000, 100_000), "100000 x 100000 pixels|decompression bomb"),
        (png_header(9_000, 9_000), "is 9000 x 9000 pixels; read are pictures of 1 to 67,108,864 pixels"),
        (npy_header((2**30, 2**30)), "a NumPy array that cannot be read"),
        (npy_header((2, 2), "|O") + b"\x80\x04N.", "a NumPy array that cannot be read"),
        (npy_header((2, 2), "<U4") + b"\0" * 64, "holds <U4; expected numbers"),
        (npy_header((7,)) + b"\0" * 28, r"has shape \[7\]; expected"),
        (npy_header((0, 5)), "is 0 x 5 pixels"),
        (npy_header((1, 2)) + b"\0\0\xc0\x7f" * 2, "holds numbers that are not finite"),
        (nifti_header(5, 5, 5), "a NIfTI image that cannot be read"),
        (nifti_header(30000, 30000, 1), "is 30000 x 30000 pixels|is a volume of"),
        (nifti_header(32000, 32000, 32000), r"is a volume of \[32000, 32000, 32000\]; read are volumes up to"),
        (nifti_header(-5, 5, 5), "a NIfTI image that cannot be read|pixels; read are"),
        (b"\x1f\x8b\x08" + b"\0" * 500, "is of no known kind"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100, "a JPEG image that cannot be read"),
        (b"II*\0" + b"\xff" * 100, "a TIFF image that cannot be read"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 100, "a DICOM file that cannot be read"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else f"{len(value)} bytes",
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_and_hostile_files_are_one_clear_error(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageFileError, match=rf"x.png: .*({told})"):
        read_image(tmp_path / "x.png")


def test_a_dicom_file_that_claims_too_much(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="is 65535 x 65535 pixels"):
        read_image(dicom(tmp_path, GREY, Rows=65535, Columns=65535))
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_image(dicom(tmp_path, GREY, NumberOfFrames=10**9))


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_files_cut_short_are_never_half_an_image(tmp_path: Path, cut: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    makers: list[Callable[[], Path]] = [
        lambda: picture(tmp_path, Image.fromarray(pixels)),
        lambda: picture(tmp_path, Image.fromarray(pixels), "x.jpg"),
        lambda: picture(tmp_path, Image.fromarray(pixels), "x.tif"),
        lambda: tmp_path / "x.npy",
        lambda: dicom(tmp_path, pixels),
        lambda: nifti(tmp_path, pixels[..., None]),
        lambda: nifti(tmp_path, pixels[..., None], name="x.nii"),
    ]
    for make in makers:
        path = make()
        content = path.read_bytes()
        path.write_bytes(content[: int(cut * len(content))])
        with pytest.raises(ImageFileError, match=path.name):
            read_image(path)


def test_questions_that_have_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture(tmp_path, Image.fromarray(GREY))
    with pytest.raises(ImageFileError, match="x.png: window needs low < high, found"):
        read_image(path, window=(1, 1))
    with pytest.raises(ImageFileError, match="nowhere.png: no such file"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ImageFileError, match="is a folder, not a file"):
        read_image(tmp_path)
    paths = {"pydicom": dicom(tmp_path, GREY), "nibabel": nifti(tmp_path, GREY[..., None])}
    for package, extra in (("pydicom", "dicom"), ("nibabel", "nifti")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            ImageFileError, match=rf"needs {package}; type: " + re.escape(pip_install(f"medzoo[{extra}]"))
        ):
            read_image(paths[package])
