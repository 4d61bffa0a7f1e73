"""Train 10005_PIX2PIX_BRAIN_T1_TISSUE: axial T1 slices of the ICBM152 template -> a tissue map and three masks.

    python benchmarks/train_tissue.py --out RUN [--steps 3000] [--colin FILE]

One process, one thread. The U-Net is that of the family ``pix2pix``; it learns by regression alone, without a
discriminator: each slice has one right answer. Slices and their blocks are those of the data set ``brain_icbm152_t1``
(nilearn's package holds the files), each bent, turned, zoomed and changed in brightness anew. ``RUN`` gets
``log.csv``, ``heldout.csv`` and ``weights.safetensors`` (in half precision). ``--colin`` names ``ch2bet.nii.gz`` of the
Debian package mricron-data: another person, for whom no tissue map is known; a mixture of three normal
distributions of his grey levels stands for it.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import nilearn  # type: ignore[import-untyped]
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medzoo.families.pix2pix import Network
from medzoo.imagefiles import Volume, read_volume, resize
from medzoo.training.export import pack, stored

SIDE, NGF, DOWNS = 128, 16, 5
TISSUES = ("CSF", "grey matter", "white matter")
GREYS = torch.tensor([1 / 3, 2 / 3, 1.0])  # of the tissues on the map
FILES = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
BLOCKS = (("train", 24), (None, 8), ("val", 12), (None, 8))  # as registry/datasets/brain_icbm152_t1.yaml


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=500, help="steps between two measurements")
    parser.add_argument("--colin", type=Path, help="ch2bet.nii.gz")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    splits = template()
    train, val = splits["train"], splits["val"]
    tests = {"val": val} | ({"colin27": another(options.colin)} if options.colin else {})
    print({name: len(one) for name, one in {"train": train, **tests}.items()}, flush=True)
    network = Network(1, 1 + len(TISSUES), DOWNS, NGF, "batch")
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters", flush=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / options.steps))
    )
    rng = torch.Generator().manual_seed(options.seed)
    log, held = [], []
    for step in range(1, options.steps + 1):
        rows = torch.randint(len(train), (options.batch,), generator=rng)
        picture, tissues = augmented(train[rows], rng)
        made = network(picture * 2 - 1)
        parts = losses(made, tissues)
        optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            log.append({"step": step, **{name: f"{value.item():.6g}" for name, value in parts.items()}})
        if step % options.every == 0 or step == options.steps:
            held += [{"step": step, "images": name, **measured(network, one)} for name, one in tests.items()]
            print(held[-len(tests) :], flush=True)
            table(options.out / "log.csv", log)
            table(options.out / "heldout.csv", held)
            network.eval()
            (options.out / "weights.safetensors").write_bytes(pack(stored(network.state_dict(), True), True))
            network.train()


def template() -> dict[str, Tensor]:
    """Slices by split, [n, 1 + 3, SIDE, SIDE] in [0, 1]: T1, then the share of each tissue."""
    folder = Path(nilearn.__file__).parent / "datasets" / "data"
    t1, grey, white = (read_volume(folder / FILES.format(kind)) for kind in ("t1", "gm", "wm"))
    splits: dict[str, list[NDArray[np.float32]]] = {"train": [], "val": []}
    pattern = [split for split, n in BLOCKS for _ in range(n)]
    kept = [at for at in range(len(t1.stored)) if (t1.part(at) > 0.1).mean() >= 0.1]
    for place, at in enumerate(kept):
        split = pattern[place % len(pattern)]
        if split is not None:
            splits[split].append(layers(t1, grey, white, at))
    return {name: torch.from_numpy(np.stack(slices)) for name, slices in splits.items()}


def layers(t1: Volume, grey: Volume, white: Volume, at: int) -> NDArray[np.float32]:
    picture, matter, fibres = (volume.part(at) for volume in (t1, grey, white))
    fluid = np.where(picture > 0, 1 - matter - fibres, 0).clip(0, 1).astype(np.float32)
    return resize(np.stack([picture, fluid, matter, fibres]), (SIDE, SIDE))


def another(path: Path) -> Tensor:
    """Slices of Colin27 in the form of ``template``; the tissues are a guess from grey levels alone."""
    from sklearn.mixture import GaussianMixture  # type: ignore[import-untyped]

    volume = read_volume(path, window=(0, 133))
    values = volume.part(slice(None))
    inside = values[values > 0].reshape(-1, 1)
    mixture = GaussianMixture(3, means_init=[[0.35], [0.6], [0.8]], random_state=0).fit(inside[::50])
    order = np.argsort(mixture.means_[:, 0])
    found = np.zeros((3, *values.shape), np.float32)
    guesses = mixture.predict(inside)
    for tissue, number in enumerate(order):
        found[tissue][values > 0] = guesses == number
    kept = [at for at in range(len(values)) if (values[at] > 0.1).mean() >= 0.1]
    return torch.from_numpy(
        np.stack([resize(np.concatenate([values[at][None], found[:, at]]), (SIDE, SIDE)) for at in kept])
    )


def augmented(slices: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """(T1 [n, 1, SIDE, SIDE], tissues [n, 3, SIDE, SIDE]), deformed together; a few are empty."""
    n = len(slices)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=rng)

    angle, zoom = uniform(-0.26, 0.26), uniform(0.8, 1.25)
    zoom = torch.where(uniform(0, 1) < 0.15, uniform(1.25, 3), zoom)  # little brain, as at the vertex
    side = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    across = uniform(0.85, 1.15)
    rows = [angle.cos() * zoom * side * across, -angle.sin() * zoom, uniform(-0.15, 0.15)]
    rows += [angle.sin() * zoom * side * across, angle.cos() * zoom, uniform(-0.15, 0.15)]
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), [n, 1, SIDE, SIDE], align_corners=False)
    bend = F.interpolate(uniform(-0.06, 0.06, 2, 6, 6), (SIDE, SIDE), mode="bicubic")
    moved = F.grid_sample(slices, grid + bend.permute(0, 2, 3, 1), align_corners=False)
    moved = moved * (uniform(0, 1, 1, 1, 1) > 0.03)
    picture, tissues = moved[:, :1], moved[:, 1:]
    soft = F.avg_pool2d(picture, 3, 1, 1)
    blur = uniform(0, 1, 1, 1, 1)
    picture = picture + (soft - picture) * blur - (soft - picture) * 0.8 * uniform(0, 1, 1, 1, 1)  # sharper, too
    field = F.interpolate(uniform(0.8, 1.2, 1, 3, 3), (SIDE, SIDE), mode="bicubic")
    picture = picture.clamp(0, 1) ** uniform(0.7, 1.5, 1, 1, 1) * field * uniform(0.75, 1.2, 1, 1, 1)
    noise = torch.randn(picture.shape, generator=rng) * uniform(0, 0.05, 1, 1, 1)
    return (picture + noise * (picture > 0)).clamp(0, 1), tissues


def losses(made: Tensor, tissues: Tensor) -> dict[str, Tensor]:
    """Mean distance of the map, cross-entropy and Dice of the masks; ``made`` in [-1, 1]."""
    found = ((made + 1) / 2).clamp(1e-5, 1 - 1e-5)
    map_ = (tissues * GREYS[:, None, None]).sum(1, keepdim=True)
    both = (found[:, 1:] * tissues).sum((0, 2, 3))
    dice = 2 * both / (found[:, 1:].sum((0, 2, 3)) + tissues.sum((0, 2, 3)) + 1)
    return {
        "map": (found[:, :1] - map_).abs().mean(),
        "masks": F.binary_cross_entropy(found[:, 1:], tissues.clamp(0, 1)),
        "dice": 0.2 * (1 - dice).mean(),
    }


@torch.no_grad()
def measured(network: Network, slices: Tensor) -> dict[str, str]:
    """Mean absolute error of the map inside the brain, and Dice of each mask over all slices."""
    network.eval()
    found = torch.cat([(network(part[:, :1] * 2 - 1) + 1) / 2 for part in slices.split(16)])  # type: ignore[no-untyped-call]
    network.train()
    brain = slices[:, 1:].sum(1) > 0.5
    map_ = (slices[:, 1:] * GREYS[:, None, None]).sum(1)
    numbers = {"map_error": (found[:, 0] - map_).abs()[brain].mean().item()}
    for k, name in enumerate(TISSUES, 1):
        one, other = found[:, k] > 0.5, slices[:, k] > 0.5
        numbers[f"dice {name}"] = (2 * (one & other).sum() / (one.sum() + other.sum())).item()
    return {name: f"{value:.4f}" for name, value in numbers.items()}


def table(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
