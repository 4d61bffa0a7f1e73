"""Every technique in the real step of a run: it trains, and a run that was saved goes on along the same path."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from medzoo.training import recipes, techniques
from medzoo.training.adversarial import AdversarialLearner
from medzoo.training.recipes import Facts


def make_learner(*names: str) -> AdversarialLearner:
    """A tiny DCGAN of colour images with a mask; p of the adaptive ones is far from 0 from the start."""
    fields = {
        "family": "dcgan", "dataset": "none", "size": 16, "masks": True, "batch": 4, "steps": 4,
        "config": {"ngf": 4, "nz": 6}, "critic": {"ndf": 4},
        "techniques": [{"name": name, **({"start": 0.5} if name in ("ada", "apa") else {})} for name in names],
    }  # fmt: skip
    if "freezed" in names:
        fields["techniques"] = [{"name": "freezed", "layers": 1}]
    config = recipes.settings("dcgan").model_validate(fields)
    data = torch.randint(0, 256, (8, 4, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return AdversarialLearner(config, data, None, Facts(colours=3, masks=1, classes=None), torch.device("cpu"))


@pytest.mark.parametrize("name", techniques.names())
def test_a_saved_run_goes_on_along_the_same_path(name: str) -> None:
    straight, again = make_learner(name), make_learner(name)
    for step in range(2):
        straight.train_step(step)
    again.load_state(copy.deepcopy(straight.state()))
    found = [one.train_step(2) for one in (straight, again)]
    assert found[0] == found[1] and all(math.isfinite(value) for value in found[0].values())


@pytest.mark.parametrize("name", [name for name in techniques.names() if name not in ("freezed", "spectral_norm")])
def test_a_technique_changes_the_step(name: str) -> None:
    """Those that change losses or images do so already in the first one; so does the one of whole images of CDC."""
    plain, with_technique = make_learner().train_step(0), make_learner(name).train_step(0)
    assert any(plain[key] != with_technique[key] for key in plain)


def test_several_techniques_work_together() -> None:
    names = ["spectral_norm", "ada", "apa", "icr", "r1", "rotation", "cdc", "classical", "diffaugment"]
    numbers = make_learner(*names).train_step(0)
    assert {"ada_p", "ada_r", "apa_p", "apa_lambda_r", "cdc"} <= set(numbers)
    assert all(math.isfinite(value) for value in numbers.values())
