"""Devices: finding one, its free memory, and what to do when it runs out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import torch

from medzoo.errors import DeviceError

T = TypeVar("T")
# Float32 numbers alive at once for each number of the output: a generator's widest maps, twice over.
WORKING_NUMBERS = 64
MIB = 2**20


def find(device: str | torch.device | None) -> torch.device:
    """The device asked for; None for a CUDA device if there is one, else the CPU. Raises DeviceError."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    names = available()
    if found is None or (str(found) not in names and found.type not in names):
        raise DeviceError(f"unknown device '{device}'; this machine has: {', '.join(names)}")
    if found.index and f"{found.type}:{found.index}" not in names:
        raise DeviceError(f"there is no device '{device}'; this machine has: {', '.join(names)}")
    return found


def available() -> list[str]:
    """Names that ``find`` takes on this machine."""
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(["cuda"] if cuda else []), *cuda, *mps]


def batch_size(device: torch.device, output_numbers: int) -> int:
    """A power of two of samples whose working memory fits, for samples of ``output_numbers`` numbers each.

    At most 128 on a GPU, and 32 or half a GiB on a CPU, where larger batches leave the caches and gain nothing.
    """
    each = max(1, output_numbers) * 4 * WORKING_NUMBERS
    if device.type == "cuda":
        most, memory = 128, free_memory(device) // 2
    else:
        most, memory = 32, min(512 * MIB, free_memory(device) // 4)
    fits = max(1, min(most, memory // each))
    return 1 << (fits.bit_length() - 1)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; for any but a CUDA device those of this machine."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()


def exact_convolutions(device: torch.device, *, deterministic: bool = False) -> AbstractContextManager[None]:
    """Switches off cuDNN's TF32, whose 10-bit mantissa would let the batch size change a float32 image.

    Args:
        deterministic: also choose algorithms that give the same bits every time, as a training needs.
    """
    if device.type == "cuda":
        return torch.backends.cudnn.flags(enabled=True, deterministic=deterministic, allow_tf32=False)
    return contextlib.nullcontext()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or NumPy says that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    told = str(error).lower()
    return any(words in told for words in ("out of memory", "can't allocate memory", "cannot allocate memory"))


def release_memory(device: torch.device) -> None:
    """Gives the cached blocks of a GPU back, so that a smaller batch finds room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def in_parts(function: Callable[[slice], T], rows: int, size: int, device: torch.device) -> Iterator[T]:
    """``function`` of the rows 0 to ``rows - 1`` of a batch, in parts that fit in memory; yields the result of each.

    A part that does not fit is halved until it does, and those after it are no larger.

    Args:
        function: takes a part of the rows; called again for fewer of them where memory ran out.
        size: rows of the first part.

    Raises torch.OutOfMemoryError: a single row does not fit. Other errors of ``function`` pass.
    """
    done = 0
    while done < rows:
        part = slice(done, min(done + size, rows))
        try:
            result = function(part)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            yield result
            done = part.stop
            continue
        # Only here, with the exception gone, are the tensors of the failed part free.
        release_memory(device)
        if part.stop - done == 1:
            raise torch.OutOfMemoryError(f"out of memory: a single sample does not fit on '{device}'")
        size = (part.stop - done) // 2


def _free_memory() -> int:
    """Bytes that this machine could hand out; 2 GiB where that is not known."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 2048 * MIB
