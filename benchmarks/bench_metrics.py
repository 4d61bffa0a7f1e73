"""Metrics of ready features, ours against the packages that people use: seconds, peak memory, and whether they agree.

    python benchmarks/bench_metrics.py [--json] [--rounds 3] [--n 10000] [--only prdc_2048,frechet_2048,kid_2048]

One process; the ways take turns, so that a machine that speeds up or slows down does so for all of them, and each
ratio is the median over the rounds. Memory is what a way adds to a process that holds the features and has imported
everything, each in a process of its own. The floor is the arithmetic: operations of the matrix products that the
metric cannot do without, against the matrix product of this machine, measured in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from measuring import matmul_peak, timed
from numpy.typing import NDArray

from medzoo.bench.records import processor
from medzoo.metrics._gaussian import frechet_distance
from medzoo.metrics.kernel import kernel_distance
from medzoo.metrics.prdc import coverage

Features = NDArray[np.float32]
Scores = dict[str, float]
SUBSETS, SUBSET = 100, 1000  # of KID
NEIGHBOURS = 5


@dataclass(frozen=True)
class Way:
    """One package's way to a metric: real and fake features [n, d] -> scores. ``module``: None for medzoo itself."""

    name: str
    module: str | None
    run: Callable[[Features, Features], Scores]

    @property
    def there(self) -> bool:
        try:
            return self.module is None or bool(theirs(self.module))
        except Exception:  # not there, or there and without something that it needs
            return False


@dataclass(frozen=True)
class Comparison:
    """One metric at one width; ours is the first way.

    Attributes:
        gflop: of the products, with n rows a side, each symmetric one by half.
        precision: of our products.
    """

    width: int
    ways: tuple[Way, ...]
    gflop: Callable[[int], float]
    precision: str


def ours_prdc(real: Features, fake: Features) -> Scores:
    found = coverage(real, fake, k_precision=NEIGHBOURS, k_density=NEIGHBOURS)
    return {name: float(values.mean()) for name, values in found._asdict().items()}


def package_prdc(real: Features, fake: Features) -> Scores:
    with contextlib.redirect_stdout(io.StringIO()):
        found = theirs("prdc").compute_prdc(real, fake, nearest_k=NEIGHBOURS)
    return {name: float(value) for name, value in found.items()}


def ours_frechet(real: Features, fake: Features) -> Scores:
    return {"fd": frechet_distance(real, fake)}


def torchmetrics_frechet(real: Features, fake: Features) -> Scores:
    metric = theirs("torchmetrics.image.fid").FrechetInceptionDistance(feature=Given(real.shape[1]))
    return {"fd": float(fed(metric, real, fake).compute())}


def scipy_frechet(real: Features, fake: Features) -> Scores:
    """As the first published codes: the root of the product of the covariances."""
    sigma1, sigma2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    shift = np.asarray(real.mean(0, dtype=np.float64) - fake.mean(0, dtype=np.float64))
    root = np.trace(theirs("scipy.linalg").sqrtm(sigma1 @ sigma2)).real
    return {"fd": float(shift @ shift + np.trace(sigma1) + np.trace(sigma2) - 2 * root)}


def cleanfid_frechet(real: Features, fake: Features) -> Scores:
    return {"fd": float(theirs("cleanfid.fid").fid_from_feats(real, fake))}


def fidelity_frechet(real: Features, fake: Features) -> Scores:
    module = theirs("torch_fidelity.metric_fid")
    one, two = (module.fid_features_to_statistics(torch.from_numpy(features)) for features in (real, fake))
    return {"fd": float(module.fid_statistics_to_metric(one, two, verbose=False)["frechet_inception_distance"])}


def ours_kid(real: Features, fake: Features) -> Scores:
    return {"kid": kernel_distance(real, fake, subsets=SUBSETS, subset_size=SUBSET).value}


