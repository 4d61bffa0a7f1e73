"""Tumour inpainting: the circles, the row of three networks, and what its masks mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from medzoo.entry import Entry
from medzoo.errors import ConditionError
from medzoo.families import Given
from medzoo.families.inpaint import CIRCLES, Inpaint, concentric_circles, draw_circles
from medzoo.randomness import Noise
from tests.conftest import entry_fields, random_state

CONFIG = {"network": "pipeline", "input_nc": 5, "output_nc": 4, "width": 8}
OUTPUT = {"type": "image+mask", "size": None, "channels": 4, "masks": 4, "range": [0.0, 1.0], "spacing": None}
SLICES = ["FLAIR", "T1", "T1c", "T2"]


def condition(**defaults: float) -> dict[str, Any]:
    numbers = [
        {"name": name, "low": 0.0, "high": None, "unit": "pixels", "default": defaults.get(name)} for name in CIRCLES
    ]  # fmt: skip
    return {"kind": "images", "inputs": SLICES, "channels": 1, "range": [0.0, 1.0], "attributes": numbers}


def fields(**changes: Any) -> dict[str, Any]:
    return entry_fields(
        family="inpaint", config=CONFIG, output=OUTPUT, condition=condition(), sampling={"latent": None}
    ) | changes  # fmt: skip


def load(fused: bool = False, **changes: Any) -> Inpaint:
    """A pipeline whose config is told by the weights."""
    state = random_state(fields())
    entry = Entry.model_validate(fields(config={}) | changes)
    return Inpaint(entry, state, fused=fused, device="cpu")


def brain(n: int = 1, size: int = 32) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(n, 4, size, size) * 0.9 + 0.05


def test_concentric_circles_are_those_of_the_publication() -> None:
    """Published defaults; the first number counts rows. Areas within the perimeter's error of pi r^2."""
    grades = concentric_circles(torch.tensor([[130.0, 130, 10, 15, 30], [40, 200, 1, 2, 3]]), 256, 256)
    assert grades.shape == (2, 1, 256, 256)
    for reached, radius in ((1.0, 10), (0.75, 15), (0.5, 30)):
        area = (grades[0] >= reached).sum().item()
        assert abs(area - np.pi * radius**2) < np.pi * radius
    assert grades[0, 0, 130, 130] == 1 and grades[0, 0, 139, 130] == 1 and grades[0, 0, 140, 130] == 0.75
    assert grades[1, 0, 40, 200] == 1 and grades[1, 0, 200, 40] == 0
    assert set(grades.unique().tolist()) == {0.0, 0.5, 0.75, 1.0}


def test_drawn_circles_keep_the_published_range() -> None:
    circles = draw_circles(Noise(0, range(500)))
    centres, radii = circles[:, :2], circles[:, 2:]
    assert (centres >= 80).all() and (centres <= 169).all() and (radii >= 5).all() and (radii <= 34).all()
    assert (radii[:, :-1] < radii[:, 1:]).all() and (centres[:, 0] != centres[:, 1]).all()
    assert torch.equal(circles, circles.round()) and len(circles.unique(dim=0)) > 495
    assert abs(centres.mean() - 124.5) < 2 and abs(radii[:, 1].mean() - 19.5) < 1
    assert torch.equal(draw_circles(Noise(0, [37])), circles[37:38])


def test_the_pipeline_pastes_the_tumour_into_the_slices() -> None:
    slices = brain()
    generator = load()
    raw = generator.decode(None, Given(images=slices, attributes=torch.tensor([[16.0, 16, 3, 5, 9]])))
    images, tumour, grades = raw[:, :4], raw[:, 4:5], raw[:, 5:]
    assert raw.shape == (1, 8, 32, 32) and 0 < tumour.mean() < 1
    outside = (tumour == 0).expand_as(images)
    assert torch.equal(images[outside], slices[outside])
    assert (images[~outside] >= 0).all() and (images - slices)[~outside].abs().max() > 0.1
    assert (grades[:, :-1] >= grades[:, 1:]).all()  # one inside the other
    assert set(raw[:, 4:].unique().tolist()) == {0.0, 1.0}


