"""Samples made while a loader asks: every index once, in any number of processes, and the same samples."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import medzoo
from medzoo.errors import ConditionError, GenerationError
from tests.conftest import masked

AddModel = Callable[..., str]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_every_index_comes_once_and_is_the_sample_of_generate(add_model: AddModel, workers: int) -> None:
    model_id = add_model(**masked())
    dataset = medzoo.StreamDataset(model_id, 23, seed=3, start=5, batch_size=4)
    batches = list(DataLoader(dataset, batch_size=3, num_workers=workers))
    indices = torch.cat([batch["index"] for batch in batches])
    assert sorted(indices.tolist()) == list(range(5, 28))
    wanted = medzoo.generate(model_id, 23, seed=3, start=5)
    order = (indices - 5).numpy()
    images = torch.cat([batch["image"] for batch in batches]).numpy()
    np.testing.assert_allclose(images, wanted.images[order], atol=1e-5)
    assert wanted.masks is not None
    assert np.mean(torch.cat([batch["mask"] for batch in batches]).numpy() != wanted.masks[order]) < 1e-3


def test_ranks_share_the_samples(add_model: AddModel) -> None:
    model_id = add_model()
    for n, world, size in ((23, 3, 4), (2, 3, None), (10, 4, None), (0, 2, 8)):
        parts = [medzoo.StreamDataset(model_id, n, batch_size=size, rank=r, world_size=world) for r in range(world)]
        found = [[int(item["index"]) for item in part] for part in parts]
        assert sorted(index for part in found for index in part) == list(range(n))
        assert n < world or all(found) or size is not None  # small jobs are spread over all
    with pytest.raises(GenerationError, match="0 <= rank < world_size, found rank=2, world_size=2"):
        medzoo.StreamDataset(model_id, 4, rank=2, world_size=2)


def test_a_worker_that_starts_anew_loads_the_model(add_model: AddModel) -> None:
    dataset = medzoo.StreamDataset(add_model(), 5, rank=1, world_size=2, precision="float32", batch_size=1)
    copy = pickle.loads(pickle.dumps(dataset))
    here, there = ([item["image"] for item in one] for one in (dataset, copy))
    assert len(here) == 2 and all(torch.allclose(a, b, atol=1e-5) for a, b in zip(here, there, strict=True))


def test_transforms_conditions_and_mistakes(add_model: AddModel) -> None:
    model_id = add_model(condition={"kind": "class", "classes": ["a", "b"], "required": True})

    def pair(item: dict[str, torch.Tensor]) -> Any:
        return item["image"].mean().item(), int(item["label"])

    for _ in range(2):  # a second pass gives the same
        found = list(medzoo.StreamDataset(model_id, 6, ["a", "b"], transform=pair, batch_size=4))
        assert [label for _, label in found] == [0, 1] * 3
    with pytest.raises(ConditionError, match="needs a class"):
        medzoo.StreamDataset(model_id, 6)