def torchmetrics_kid(real: Features, fake: Features) -> Scores:
    module = theirs("torchmetrics.image.kid")
    metric = module.KernelInceptionDistance(feature=Given(real.shape[1]), subsets=SUBSETS, subset_size=SUBSET)
    return {"kid": float(fed(metric, real, fake).compute()[0])}


def cleanfid_kid(real: Features, fake: Features) -> Scores:
    found = theirs("cleanfid.fid").kernel_distance(real, fake, num_subsets=SUBSETS, max_subset_size=SUBSET)
    return {"kid": float(found)}


def fidelity_kid(real: Features, fake: Features) -> Scores:
    one, two = torch.from_numpy(real), torch.from_numpy(fake)
    found = theirs("torch_fidelity.metric_kid").kid_features_to_metric(
        one, two, kid_subsets=SUBSETS, kid_subset_size=SUBSET, verbose=False
    )
    return {"kid": float(found["kernel_inception_distance_mean"])}


def theirs(module: str) -> Any:
    return importlib.import_module(module)


class Given(torch.nn.Module):
    """Stands for an extractor where the features are there already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def fed(metric: Any, real: Features, fake: Features) -> Any:
    for features, is_real in ((real, True), (fake, False)):
        for start in range(0, len(features), 1000):
            metric.update(torch.from_numpy(features[start : start + 1000]), real=is_real)
    return metric


PRDC = (Way("medzoo", None, ours_prdc), Way("prdc", "prdc", package_prdc))
FRECHET = (
    Way("medzoo", None, ours_frechet),
    Way("torchmetrics", "torchmetrics.image.fid", torchmetrics_frechet),
    Way("scipy sqrtm", "scipy.linalg", scipy_frechet),
    Way("clean-fid", "cleanfid.fid", cleanfid_frechet),
    Way("torch-fidelity", "torch_fidelity.metric_fid", fidelity_frechet),
)
KID = (
    Way("medzoo", None, ours_kid),
    Way("torchmetrics", "torchmetrics.image.kid", torchmetrics_kid),
    Way("clean-fid", "cleanfid.fid", cleanfid_kid),
    Way("torch-fidelity", "torch_fidelity.metric_kid", fidelity_kid),
)
COMPARISONS = {
    # Within real, within fake (half each) and between them.
    "prdc_1280": Comparison(1280, PRDC, lambda n: 4e-9 * n * n * 1280, "float32"),
    "prdc_2048": Comparison(2048, PRDC, lambda n: 4e-9 * n * n * 2048, "float32"),
    # Two covariances; the product of their factors, and that with itself.
    "frechet_2048": Comparison(2048, FRECHET, lambda n: 1e-9 * (2 * n * 2048**2 + 3 * 2048**3), "float64"),
    "kid_2048": Comparison(2048, KID, lambda n: 4e-9 * SUBSETS * min(n, SUBSET) ** 2 * 2048, "float32"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--n", type=int, default=10_000, help="rows of either side, more than 1000")
    parser.add_argument("--only", default=",".join(COMPARISONS), help="comma-separated")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        name, way = options.memory.split(":")
        print(json.dumps(added_memory(name, way, options.n)))
        return
    report = measure(options.only.split(","), options.rounds, options.n)
    print(json.dumps(report, indent=1) if options.json else table(report))


def measure(names: list[str], rounds: int, n: int) -> dict[str, Any]:
    # First, while this process is small: a new process starts with the peak of the one that starts it.
    memory = {name: {way.name: child_memory(name, way.name, n) for way in there(name)} for name in names}
    peaks = {precision: matmul_peak("cpu", precision) for precision in ("float32", "float64")}
    return {
        "comparisons": [compared(name, rounds, n, peaks, memory[name]) for name in names],
        "n": n,
        "matmul_gflops": {precision: round(peak) for precision, peak in peaks.items()},
        "device": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "rounds": rounds,
    }


def there(name: str) -> list[Way]:
    return [way for way in COMPARISONS[name].ways if way.there]


def compared(name: str, rounds: int, n: int, peaks: dict[str, float], memory: dict[str, float]) -> dict[str, Any]:
    comparison, ways = COMPARISONS[name], there(name)
    real, fake = made(n, comparison.width, 0), made(n, comparison.width, 1)
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    scores: dict[str, Scores] = {}
    for way in ways:
        way.run(real[:1100, :64], fake[:1100, :64])  # imports, allocations
    for _ in range(rounds):
        for way in ways:

            def run(way: Way = way) -> None:
                scores[way.name] = way.run(real, fake)

            seconds[way.name].append(timed(run, "cpu"))
    ours = ways[0].name
    floor = comparison.gflop(n) / peaks[comparison.precision]
    rows = [
        {
            "name": way.name,
            "seconds": round(statistics.median(seconds[way.name]), 2),
            "times_ours": round(
                statistics.median(a / b for a, b in zip(seconds[way.name], seconds[ours], strict=True)), 2
            ),
            "share_of_floor": round(floor / statistics.median(seconds[way.name]), 3),
            "added_mb": round(memory[way.name]),
            "memory_times_ours": round(memory[way.name] / max(memory[ours], 1e-9), 2),
            "scores": scores[way.name],
            "difference": max(abs(value - scores[ours][key]) for key, value in scores[way.name].items()),
        }
        for way in ways
    ]
    missing = [way.name for way in comparison.ways if way not in ways]
    return {"name": name, "width": comparison.width, "floor_seconds": round(floor, 2), "rows": rows, "missing": missing}


def made(n: int, width: int, seed: int) -> Features:
    """Features with structure, as of a network: 64 hidden causes of unequal weight, noise, nothing below 0."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(64, width)) / np.sqrt(1 + np.arange(64))[:, None]
    features = np.empty((n, width), np.float32)
    for start in range(0, n, 500):
        part = features[start : start + 500]
        causes = rng.normal(0.05 * seed, 1, (len(part), 64))
        part[:] = np.maximum(causes @ mix + rng.normal(0, 0.5, part.shape), 0)
    return features


