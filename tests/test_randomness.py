"""The noise rule, against an implementation of Philox4x64-10 in plain integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medzoo.randomness import INJECTED, LATENT, Noise, Replay, words

MASK = 2**64 - 1

# Seed 0, samples 0, 1 and 10^12.
GOLDEN = {
    "latent": [
        [2.9162033, -1.28554, 0.6468853],
        [-0.3351242, -2.2488666, -0.8768885],
        [-1.0078952, -0.015896, -1.5704345],
    ],
    "latent_uniform": [
        [0.034741878509521484, 0.011546730995178223, 0.6119502186775208],
        [0.6919011473655701, 0.6436367034912109, 0.5463858842849731],
        [0.6591886281967163, 0.17533469200134277, 0.7458003759384155],
    ],
    "normal_0": [
        [0.6349541, -0.2217995, -0.1000541],
        [0.5717318, -1.815739, 1.7743204],
        [-1.3521336, -0.0716202, 0.3615249],
    ],
    "normal_1": [
        [-0.1673005, -0.4669313, 0.2308143],
        [-0.5452133, 2.3732808, 2.417402],
        [-0.586567, 0.69642, 0.0951535],
    ],
}


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """One block of Philox4x64-10 (Salmon et al., SC 2011, section 3.3)."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * x0, 0xCA5A826395121157 * x2
        x0, x1, x2, x3 = (high >> 64) ^ x1 ^ k0, high & MASK, (low >> 64) ^ x3 ^ k1, low & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return x0, x1, x2, x3


def expected_words(seed: int, index: int, stream: int, draw: int, count: int) -> list[int]:
    blocks = [philox((block, draw, index, 0), (seed, stream)) for block in range(1, count // 4 + 2)]
    return [word for block in blocks for word in block][:count]


def test_the_reference_here_gives_the_published_known_answer() -> None:
    # Random123's kat_vectors, line "philox4x64 10" with counter and key zero.
    assert philox((0, 0, 0, 0), (0, 0)) == (
        0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B,
    )  # fmt: skip


@given(
    seed=st.integers(0, 2**64 - 1), index=st.integers(0, 2**63 - 1), stream=st.integers(0, 9), draw=st.integers(0, 999)
)
@settings(max_examples=50, deadline=None)
def test_words_are_philox_keyed_by_seed_and_stream_counting_from_draw_and_index(
    seed: int, index: int, stream: int, draw: int
) -> None:
    assert words(seed, index, stream, draw, 9).tolist() == expected_words(seed, index, stream, draw, 9)


def test_transforms_are_the_documented_ones() -> None:
    count = 7
    raw = expected_words(5, 12, INJECTED, 0, 4)
    halves = [half for word in raw for half in (word & 0xFFFFFFFF, word >> 32)]
    uniform = [(half >> 8) / 2**24 for half in halves][:count]
    assert Noise(5, [12]).uniform((count,))[0].tolist() == uniform
    radius = [math.sqrt(-2 * math.log(((word >> 32) + 1) / 2**32)) for word in raw]
    angle = [2 * math.pi * (word & 0xFFFFFFFF) / 2**32 for word in raw]
    normal = [r * math.cos(a) for r, a in zip(radius, angle, strict=True)]
    normal += [r * math.sin(a) for r, a in zip(radius, angle, strict=True)]
    np.testing.assert_allclose(Noise(5, [12]).normal((count,))[0].numpy(), normal[:count], atol=2e-6)


def test_golden_values() -> None:
    """Written down once: a change of any of these changes every image that anybody ever made."""
    noise = Noise(0, [0, 1, 10**12])
    np.testing.assert_allclose(noise.latent((3,)).numpy(), GOLDEN["latent"], atol=2e-6)
    np.testing.assert_allclose(noise.latent((3,), "uniform").numpy(), GOLDEN["latent_uniform"], atol=1e-7)
    np.testing.assert_allclose(noise.normal((1, 1, 3)).numpy()[:, 0, 0], GOLDEN["normal_0"], atol=2e-6)
    np.testing.assert_allclose(noise.normal((3,)).numpy(), GOLDEN["normal_1"], atol=2e-6)


@pytest.mark.parametrize("count", [1, 2, 35, 16384, 40000])
def test_a_row_depends_on_its_own_index_alone(count: int) -> None:
    together = Noise(3, range(6)).normal((count,))
    alone = torch.cat([Noise(3, [i]).normal((count,)) for i in range(6)])
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=0)


def test_latents_do_not_depend_on_injected_draws_nor_on_order() -> None:
    drawn, fresh = Noise(1, [4, 5]), Noise(1, [4, 5])
    for _ in range(3):
        drawn.normal((2, 2))
    assert torch.equal(drawn.latent((8,)), fresh.latent((8,)))
    assert torch.equal(fresh.latent((8,)), fresh.latent((8,)))
    torch.testing.assert_close(Noise(1, [5, 4]).latent((8,)), fresh.latent((8,)).flip(0), atol=2e-6, rtol=0)


def test_streams_draws_seeds_and_indices_are_all_different() -> None:
    noise = Noise(1, [0, 1])
    drawn = torch.cat([noise.latent((16,)), noise.normal((16,)), noise.normal((16,)), Noise(2, [0, 1]).latent((16,))])
    assert len({tuple(row) for row in drawn.tolist()}) == 8
    assert LATENT != INJECTED


def test_distributions() -> None:
    n = 400_000
    normal = Noise(11, range(4)).normal((n // 4,)).double().flatten()
    # Five standard errors of each statistic.
    assert abs(normal.mean()) < 5 / n**0.5
    assert abs(normal.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((normal**4).mean() - 3) < 5 * (96 / n) ** 0.5
    assert abs(torch.corrcoef(normal.reshape(2, -1))[0, 1]) < 5 / (n / 2) ** 0.5
    uniform = Noise(11, range(4)).uniform((n // 4,)).double().flatten()
    assert uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / n) ** 0.5


def test_given_latents_keep_their_gradient_and_are_checked() -> None:
    latents = torch.zeros(2, 3, requires_grad=True)
    noise = Noise(0, [0, 1]).given(latents)
    (gradient,) = torch.autograd.grad(noise.latent((3,)).sum(), latents)
    assert torch.equal(gradient, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"\(3,\) given, \(4,\) needed"):
        noise.latent((4,))
    with pytest.raises(ValueError, match="2 latents but noise for 3"):
        Noise(0, range(3)).given(latents)


def test_replay_hands_out_the_stored_draws_in_order() -> None:
    first, second = torch.full((2, 1, 4, 4), 1.0), torch.full((2, 3), 2.0)
    noise = Replay([first, second], 2)
    assert torch.equal(noise.normal((1, 4, 4)), first)
    with pytest.raises(ValueError, match=r"asks for \(4,\)"):
        noise.uniform((4,))
    noise = Replay([first], 2)
    noise.normal((1, 4, 4))
    with pytest.raises(ValueError, match="only 1 are stored"):
        noise.normal((1, 4, 4))
