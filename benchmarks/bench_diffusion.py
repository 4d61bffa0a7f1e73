"""Seconds per image and memory of a diffusion model in pixels: medzoo against diffusers' own pipeline.

    python benchmarks/bench_diffusion.py [--json] [--pipeline FOLDER] [--size 64] [--batch 4] [--steps 10]
                                         [--sampler dpm++] [--rounds 3] [--device cpu]

One process; the same weights (random ones of a small published size, unless a folder of ``save_pretrained`` is given),
sampler, steps and batch. Both make images in [0, 1] as arrays, noise included, and take turns; the ratio is the median
over the rounds. Memory is what the first call of a process of its own takes beside the weights, at its largest.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import timed

import medzoo
from medzoo.bench.records import processor
from medzoo.families._base import Generator

SCHEDULERS = {"ddpm": "DDPMScheduler", "ddim": "DDIMScheduler", "dpm++": "DPMSolverMultistepScheduler"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--pipeline", type=Path, help="folder of an unconditional DDPMPipeline")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--sampler", choices=SCHEDULERS, default="dpm++")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)  # for the processes that measure memory
    options = parser.parse_args()
    if options.memory_of:
        print(peak(contenders(options.pipeline, options)[2][options.memory_of], options.device))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = options.pipeline or Path(folder)
        if options.pipeline is None:
            write_random(source, options.size)
        report = measure(source, options)
    print(json.dumps(report, indent=1) if options.json else words(report))


def write_random(folder: Path, size: int) -> None:
    """A U-Net of 15 million parameters and a linear schedule, as diffusers saves them."""
    diffusers: Any = importlib.import_module("diffusers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=size, in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=(64, 128, 128, 256),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(folder)


def contenders(source: Path, options: argparse.Namespace) -> tuple[Any, Generator, dict[str, Callable[[], Any]]]:
    """The pipeline, the Generator, and what each does to make a batch."""
    diffusers: Any = importlib.import_module("diffusers")
    pipeline = diffusers.DDPMPipeline.from_pretrained(source).to(options.device)
    pipeline.set_progress_bar_config(disable=True)
    scheduler = getattr(diffusers, SCHEDULERS[options.sampler])
    pipeline.scheduler = scheduler.from_config(json.loads(pipeline.scheduler.to_json_string()))
    files = {
        "unet": next((source / "unet").glob("diffusion_pytorch_model.*")),
        "unet/config": source / "unet/config.json",
        "scheduler/scheduler_config": source / "scheduler/scheduler_config.json",
    }
    chosen = {"sampling": {"steps": options.steps, "sampler": options.sampler}}
    generator = medzoo.load(family="diffusion", weights=files, override=chosen, device=options.device)
    call = {"batch_size": options.batch, "num_inference_steps": options.steps, "output_type": "np"}
    ways: dict[str, Callable[[], Any]] = {
        "diffusers": lambda: pipeline(**call).images,
        "medzoo": lambda: generator.generate(options.batch, batch_size=options.batch).images,
    }
    return pipeline, generator, ways


def measure(source: Path, options: argparse.Namespace) -> dict[str, Any]:
    pipeline, generator, ways = contenders(source, options)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(options.rounds + 1):
        for way, run in ways.items():
            taken = timed(run, options.device) / options.batch
            if turn:  # the first one warms up
                seconds[way].append(taken)
    return {
        "seconds_per_image": {way: float(f"{statistics.median(times):.4g}") for way, times in seconds.items()},
        "times_as_fast": round(
            statistics.median(a / b for a, b in zip(seconds["diffusers"], seconds["medzoo"], strict=True)), 3
        ),
        "megabytes_beside_the_weights": {way: round(memory(way, source) / 1e6) for way in ways},
        "relative_difference": difference(pipeline, generator, options),
        "setting": {name: getattr(options, name) for name in ("sampler", "steps", "batch", "device")}
        | {"size": list(generator.entry.output.size or ())},
        "parameters": sum(weight.numel() for weight in pipeline.unet.parameters()),
        "machine": torch.cuda.get_device_name() if options.device != "cpu" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "diffusers": importlib.import_module("diffusers").__version__,
    }


def memory(way: str, source: Path) -> int:
    words = [sys.executable, __file__, *sys.argv[1:], "--pipeline", str(source), "--memory-of", way]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def difference(pipeline: Any, generator: Any, options: argparse.Namespace) -> float:
    """Of one call of the network on the same noise: both must compute the same."""
    x = generator.latents(range(2)).to(options.device)
    t = torch.tensor([400, 400], device=options.device)
    with torch.inference_mode():
        theirs, ours = pipeline.unet(x, t).sample, generator.network(x, t)
    return float(f"{((theirs - ours).abs().max() / theirs.abs().max()).item():.2e}")


def peak(run: Callable[[], Any], device: str) -> int:
    """Bytes that a call takes at its largest, beside what was there before."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    page, done, largest = resource.getpagesize(), threading.Event(), 0

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    def watch() -> None:
        nonlocal largest
        while not done.is_set():
            largest = max(largest, resident())
            time.sleep(0.002)

    before = resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    result = run()
    done.set()
    watcher.join()
    assert np.isfinite(result).all()
    return max(0, largest - before)


def words(report: dict[str, Any]) -> str:
    times, memory = report["seconds_per_image"], report["megabytes_beside_the_weights"]
    lines = [f"{way:10} {times[way]:8.3f} s/image {memory[way]:7d} MB beside the weights" for way in times]
    setting = ", ".join(f"{name} {value}" for name, value in report["setting"].items())
    return "\n".join([*lines, f"medzoo is {report['times_as_fast']:.2f} times as fast as diffusers ({setting})"])


if __name__ == "__main__":
    main()
