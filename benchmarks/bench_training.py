"""Training on a CPU: what a step of the command's defaults costs, beside the same step of an earlier commit.

    python benchmarks/bench_training.py --before 151138c --rounds 5

Both versions live in one process and take turns, so that whatever else the machine does hits both; a ratio is that of
one round, and the median is shown. Processor time counts what the step itself needs, wall time what its user waits. The
floor is the time of the step's convolutions and matrix products at the rate of one large convolution.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from measuring import gflop
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
# The README's line, and the other default: what a user types, at the size that they are most used at.
CASES: dict[str, dict[str, Any]] = {"fastgan": {"size": 128, "techniques": [{"name": "ada"}]}, "dcgan": {"size": 64}}
IMAGES = 108


@dataclass
class Code:
    """One version of medzoo, imported from a folder; several live in one process, one at a time under that name."""

    folder: Path
    modules: dict[str, ModuleType] = field(default_factory=dict)

    def __enter__(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "medzoo"]:
            del sys.modules[name]
        sys.modules.update(self.modules)
        sys.path.insert(0, str(self.folder))

    def __exit__(self, *error: object) -> None:
        sys.path.remove(str(self.folder))
        self.modules = {name: one for name, one in sys.modules.items() if name.partition(".")[0] == "medzoo"}


@dataclass
class Contender:
    """A learner of one version, and what its steps took."""

    code: Code
    fields: dict[str, Any]
    learner: Any = None
    made: int = 0
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def build(self, data: torch.Tensor) -> None:
        with self.code:
            from medzoo.training.adversarial import AdversarialLearner
            from medzoo.training.config import parse
            from medzoo.training.recipes import Facts

            assert Path(sys.modules["medzoo"].__file__ or "").is_relative_to(self.code.folder)
            facts = Facts(colours=3, masks=1, classes=None)
            self.learner = AdversarialLearner(parse(self.fields), data, None, facts, torch.device("cpu"))

    def step(self) -> None:
        with self.code:
            self.learner.train_step(self.made)
        self.made += 1

    def measure(self) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        self.step()
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads)
    now = Code(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        before = None if options.before is None else unpacked(options.before, Path(folder))
        peak = convolution_peak()
        rows = [row for family in options.only.split(",") for row in measured(family, before, now, options, peak)]
    if options.json:
        print(json.dumps({"peak_gflops": peak, "threads": options.threads, "rows": rows}, indent=1))
        return
    print(f"convolution: {peak:.0f} GFLOP/s, {options.threads} thread(s), torch {torch.__version__}")
    for row in rows:
        print("  ".join(f"{key} {one:.3g}" if isinstance(one, float) else one for key, one in row.items()))


def measured(family: str, before: Code | None, now: Code, options: Any, peak: float) -> list[dict[str, Any]]:
    """One row for each preset of today, against the defaults of before."""
    case = CASES[family]
    size = case["size"]
    fields = {"family": family, "folder": "x", "masks": True, "steps": 20_000, **case}
    data = torch.randint(0, 256, (IMAGES, 4, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with now:
        from medzoo.training import presets, recipes

        sizes = {name: presets.filled(fields, recipes.kind(family).presets[name]) for name in presets.NAMES[::-1]}
    run = {name: Contender(now, stated) for name, stated in sizes.items()}
    if before is not None:
        run = {"before": Contender(before, fields), **run}
    for one in run.values():
        one.build(data)
        one.step()
    for _ in range(options.rounds):
        for one in run.values():
            one.measure()
    rows = []
    for name, one in run.items():
        work = gflop(one.step)
        row = {"": f"{family} {size} px, {name}", "cpu_s": statistics.median(one.cpu), "gflop": work}
        row |= {"floor_s": work / peak, "share": work / peak / statistics.median(one.cpu)}
        if before is not None:
            row |= {f"{kind}_ratio": ratio(run["before"], one, kind) for kind in ("cpu", "wall")}
        rows.append(row)
    return rows


def ratio(before: Contender, after: Contender, kind: str) -> float:
    """How many times faster, the median over the rounds."""
    pairs = zip(getattr(before, kind), getattr(after, kind), strict=True)
    return float(statistics.median(old / new for old, new in pairs))


def unpacked(revision: str, folder: Path) -> Code:
    """The package of a commit of this repository."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision, "medzoo", "registry"], check=True, capture_output=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return Code(folder)


def convolution_peak() -> float:
    """GFLOP in a second of processor time of a large 3x3 convolution, the best of ten."""
    x = torch.randn(8, 256, 32, 32).to(memory_format=torch.channels_last)
    weight = torch.randn(256, 256, 3, 3).to(memory_format=torch.channels_last)
    work, seconds = 2 * x.numel() * weight[0].numel(), list[float]()
    for _ in range(10):
        began = time.process_time()
        F.conv2d(x, weight, padding=1)
        seconds.append(time.process_time() - began)
    return float(work / min(seconds) / 1e9)


def parsed() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="a commit to compare with")
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
