"""The contract of a family: sample i depends on seed and index alone, fused equals published, errors name the field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medzoo.entry import Entry
from medzoo.errors import CheckpointError, ConditionError, EntryError, GenerationError
from medzoo.families import Generator, Given, get_family
from medzoo.randomness import Noise
from medzoo.samples import Samples
from medzoo.testing._cases import Contract
from medzoo.testing._weights import random_state

MODEL_ID = "99001_TINY"


@dataclass(frozen=True)
class FamilyCase:
    """A tiny model of a family, with random weights.

    Attributes:
        family: its name, as an entry states it.
        config: the entry's ``config``, as small as can be.
        size: (height, width), or (depth, height, width), of the output.
        channels, masks: of the output.
        range: raw values that become 0 and 1.
        sampling: the entry's ``sampling``.
        condition: fields of the entry's ``condition``; None for a model without.
        ask: what callers give as condition; images are taken in turn.
        draws: whether the seed matters: not for a network from image to image.
        texts: parts of the weights that are text files, by name.
        smooth: whether the output follows what goes in: not where codes are drawn.
    """

    family: str
    config: dict[str, Any]
    size: tuple[int, ...]
    channels: int = 1
    masks: int = 0
    range: tuple[float, float] = (-1.0, 1.0)
    sampling: dict[str, Any] = field(default_factory=lambda: {"latent": "normal"})
    condition: dict[str, Any] | None = None
    ask: Any = None
    draws: bool = True
    texts: dict[str, str] = field(default_factory=dict)
    smooth: bool = True

    def entry(self, **changes: Any) -> Entry:
        """The entry of the model; ``changes`` replace its fields."""
        kind = "image" if len(self.size) == 2 else "volume"
        output = {
            "type": f"{kind}+mask" if self.masks else kind, "size": list(self.size), "channels": self.channels,
            "masks": self.masks, "range": list(self.range), "spacing": None,
        }  # fmt: skip
        fields = Entry.blank(
            MODEL_ID, self.family, output=output, config=self.config, sampling=self.sampling, condition=self.condition
        )
        return Entry.model_validate(fields | changes)

    def load(self, state: dict[str, Tensor] | None = None, *, entry: Entry | None = None, **options: Any) -> Generator:
        """The model on the CPU, with the weights of ``state()`` unless others are given."""
        state = self.state() if state is None else state
        return get_family(self.family)(entry or self.entry(), state, device="cpu", **options)

    def state(self) -> dict[str, Tensor]:
        """A state dict with seeded weights."""
        texts = {
            f"{part}.text": torch.tensor(list(text.encode()), dtype=torch.uint8) for part, text in self.texts.items()
        }
        return random_state(self.family, self.config) | texts

    def __str__(self) -> str:
        words = [str(value) for value in (*self.sampling.values(), (self.condition or {}).get("kind")) if value]
        return "-".join([self.family + ("+mask" if self.masks else ""), *words])


def assert_close(one: Samples, other: Samples, atol: float = 1e-5) -> None:
    """Images equal to ``atol``; masks equal but for pixels that lie on the threshold."""
    np.testing.assert_allclose(one.images, other.images, atol=atol)
    assert one.indices.tolist() == other.indices.tolist()
    if one.masks is not None:
        assert other.masks is not None
        assert (one.masks != other.masks).mean() < 0.01


class FamilyContract(Contract):
    """Subclass it as ``TestMyFamily`` with ``cases``, a list of :class:`FamilyCase`."""

    def test_output_is_what_the_entry_states(self, case: FamilyCase) -> None:
        samples = case.load(weights_sha256="f" * 64).generate(5, case.ask, seed=2, start=3)
        assert samples.images.shape == (5, case.channels, *case.size) and samples.images.dtype == np.float32
        assert samples.images.min() >= 0 and samples.images.max() <= 1 and samples.images.std() > 0
        assert (samples.masks is None) == (case.masks == 0)
        if samples.masks is not None:
            assert samples.masks.shape == (5, case.masks, *case.size)
            assert 0 < samples.masks.mean() < 1
        assert samples.indices.tolist() == [3, 4, 5, 6, 7]
        assert (samples.seed, samples.model_id, samples.weights_sha256) == (2, MODEL_ID, "f" * 64)
        assert len({image.tobytes() for image in samples.images}) == 5

    @pytest.mark.parametrize("fused", [True, False])
    def test_a_sample_is_decided_by_seed_and_index_alone(self, case: FamilyCase, fused: bool) -> None:
        generator = case.load(fused=fused)
        whole = generator.generate(7, case.ask, seed=5, start=2, batch_size=7)
        for size in (1, 3, 4):
            assert_close(generator.generate(7, case.ask, seed=5, start=2, batch_size=size), whole)
        assert_close(generator.generate(1, case.ask, seed=5, start=6), whole[4])
        assert_close(case.load(fused=fused).generate(3, case.ask, seed=5, start=4), whole[2:5])
        other = generator.generate(1, case.ask, seed=6, start=6)
        assert (abs(other.images - whole[4].images).max() > 1e-3) == case.draws

    def test_running_the_model_does_not_change_it(self, case: FamilyCase) -> None:
        state = case.state()
        before = {key: tensor.clone() for key, tensor in state.items()}
        generator = case.load(state, fused=False)
        first = generator.generate(3, case.ask)
        assert np.array_equal(generator.generate(3, case.ask).images, first.images)
        assert all(torch.equal(state[key], before[key]) for key in state)

    def test_fused_gives_the_same_images(self, case: FamilyCase) -> None:
        fused, published = (case.load(fused=fused).generate(6, case.ask) for fused in (True, False))
        assert_close(fused, published, atol=1e-4)

    @pytest.mark.parametrize("fused", [True, False])
    def test_decode_of_the_latents_is_the_sample(self, case: FamilyCase, fused: bool) -> None:
        generator = case.load(fused=fused)
        indices = [4, 5, 6]
        latents = _latents(generator, indices, seed=3)
        with torch.no_grad():
            raw = generator.decode(latents, case.ask, noise=Noise(3, indices))
            default = generator.decode(_latents(generator, range(2)), case.ask)[:2]
        assert raw.dtype == torch.float32
        scaled = _scaled(case, raw)
        for row, index in enumerate(indices):
            sample = generator.generate(1, case.ask, seed=3, start=index)
            np.testing.assert_allclose(scaled[row], sample.images[0], atol=1e-5)
        np.testing.assert_allclose(_scaled(case, default), generator.generate(2, case.ask).images, atol=1e-5)

    def test_gradients_reach_what_goes_in(self, case: FamilyCase) -> None:
        """The latents, or else the input images."""
        if not case.smooth:
            pytest.skip("the output does not follow what goes in smoothly")
        generator = case.load(fused=False)
        shape = generator.latent_shape
        given = Given() if case.ask is None else generator.given(case.ask, range(2))
        assert shape is not None or given.images is not None
        start = generator.latents(range(2)) if shape is not None else given.images
        assert start is not None
        wants = start.clone().requires_grad_()

        def run(x: Tensor) -> Tensor:
            return generator.decode(x, given) if shape is not None else generator.decode(None, replace(given, images=x))

        (gradient,) = torch.autograd.grad(run(wants)[0].sum(), wants)
        assert torch.isfinite(gradient).all()
        assert gradient[0].abs().max() > 0
        assert gradient[1].abs().max() == 0  # no sample sees another
        direction = gradient[:1] / gradient[0].norm()
        step = 1e-3
        with torch.no_grad():
            ahead, behind = (
                run(start + sign * step * torch.cat([direction, 0 * direction]))[0].double() for sign in (1, -1)
            )
        slope = ((ahead - behind).sum() / (2 * step)).item()
        assert slope == pytest.approx((gradient[:1] * direction).sum().item(), rel=0.05)

    def test_the_config_is_inferred_from_the_weights(self, case: FamilyCase) -> None:
        """What the family infers from names and shapes is what the entry states."""
        family = get_family(case.family)
        full = family.Config.model_validate(case.config)
        inferred = family.infer(case.state())
        assert inferred and inferred == {name: getattr(full, name) for name in inferred}
        assert family.infer({"who.are.you": torch.zeros(1)}) == {}

    def test_the_config_is_frozen_and_can_be_compared(self, case: FamilyCase) -> None:
        config = case.load().config
        assert config == case.load().config
        if not any(isinstance(value, dict) for _, value in config):
            assert hash(config) == hash(case.load().config)
        with pytest.raises(ValueError, match="frozen"):
            setattr(config, next(iter(case.config)), None)

    def test_the_family_knows_its_output(self, case: FamilyCase) -> None:
        channels, size = get_family(case.family).output(case.load().config)
        assert channels == case.channels + case.masks
        assert size in (None, case.size)

    def test_state_dicts_that_do_not_fit_are_named(self, case: FamilyCase) -> None:
        state = case.state()
        key = next(key for key in state if key.endswith(("weight", "weight_orig")) and state[key].dim() > 1)
        missing = {other: tensor for other, tensor in state.items() if other != key}
        with pytest.raises(CheckpointError, match=f"{MODEL_ID}.*1 missing: {re.escape(key)}"):
            case.load(missing)
        with pytest.raises(CheckpointError, match="1 unexpected: who.are.you"):
            case.load(state | {"who.are.you": torch.zeros(1)})
        shape = list(state[key].shape)
        with pytest.raises(CheckpointError) as caught:
            case.load(state | {key: torch.zeros(2, 3)})
        assert f"1 of another shape: {key} is [2, 3], the network needs {shape}" in str(caught.value)

    def test_config_errors_name_the_field(self, case: FamilyCase) -> None:
        with pytest.raises(EntryError, match=rf"{MODEL_ID}.*config\.colour"):
            case.load({}, entry=case.entry(config=case.config | {"colour": "blue"}))

    def test_a_condition_that_is_needed_is_asked_for(self, case: FamilyCase) -> None:
        generator = case.load()
        if generator.declared is None or not generator.declared.required:
            pytest.skip("runs without a condition")
        with pytest.raises(ConditionError, match=f"{MODEL_ID} needs"):
            generator.generate(1)

    def test_more_classes_than_the_network_has_are_refused(self, case: FamilyCase) -> None:
        if case.condition is None or case.condition["kind"] != "class":
            pytest.skip("is not conditioned on a class")
        classes = [f"class {i}" for i in range(1000)]
        with pytest.raises((EntryError, GenerationError), match=MODEL_ID):
            case.load(entry=case.entry(condition=case.condition | {"classes": classes}))

    def test_no_samples(self, case: FamilyCase) -> None:
        samples = case.load().generate(0, case.ask, start=5)
        assert samples.images.shape == (0, case.channels, *case.size) and len(samples.indices) == 0
        assert (samples.masks is None) == (case.masks == 0)
        assert list(case.load().stream(0, case.ask)) == []

    def test_low_precision_stays_near(self, case: FamilyCase) -> None:
        exact = case.load().generate(4, case.ask)
        rough = case.load(precision="bfloat16").generate(4, case.ask)
        assert rough.images.dtype == np.float32
        assert abs(rough.images - exact.images).mean() < 0.05
        assert abs(rough.images - exact.images).max() > 0

    def test_weights_stored_in_half_precision_run_in_float32(self, case: FamilyCase) -> None:
        state = {key: value.half() if value.is_floating_point() else value for key, value in case.state().items()}
        full = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        assert_close(case.load(state).generate(2, case.ask), case.load(full).generate(2, case.ask))

    def test_arguments_are_checked(self, case: FamilyCase) -> None:
        generator = case.load()
        wrong: list[dict[str, Any]] = [
            {"n": -1}, {"n": 1.5}, {"n": "3"}, {"n": True}, {"n": 1, "start": -1}, {"n": 1, "seed": -1},
        ]  # fmt: skip
        for arguments in wrong:
            with pytest.raises(GenerationError, match=f"^{list(arguments)[-1]} must"):
                generator.stream(condition=case.ask, **arguments)  # at once, not at the first batch
        with pytest.raises(GenerationError, match="batch_size must lie between 1 and"):
            generator.generate(1, case.ask, batch_size=0)
        with pytest.raises(GenerationError, match=r"start \+ n must lie"):
            generator.generate(2, case.ask, start=2**63 - 2)
        with pytest.raises(ConditionError, match=MODEL_ID):
            generator.generate(1, {"left": "right"})
        with pytest.raises(GenerationError, match="latents must be"):
            generator.decode(torch.zeros(2, 1, 1, 1, 1, 1), case.ask)
        with pytest.raises(GenerationError, match="latents must be a torch tensor, found ndarray"):
            generator.decode(np.zeros((2, 3), np.float32), case.ask)  # type: ignore[arg-type]
        if generator.latent_shape is None:
            with pytest.raises(GenerationError, match="has no latents"):
                generator.latents([0])
            return
        for index in (-1, 2**63, 0.5):
            with pytest.raises(GenerationError, match="^index must"):
                generator.latents([index])  # type: ignore[list-item]


def _latents(generator: Generator, indices: Iterable[int], seed: int = 0) -> Tensor | None:
    """The latents behind samples; None for a family that draws none."""
    if generator.latent_shape is None:
        return None
    latents = generator.latents(indices, seed)
    assert latents.shape[1:] == generator.latent_shape and latents.dtype == torch.float32
    return latents


def _scaled(case: FamilyCase, raw: Tensor) -> Any:
    """The images of raw output, as an array in [0, 1]."""
    low, high = case.range
    return ((raw - low) / (high - low))[:, : case.channels].clamp(0, 1).numpy()
