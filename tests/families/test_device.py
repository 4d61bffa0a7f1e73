"""Devices, precision, and memory that runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from medzoo import device as devices
from medzoo.entry import Entry
from medzoo.errors import DeviceError, GenerationError
from tests.tools.fixed_family import Fixed


@pytest.fixture
def fixed(tiny_entry: Callable[..., Entry]) -> Callable[..., Fixed]:
    return lambda **changes: Fixed(tiny_entry(**{"config": {}} | changes), {}, device="cpu")


def test_the_batch_is_halved_when_memory_runs_out(fixed: Callable[..., Fixed]) -> None:
    generator = fixed()
    whole = generator.generate(20, batch_size=20)
    generator.largest = 3
    sizes = [len(part) for part in generator.stream(20, batch_size=16)]
    assert sizes == [2] * 10
    np.testing.assert_allclose(generator.generate(20, batch_size=16).images, whole.images, atol=1e-5)
    generator.largest = 0
    with pytest.raises(DeviceError, match="99001_TINY: the memory of 'cpu' is too small for a single sample"):
        generator.generate(3)


def test_other_errors_of_a_network_are_not_taken_for_memory(fixed: Callable[..., Fixed]) -> None:
    generator = fixed()
    generator.sample_batch = lambda noise, given: torch.zeros(2, 3) @ torch.zeros(2, 3)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        generator.generate(1)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError(),
              RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")]
)  # fmt: skip
def test_what_running_out_of_memory_looks_like(error: Exception) -> None:
    assert devices.is_out_of_memory(error)


def test_the_suggested_batch_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(devices, "_free_memory", lambda: 8 * 2**30)
    assert [devices.batch_size(cpu, size) for size in (1, 4 * 256 * 256, 4 * 1024 * 1024, 10**9)] == CPU_BATCHES
    monkeypatch.setattr(devices, "_free_memory", lambda: 2**28)
    assert devices.batch_size(cpu, 4 * 256 * 256) == 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 * 2**30, 80 * 2**30))
    assert devices.batch_size(torch.device("cuda"), 4 * 256 * 256) == 128


# Samples of 1 number, 256 px, 1024 px with four channels, and far too large.
CPU_BATCHES = [32, 8, 1, 1]


@pytest.mark.parametrize("device", ["cud", "cuda:99", "meta", "cpu:7", 3.5])
def test_unknown_devices_name_those_there_are(tiny_entry: Callable[..., Entry], device: Any) -> None:
    with pytest.raises(DeviceError, match=f"device '{device}'.*this machine has: cpu"):
        Fixed(tiny_entry(config={}), {}, device=device)


def test_unknown_precision(tiny_entry: Callable[..., Entry]) -> None:
    with pytest.raises(GenerationError, match="unknown precision 'fp8'; choose from float32, bfloat16, float16"):
        Fixed(tiny_entry(config={}), {}, precision="fp8")
