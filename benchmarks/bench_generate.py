"""Images per second of the full published FastGAN-256 (29.1 M parameters, random weights): as published against fused.

    python benchmarks/bench_generate.py [--json] [--rounds 5] [--device cpu]

One process; the ways of running take turns, so that a machine that speeds up or slows down does so for all of them, and
each ratio is the median over the rounds. Every row is a whole ``generate``: noise, network, scaling, arrays.
The floor is the arithmetic: GFLOP per image against the matrix product of this machine, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import torch
from measuring import gflop, matmul_peak, timed

from medzoo import catalog
from medzoo.bench.records import processor
from medzoo.families._base import Generator
from medzoo.families.fastgan import FastGAN, Network
from medzoo.nets import BatchNorm2d, SpectralConv2d

# Name, fused, statistics of batch norm, precision, batch.
ROWS = [
    ("published", False, "sample", "float32", 1),
    ("published_eval_batched", False, "running", "float32", 16),
    ("fused_float32", True, "running", "float32", 16),
    ("fused_float32_sample_statistics", True, "sample", "float32", 16),
    ("fused_bfloat16", True, "running", "bfloat16", 16),
    ("fused_bfloat16_sample_statistics", True, "sample", "bfloat16", 16),
]
RATIOS = {
    "fused_float32_vs_published": ("fused_float32", "published"),
    "fused_float32_vs_published_eval_batched": ("fused_float32", "published_eval_batched"),
    "fused_float32_sample_statistics_vs_published": ("fused_float32_sample_statistics", "published"),
    "fused_bfloat16_vs_published": ("fused_bfloat16", "published"),
    "fused_bfloat16_sample_statistics_vs_published": ("fused_bfloat16_sample_statistics", "published"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=16, help="images per row and round")
    options = parser.parse_args()
    report = measure(options.device, options.rounds, options.images)
    print(json.dumps(report, indent=1) if options.json else table(report))


def measure(device: str, rounds: int, images: int) -> dict[str, Any]:
    state = random_state()
    models = {name: model(state, fused, stats, precision, device) for name, fused, stats, precision, _ in ROWS}
    batches = {name: batch for name, *_, batch in ROWS}
    peaks = {precision: matmul_peak(device, precision) for precision in ("float32", "bfloat16")}

    def run(name: str) -> None:
        count = images if batches[name] > 1 else max(2, images // 4)
        models[name].generate(count, batch_size=batches[name])

    rates: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for name in models:
            count = images if batches[name] > 1 else max(2, images // 4)
            seconds = timed(lambda name=name: run(name), device)  # type: ignore[misc]
            if turn:  # the first one warms up
                rates[name].append(count / seconds)
    rows = []
    for name, fused, stats, precision, batch in ROWS:
        rate, work = statistics.median(rates[name]), gflop(lambda name=name: models[name].generate(1))  # type: ignore[misc]
        rows.append(
            {
                "name": name,
                "batch": batch,
                "images_per_second": round(rate, 2),
                "gflop_per_image": round(work, 2),
                "share_of_matmul_peak": round(rate * work / peaks[precision], 3),
                "max_difference": difference(models[name], models, stats) if fused else None,
            }
        )
    ratios = {
        ratio: round(statistics.median(a / b for a, b in zip(rates[fast], rates[slow], strict=True)), 2)
        for ratio, (fast, slow) in RATIOS.items()
    }
    return {
        **ratios,
        "rows": rows,
        "matmul_gflops": {precision: round(peak) for precision, peak in peaks.items()},
        "parameters": sum(p.numel() for p in Network(64, 256, 4, 256).parameters()),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rounds": rounds,
    }


def model(state: dict[str, torch.Tensor], fused: bool, stats: str, precision: str, device: str) -> Generator:
    """The registry's own entry, with made-up weights."""
    entry = catalog.resolve("00010_FASTGAN_POLYP_PATCHES_W_MASKS").entry
    entry = entry.model_copy(update={"sampling": entry.sampling.model_copy(update={"norm_stats": stats})})
    return FastGAN(entry, dict(state), fused=fused, device=device, precision=precision)


def random_state() -> dict[str, torch.Tensor]:
    """Weights whose spectral norms have converged, with plausible statistics and noise strengths."""
    torch.manual_seed(0)
    network = Network(64, 256, 4, 256)
    network.reset()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, SpectralConv2d):
                for _ in range(20):
                    module.weight()
        network(torch.randn(4, 256), [torch.randn(4, 1, s, s) for s in (8, 8, 32, 32, 128, 128)])
        for module in network.modules():
            if isinstance(module, BatchNorm2d):
                module.momentum = 1.0
        network(torch.randn(16, 256), [torch.randn(16, 1, s, s) for s in (8, 8, 32, 32, 128, 128)])
        for name, parameter in network.named_parameters():
            if parameter.numel() == 1:
                torch.nn.init.constant_(network.get_parameter(name), 0.05)
    return network.state_dict()


def difference(fused: Generator, models: dict[str, Generator], stats: str) -> float:
    """Largest difference of the image in [0, 1] from the published network with the same statistics."""
    plain = models["published" if stats == "sample" else "published_eval_batched"]
    ours, theirs = fused.generate(2, batch_size=2), plain.generate(2, batch_size=2)
    return float(f"{abs(ours.images - theirs.images).max():.2e}")


def table(report: dict[str, Any]) -> str:
    lines = [f"{'':34}{'batch':>6}{'images/s':>10}{'GFLOP':>8}{'of peak':>9}{'max diff':>10}"]
    for row in report["rows"]:
        diff = "" if row["max_difference"] is None else f"{row['max_difference']:.0e}"
        lines.append(
            f"{row['name']:34}{row['batch']:>6}{row['images_per_second']:>10.2f}{row['gflop_per_image']:>8.1f}"
            f"{row['share_of_matmul_peak']:>9.0%}{diff:>10}"
        )
    lines += [f"{name}: {report[name]}x" for name in RATIOS]
    peaks = ", ".join(f"{peak} GFLOP/s {precision}" for precision, peak in report["matmul_gflops"].items())
    lines.append(f"{report['device']}, {report['threads']} threads, torch {report['torch']}; matrix product {peaks}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
