"""What a model costs: time to the first image, images a second, memory, bytes of weights.

Measured in a process of its own, so that neither the caches nor the memory of the benchmark flatter it.

    python -m medzoo.bench.cost MODEL SECONDS DEVICE CONDITION      prints one line of JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medzoo.errors import BenchmarkError
from medzoo.metrics import Need, Scale, Score

_SECONDS = 5.0  # that images are made for after the first ones


@dataclass(frozen=True)
class Cost:
    """A ``MeasuresModel``; ``seconds``: for how long images are made after the first ones."""

    seconds: float = _SECONDS
    name: str = "cost"
    group: str = "cost"
    scales: tuple[Scale, ...] = (
        Scale(
            "first_image_s", "first image", "lower",
            "seconds from starting Python to the first image, weights on the disk",
        ),
        Scale(
            "images_per_s", "images/s", "higher",
            f"fused, float32, for {_SECONDS:g} seconds or more after a first batch",
        ),
        Scale("peak_memory_mb", "peak memory", "lower", "MB of the process at its largest; on CUDA of its tensors"),
        Scale("weights_mb", "weights", "lower", "MB of the files of weights"),
    )  # fmt: skip
    needs: tuple[Need, ...] = ()
    references: tuple[str, ...] = ()
    every_seed: bool = False
    version: int = 1

    def measure_model(
        self, model: str, *, device: str | None, condition: Any = None, machine: Mapping[str, Any] | None = None
    ) -> Mapping[str, Score]:
        """A score for each of ``scales``; ``machine`` is their detail.

        Raises BenchmarkError: the process failed (with its last line), or the condition cannot be given to it.
        """
        try:
            stated = json.dumps(condition, default=_path)
        except TypeError as error:
            raise BenchmarkError(f"{model}: its cost cannot be measured with this condition ({error})") from None
        words = [sys.executable, "-m", "medzoo.bench.cost", model, repr(self.seconds), device or "", stated]
        environment = {**os.environ, "MEDZOO_STARTED": repr(time.time())}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise BenchmarkError(f"{model}: its cost cannot be measured: {last}")
        values = json.loads(done.stdout.splitlines()[-1])
        return {scale.name: Score(float(values[scale.name]), detail=machine) for scale in self.scales}


COST = Cost()


def _path(condition: Any) -> str:
    if isinstance(condition, os.PathLike):
        return str(os.fspath(condition))
    raise TypeError(f"found {type(condition).__name__}; give files, names or numbers")


def _probe(model: str, seconds: float, device: str | None, condition: Any) -> dict[str, float]:
    """Runs in the child."""
    import resource

    from medzoo import zoo

    generator = zoo.load(model, device=device)
    generator.generate(1, condition, progress=False)
    first = time.time() - float(os.environ["MEDZOO_STARTED"])
    size = generator.suggest_batch_size()
    generator.generate(size, condition, progress=False)  # the first batch of a size is slower
    made, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        made += len(generator.generate(size, condition, start=made, progress=False))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if generator.device.type == "cuda":
        import torch

        peak = torch.cuda.max_memory_allocated(generator.device)
    weights = sum(file.path.stat().st_size for file in zoo.fetch_weights(model))
    return {
        "first_image_s": first,
        "images_per_s": made / passed,
        "peak_memory_mb": peak / 1e6,
        "weights_mb": weights / 1e6,
    }


if __name__ == "__main__":
    _, model, seconds, device, condition = sys.argv
    print(json.dumps(_probe(model, float(seconds), device or None, json.loads(condition))))
