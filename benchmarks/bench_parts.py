"""Milliseconds of parts that have to hide behind a network: the noise of an image, the connected pieces of masks.

    python benchmarks/bench_parts.py [--rounds 5]

On an idle machine the noise takes 0.3 ms an image. The best of the rounds counts: whatever else runs only adds to it.
"""

from __future__ import annotations

import argparse

import numpy as np
from measuring import timed

from medzoo.metrics._shapes import count_components
from medzoo.randomness import Noise

SHAPES = [(1, s, s) for s in (8, 8, 32, 32, 128, 128)]  # 35,000 normals, what a FastGAN at 256 px injects
IMAGES, MASKS = 8, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    masks = np.random.default_rng(0).random((MASKS, 256, 256)) < 0.5

    def noise() -> None:
        drawn = Noise(0, range(IMAGES))
        for shape in SHAPES:
            drawn.normal(shape)

    print(f"noise of an image: {1000 * min(timed(noise, 'cpu') for _ in range(rounds)) / IMAGES:.2f} ms")
    pieces = min(timed(lambda: count_components(masks), "cpu") for _ in range(rounds)) / MASKS
    print(f"pieces of a mask of 256 x 256, all noise: {1000 * pieces:.2f} ms")


if __name__ == "__main__":
    main()