def child_memory(comparison: str, way: str, n: int) -> float:
    command = [sys.executable, __file__, "--memory", f"{comparison}:{way}", "--n", str(n)]
    return float(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def added_memory(name: str, way_name: str, n: int) -> float:
    """MB of resident memory that the way adds at its peak to a process that has run it on few features."""
    comparison = COMPARISONS[name]
    way = next(way for way in comparison.ways if way.name == way_name)
    real, fake = made(n, comparison.width, 0), made(n, comparison.width, 1)
    way.run(real[:1100, :64], fake[:1100, :64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    way.run(real, fake)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit


def table(report: dict[str, Any]) -> str:
    lines = [f"{'':16}{'':16}{'seconds':>9}{'x ours':>8}{'of floor':>10}{'MB':>8}{'x ours':>8}{'difference':>12}"]
    for comparison in report["comparisons"]:
        for row in comparison["rows"]:
            lines.append(
                f"{comparison['name']:16}{row['name']:16}{row['seconds']:>9.2f}{row['times_ours']:>8.2f}"
                f"{row['share_of_floor']:>10.0%}{row['added_mb']:>8}{row['memory_times_ours']:>8.2f}"
                f"{row['difference']:>12.1e}"
            )
        lines += [f"{comparison['name']:16}{name:16} not installed" for name in comparison["missing"]]
        scores = ", ".join(f"{name} {value:.6g}" for name, value in comparison["rows"][0]["scores"].items())
        lines.append(f"{comparison['name']:16}floor {comparison['floor_seconds']} s; {scores}")
    peaks = ", ".join(f"{peak} GFLOP/s {precision}" for precision, peak in report["matmul_gflops"].items())
    lines.append(
        f"n = {report['n']}; {report['device']}, {report['threads']} threads, torch {report['torch']}, numpy "
        f"{report['numpy']}; {report['rounds']} rounds; matrix product {peaks}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
