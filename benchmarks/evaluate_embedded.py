"""Measure a model against real images it was not trained on.

    python benchmarks/evaluate_embedded.py [MODEL_ID] --data DIR [--n 1000] [--json] [--out FILE] [--pairs FILE.png]

Prints a table (or JSON) of: Frechet and kernel distances of EfficientNet-Lite0 features to the val and the train
split, beside reference points made in the same run from the real training images (as they are, blurred, noisy); the
nearest-training-image check; the gap between power spectra; statistics of the masks. Every choice (seeds, sizes,
order) is fixed, so a second run on the same machine prints the same numbers.

DIR holds ``<dataset>/`` as ``medzoo.datasets.load_dataset`` expects it. The picture of ``--pairs`` shows real images
of patients: write it outside the repository or into an ignored folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.datasets import Images, load_dataset
from medzoo.errors import MedzooError
from medzoo.metrics.frechet import frechet_distance, frechet_interval
from medzoo.metrics.kernel import kernel_distance
from medzoo.metrics.masks import boundary_contrast, mask_statistics
from medzoo.metrics.neighbours import nearest_training, small_pixels
from medzoo.metrics.spectrum import spectrum_gap

Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Report = dict[str, Any]
BLURS = (2.0, 4.0)  # standard deviation in pixels at the model's resolution
NOISES = (0.05, 0.2)  # standard deviation of additive noise, of a range of 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model_id", nargs="?", default="10001_FASTGAN_POLYP_W_MASKS")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds <dataset>/")
    parser.add_argument("--dataset", default="polyp_hyperkvasir_seg")
    parser.add_argument("--n", type=int, default=1000, help="samples to generate (seed 0)")
    parser.add_argument("--features", default="efficientnet_lite0")
    parser.add_argument("--repeats", type=int, default=100, help="bootstrap resamplings of each interval")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--pairs", type=Path, help="PNG of the closest generated and training images (real patients)")
    args = parser.parse_args()
    try:
        report = measure(args)
    except MedzooError as error:
        print(error, file=sys.stderr)
        return 2
    text = json.dumps(without_nan(report), indent=2, allow_nan=False)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")
    print(text if args.json else table(report))
    return 0


def measure(args: argparse.Namespace) -> Report:
    """Generate, read the real images at the model's size, evaluate."""
    import medzoo
    from medzoo import features

    extractor = features.load(args.features)
    samples = medzoo.generate(args.model_id, args.n, seed=0)
    pixels = np.rint(samples.images * 255).astype(np.uint8)  # as they would be saved
    fake = Images(pixels, samples.masks, tuple(str(i) for i in samples.indices))
    train, val = (
        load_dataset(args.dataset, root=args.data, split=split, size=pixels.shape[-1]) for split in ("train", "val")
    )
    report = {
        "model_id": samples.model_id,
        "revision": samples.revision,
        "seed": 0,
        "dataset": args.dataset,
        "size": int(pixels.shape[-1]),
        "features": extractor.name,
        **evaluate(fake, train, val, extractor, repeats=args.repeats),
    }
    if args.pairs:
        save_pairs(args.pairs, fake, train, report["nearest_training"]["features"]["pairs"])
    return report


