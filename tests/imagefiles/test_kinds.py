"""Files as the world writes them: each kind of trap, in many forms, read right by conditions and data sets alike."""

from __future__ import annotations

import io
import re
import struct
import time
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit

from medzoo.datasets import Protocol, decode, load_path
from medzoo.errors import ImageFileError, MedzooError
from medzoo.imagefiles import ReadingWarning, list_images, picture_of, read_image, read_mask, read_volume
from tests.tools import image_case as case
from tests.tools.image_case import DISC, RAMP

TEN = Protocol(size=10)


def both(path: Path) -> np.ndarray:
    """What a condition is, in 0..255, once a data set has been shown to read the same."""
    image = read_image(path)
    pixels = decode(path.read_bytes(), path)
    flat = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    np.testing.assert_allclose(image * 255, flat, atol=0.51)
    return np.asarray(image[0] * 255)


# Which way up


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_pictures_stand_as_their_tags_say(tmp_path: Path, orientation: int, suffix: str) -> None:
    options = {"quality": 100} if suffix == ".jpg" else {"lossless": True} if suffix == ".webp" else {}
    path = case.picture(tmp_path / f"x{suffix}", RAMP, exif=case.turned(orientation), **options)
    wanted = [RAMP, RAMP[:, ::-1], RAMP[::-1, ::-1], RAMP[::-1], RAMP.T, np.rot90(RAMP, -1), RAMP[::-1, ::-1].T,
              np.rot90(RAMP)][orientation - 1]  # fmt: skip
    np.testing.assert_allclose(both(path), wanted, atol=3)
    with Image.open(path) as image:  # a picture that the caller opened stands as the file does
        found = picture_of(image)
    np.testing.assert_allclose(found if found.ndim == 2 else found[..., 0], wanted, atol=3)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_tiff_is_turned_and_turned_over_at_every_depth(
    tmp_path: Path, depth: Any, photometric: int, orientation: int
) -> None:
    stored = RAMP.astype(depth) * (257 if depth == np.uint16 else 1)
    path = case.tiff(tmp_path / "x.tif", stored, photometric=photometric, orientation=orientation)
    wanted = RAMP if photometric else 255 - RAMP
    wanted = {1: wanted, 3: wanted[::-1, ::-1], 6: np.rot90(wanted, -1), 8: np.rot90(wanted)}[orientation]
    np.testing.assert_allclose(read_image(path)[0] * 255, wanted, atol=0.51)
    window = (0, 65535) if depth == np.uint16 else None
    np.testing.assert_allclose(decode(path.read_bytes(), path, window), wanted, atol=0.51)


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_tiff_where_white_is_low_of_other_numbers(tmp_path: Path, kind: Any) -> None:
    path = case.tiff(tmp_path / "x.tif", RAMP.astype(kind) * (257 if kind == np.uint16 else 1), photometric=0)
    np.testing.assert_allclose(read_image(path)[0] * 255, 255 - RAMP, atol=0.51)


def test_tiff_of_one_bit_where_white_is_low(tmp_path: Path) -> None:
    for compression in (None, "group4", "packbits"):
        path = case.picture(tmp_path / "x.tif", Image.fromarray(DISC > 0), compression=compression)
        np.testing.assert_array_equal(both(path) > 127, DISC > 0)


def test_damaged_exif_is_no_reason_to_refuse_a_picture(tmp_path: Path) -> None:
    path = case.picture(tmp_path / "x.jpg", RAMP, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 20)
    assert both(path).shape == RAMP.shape


# Which page


LARGE, SMALL = np.full((32, 48), 200, np.uint8), np.full((8, 12), 50, np.uint8)


