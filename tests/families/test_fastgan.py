"""FastGAN: the algebra of the fused network, at every published size."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medzoo.families import fastgan
from medzoo.families.fastgan import Fused, Network, noise_shapes, up_stage
from medzoo.families.fastgan.fused import TileStage, TileUpStage
from medzoo.families.fastgan.gate import GatedNorm, gate, norm_gate, sample_norm_gate
from medzoo.nets import BatchNorm2d, SpectralConv2d, use_statistics


def network(size: int, channels: int = 2) -> Network:
    torch.manual_seed(size)
    net = Network(8, 6, channels, size)
    net.reset()
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.numel() == 1:
                torch.nn.init.constant_(net.get_parameter(name), 0.1)  # noise strengths
        net(*inputs(size, 4))  # train mode: running statistics and singular vectors that mean something
    return net.eval().requires_grad_(False)


def inputs(size: int, n: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    rng = torch.Generator().manual_seed(7)
    return torch.randn(n, 6, generator=rng), [torch.randn(n, *s, generator=rng) for s in noise_shapes(size)]


@pytest.mark.parametrize("statistics", ["running", "sample"])
@pytest.mark.parametrize("size", [128, 256, 512, 1024])
@pytest.mark.parametrize("group", [1, 2**40], ids=["one by one", "together"])
def test_fused_equals_published(size: int, statistics: str, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fused, "GROUP_BYTES", group)
    net = network(size)
    use_statistics(net, statistics)  # type: ignore[arg-type]
    latents, noise = inputs(size, 2)
    plain, fused = net(latents, noise), Fused(net).to(memory_format=torch.channels_last)(latents, noise)
    assert plain.shape == (2, 2, size, size)
    torch.testing.assert_close(fused, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("statistics", ["running", "sample"])
@pytest.mark.parametrize("piece", [1, 2**40], ids=["few tiles at a time", "all tiles"])
@pytest.mark.parametrize("n", [1, 3])
def test_maps_made_from_tiles(statistics: str, piece: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TILE_CHANNELS", "TILE_UP_CHANNELS"):
        monkeypatch.setattr(fastgan, name, 1)
    monkeypatch.setattr(TileStage, "PIECE_BYTES", piece)
    monkeypatch.setattr(TileStage, "PIECE_TILES", 7)
    net = network(128)
    use_statistics(net, statistics)  # type: ignore[arg-type]
    fused = Fused(net).to(memory_format=torch.channels_last)
    assert {type(fused.ups[str(size)]) for size in (32, 64, 128)} == {TileUpStage}
    assert {type(stage) for stage in fused.seconds.values()} == {TileStage}
    torch.testing.assert_close(fused(*inputs(128, n)), net(*inputs(128, n)), atol=1e-4, rtol=1e-4)


def test_no_tiles_where_they_are_not_worth_it() -> None:
    """In low precision Winograd's sums would round too much; narrow and small maps gain nothing."""
    assert up_stage(64, 128, tiles=True) is TileUpStage
    assert TileUpStage not in {up_stage(64, 128, tiles=False), up_stage(64, 127, tiles=True), up_stage(16, 512, True)}
    fused = Fused(network(128), tiles=False)
    assert not any(isinstance(module, TileStage) for module in fused.modules())


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_tanh_only_at_1024(size: int) -> None:
    net = network(size)
    for module in net.get_submodule(f"feat_{size}").modules():
        if isinstance(module, BatchNorm2d):
            module.weight.mul_(100)
    assert (net(*inputs(size, 1)).abs().max().item() <= 1) == (size == 1024)


@pytest.mark.parametrize("size", [128, 256])
def test_statistics_of_a_sample_are_those_of_train_mode_with_a_batch_of_one(size: int) -> None:
    net = network(size)
    latents, noise = inputs(size, 3)
    use_statistics(net, "sample")
    together = net(latents, noise)
    for i in range(3):
        alone = network(size).train()
        expected = alone(latents[i : i + 1], [one[i : i + 1] for one in noise])
        torch.testing.assert_close(together[i : i + 1], expected.detach(), atol=2e-5, rtol=1e-4)


def test_the_same_input_gives_the_same_image_again() -> None:
    """The power iteration of the published path is taken but not kept."""
    net = network(128)
    use_statistics(net, "sample")
    assert torch.equal(net(*inputs(128, 1)), net(*inputs(128, 1)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sample_norm_gate_is_instance_norm_and_glu(layout: torch.memory_format) -> None:
    x = (3 * torch.randn(3, 8, 20, 24) + torch.arange(8.0)[:, None, None]).contiguous(memory_format=layout)
    gain, bias = torch.rand(8) + 0.5, torch.randn(8)
    expected = F.glu(F.instance_norm(x, weight=gain, bias=bias), dim=1)
    torch.testing.assert_close(sample_norm_gate(x.clone(), gain, bias, 1e-5), expected, atol=1e-5, rtol=1e-5)


def test_gate_of_narrow_bfloat16_maps() -> None:
    x = torch.randn(2, 16, 5, 5).bfloat16()
    torch.testing.assert_close(gate(x), F.glu(x.float(), dim=1).bfloat16(), atol=0, rtol=2**-7)  # the last bit


def test_norm_gate_adds_noise_before_the_norm() -> None:
    norm = GatedNorm(4).eval()
    x, noise, strength = torch.randn(2, 4, 3, 3), torch.randn(2, 1, 3, 3), torch.tensor([0.5])
    found = norm_gate(x, norm, noise, strength)
    torch.testing.assert_close(found, F.glu(norm(x + 0.5 * noise), dim=1))


def test_spectral_weights_have_norm_one_after_training_steps() -> None:
    conv = SpectralConv2d(3, 5, 3)
    conv.reset()
    with torch.no_grad():
        for _ in range(200):
            conv.weight()
    assert torch.linalg.matrix_norm(conv.eval().weight().flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