def evaluate(fake: Images, train: Images, val: Images, features: Features, *, repeats: int = 100) -> Report:
    """All numbers of the report, from images of one size alone; ``features`` maps uint8 images to vectors [n, d]."""
    vectors = {"fake": features(fake.images), "train": features(train.images), "val": features(val.images)}
    for name, images in degraded(train.images).items():
        vectors[name] = features(images)
    flipped = features(np.ascontiguousarray(train.images[..., ::-1]))
    report = {
        "n": {"fake": len(fake), "train": len(train), "val": len(val)},
        "frechet": frechet_table(vectors, repeats),
        "kernel": {
            f"{name} vs val": kernel_distance(vectors["val"], one, subset_size=max(2, len(val) * 9 // 10))._asdict()
            for name, one in vectors.items()
            if name != "val"
        },
        "nearest_training": {
            "features": asdict(
                nearest_training(vectors["fake"], vectors["val"], np.concatenate([vectors["train"], flipped]))
            ),
            "pixels": asdict(nearest_pixels(fake, train, val)),
        },
        "spectrum": {
            "fake vs val": spectrum_gap(val.images, fake.images),
            "train vs val": spectrum_gap(val.images, train.images),
            f"blur {BLURS[0]:g} px vs val": spectrum_gap(val.images, blur(train.images, BLURS[0])),
        },
    }
    if fake.masks is not None and train.masks is not None and val.masks is not None:
        report["masks"] = mask_table(fake, train, val)
    return report


def frechet_table(vectors: dict[str, NDArray[np.float32]], repeats: int) -> Report:
    """Distances to val with intervals, the distance to train, and one with equal numbers on both sides."""
    fake, train, val = vectors["fake"], vectors["train"], vectors["val"]
    equal = min(len(fake), len(train) + len(val))
    both = np.concatenate([val, train])[:equal]
    same = min(len(fake), len(train))  # the bias depends on n: compare fake with train at one n
    rows: Report = {f"fake (first {same}) vs val": interval(val, fake[:same], repeats)}
    if len(fake) > same:
        rows[f"fake ({len(fake)}) vs val"] = interval(val, fake, repeats)
    rows |= {
        f"{name} vs val": interval(val, one[:same], repeats)
        for name, one in vectors.items()
        if name not in ("fake", "val")
    }
    rows["val halves"] = {"value": halves(val)}
    rows[f"fake (first {same}) vs train"] = {"value": frechet_distance(train, fake[:same])}
    rows["train halves"] = {"value": halves(train)}
    rows[f"fake (first {equal}) vs val+train ({equal})"] = {"value": frechet_distance(both, fake[:equal])}
    return rows


def interval(real: NDArray[np.float32], fake: NDArray[np.float32], repeats: int) -> Report:
    return dict(frechet_interval(real, fake, repeats=repeats)._asdict())


def halves(vectors: NDArray[np.float32], repeats: int = 10) -> float:
    """Mean distance between two random halves of one set."""
    rng = np.random.default_rng(0)
    middle = len(vectors) // 2
    orders = [rng.permutation(len(vectors)) for _ in range(repeats)]
    return float(np.mean([frechet_distance(vectors[one[:middle]], vectors[one[middle:]]) for one in orders]))


def nearest_pixels(fake: Images, train: Images, val: Images) -> Any:
    """Nearest training image, mirrored ones included, by pixels averaged down to 32 x 32 (or the largest divisor)."""
    side = next(side for side in range(32, 0, -1) if fake.images.shape[-1] % side == 0)
    both = np.concatenate([train.images, train.images[..., ::-1]])
    small = (small_pixels(one, side) for one in (fake.images, val.images, both))
    return nearest_training(*small)


def mask_table(fake: Images, train: Images, val: Images) -> Report:
    """Statistics of the masks, and whether outlines lie on edges of their own image rather than of the next one's."""
    rows = {}
    for name, one in (("fake", fake), ("train", train), ("val", val)):
        assert one.masks is not None
        rows[name] = {
            **asdict(mask_statistics(one.masks)),
            "boundary_contrast": boundary_contrast(one.images, one.masks),
            "boundary_contrast_shuffled": boundary_contrast(one.images, np.roll(one.masks, 1, axis=0)),
        }
    return rows


def degraded(images: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Real images made worse in known ways: what a distance of some size means."""
    rng = np.random.default_rng(0)
    found = {f"blur {sigma:g} px": blur(images, sigma) for sigma in BLURS}
    for std in NOISES:
        noisy = images + rng.normal(0, 255 * std, images.shape).astype(np.float32)
        found[f"noise {std:g}"] = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    return found


def blur(images: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Gaussian blur (cut at 3 sigma, mirrored at the borders)."""
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    result = images.astype(np.float32)
    for axis in (2, 3):
        length = result.shape[axis]
        padded = np.pad(result, [(reach, reach) if one == axis else (0, 0) for one in range(4)], mode="symmetric")
        result = sum(  # type: ignore[assignment]
            np.float32(weight) * padded.take(range(i, i + length), axis) for i, weight in enumerate(weights)
        )
    return np.rint(result).clip(0, 255).astype(np.uint8)


def save_pairs(path: Path, fake: Images, train: Images, pairs: list[tuple[int, int, float]]) -> None:
    """One row a pair: the generated image, then its nearest training image (mirrored if that is the nearer one)."""
    from PIL.Image import fromarray

    rows = []
    for i, j, _ in pairs:
        mirrored, index = divmod(j, len(train))
        real = train.images[index][..., ::-1] if mirrored else train.images[index]
        rows.append(np.concatenate([fake.images[i], real], axis=2))
    picture = np.concatenate(rows, axis=1).transpose(1, 2, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    fromarray(picture.squeeze(-1) if picture.shape[2] == 1 else picture).save(path)


def without_nan(value: Any) -> Any:
    """JSON has no nan: null instead."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def table(report: Report) -> str:
    """The report for a person."""
    n = report["n"]
    lines = [
        f"{report.get('model_id', 'samples')} (revision {report.get('revision', '-')}): {n['fake']} samples",
        f"real: {n['train']} train, {n['val']} val; features: {report.get('features', '-')}",
        "",
        "Frechet distance (lower is nearer), 95 % bootstrap interval:",
    ]
    for name, row in report["frechet"].items():
        bounds = f"  [{row['low']:.3f}, {row['high']:.3f}]" if "low" in row else ""
        lines.append(f"  {name:<44} {row['value']:8.3f}{bounds}")
    lines += [
        f"  With {n['val']} val images, fewer than there are features, every distance to val is biased upward:",
        "  read it beside 'train vs val', which has the same n, never as an absolute number. Halves have half the n.",
        "",
        "Kernel distance x 1000 (unbiased), standard error over subsets:",
    ]
    lines += [f"  {name:<44} {1e3 * k['value']:8.3f} +- {1e3 * k['error']:.3f}" for name, k in report["kernel"].items()]
    lines += ["", "Nearest training image (mirrored ones included):"]
    for name, near in report["nearest_training"].items():
        lines.append(
            f"  {name:<9} median {near['median_fake']:.3f} (val {near['median_heldout']:.3f}), smallest "
            f"{near['smallest_fake']:.3f} (val {near['smallest_heldout']:.3f}), nearer than the 1st / 5th percentile "
            f"of val: {near['nearer_than_1']:.1%} / {near['nearer_than_5']:.1%}"
        )
    lines += ["", "Spectrum, mean |log10 ratio| of power, all and upper half of the frequencies:"]
    lines += [f"  {name:<44} {gap[0]:8.3f} {gap[1]:8.3f}" for name, gap in report["spectrum"].items()]
    if "masks" in report:
        lines += ["", "Masks:   area mean (10, 50, 90 %)      empty   pieces  one piece  outline on edges (shuffled)"]
        for name, row in report["masks"].items():
            low, median, high = row["area_quantiles"]
            lines.append(
                f"  {name:<6} {row['area_mean']:.3f} ({low:.3f}, {median:.3f}, {high:.3f})  {row['empty']:7.1%} "
                f"{row['components_mean']:8.2f} {row['single']:9.1%} {row['boundary_contrast']:10.2f} "
                f"({row['boundary_contrast_shuffled']:.2f})"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
