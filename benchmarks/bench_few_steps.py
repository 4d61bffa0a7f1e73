"""Fewer steps at the same held-out distance: samplers of medzoo against loops of diffusers, on one model.

    python benchmarks/bench_few_steps.py --data DIR [--model 10003] [--benchmark cxr_28] [--samples 312] [--json]

One process, one thread unless stated otherwise; the same weights. A row of diffusers is its scheduler, with the model's
schedule, in the loop of its pipelines around the network as published; a row of medzoo is ``medzoo.load(...)`` with
that sampler. Frechet distance and KID of EfficientNet-Lite0 features to the held-out images of the benchmark; seconds
are those of the processor. The model must be one of diffusion in pixels, with classes or without condition.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_diffusion import SCHEDULERS
from numpy.typing import NDArray

import medzoo
from medzoo.bench.records import processor
from medzoo.bench.setting import load as load_setting
from medzoo.datasets import load_dataset
from medzoo.features import load
from medzoo.metrics._gaussian import frechet_distance
from medzoo.metrics.kernel import polynomial_mmd

BATCH = 52
ENTRY: dict[str, Any] = {}
EVEN = {"use_karras_sigmas": False, "timestep_spacing": "trailing"}
KARRAS = {"use_karras_sigmas": True, "sigma_max": None}
# Who, sampler, steps (None: the entry's), changes of the schedule. The first row is what the others are compared with.
ROWS: tuple[tuple[str, str, int | None, dict[str, Any]], ...] = (
    ("diffusers", "ddim", 50, EVEN),
    ("diffusers", "dpm++", 20, EVEN),
    ("diffusers", "dpm++", 20, KARRAS),
    ("medzoo", "ddim", 50, EVEN),
    ("medzoo", "dpm++", 20, EVEN),
    ("medzoo", "dpm++", 20, ENTRY),
    ("medzoo", "dpm++", None, ENTRY),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--model", default="10003")
    parser.add_argument("--benchmark", default="cxr_28")
    parser.add_argument("--samples", type=int, default=312)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    extractor = load("efficientnet_lite0", device="cpu")
    setting = load_setting(options.benchmark)
    images = load_dataset(str(setting.dataset), setting.image, root=options.data, split=setting.reference).images
    held = extractor(images).astype(np.float64)

    rows: list[dict[str, Any]] = []
    for who, sampler, steps, changes in ROWS:
        model = medzoo.load(
            options.model,
            device="cpu",
            fused=who == "medzoo",
            override={
                "sampling": {"sampler": sampler} | ({"steps": steps} if steps else {}),
                "config": {"schedule": changes},
            },
        )
        make = ours if who == "medzoo" else theirs
        make(model, BATCH)
        started = time.process_time()
        images = make(model, options.samples)
        seconds = (time.process_time() - started) / options.samples
        found = extractor(images).astype(np.float64)
        rows.append(
            {"loop": who, "sampler": sampler, "steps": model.entry.sampling.steps, "schedule": changes}
            | {"seconds_per_image": float(f"{seconds:.3g}"), "fd": round(frechet_distance(held, found), 1)}
            | {"kid": round(polynomial_mmd(held, found), 4)}
            | {"times_as_fast": round(rows[0]["seconds_per_image"] / seconds, 2) if rows else 1.0}
        )
        if not options.json:
            print(words(rows[-1]), flush=True)
    if options.json:
        about = {"model": options.model, "samples": options.samples, "threads": options.threads}
        print(json.dumps(about | {"machine": processor(), "torch": torch.__version__, "rows": rows}, indent=1))


def ours(model: Any, n: int) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = model.generate(n, batch_size=BATCH).uint8()
    return images


def theirs(model: Any, n: int) -> NDArray[np.uint8]:
    """The loop of diffusers' pipelines; classes are drawn."""
    diffusers: Any = importlib.import_module("diffusers")
    entry = model.entry
    scheduler = getattr(diffusers, SCHEDULERS[entry.sampling.sampler]).from_config(
        {"use_karras_sigmas": False}
        | {k: v for k, v in entry.config["schedule"].items() if k not in ("method", "sigma_max")}
    )
    classes = None if entry.condition is None else len(entry.condition.classes)
    rng, made = torch.Generator().manual_seed(0), []
    for start in range(0, n, BATCH):
        count = min(BATCH, n - start)
        scheduler.set_timesteps(entry.sampling.steps)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)  # else the second of equal time steps would be the first
        x = torch.randn(count, *model.latent_shape, generator=rng)
        labels = None if classes is None else torch.randint(classes, (count,), generator=rng)
        with torch.inference_mode():
            for t in scheduler.timesteps:
                x = scheduler.step(model.network(x, t.expand(count), labels), t, x).prev_sample
        made.append(((x.clamp(-1, 1) + 1) * 127.5).round().byte().numpy())
    return np.concatenate(made)


def words(row: dict[str, Any]) -> str:
    schedule = " ".join(f"{name} {value}" for name, value in row["schedule"].items()) or "the entry's"
    return (
        f"{row['loop']:10}{row['sampler']:6}{row['steps']:4} steps  {row['seconds_per_image']:.3f} s/image "
        f"({row['times_as_fast']:.1f} times as fast)  FD {row['fd']:.1f}  KID {row['kid']:.4f}  {schedule}"
    )


if __name__ == "__main__":
    main()
