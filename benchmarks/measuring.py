"""What the benchmarks share: counted operations, the machine's matrix product, the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def gflop(run: Callable[[], Any]) -> float:
    """Multiplications and additions in the network's convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9


def matmul_peak(device: str, precision: str) -> float:
    """GFLOP/s of a large square matrix product, the best of ten."""
    size = 8192 if device.startswith("cuda") else 2048
    a = torch.randn(size, size, dtype=getattr(torch, precision), device=device)
    return 2 * size**3 / min(timed(lambda: a @ a, device) for _ in range(10)) / 1e9


def timed(call: Callable[[], Any], device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
