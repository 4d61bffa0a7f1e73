"""Several processes that train one run together, one on each GPU, started by torch's own ``torchrun``.

Each draws its part of the batch; gradients and statistics are averaged, so that all processes hold the same networks
after every step. Rank 0 owns the folder of the run. With one process every function here does
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from medzoo.device import find
from medzoo.errors import TrainingError
from medzoo.text import first_line

T = TypeVar("T")
BUCKET = 2**25
MEETING = timedelta(minutes=10)
PATIENCE = timedelta(hours=6)  # the others wait while rank 0 measures


class AlreadyReported(TrainingError):
    """An error of rank 0, in the other processes: rank 0 reports it."""


def rank() -> int:
    """Which process this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(device: str | None, meeting: timedelta = MEETING) -> Iterator[torch.device]:
    """Meet the other processes that ``torchrun`` started, if any; gives this one's device.

    Args:
        device: a torch device name; None for a CUDA device if there is one. Of several processes each gets its own.
        meeting: by then all processes have started.

    Raises:
        TrainingError, DeviceError: no device for each process, or not all of them came.
    """
    if dist.is_initialized():  # the caller has joined them
        yield find(device)
        return
    launched = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    kind, processes = find(device), int(os.environ["WORLD_SIZE"]) if launched else 1
    if processes == 1:
        yield kind
        return
    if kind.type not in ("cpu", "cuda") or kind.index is not None:
        raise TrainingError(f"--device {kind}: {processes} processes take cpu, or cuda, of which each gets one")
    if kind.type == "cuda":
        kind = find(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
        torch.cuda.set_device(kind)
    backend = "nccl" if kind.type == "cuda" else "gloo"
    # Its functions take the group of the moment of this import as a default. Imported later, as optimizers do, it would
    # hold the group, and with it threads, until the interpreter takes itself apart around them, which may abort.
    import_module("torch.distributed.nn.functional")
    try:
        store, here, count = next(dist.rendezvous("env://", timeout=meeting))
        store.set_timeout(PATIENCE)
        options = {"store": store, "rank": here, "world_size": count, "timeout": PATIENCE}
        dist.init_process_group(backend, device_id=kind if backend == "nccl" else None, **options)
    except RuntimeError as error:
        raise TrainingError(
            f"the {processes} processes of this run did not meet ({first_line(error)}); start them "
            "with torchrun, and with another --master-port where that one is taken"
        ) from error
    try:
        yield kind
    finally:
        dist.destroy_process_group()


def local_batch(batch: int) -> int:
    """How many images of a batch this process draws. Raises TrainingError where the batch cannot be divided."""
    each, left = divmod(batch, world())
    if left or each < (1 if world() == 1 else 2):
        raise TrainingError(
            f"batch: {batch} cannot be shared by {world()} processes; take a multiple of {world()}, "
            f"{2 * world()} or more"
        )
    return each


@torch.no_grad()
def average(tensors: Iterable[Tensor], bucket: int = BUCKET) -> None:
    """Replace tensors, the same shapes in every process, by their means over the processes.

    Args:
        bucket: numbers that are averaged at once.
    """
    if world() == 1:
        return
    for together in _buckets(tensors, bucket):
        flat = torch.cat([tensor.reshape(-1) for tensor in together])
        with _name_the_lost():
            dist.all_reduce(flat)
        flat /= world()
        for tensor, part in zip(together, flat.split([tensor.numel() for tensor in together]), strict=True):
            tensor.copy_(part.view(tensor.shape))


def means(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Numbers by name, each averaged over the processes: what is not finite in one of them is so in all."""
    if world() == 1:
        return dict(values)
    numbers = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    average([numbers])
    return dict(zip(values, numbers.tolist(), strict=True))


def gather(rows: Tensor) -> Tensor:
    """Rows [n, ...] of every process, one after the other [n x world, ...]; no gradient."""
    if world() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world())]
    with _name_the_lost():
        dist.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


def on_rank0(work: Callable[[], T]) -> T | None:
    """Do something in rank 0 while the other processes wait: its result there, None in the others.

    Raises:
        Exception: whatever ``work`` raises; :class:`AlreadyReported` in the other processes.
    """
    if world() == 1:
        return work()
    result, error = None, None
    if rank() == 0:
        try:
            result = work()
        except Exception as raised:
            error = raised
    message = broadcast(None if error is None else str(error))
    if error is not None:
        raise error
    if message is not None:
        raise AlreadyReported(message)
    return result


def rank_by_rank(work: Callable[[], T]) -> T:
    """Do something in every process, in rank 0 before all others, so that its error is reported once."""
    result = on_rank0(work)
    return work() if result is None else result


def broadcast(value: T) -> T:
    """The ``value`` of rank 0, in every process."""
    if world() == 1:
        return value
    box = [value]
    with _name_the_lost():
        dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def _name_the_lost() -> Iterator[None]:
    """Turn torch's error about a process that has ended into one that says so."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise TrainingError(
            f"process {rank()}: another process of this run has ended; its own message says why "
            f"({str(error).strip().splitlines()[-1]})"
        ) from error


def _buckets(tensors: Iterable[Tensor], limit: int) -> Iterator[list[Tensor]]:
    """Tensors of one type together, at most ``limit`` numbers at once."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        size = sum(map(Tensor.numel, bucket)) + tensor.numel()
        if bucket and (tensor.dtype != bucket[0].dtype or size > limit):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