def test_the_pipeline_is_its_networks_in_a_row() -> None:
    """Written out from the published description, with the networks as models of their own."""
    slices, numbers = brain(), torch.tensor([[14.0, 17, 3, 5, 9]])
    state = random_state(fields())
    alone = {}
    for part in ("shape", "grade", "inpaint"):
        mine = {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
        channels = 4 if part == "inpaint" else 1
        output = OUTPUT | {"type": "image", "channels": channels, "masks": 0}
        entry = Entry.model_validate(fields(config={}, condition=None, output=output))
        alone[part] = Inpaint(entry, mine, fused=False, device="cpu")
        assert alone[part].config.network == ("inpaint" if part == "inpaint" else "shape")
    circles = concentric_circles(numbers, 32, 32)
    outline = torch.ones(1, 1, 32, 32)
    tumour = alone["shape"].decode(None, Given(images=torch.cat([outline, (circles > 0.3).float()], 1))) > 0.3
    graded = alone["grade"].decode(None, Given(images=torch.cat([tumour.float(), circles], 1)))
    grades = torch.full_like(graded, 1.0)
    for below, grade in ((0.85, 0.75), (0.63, 0.5), (0.36, 0.0)):
        grades[graded < below] = grade
    blank = torch.where(tumour, 0.0, slices)
    painted = alone["inpaint"].decode(None, Given(images=torch.cat([blank, grades], 1)))
    raw = load().decode(None, Given(images=slices, attributes=numbers))
    torch.testing.assert_close(raw[:, :4], torch.where(tumour, painted, slices), atol=1e-6, rtol=0)
    published = 0.5 * raw[:, 5] + 0.25 * raw[:, 6] + 0.25 * raw[:, 7]
    assert torch.equal(published[:, None], grades) and torch.equal(raw[:, 4:5], tumour.float())


def test_circles_that_nobody_states_are_drawn() -> None:
    generator = load(condition=condition(x_center=16.0))
    given = Given(images=brain(3), attributes=torch.tensor([[16.0, *[torch.nan] * 4]] * 3))
    circles = generator.circles(Noise(5, [2, 3, 4]), given)
    drawn = draw_circles(Noise(5, [2, 3, 4])) * 32 / 256
    assert torch.equal(circles[:, 0], torch.full((3,), 16.0)) and torch.equal(circles[:, 1:], drawn[:, 1:])
    stated = Given(images=brain(1), attributes=torch.tensor([[torch.nan] * 3 + [2.0, torch.nan]]))
    radii = generator.circles(Noise(5, [2]), stated)[0, 2:]
    assert radii[0] <= 2 and radii[1] == 2 and radii[2] >= 2
    images = {name: brain(2)[:, k, None].numpy() for k, name in enumerate(SLICES)}
    samples = generator.generate(4, images, seed=1)
    assert samples.images.shape == (4, 4, 32, 32) and samples.masks is not None and samples.masks.shape[1] == 4
    assert (samples.masks[0] != samples.masks[2]).any()  # the same slices, other circles
    again = generator.generate(4, images | {"x_center": 10.0, "radius_3": 9.0}, seed=1)
    assert (again.masks != samples.masks).any()


def test_the_power_iteration_follows_the_entry() -> None:
    """The published script leaves the networks in train mode: one iteration of spectral norm from what is stored."""
    state = random_state(fields())
    for key in state:
        if key.endswith("_u"):
            state[key] = torch.nn.functional.normalize(torch.ones_like(state[key]), dim=0)
    given = Given(images=brain(), attributes=torch.tensor([[16.0, 16, 3, 5, 9]]))
    raw = {}
    for stats in ("running", "sample"):
        for fused in (True, False):
            sampling = {"latent": None, "norm_stats": stats}
            entry = Entry.model_validate(fields(sampling=sampling))
            generator = Inpaint(entry, dict(state), fused=fused, device="cpu")
            raw[stats, fused] = generator.decode(None, given)
        torch.testing.assert_close(raw[stats, True], raw[stats, False], atol=1e-4, rtol=0)
    assert (raw["running", False] - raw["sample", False]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("shape", "message"), [((4, 20, 32), "multiples of 8, found 20 x 32"), ((3, 32, 32), "takes 4 slices, found 3")]
)
def test_slices_that_do_not_fit_are_told(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConditionError, match=f"99001_TINY: .*{message}"):
        load().decode(None, Given(images=torch.zeros(1, *shape)))
