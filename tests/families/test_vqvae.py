"""VQ-VAE: codebook, prior, draws, and training in two stages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import medzoo
from medzoo.errors import GenerationError, TrainingError
from medzoo.families import vqvae
from medzoo.families.vqvae.prior import Prior, pick
from medzoo.testing import FamilyCase
from medzoo.training import recipes
from medzoo.training.config import parse
from medzoo.training.recipes import Facts
from medzoo.training.recipes._reconstruction import of_picture
from medzoo.training.recipes.vqvae import follow
from medzoo.training.tables import read_table
from tests.tools.family_cases import MASS, VQVAE
from tests.tools.training import Killed, assert_same, export_slopes, kill_at, load, quiet, slopes, small_trainer

pytestmark = pytest.mark.usefixtures("one_thread")

CASE = FamilyCase("vqvae", VQVAE, (16, 16), sampling={"latent": "uniform"}, condition=MASS, ask="benign")


TINY = {"width": 8, "codes": 16, "code_dim": 8, "prior_width": 8, "prior_layers": 1}


def make_config(**changes: Any) -> Any:
    fields = {
        "family": "vqvae", "dataset": "tiny", "size": 28, "masks": False, "config": TINY, "steps": 4,
        "autoencoder_steps": 2, "batch": 4, "snapshot": 1, "ema": 0.9,
    }  # fmt: skip
    return parse(fields | changes)


def make_prior(width: int = 64, dropout: float = 0.0) -> Prior:
    """Of four places, six codes and two classes, with weights that make the codes differ."""
    torch.manual_seed(0)
    prior = Prior(6, 4, 2, width, 2)
    with torch.no_grad():
        for one in prior.parameters():
            one.add_(torch.randn_like(one) * 0.3)
    return prior.double().eval()


# --- codebook --------------------------------------------------------------------------------------------------------


def test_the_nearest_code_is_that_of_brute_force() -> None:
    torch.manual_seed(0)
    book, vectors = vqvae.Codebook(7, 3), torch.randn(2, 3, 4, 5)
    found = book.nearest(vectors)
    assert found.shape == (2, 4, 5)
    for n, y, x in np.ndindex(2, 4, 5):
        distances = [(vectors[n, :, y, x] - own).square().sum().item() for own in book.vectors]
        assert found[n, y, x] == int(np.argmin(distances))
    assert torch.equal(book(found)[1, :, 2, 3], book.vectors[found[1, 2, 3]])
    assert torch.equal(book.nearest(book(found)), found)


def test_the_codebook_follows_its_vectors() -> None:
    """Code 0 (seen once on average, at 1) gets two vectors, 2 and 4: (0.5 x 1 x 1 + 0.5 x 6) / (0.5 + 0.5 x 2).
    Code 1, still in use, gets none and stays; code 2 is dead and begins anew.
    """
    book = vqvae.Codebook(3, 1)
    book.vectors.copy_(torch.tensor([[1.0], [5.0], [9.0]]))
    book.counts.copy_(torch.tensor([1.0, 0.6, 0.01]))
    others = torch.tensor([[-1.0], [-2.0], [-3.0]])
    follow(book, torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0]), others, 0.5)
    torch.testing.assert_close(book.vectors, torch.tensor([[3.5 / 1.5], [5.0], [-3.0]]))
    torch.testing.assert_close(book.counts, torch.tensor([1.5, 0.3, 2 / 3]))


def test_all_codes_begin_as_vectors_of_the_first_batch() -> None:
    book, others = vqvae.Codebook(3, 2), torch.randn(3, 2)
    follow(book, torch.randn(60, 2), torch.zeros(60, dtype=torch.int64), others, 0.99)
    assert torch.equal(book.vectors[1:], others[1:]) and torch.equal(book.counts[1:], torch.tensor([20.0, 20.0]))


def test_gradients_go_straight_through_the_codes() -> None:
    """What reaches the encoder is the decoder's gradient at the code's vectors, and the pull towards those."""
    recipe = recipes.recipe(make_config(commitment=0.0), Facts(1, 0, None))
    torch.manual_seed(0)
    network, images = recipe.generator(), torch.rand(2, 1, 28, 28) * 2 - 1
    assert isinstance(network, vqvae.Network) and network.encoder is not None
    vectors = network.encode(images)
    known = network.codebook(network.codebook.nearest(vectors)).detach().requires_grad_()
    loss = of_picture(network.decode(known), images, 1.0)
    (at_codes,) = torch.autograd.grad(loss, known)
    weight = network.encoder[1].weight
    (expected,) = torch.autograd.grad(vectors, weight, at_codes)
    found = recipe.loss(network, images, None, 1, torch.Generator())
    torch.testing.assert_close(torch.autograd.grad(found.total, weight)[0], expected)
    assert found.parts["commitment"].item() == pytest.approx(F.mse_loss(vectors, known).item(), rel=1e-5)
    assert found.parts["prior"] == 0
    free = recipe.loss(network, images, None, 0, torch.Generator())  # the first tenth goes without codes
    torch.testing.assert_close(free.parts["reconstruction"], of_picture(network.decode(vectors), images, 1.0))
    assert free.parts["commitment"] == 0


# --- prior -----------------------------------------------------------------------------------------------------------


def test_the_prior_does_not_see_the_future() -> None:
    prior, codes = make_prior(), torch.tensor([[0, 1, 2, 3]])
    before = prior(codes, torch.tensor([1]))
    for place in range(4):
        changed = codes.clone()
        changed[0, place] = 5
        after = prior(changed, torch.tensor([1]))
        assert torch.equal(after[:, : place + 1], before[:, : place + 1])
        assert place == 3 or (after[:, place + 1 :] - before[:, place + 1 :]).abs().amax(2).min() > 1e-4
    assert (prior(codes, torch.tensor([0])) - before).abs().amax(2).min() > 1e-4  # the class is seen everywhere


def test_steps_with_memory_are_the_whole_at_once() -> None:
    """Codes drawn one at a time are those that the prior of all places draws."""
    prior, labels = make_prior(), torch.tensor([0, 1, 1])
    uniforms = torch.rand(3, 4, generator=torch.Generator().manual_seed(1))
    codes = prior.sample(uniforms, labels)
    assert len(codes.unique()) > 2
    logits = prior(codes, labels)
    for place in range(4):
        assert torch.equal(pick(logits[:, place], uniforms[:, place]), codes[:, place])
    given = prior.given(labels)
    x, memory = given, tuple(torch.zeros(3, 2, 4, 32, dtype=torch.float64) for _ in range(2))
    layer, rows = prior.layers[0], []
    for place in range(4):
        rows.append(layer.step(x + prior.place[place], memory, place))
        x = prior.code(codes[:, place]) + given
    before = torch.cat([torch.zeros(3, 1, 64), prior.code(codes[:, :-1])], 1)
    whole = layer(before + prior.place + given[:, None])
    torch.testing.assert_close(torch.stack(rows, 1), whole, atol=1e-12, rtol=0)


def test_codes_are_drawn_as_often_as_they_are_likely() -> None:
    """The numbers (i + 1/2) / 1000 are as even as can be."""
    logits = torch.tensor([0.1, 0.2, 0.4, 0.3]).log().expand(1000, 4)
    even = (torch.arange(1000) + 0.5) / 1000

    def counts(**options: Any) -> list[int]:
        return torch.bincount(pick(logits, even, **options), minlength=4).tolist()

    assert counts() == [100, 200, 400, 300]
    assert counts(top_k=2) == [0, 0, 571, 429]  # 0.4 and 0.3 of 0.7
    assert counts(top_k=9) == counts()
    squares = [1 / 30, 4 / 30, 16 / 30, 9 / 30]
    assert counts(temperature=0.5) == pytest.approx([1000 * share for share in squares], abs=1)


def test_the_ends_of_the_numbers_are_codes_that_can_be() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]]).expand(2, 4)
    assert pick(logits, torch.tensor([0.0, 1 - 2**-24])).tolist() == [1, 2]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_rounding_changes_a_code(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The codes of 24 samples are the same one at a time, eight at a time, and in whatever precision."""
    seen: list[torch.Tensor] = []
    original = Prior.sample

    def watched(*arguments: Any) -> torch.Tensor:
        assert arguments[0].place.dtype == torch.float64
        seen.append(original(*arguments))
        return seen[-1]

    monkeypatch.setattr(Prior, "sample", watched)
    for size in (1, 8):
        CASE.load(precision=precision).generate(24, "benign", batch_size=size)
    CASE.load().generate(24, "benign", batch_size=24)
    one, eight, whole = torch.cat(seen[:24]), torch.cat(seen[24:27]), seen[27]
    assert torch.equal(one, eight) and torch.equal(one, whole)
    assert len(whole.unique()) > 6


