"""Samples of a model as a torch dataset that makes them while a DataLoader asks, in any number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from medzoo import zoo
from medzoo.errors import GenerationError
from medzoo.samples.items import Transform

if TYPE_CHECKING:
    from medzoo.families._base import Generator


class StreamDataset(IterableDataset[Any]):
    """The samples of ``medzoo.generate``, made when they are asked for; items are those of ``Samples.as_dataset``.

    Batches lie on a grid, and the processes of a loader and of a job take them in turn: every index comes exactly once,
    whatever their number, and sample i is the same in each. Each process holds the model; every pass gives the same
    samples, so that another ``seed`` or ``start`` is what makes others. On a GPU take ``num_workers=0``, or a loader
    with ``multiprocessing_context="spawn"``.

    Args:
        model_id, n, condition, seed, start: as ``medzoo.generate`` takes them.
        batch_size: samples that the network makes at a time; None lets memory and the number of processes decide.
        transform: gets the dict of a sample, whose tensors it may change; what it gives is the item.
        rank, world_size: this process and how many there are; None for those of ``torch.distributed``, else 0 of 1.
        options: those of ``medzoo.load``, such as ``truncation``, ``steps`` or ``device``.

    Raises MedzooError, as ``medzoo.generate`` does: the model is loaded at once, so that workers find its weights.
    """

    def __init__(
        self,
        model_id: str | int | Path,
        n: int | None = None,
        condition: Any = None,
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int | None = None,
        transform: Transform | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> None:
        if (rank is None) != (world_size is None) or not 0 <= (rank or 0) < (world_size or 1):
            raise GenerationError(f"state both, 0 <= rank < world_size, found rank={rank}, world_size={world_size}")
        self._model, self._options = model_id, options
        self._generator: Generator | None = zoo.load(model_id, **options)
        self.n = self._generator.check_request(
            self._generator.entry, n, condition, seed=seed, start=start, batch_size=batch_size
        )
        self.condition, self.seed, self.start, self.transform = condition, seed, start, transform
        self._size = batch_size or self._generator.suggest_batch_size()
        self._is_stated = batch_size is not None
        self._place = None if rank is None or world_size is None else (rank, world_size)

    def __iter__(self) -> Iterator[Any]:
        if self._generator is None:
            self._generator = zoo.load(self._model, **self._options)
        for samples in self._generator.stream(
            self.n, self.condition, seed=self.seed, start=self.start, batch_size=self._size, among=self._share()
        ):
            items = samples.as_dataset(self.transform)
            yield from (items[i] for i in range(len(items)))

    def __getstate__(self) -> dict[str, Any]:
        """For a worker that starts anew: it loads the model itself, and is not part of the job's group."""
        return {**vars(self), "_generator": None, "_place": self._of_job()}

    def _of_job(self) -> tuple[int, int]:
        if self._place is not None:
            return self._place
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _share(self) -> list[range]:
        """The batches of this process, of this worker."""
        rank, ranks = self._of_job()
        worker = get_worker_info()
        workers = 1 if worker is None else worker.num_workers
        place, places = rank * workers + (0 if worker is None else worker.id), ranks * workers
        size = self._size if self._is_stated else max(1, min(self._size, -(-self.n // places)))
        firsts = range(self.start + place * size, self.start + self.n, places * size)
        return [range(first, min(first + size, self.start + self.n)) for first in firsts]
