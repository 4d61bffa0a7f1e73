"""Results for the tests of reports: numbers as a benchmark of polyp generators might give them, all made up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

REFERENCES = ("real", "blur_2px", "blur_4px", "noise_0.05", "noise_0.2", "copies")
TITLES = {
    "real": "real images", "blur_2px": "real, blurred by 2 px", "blur_4px": "real, blurred by 4 px",
    "noise_0.05": "real, noise of 0.05", "noise_0.2": "real, noise of 0.2", "copies": "copies of training images",
}  # fmt: skip
FEATURES = "efficientnet_lite0"

# name, title, metric, group, in features, better, percent, spread, values of: three models and a folder, then of the
# reference points (fewer where a metric is not measured on all of them)
SCORES: list[tuple[str, str, str, str, bool, str, bool, float, list[float | None], list[float | None]]] = [
    ("fd", "FD", "frechet", "fidelity", True, "lower", False, 4.2,
     [95.5, 142.1, 88.4, 203.7], [59.1, 160.6, 254.2, 165.4, 260.3, 58.7]),
    ("fd_infinity", "FD∞", "frechet", "fidelity", True, "lower", False, 6.0,
     [78.2, 121.9, 73.4, 181.0], [3.1, 138.4, 231.0, 144.8, 238.1, 2.8]),
    ("kid", "KID", "kernel", "fidelity", True, "lower", False, 0.006,
     [0.0868, 0.1514, 0.0812, 0.2231], [-0.0002, 0.2344, 0.4121, 0.2513, 0.4402, -0.0003]),
    ("cmmd", "CMMD", "cmmd", "fidelity", True, "lower", False, 0.03,
     [0.412, 0.688, 0.395, 0.942], [0.002, 1.104, 1.631, 1.003, 1.722, 0.001]),
    ("precision", "Precision", "prdc", "coverage", True, "higher", True, 0.03,
     [0.712, 0.655, 0.681, 0.402], [0.934, 0.118, 0.011, 0.083, 0.004, 0.951]),
    ("recall", "Recall", "prdc", "coverage", True, "higher", True, 0.03,
     [0.348, 0.141, 0.412, 0.094], [0.921, 0.203, 0.024, 0.151, 0.012, 0.902]),
    ("density", "Density", "prdc", "coverage", True, "higher", False, 0.05,
     [0.802, 0.711, 0.745, 0.312], [1.012, 0.071, 0.006, 0.052, 0.002, 1.034]),
    ("coverage", "Coverage", "prdc", "coverage", True, "higher", True, 0.03,
     [0.618, 0.404, 0.652, 0.187], [0.966, 0.101, 0.011, 0.079, 0.011, 0.955]),
    ("ms_ssim", "MS-SSIM", "ms_ssim", "coverage", False, "neither", False, 0.01,
     [0.284, 0.352, 0.271, 0.401], [0.243, 0.331, 0.402, 0.221, 0.118]),
    ("nearer_than_1", "Nearer than 1 %", "memorisation", "memorisation", True, "lower", True, 0.004,
     [0.0, 0.0042, 0.0014, 0.0], [0.011, None, None, None, None, 1.0]),
    ("nearer_than_5", "Nearer than 5 %", "memorisation", "memorisation", True, "lower", True, 0.008,
     [0.0112, 0.0281, 0.0154, 0.0014], [0.052, None, None, None, None, 1.0]),
    ("near_copies", "Near copies", "memorisation", "memorisation", False, "lower", True, 0.002,
     [0.0, 0.0014, 0.0, 0.0], [0.0, None, None, None, None, 0.997]),
    ("authenticity", "Authenticity", "authenticity", "memorisation", True, "higher", True, 0.02,
     [0.842, 0.881, 0.826, 0.934], [0.501, None, None, None, None, 0.0]),
    ("mifid", "MiFID", "mifid", "memorisation", True, "lower", False, 4.2,
     [95.5, 142.1, 88.4, 203.7], [59.1, 160.6, 254.2, 165.4, 260.3, 2240.0]),
    ("spectrum_gap", "Spectrum gap", "spectrum", "frequency", False, "lower", False, 0.01,
     [0.121, 0.304, 0.082, 0.412], [0.012, 0.831, 1.402, 0.441, 1.012, 0.013]),
    ("spectrum_gap_high", "Spectrum gap, high", "spectrum", "frequency", False, "lower", False, 0.01,
     [0.182, 0.466, 0.101, 0.608], [0.014, 1.244, 1.921, 0.731, 1.664, 0.02]),
    ("mask_area", "Mask area", "masks", "masks", False, "neither", True, 0.01,
     [0.19, 0.171, 0.162, None], [0.155]),
    ("mask_empty", "Empty masks", "masks", "masks", False, "neither", True, 0.02,
     [0.103, 0.021, 0.008, None], [0.0]),
    ("mask_single", "Masks of one piece", "masks", "masks", False, "neither", True, 0.02,
     [0.89, 0.842, 0.931, None], [0.951]),
    ("mask_agreement", "Image-mask agreement", "agreement", "masks", False, "higher", False, 0.02,
     [0.714, 0.642, 0.731, None], [0.801]),
    ("seg_dice", "Dice, synthetic alone", "segmentation", "usefulness", False, "higher", False, 0.02,
     [0.682, 0.701, 0.694, None], [0.771]),
    ("seg_dice_1x", "Dice, real + 1x", "segmentation", "usefulness", False, "higher", False, 0.015,
     [0.781, 0.774, 0.788, None], []),
    ("seg_dice_2x", "Dice, real + 2x", "segmentation", "usefulness", False, "higher", False, 0.015,
     [0.776, 0.762, 0.791, None], []),
    ("seg_dice_real", "Dice, real alone", "segmentation", "usefulness", False, "higher", False, 0.02,
     [0.771, 0.771, 0.771, None], [0.771]),
    ("first_image_s", "first image", "cost", "cost", False, "lower", False, 0.0,
     [1.84, 2.31, 1.92, None], []),
    ("images_per_s", "images/s", "cost", "cost", False, "higher", False, 0.0,
     [84.1, 22.2, 52.3, None], []),
    ("peak_memory_mb", "peak memory", "cost", "cost", False, "lower", False, 0.0,
     [612.0, 1180.0, 734.0, None], []),
    ("weights_mb", "weights", "cost", "cost", False, "lower", False, 0.0,
     [14.6, 116.9, 6.5, None], []),
]  # fmt: skip
ABOUT = "What is measured, its range and its source, in one line as metrics state it (Author et al. 2020)."
CONTENDERS = [
    (
        "10001_FASTGAN_POLYP_W_MASKS",
        "model",
        "Polyp images with masks, 128 px (FastGAN generator, made here)",
        "fastgan",
    ),
    ("00010_FASTGAN_POLYP_PATCHES_W_MASKS", "model", "Polyp patches with masks, 256 px", "fastgan"),
    ("00009_PGGAN_POLYP_PATCHES_W_MASKS", "model", "Polyp patches with masks, 256 px, progressive", "pggan"),
    ("my-diffusion-run-7", "folder", "folder my-diffusion-run-7", None),
]


def results(count: int = 4, references: bool = True, features: tuple[str, ...] = (FEATURES,)) -> list[dict[str, Any]]:
    """Result dicts of ``count`` contenders, and of the reference points."""
    brief = {
        name: [
            {key: score[key] for key in ("name", "features", "value", "low", "high")}
            for score in _scores(None, i, features)
        ]
        for i, name in enumerate(REFERENCES)
    }
    rows = [
        _result(name, "reference", TITLES[name], None, _scores(None, i, features), {})
        for i, name in enumerate(REFERENCES)
    ]
    made = [
        _result(*contender, _scores(i, None, features), brief if references else {})
        for i, contender in enumerate(CONTENDERS[:count])
    ]
    return (rows if references else []) + made


def edit(row: dict[str, Any], name: str, **changes: Any) -> None:
    """Change fields of one score of a result."""
    next(score for score in row["scores"] if score["name"] == name).update(changes)


def _scores(contender: int | None, reference: int | None, features: tuple[str, ...]) -> list[dict[str, Any]]:
    found = []
    for name, title, metric, group, in_features, better, percent, spread, values, points in SCORES:
        given: list[float | None] = values if contender is not None else points
        at = contender if contender is not None else reference
        if at is None or at >= len(given) or (reference is not None and given[at] is None):
            continue
        value = given[at]
        if value is None and metric in ("cost", "segmentation"):
            continue
        for extractor in features if in_features else (None,):
            low = None if value is None or not spread else value - spread
            high = None if value is None or not spread else value + spread
            if percent and low is not None and high is not None:
                low, high = max(low, 0.0), min(high, 1.0)
            found.append({
                "name": name, "title": title, "metric": metric, "group": group, "features": extractor, "better": better,
                "percent": percent, "version": 1, "about": ABOUT, "value": value, "low": low, "high": high,
                "error": None,
                "note": "the images have no masks" if value is None else None,
                "detail": _detail(name, contender),
                "seeds": [{"seed": 0, "value": value, "low": low, "high": high, "error": None}],
            })  # fmt: skip
    return found


def _detail(name: str, contender: int | None) -> dict[str, Any] | None:
    if contender is None:
        return None
    if name == "spectrum_gap":
        xs = np.arange(1, 65) / 128
        real = 3.2 - 2.4 * np.log10(xs * 128)
        shift = [0.06, -0.25, 0.04, 0.45][contender] * np.linspace(0, 1.6, 64) ** 2
        waves = 0.05 * np.sin(np.arange(64) / (2 + contender))
        return {
            "frequencies": xs.tolist(), "real": real.tolist(), "fake": (real + shift + waves).tolist(),
            "real_low": (real - 0.5).tolist(), "real_high": (real + 0.45).tolist(),
        }  # fmt: skip
    if name in ("seg_dice_1x", "seg_dice_2x"):
        gain = [0.010, 0.003, 0.017, 0][contender]
        return {"trained_on": "real + 1x", "gain": gain, "gain_low": gain - 0.012, "gain_high": gain + 0.012}
    if name == "nearer_than_5":
        edges = np.linspace(0, 22, 41)
        middle = (edges[1:] + edges[:-1]) / 2

        def hill(at: float, wide: float) -> list[float]:
            shares = np.exp(-0.5 * ((middle - at) / wide) ** 2)
            return np.rint(700 * shares / shares.sum()).tolist()

        return {
            "space": "features", "pairs": [{"fake": 3, "training": 5, "distance": 6.1, "mirrored": False}],
            "fake_distances": {"edges": edges.tolist(), "counts": hill(12 + contender, 1.8)},
            "heldout_distances": {"edges": edges.tolist(), "counts": hill(12.6, 2.6)},
        }  # fmt: skip
    return None


def _result(
    name: str, kind: str, title: str, family: str | None, scores: list[dict[str, Any]], references: dict[str, Any]
) -> dict[str, Any]:
    licence = {"weights": "Apache-2.0", "data": "CC-BY-4.0"} if kind == "model" else None
    return {
        "schema": 1,
        "contender": {
            "id": name, "kind": kind, "title": title, "revision": "0123456789ab",
            "weights_sha256": "9b7eef7cc7439485" * 4 if kind == "model" else None, "license": licence,
            "family": family, "note": None,
        },
        "benchmark": {
            "name": "polyp_128", "title": "Polyps at 128 pixels", "revision": "a1b2c3d4e5f6",
            "dataset": "polyp_hyperkvasir_seg", "reference": "val", "training": "train", "n": 712, "seeds": [0, 1, 2],
            "image": {"size": 128, "channels": "RGB", "fit": "squeeze", "resize": "bicubic", "antialias": True},
            "features": [FEATURES], "metrics": ["frechet", "kernel", "spectrum", "cost"], "bootstrap": 100,
            "notes": "89 held-out frames are fewer than there are features: every row is to be read against 'real'.",
        },
        "data": {
            "real": {"n": 89, "sha256": "ab" * 32}, "training": {"n": 712, "sha256": "cd" * 32}, "fake": {"n": 712},
            "license": "CC-BY-4.0", "attribution": "Borgli et al., HyperKvasir, Scientific Data 7:283 (2020)",
            "source": "HyperKvasir, https://datasets.simula.no/hyper-kvasir/, segmented part",
        },
        "extractors": {
            FEATURES: {"dim": 1280, "size": 224, "weights_sha256": "ef" * 32, "precision": "float32"},
        },
        "scores": scores,
        "references": references,
        "made": {
            "medzoo": "0.1.0", "torch": "2.13.0+cpu", "numpy": "2.4.6", "python": "3.11.2", "platform": "Linux",
            "device": "cpu", "cpu": "Intel Xeon", "threads": 2, "started": "2026-11-22T10:00:00+00:00",
            "seconds": {"images": 12.3, "frechet": 4.25, "spectrum": 0.8},
        },
        "failed": {"usefulness": "the images have no masks"} if kind == "folder" else {},
    }  # fmt: skip


def image(seed: int, size: int = 24, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A smooth picture uint8 [channels, size, size], another for each seed."""
    y, x = np.mgrid[:size, :size] / size
    planes = [np.sin(math.pi * (x * (1 + seed % 3) + y * (c + 1))) for c in range(channels)]
    return (127 + 120 * np.stack(planes)).astype(np.uint8)