@pytest.mark.parametrize(
    ("pages", "tags"),
    [
        ((SMALL, LARGE), {"kind": [1, 0]}),
        ((LARGE, SMALL), {"kind": [0, 1]}),
        ((SMALL, LARGE), {"old_kind": [2, 1]}),
        ((SMALL, LARGE), {}),
        ((LARGE, SMALL, SMALL[::2, ::2]), {}),
        ((SMALL, SMALL, LARGE, SMALL), {"kind": [1, 1, 0, 1]}),
        ((LARGE // 2, LARGE), {"kind": [1, 0]}),
        ((LARGE, LARGE // 2), {"kind": [0, 4]}),  # a mask of transparency
        ((LARGE, SMALL), {"kind": [1, 1]}),
    ],
)
def test_the_full_page_of_a_tiff_is_the_picture(tmp_path: Path, pages: Any, tags: Any) -> None:
    path = case.tiff(tmp_path / "x.tif", *pages, **tags)
    assert np.unique(both(path).round()).tolist() == [200] and both(path).shape == (32, 48)


def test_several_full_pages_are_frames_and_no_picture_of_a_set(tmp_path: Path) -> None:
    path = case.tiff(tmp_path / "x.tif", LARGE // 4, SMALL, LARGE, kind=[0, 1, 0])
    assert (read_image(path)[0] * 255).mean().round() == 200
    assert (read_image(path, slice=0)[0] * 255).mean().round() == 50
    with pytest.raises(MedzooError, match=r"x\.tif: .*2 frames in one file; split it"):
        decode(path.read_bytes(), path)


def test_the_first_picture_of_several_in_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(RAMP).save(path, "MPO", save_all=True, append_images=[Image.fromarray(SMALL)], quality=100)
    np.testing.assert_allclose(both(path), RAMP, atol=3)
    path = case.picture(tmp_path / "x.png", RAMP, save_all=True, append_images=[Image.fromarray(RAMP // 2)])
    np.testing.assert_array_equal(both(path).round(), RAMP)


def test_an_animation_is_no_picture(tmp_path: Path) -> None:
    for suffix in (".gif", ".webp"):
        path = case.picture(tmp_path / f"x{suffix}", RAMP, save_all=True, append_images=[Image.fromarray(RAMP // 2)])
        for read in (read_image, lambda path: decode(path.read_bytes(), path)):
            with pytest.raises(MedzooError, match="several frames in one file; split it"):
                read(path)


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".webp", ".png", ".tif"])
def test_pictures_of_other_programs(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    for i in range(2):
        case.picture(tmp_path / f"{i}{suffix.upper()}", RAMP, **options)
    np.testing.assert_array_equal(both(tmp_path / f"0{suffix.upper()}").round(), RAMP)
    assert len(load_path(tmp_path, Protocol(size=10, channels="L"))) == 2 == len(list_images(tmp_path))


# Alpha and palettes


def layers(colours: Any, alpha: np.ndarray) -> Image.Image:
    planes = np.broadcast_to(np.asarray(colours, np.uint8), (*alpha.shape, 3))
    return Image.fromarray(np.dstack([planes, alpha]).astype(np.uint8), "RGBA")


def indexed(pixels: np.ndarray, palette: list[int]) -> Image.Image:
    image = Image.fromarray(pixels).convert("P")
    image.putpalette(palette)
    return image


GREY_DISC = np.repeat(DISC[:, :, None] * np.uint8(255), 3, 2)


@pytest.mark.parametrize(
    "image",
    [
        layers(255, DISC * 255),
        layers(0, DISC * 255),
        layers([255, 0, 0], DISC * 255),
        layers(GREY_DISC, np.full_like(DISC, 255)),
        layers(GREY_DISC, DISC * 255),
        layers(255 - GREY_DISC, DISC * 255),
        layers(GREY_DISC, np.zeros_like(DISC)),
        Image.fromarray(np.dstack([np.full_like(DISC, 255), DISC * 255]), "LA"),
        indexed(DISC, [0, 0, 0, 128, 0, 0]),
        indexed(1 - DISC, [255, 255, 255, 0, 0, 0]),
        indexed(DISC, [0, 0, 0, 255, 255, 255]),
        indexed(DISC * 255, [0, 0, 0] * 255 + [224, 224, 192]),
        Image.fromarray(DISC > 0),
        Image.fromarray(DISC),
        Image.fromarray(DISC * 255),
        Image.fromarray(DISC.astype(np.uint16) * 65535),
        Image.fromarray(DISC.astype(np.uint16)),
        Image.fromarray(GREY_DISC),
    ],
    ids=["white", "black", "red", "opaque", "both", "inverse", "transparent", "LA", "voc", "turned", "bw",
         "255", "1", "01", "0255", "16", "16of1", "rgb"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
def test_the_shape_of_a_mask_wherever_it_lies(tmp_path: Path, image: Image.Image) -> None:
    path = case.picture(tmp_path / "masks" / "0.png", image)
    np.testing.assert_array_equal(read_mask(path)[0], DISC)
    case.picture(tmp_path / "images" / "0.png", RAMP)
    found = load_path(tmp_path, Protocol(size=48), minimum=1)
    assert found.masks is not None and abs(found.masks.mean() - DISC.mean()) < 0.01


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
def test_alpha_of_a_picture(tmp_path: Path) -> None:
    half = np.repeat([[0, 255]], 24, 1).repeat(32, 0)
    path = case.picture(tmp_path / "x.png", layers(RAMP[:, :, None], half))
    np.testing.assert_array_equal(both(path).round(), RAMP)  # colours below it are kept
    path = case.picture(tmp_path / "x.png", layers(255, RAMP))
    np.testing.assert_array_equal(both(path).round(), RAMP)  # nothing but alpha says anything


@pytest.mark.parametrize(
    "labels",
    [
        DISC + np.roll(DISC, 12, 1),
        DISC * 2,
        np.indices(DISC.shape).sum(0).astype(np.uint8) // 10 + 1,
        np.where(DISC, 127, np.arange(48) // 24 * 255).astype(np.uint8),
        np.where(DISC, 255, np.arange(48) // 24 * 128).astype(np.uint8),
        np.kron(np.arange(0, 256, 5).reshape(4, 13)[:, :12], np.ones((8, 4))).astype(np.uint8),
        DISC.astype(np.uint16) * 300 + np.roll(DISC, 12, 1),
        DISC.astype(np.int32) - 1,
        DISC * 3.0,
    ],
    ids=["two", "2", "objects", "127", "128", "many", "16", "negative", "float"],
)
def test_numbered_classes_and_objects_are_no_mask(tmp_path: Path, labels: np.ndarray) -> None:
    paths = [tmp_path / "x.npy", tmp_path / "x.nii.gz"]
    np.save(paths[0], labels)
    case.nifti(paths[1], labels.T[..., None].astype(np.float64 if labels.dtype.kind == "f" else np.int32))
    if labels.dtype in (np.uint8, np.uint16):
        paths.append(case.picture(tmp_path / "x.png", labels))
    for path in paths:
        with pytest.raises(ImageFileError, match=r"x\..*: a mask with .*expected 0 and 1, or 0 and 255 .*labels == 2"):
            read_mask(path)


def test_smooth_edges_are_no_classes(tmp_path: Path) -> None:
    large = Image.fromarray(DISC * 255).resize((480, 320), Image.Resampling.BICUBIC)
    for name in ("x.jpg", "x.png"):
        mask = read_mask(case.picture(tmp_path / name, large))
        assert abs(mask.mean() - DISC.mean()) < 0.01


# Black and white


def ramp16(top: int) -> np.ndarray:
    return np.linspace(0, top, 1536).round().astype(np.uint16).reshape(32, 48)


@pytest.mark.parametrize("top", [90, 255, 960, 4095, 16383, 30000])
@pytest.mark.parametrize("form", ["png", "tif", "npy", "dcm", "nii", "dcm1", "tif0"])
def test_sixteen_bits_used_in_part_are_not_black(tmp_path: Path, top: int, form: str) -> None:
    pixels = ramp16(top)
    makers: dict[str, Callable[[], Any]] = {
        "png": lambda: case.picture(tmp_path / "x.png", pixels),
        "tif": lambda: case.tiff(tmp_path / "x.tif", pixels),
        "tif0": lambda: case.tiff(tmp_path / "x.tif", pixels, photometric=0),
        "npy": lambda: np.save(tmp_path / "x.npy", pixels),
        "dcm": lambda: case.dicom(tmp_path / "x.dcm", pixels, RescaleIntercept=-1024, RescaleSlope=1),
        "dcm1": lambda: case.dicom(tmp_path / "x.dcm", pixels, PhotometricInterpretation="MONOCHROME1"),
        "nii": lambda: case.nifti(tmp_path / "x.nii.gz", pixels.T[..., None]),
    }
    makers[form]()
    path = next(tmp_path.iterdir())
    with pytest.warns(ReadingWarning, match=rf"{path.name}: .*became black and .*--window"):
        image = read_image(path)[0]
    image = 1 - image if form in ("dcm1", "tif0") else image
    assert image.min() == 0 and image.max() == 1 and len(np.unique((image * 255).round())) > min(top, 250) * 0.9


@pytest.mark.parametrize("top", [0, 33000, 65535])
def test_sixteen_bits_that_use_their_range_keep_it(tmp_path: Path, top: int) -> None:
    path = case.picture(tmp_path / "x.png", ramp16(top))
    assert abs(read_image(path).max() - top / 65535) < 1e-6


def test_a_set_of_sixteen_bits_has_one_black_and_one_white(tmp_path: Path) -> None:
    for split, tops in (("train", (200, 960, 500)), ("val", (100, 480))):
        for top in tops:
            case.dicom(tmp_path / "d" / split / f"{top}.dcm", ramp16(top), PatientID=str(top), InstanceNumber=top)
            case.picture(tmp_path / "p" / split / f"{top}.png", ramp16(top))
    for kind in "dp":
        with pytest.warns(ReadingWarning, match=r"0 became black and 9\d\d(\.\d+)? white"):
            found = load_path(tmp_path / kind, TEN, split="train")
        assert [round(int(top) / 51) for top in sorted(found.images.max((1, 2, 3)))] == [1, 3, 5]


def test_a_window_that_dicom_states_is_used(tmp_path: Path) -> None:
    pixels = np.array([[-1000, -160, 40, 240, 3000]], np.int16)
    path = case.dicom(tmp_path / "x.dcm", pixels, WindowCenter=[40.5, 600], WindowWidth=[401, 3000])
    assert read_image(path)[0, 0].tolist() == [0, 0, 0.5, 1, 1]
    assert read_image(path, window=(-1000, 3000))[0, 0, 1] == np.float32(0.21)
    path = case.dicom(tmp_path / "x.dcm", pixels, WindowCenter=40, WindowWidth=400, VOILUTFunction="LINEAR_EXACT")
    assert read_image(path)[0, 0].tolist() == [0, 0, 0.5, 1, 1]
    for width in (0, None, ""):
        path = case.dicom(tmp_path / "x.dcm", pixels, WindowCenter=40, WindowWidth=width)
        assert read_image(path)[0, 0, 2] == np.float32(0.26)


def test_a_volume_of_sixteen_bits(tmp_path: Path) -> None:
    path = case.nifti(tmp_path / "x.nii.gz", np.stack([ramp16(900)] * 3, 2), slope=2, inter=-50)
    with pytest.warns(ReadingWarning, match=r"-\d+ became black and 17\d\d(\.\d+)? white"):
        volume = read_volume(path)
    assert volume.part(...).max() == 1 and volume.part(...).mean() > 0.4
    with pytest.warns(ReadingWarning):
        assert len(load_path(path, TEN)) == 3
    with pytest.raises(MedzooError, match=r"darker than the foreground limit .*--window"):
        load_path(path, TEN, window=(0, 65535))


# DICOM and NIfTI as they come


@pytest.mark.parametrize("changes", [
    {"RescaleSlope": None}, {"RescaleIntercept": None}, {"RescaleSlope": "", "RescaleIntercept": ""},
    {"RescaleSlope": None, "RescaleIntercept": -7}, {"WindowCenter": None, "WindowWidth": None},
    {"NumberOfFrames": None}, {"ModalityLUTSequence": []}, {"BitsStored": 8, "VOILUTFunction": ""},
    {"PerFrameFunctionalGroupsSequence": []},
])  # fmt: skip
def test_an_empty_element_says_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = case.dicom(tmp_path / "x.dcm", RAMP, **changes)
    np.testing.assert_allclose(read_image(path)[0] * 255, RAMP, atol=0.01)
    assert len(load_path(tmp_path, TEN, minimum=1)) == 1


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("frames", [False, True])
def test_dicom_without_preamble(tmp_path: Path, implicit: bool, frames: bool) -> None:
    pixels = np.stack([RAMP // 2, RAMP, RAMP]) if frames else RAMP
    path = case.bare_dicom(tmp_path / "x", pixels, implicit=implicit)
    np.testing.assert_allclose(read_image(path)[0] * 255, RAMP, atol=0.01)
    assert len(load_path(tmp_path, TEN, minimum=1)) == (3 if frames else 1) and list_images(tmp_path) == (path,)


def test_dicom_without_transfer_syntax(tmp_path: Path) -> None:
    path = case.dicom(tmp_path / "x.dcm", RAMP)
    content = path.read_bytes()
    at = content.index(b"\x02\0\x10\0UI")
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    meta = int.from_bytes(content[140:144], "little") - 8 - length
    path.write_bytes(content[:140] + meta.to_bytes(4, "little") + content[144:at] + content[at + 8 + length :])
    assert "TransferSyntaxUID" not in pydicom.dcmread(path).file_meta
    np.testing.assert_allclose(read_image(path)[0] * 255, RAMP, atol=0.01)
    assert len(load_path(tmp_path, TEN, minimum=1)) == 1


def test_objects_without_pixels_in_a_study(tmp_path: Path) -> None:
    case.dicom(tmp_path / "a.dcm", RAMP)
    for name in ("report", "structures"):
        case.dicom(tmp_path / f"{name}.dcm", RAMP, PixelData=..., Rows=..., Columns=..., BitsAllocated=...)
    for read in (list_images, lambda path: load_path(path, TEN, minimum=1)):
        with pytest.warns(ReadingWarning, match=r"2 DICOM objects without pixels .*passed over"):
            assert len(read(tmp_path)) == 1


@pytest.mark.parametrize("shape", [(6, 5, 4, 1), (6, 5, 4, 1, 1), (6, 5, 1, 1), (6, 5, 4, 1, 3), (6, 5, 4, 3)])
@pytest.mark.filterwarnings("error")
def test_trailing_axes_of_length_one(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(100, 255, shape, np.uint8)
    path = case.nifti(tmp_path / "x.nii", array)
    assert read_image(path, slice=0).shape == (3 if shape[-1] == 3 else 1, 5, 6)
    flat = array.reshape(6, 5, -1, 3) if shape[-1] == 3 else array.reshape(6, 5, -1, 1)
    np.testing.assert_allclose(read_image(path, slice=0)[0] * 255, flat[:, :, 0, 0].T, atol=0.01)
    if shape[-1] == 1:
        assert read_volume(path).stored.shape == (shape[2], 5, 6)


@pytest.mark.parametrize("qcode", [0, 1])
@pytest.mark.parametrize("sform", [np.zeros((3, 4)), np.full((3, 4), np.nan), np.eye(3, 4) * [1, 1, 0, 1]])
def test_an_orientation_that_says_nothing(tmp_path: Path, sform: np.ndarray, qcode: int) -> None:
    path = case.nifti(tmp_path / "x.nii", RAMP.T[..., None], sform=sform, qcode=qcode)
    assert sorted(read_image(path).shape) == [1, 32, 48] and read_volume(path).stored.size == RAMP.size


# No silent drop


def test_what_is_not_read_is_counted(tmp_path: Path) -> None:
    for i in range(4):
        case.picture(tmp_path / f"{i}.png", RAMP)
        (tmp_path / f"{i}.jp2").write_bytes(b"\0\0\0\x0cjP  ")
    (tmp_path / "raw").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    for read in (list_images, lambda path: load_path(path, TEN)):
        with pytest.warns(ReadingWarning, match=r"1 file without suffix, 4 \.jp2 files: not read"):
            assert len(read(tmp_path)) == 4
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.jp2").write_bytes(b"\0\0\0\x0cjP  ")
    for read in (list_images, lambda path: load_path(path, TEN)):
        with pytest.raises(MedzooError, match="no image"):
            read(tmp_path / "x")


def test_no_message_holds_an_address_of_memory(tmp_path: Path) -> None:
    contents = {
        "a.png": b"", "b.png": b"\x89PNG\r\n\x1a\n", "c.tif": b"II*\0", "d.bmp": b"BM", "e.webp": b"RIFF0000WEBP",
        "f.gif": b"GIF89a", "g.jpg": b"\xff\xd8\xff", "h.png": b"\0\0\0\x0cjP  ",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        for read in (read_image, lambda path: decode(path.read_bytes(), path)):
            with pytest.raises(MedzooError, match=re.escape(name)) as caught:
                read(tmp_path / name)
            assert " at 0x" not in str(caught.value)


# Bounds before work


def refused(read: Callable[[], object], told: str, *, seconds: float = 20.0, bytes: float = 2e8) -> None:
    """Refused with these words, in little memory and processor time: what is not bounded takes minutes."""
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(MedzooError, match=told):
        read()
    took, most = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < seconds and most < bytes, (took, most)


@pytest.mark.filterwarnings("ignore:The number of bytes:UserWarning")  # of pydicom, as programs run it
@pytest.mark.parametrize("changes", [{"Rows": 1}, {"Rows": 16}, {"Columns": 1}, {"Rows": 3, "Columns": 4}])
def test_a_dicom_file_that_holds_more_than_it_states(changes: dict[str, int], tmp_path: Path) -> None:
    """An empty number of frames: pydicom makes frames of the rest, which are no channels of one picture."""
    path = case.dicom(tmp_path / "x.dcm", RAMP, NumberOfFrames=None, **changes)
    refused(partial(read_image, path), "states one picture of .*, and its numbers make")
    refused(lambda: load_path(tmp_path, Protocol(size=8), minimum=1), "states one picture of .*, and its numbers make")


def test_frames_that_a_dicom_file_cannot_hold(tmp_path: Path) -> None:
    for frames, told in ((10**9, "100,000 are accepted"), (90_000, "90,000 frames, which its .* bytes do not hold")):
        path = case.dicom(tmp_path / "x.dcm", RAMP, NumberOfFrames=frames)
        refused(partial(read_image, path), told)
        refused(lambda: load_path(tmp_path, TEN), told)


def stream(format: str, size: tuple[int, int], **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("L", size).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("syntax", "format", "options"),
    [(JPEGExtended12Bit, "JPEG", {"progressive": True}), (JPEG2000Lossless, "JPEG2000", {"no_jp2": True})],
)
def test_a_compressed_picture_larger_than_its_dicom_file_says(
    tmp_path: Path, syntax: Any, format: str, options: Any
) -> None:
    content = encapsulate([stream(format, (4000, 4000), **options)])
    path = case.dicom(tmp_path / "x.dcm", RAMP, syntax=syntax, content=content)
    refused(lambda: read_image(path), r"states 32 x 48 pixels, the compressed picture in it 4000 x 4000")
    refused(lambda: load_path(tmp_path, TEN), r"states 32 x 48 pixels, the compressed picture in it 4000 x 4000")


def test_scans_of_a_jpeg(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(case.scans(stream("JPEG", (2000, 2000), progressive=True), 5000))
    for read in (read_image, lambda path: decode(path.read_bytes(), path)):
        refused(partial(read, tmp_path / "x.jpg"), r"scans|more than 200|at most 200")
    content = encapsulate([case.scans(stream("JPEG", (48, 32), progressive=True), 5000)])
    path = case.dicom(tmp_path / "x.dcm", RAMP, syntax=JPEGExtended12Bit, content=content)
    refused(lambda: read_image(path), "at most 200")


@pytest.mark.parametrize("deep", [False, True])
def test_a_picture_inside_the_page_of_a_thumbnail(tmp_path: Path, deep: bool) -> None:
    """As OME-TIFF and raw files have it: the first directory is small, and names another one (SubIFD)."""
    full = RAMP.astype(np.uint16) * 200 if deep else RAMP
    path = case.tiff(tmp_path / "x.tif", RAMP[::4, ::4], full, kind=[1, 0])
    content = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, first)[0]
    second = struct.unpack_from("<I", content, first + 2 + 12 * count)[0]
    entries = [bytes(content[first + 2 + 12 * k : first + 14 + 12 * k]) for k in range(count)]
    entries.append(struct.pack("<HHII", 330, 4, 1, second))
    moved = struct.pack("<H", count + 1) + b"".join(sorted(entries, key=lambda one: one[:2][::-1])) + bytes(4)
    struct.pack_into("<I", content, 4, len(content))
    path.write_bytes(content + moved)
    np.testing.assert_array_equal(read_image(path), read_image(case.tiff(tmp_path / "plain.tif", full)))


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    path = case.tiff(tmp_path / "x.tif", *[np.zeros((2, 2), np.uint8)] * 10_050)
    for read in (read_image, lambda path: decode(path.read_bytes(), path)):
        refused(partial(read, path), "at most 10,000")
    content = bytearray(case.tiff(path, RAMP, RAMP).read_bytes())
    content[-4:] = content[4:8]  # the last page leads to the first
    path.write_bytes(content)
    assert read_image(path, slice=1).shape == (1, 32, 48)


def test_extensions_of_a_nifti_file(tmp_path: Path) -> None:
    for stated in (None, 0.0, 352.0):
        path = case.extended_nifti(tmp_path / "x.nii.gz", 2**28, stated=stated)
        if stated == 352.0:  # then nothing reads them
            assert read_image(path).shape == (1, 4, 4)
            continue
        for read in (read_image, read_volume):
            refused(partial(read, path), "header extensions: .* bytes, at most 16,777,216")
    path = case.extended_nifti(tmp_path / "x.nii.gz", 2**12)
    assert read_image(path).shape == (1, 4, 4)


def test_a_slice_across_the_order_of_a_file(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 255, (40, 90, 80), np.uint8)
    import nibabel

    up_first = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(volume, up_first), tmp_path / "x.nii.gz")
    for at in (0, 17, 39):
        found = read_image(tmp_path / "x.nii.gz", slice=at)[0] * 255
        np.testing.assert_allclose(found, read_volume(tmp_path / "x.nii.gz").stored[at], atol=0.01)


def test_the_largest_picture_takes_little_more_than_itself(tmp_path: Path) -> None:
    path = case.picture(tmp_path / "x.png", np.zeros((4096, 4096, 3), np.uint8))
    tracemalloc.start()
    read_image(path, channels=1, size=(64, 64))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4096 * 4096 * 3 * 5


def test_sixteen_bits_in_colour(tmp_path: Path) -> None:
    pixels = np.stack([ramp16(65535)] * 3, 2)
    np.testing.assert_allclose(both(case.tiff(tmp_path / "x.tif", pixels)), pixels[..., 0] / 257, atol=1)
    path = case.tiff(tmp_path / "x.tif", pixels // 16)
    for read in (read_image, lambda path: decode(path.read_bytes(), path)):
        with pytest.raises(MedzooError, match="16 bits a channel"):
            read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageFileError, match="16 bits a channel"):
            read_image(path, window=(0, 4095))
