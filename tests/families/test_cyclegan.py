"""CycleGAN and pix2pixHD beyond the contract and the conformance kit: old files, what shapes tell, the fused pieces."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medzoo import catalog
from medzoo.entry import Entry
from medzoo.errors import CheckpointError, ConditionError
from medzoo.families import Generator, Given, get_family
from medzoo.families._resnet import Frame, fold_block
from medzoo.families._translate import InstanceNorm, Stage
from medzoo.nets import BatchNorm2d
from medzoo.nets.statistics import instance_norm_
from tests.conftest import entry_fields, random_state

TINY = {"input_nc": 1, "output_nc": 1, "ngf": 4, "n_blocks": 1, "norm": "instance"}
HD = TINY | {"n_downsampling": 3}
Fields = dict[str, Any]


def fields(config: Fields, family: str = "cyclegan", **sampling: Any) -> Fields:
    output = {"type": "image", "size": None, "channels": 1, "masks": 0, "range": [-1.0, 1.0], "spacing": None}
    return entry_fields(family=family, config=config, output=output, sampling={"latent": None} | sampling)


def load(made: Fields, state: dict[str, torch.Tensor] | None = None, fused: bool = False) -> Generator:
    state = random_state(made) if state is None else state
    return get_family(made["family"])(Entry.model_validate(made), state, device="cpu", fused=fused)


def waves(*shape: int) -> torch.Tensor:
    return torch.sin(torch.arange(torch.Size(shape).numel()).float() * 0.37).reshape(shape)


def run(generator: Generator, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return generator.decode(None, Given(images=images))


@pytest.mark.parametrize(
    ("number", "other"),
    [("00013", "00113"), ("00014", "00114"), ("00015", "00115"), ("00016", "00116"), ("00021", "00121")],
)
def test_both_directions_differ_in_their_weights_alone(number: str, other: str) -> None:
    there, back = catalog.resolve(number).entry, catalog.resolve(other).entry
    for name in ("config", "output", "sampling", "checkpoint", "license", "training_data", "modality"):
        assert getattr(there, name) == getattr(back, name)
    (one,), (two,) = there.weights, back.weights
    assert one.kind == two.kind == "http" and one.url == two.url and one.member != two.member
    assert there.title != back.title and there.reported and not back.reported


class TestStatistics:
    def test_those_that_old_files_hold_for_instance_norm_are_dropped(self) -> None:
        made = fields(TINY)
        state = random_state(made)
        stale = {
            f"model.{i}.{name}": torch.full((4,), 7.0) for i in (2, 5) for name in ("running_mean", "running_var")
        } | {"model.2.num_batches_tracked": torch.tensor(3)}
        images = waves(1, 1, 16, 20)
        assert torch.equal(run(load(made, state | stale), images), run(load(made, state), images))
        assert torch.equal(run(load(fields({}), state | stale), images), run(load(made, state), images))

    def test_those_of_batch_norm_must_be_there(self) -> None:
        made = fields(TINY | {"norm": "batch"})
        state = random_state(made)
        del state["model.5.running_var"]
        with pytest.raises(CheckpointError, match="1 missing: model.5.running_var"):
            load(made, state)

    def test_stored_and_own_statistics_differ(self) -> None:
        state = random_state(fields(TINY | {"norm": "batch"}))
        images = waves(2, 1, 16, 16) * torch.tensor([1.0, 0.1])[:, None, None, None]
        own, stored = (run(load(fields({}, norm_stats=stats), state), images) for stats in ("sample", "running"))
        assert (own - stored).abs().max() > 0.05
        assert torch.allclose(run(load(fields({}, norm_stats="sample"), state), images[1:]), own[1:], atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("use_dropout", [False, True])
def test_shapes_tell_the_settings(norm: str, use_dropout: bool) -> None:
    config = {"input_nc": 3, "output_nc": 2, "ngf": 6, "n_blocks": 3, "norm": norm, "use_dropout": use_dropout}
    state = random_state(fields(config))
    assert get_family("cyclegan").infer(state) == config
    assert state[f"model.10.conv_block.{6 if use_dropout else 5}.weight"].dim() == 4


@pytest.mark.parametrize("downs", [0, 1, 5])
def test_shapes_tell_how_often_pix2pixhd_goes_down(downs: int) -> None:
    config = {"input_nc": 2, "output_nc": 3, "ngf": 2, "n_downsampling": downs, "n_blocks": 2, "norm": "instance"}
    made = fields(config, "pix2pixhd")
    state = random_state(made)
    assert get_family("pix2pixhd").infer(state) == config
    assert sum(key.endswith(".bias") for key in state) == sum(key.endswith(".weight") for key in state)
    images = waves(1, 2, 64, 64)
    published, fused = (run(load(fields({}, "pix2pixhd"), dict(state), fused=fused), images) for fused in (0, 1))
    assert published.shape == (1, 3, 64, 64)
    assert torch.allclose(published, fused, atol=1e-4)


@pytest.mark.parametrize("family", ["cyclegan", "pix2pixhd"])
def test_foreign_weights_tell_nothing(family: str) -> None:
    infer = get_family(family).infer
    assert infer({}) == {} == infer({"model.1.weight": torch.zeros(2, 2, 7, 7)})
    assert infer({"model.1.weight": torch.zeros(3), "model.9.conv_block.1.weight": torch.zeros(2)}) == {}


def test_what_comes_out_of_odd_sizes_still_lies_on_the_image() -> None:
    state = random_state(fields(TINY))
    images = waves(1, 1, 17, 22)
    published, fused = (run(load(fields(TINY), dict(state), fused=fused), images) for fused in (False, True))
    assert published.shape == fused.shape == (1, 1, 17, 22)  # the network gives 20 x 24
    assert torch.allclose(published, fused, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_wide_maps_fused(norm: str) -> None:
    """Blocks of 64 channels on 33 x 34 pixels: large enough for the convolutions of fewer products."""
    made = fields(TINY | {"ngf": 16, "norm": norm})
    state = random_state(made)
    images = waves(2, 1, 132, 136)
    published, fused = (run(load(made, dict(state), fused=fused), images) for fused in (False, True))
    assert (published - fused).abs().max() < 1e-4
    assert published.std() > 0.1


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 16, 16), "99001_TINY takes images of 1 channels, found 3"),
        (torch.zeros(1, 1, 16, 8), "height and width are at least 9 pixels; found 16x8"),
    ],
)
def test_images_that_do_not_fit_are_told(images: torch.Tensor, message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        run(load(fields(HD, "pix2pixhd")), images)


def test_there_is_nothing_to_make_without_an_image() -> None:
    optional = fields(TINY) | {"condition": {"kind": "image", "inputs": ["slice"], "required": False}}
    with pytest.raises(ConditionError, match="99001_TINY needs an image, 'slice'"):
        load(optional).generate(1)


class TestPieces:
    @pytest.mark.parametrize("border", [1, 3])
    def test_a_frame_mirrors_as_reflection_does(self, border: int) -> None:
        x = waves(2, 3, 7, 5)
        frame = Frame.around(x, border)
        assert torch.equal(frame.whole, F.pad(x, (border,) * 4, mode="reflect"))
        frame.inside.mul_(2)
        frame.mirror()
        assert torch.equal(frame.whole, F.pad(2 * x, (border,) * 4, mode="reflect"))

    @pytest.mark.parametrize("size", [1, 2, 4])
    def test_blocks_of_pixels_are_the_convolution(self, size: int) -> None:
        x, weight = waves(1, 3, 14, 18), waves(2, 3, 7, 7)
        blocks = F.conv2d(x, fold_block(weight, size), stride=size)
        assert torch.allclose(F.pixel_shuffle(blocks, size), F.conv2d(x, weight), atol=1e-4)

    @pytest.mark.parametrize("stats", ["running", "sample", "instance"])
    @pytest.mark.parametrize("transposed", [False, True])
    @pytest.mark.parametrize("bias", [False, True])
    def test_a_stage_is_convolution_and_norm(self, stats: str, transposed: bool, bias: bool) -> None:
        torch.manual_seed(0)
        conv = nn.ConvTranspose2d(3, 5, 3, 2, 1, 1, bias=bias) if transposed else nn.Conv2d(3, 5, 3, 2, 1, bias=bias)
        norm: nn.Module = InstanceNorm()
        if stats != "instance":
            norm = BatchNorm2d(5).eval()
            norm.stats = stats  # type: ignore[assignment]
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                assert isinstance(tensor, torch.Tensor)
                nn.init.uniform_(tensor, 0.5, 2.0)
        x = torch.randn(2, 3, 9, 8)
        with torch.inference_mode():
            expected, stage = norm(conv(x)), Stage(conv, norm)
            assert torch.allclose(stage(x), expected, atol=1e-5)
            out = torch.empty_like(expected)
            assert stage(x, out, relu=True) is out
            assert torch.allclose(out, expected.relu(), atol=1e-5)

    @pytest.mark.parametrize("size", [(2, 2), (6, 7), (60, 61)])
    @pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
    def test_norms_of_maps_far_from_zero_are_exact(self, size: tuple[int, int], memory: torch.memory_format) -> None:
        torch.manual_seed(0)
        x = (torch.randn(2, 8, *size) + 20).contiguous(memory_format=memory)
        wide = x.double()
        expected = (wide - wide.mean((2, 3), keepdim=True)) / (
            wide.var((2, 3), keepdim=True, correction=0) + 1e-5
        ).sqrt()
        instance_norm_(x)
        assert (x - expected).abs().max() < 1e-4