def test_sampling_options_are_of_the_entry() -> None:
    usual = CASE.load().generate(4, 0).images
    colder = FamilyCase("vqvae", VQVAE | {"temperature": 0.05}, (16, 16), condition=MASS).load().generate(4, 0).images
    one = FamilyCase("vqvae", VQVAE | {"top_k": 1}, (16, 16), condition=MASS).load().generate(4, 0).images
    assert abs(colder - usual).max() > 1e-3 and abs(one[0] - one[1:]).max() < 1e-5


# --- encoder ---------------------------------------------------------------------------------------------------------


def test_codes_of_images_and_images_of_codes() -> None:
    generator = CASE.load()
    codes = generator.encode(torch.rand(3, 1, 16, 16) * 2 - 1)
    assert codes.shape == (3, 4, 4) and codes.min() >= 0 and codes.max() < 9
    images = generator.reconstruct(codes)
    assert images.shape == (3, 1, 16, 16)
    torch.testing.assert_close(generator.reconstruct(codes[1:2]), images[1:2])


def test_weights_without_an_encoder_only_sample() -> None:
    state = CASE.state()
    left = {name: value for name, value in state.items() if not name.startswith(("encoder.", "codebook.counts"))}
    assert (CASE.load(left).generate(2, 0).images == CASE.load(state).generate(2, 0).images).all()
    with pytest.raises(GenerationError, match="its weights hold no encoder"):
        CASE.load(left).encode(torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize(("size", "side"), [(28, 7), (32, 8), (64, 16), (128, 16)])
def test_every_size(size: int, side: int) -> None:
    recipe = recipes.recipe(make_config(size=size, masks=True), Facts(3, 1, None))
    with torch.device("meta"):  # shapes without arithmetic
        network = recipe.generator()
        assert network.encode(torch.empty(2, 4, size, size)).shape == (2, 8, side, side)
        assert network(torch.zeros(2, side, side, dtype=torch.int64)).shape == (2, 4, size, size)


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [2, 3])
def test_a_killed_run_follows_the_path_of_one_that_was_not(tmp_path: Path, last: int) -> None:
    """Cut on either side of the step from one stage to the next."""
    config, images = make_config(classes=True), slopes()
    assert small_trainer(config, images, tmp_path / "whole").run(quiet)
    with pytest.raises(Killed):
        small_trainer(config, images, tmp_path / "cut").run(kill_at(last))
    assert small_trainer(config, images, tmp_path / "cut").run(quiet)
    assert_same(load(tmp_path / "cut" / "latest.pt"), load(tmp_path / "whole" / "latest.pt"))
    assert (tmp_path / "cut" / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()
    assert {"step", "reconstruction", "commitment", "prior"} < set(read_table(tmp_path / "cut" / "log.csv")[0])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": 2}, "steps: the autoencoder learns in the first 2, and of 2 none is left for the prior"),
        ({"held": {"every": 1, "patience": 2}}, "held.patience: .* take 3 or more, or null"),
    ],
)
def test_a_run_leaves_time_for_the_prior(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_config(**changes)


def test_the_autoencoder_learns_a_quarter_of_the_steps() -> None:
    stated = {"family": "vqvae", "dataset": "tiny", "size": 28, "masks": False}
    configs: list[Any] = [parse(stated | {"steps": steps}) for steps in (20_000, 3)]
    assert [one.autoencoder_steps for one in configs] == [5000, 1]


def test_what_the_network_refuses_is_said_in_a_line() -> None:
    facts = Facts(colours=1, masks=0, classes=None)
    with pytest.raises(TrainingError, match=r"^config: prior_width above 32 must be a multiple of 32, found 48$"):
        recipes.recipe(make_config(config={"prior_width": 48}), facts)


def test_each_stage_leaves_the_other_alone(tmp_path: Path) -> None:
    config, images, states = make_config(classes=True, masks=True, steps=3), slopes(), []
    run = small_trainer(config, images, tmp_path)
    for _ in range(3):
        run.run(quiet, lambda: True)  # one step
        states.append(load(tmp_path / "latest.pt")["generator"])
    assert config.autoencoder_steps == 2

    def changed(one: int, other: int) -> set[str]:
        return {name.partition(".")[0] for name in states[0] if not torch.equal(states[one][name], states[other][name])}

    assert changed(0, 1) == {"encoder", "codebook", "start", "decoder"}
    assert changed(1, 2) == {"prior"}


def test_it_learns_and_the_zoo_shows_what_it_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"steps": 110, "autoencoder_steps": 70, "batch": 8, "lr": 5e-3, "ema": 0.5, "snapshot": 110}
    config, images = make_config(classes=True, **changes), slopes()
    run = small_trainer(config, images, tmp_path / "run")
    run.run(quiet)
    rows = read_table(tmp_path / "run" / "log.csv")
    reconstruction, prior = ([row[name] for row in rows] for name in ("reconstruction", "prior"))
    assert sum(reconstruction[65:70]) < 0.5 * sum(reconstruction[:5])
    assert prior[70] == pytest.approx(math.log(16), abs=0.1)  # it knows nothing yet
    assert sum(prior[105:]) < 0.7 * sum(prior[70:75])
    model = export_slopes(tmp_path, config, monkeypatch)
    samples, (sampled, _) = medzoo.generate(model, 8, device="cpu"), run.sample(8)
    assert abs(samples.images * 255 - sampled).max() <= 0.5 + 1e-3
    bright, dark = (medzoo.generate(model, 8, condition=name, device="cpu").images.mean() for name in ("b", "a"))
    assert bright > dark + 0.2  # as the images of the two classes are
