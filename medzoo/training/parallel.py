"""Several processes that train one run together, one on each GPU, started by torch's own ``torchrun``.

Each draws its share of the batch; gradients and statistics are averaged, so that all processes hold the same networks
after every step. The first process (rank 0) owns the folder of the run. With one process every function here does
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from medzoo.device import find
from medzoo.errors import TrainingError

T = TypeVar("T")
BUCKET = 2**25  # numbers that are averaged at once
MEETING = timedelta(minutes=10)  # by then all processes have started
PATIENCE = timedelta(hours=6)  # the others wait while the first process measures


class Told(TrainingError):
    """An error of the first process, in the others: it has been said."""


def rank() -> int:
    """Which process this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(device: str | None) -> Iterator[torch.device]:
    """Meet the other processes that ``torchrun`` started, if any; gives this one's device.

    Raises:
        TrainingError, DeviceError: no device for each process, or not all of them came.
    """
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
    try:
        store, here, count = next(dist.rendezvous("env://", timeout=MEETING))
        store.set_timeout(PATIENCE)
        options = {"store": store, "rank": here, "world_size": count, "timeout": PATIENCE}
        dist.init_process_group(backend, device_id=kind if backend == "nccl" else None, **options)
    except RuntimeError as error:
        raise TrainingError(
            f"the {processes} processes of this run did not meet ({str(error).strip().splitlines()[0]}); start them "
            "with torchrun, and with another --master-port where that one is taken"
        ) from error
    try:
        yield kind
    finally:
        dist.destroy_process_group()


def share(batch: int) -> int:
    """How many images of a batch are this process's. Raises TrainingError where they cannot be shared out."""
    each, left = divmod(batch, world())
    if left or each < (1 if world() == 1 else 2):
        raise TrainingError(
            f"batch: {batch} cannot be shared by {world()} processes; take a multiple of {world()}, "
            f"{2 * world()} or more"
        )
    return each


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace tensors, the same shapes in every process, by their means over the processes."""
    if world() == 1:
        return
    for bucket in _buckets(tensors):
        flat = torch.cat([one.reshape(-1) for one in bucket])
        with _others():
            dist.all_reduce(flat)
        flat /= world()
        for one, part in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
            one.copy_(part.view(one.shape))


def means(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Numbers by name, each averaged over the processes: what is not finite in one of them is so in all."""
    if world() == 1:
        return dict(values)
    found = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    average([found])
    return dict(zip(values, found.tolist(), strict=True))


def gathered(rows: Tensor) -> Tensor:
    """Rows [n, ...] of every process, one after the other [n x world, ...]; no gradient."""
    if world() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world())]
    with _others():
        dist.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


def first(work: Callable[[], T]) -> T | None:
    """Do something in the first process while the others wait: its result there, None in the others.

    Raises:
        Exception: whatever ``work`` raises; :class:`Told` in the other processes.
    """
    if world() == 1:
        return work()
    found, error = None, None
    if rank() == 0:
        try:
            found = work()
        except Exception as raised:
            error = raised
    told = shared(None if error is None else str(error))
    if error is not None:
        raise error
    if told is not None:
        raise Told(told)
    return found


def in_turn(work: Callable[[], T]) -> T:
    """Do something in every process, in the first one before all others, so that its error is said once."""
    found = first(work)
    return work() if found is None else found


def shared(value: T) -> T:
    """What the first process says."""
    if world() == 1:
        return value
    box = [value]
    with _others():
        dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def _others() -> Iterator[None]:
    """Says in words that another process is gone."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise TrainingError(
            f"process {rank()}: another process of this run has ended; its own message says why "
            f"({str(error).strip().splitlines()[-1]})"
        ) from error


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type together, at most ``BUCKET`` numbers at once."""
    bucket: list[Tensor] = []
    for one in tensors:
        if bucket and (one.dtype != bucket[0].dtype or sum(map(Tensor.numel, bucket)) + one.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(one)
    if bucket:
        yield bucket
