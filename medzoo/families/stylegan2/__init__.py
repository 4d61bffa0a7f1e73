"""StyleGAN2 (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020) and StyleGAN2-ADA
(Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020): the generator.

State-dict names are those of the PyTorch release of StyleGAN2-ADA; files of the rosinality layout are renamed on
loading. Widths, resolution, classes and architecture are inferred from the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo import device
from medzoo.errors import CheckpointError, EntryError, GenerationError
from medzoo.families._base import Generator
from medzoo.families._condition import Given
from medzoo.families._running import check_latents
from medzoo.families.stylegan2.config import Config
from medzoo.families.stylegan2.fused import Fused
from medzoo.families.stylegan2.network import Layer, MappingNetwork, Network, NoiseMode
from medzoo.families.stylegan2.rosinality import ada_names
from medzoo.randomness import Noise

MEAN_OF = 4096  # latents behind a mean w that the file lacks


class StyleGAN2(Generator):
    """Latents N(0, 1) and classes -> images.

    ``sampling.truncation`` pulls every intermediate latent w towards their mean (null: 1, not at all);
    ``sampling.noise`` is ``const`` (null: the maps in the file), ``random`` or ``none``.
    """

    Config = Config
    options = ("truncation", "noise")
    kinds = ("class", "attributes")
    tolerates = (r"resample_filter$", r"\.noise_const$", r"^mapping\.w_avg$")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.z_dim,)

    @property
    def num_ws(self) -> int:
        """Places where a w goes in: one for each layer, and one for the last image."""
        return 2 * len(self.config.resolutions())

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        try:
            return _infer(ada_names(state))
        except (KeyError, IndexError, ValueError):  # a file of something else
            return {}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        return config.img_channels, (config.img_resolution, config.img_resolution)

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        return {"kind": "class", "classes": tuple(map(str, range(config.c_dim)))} if config.c_dim else None

    def build(self) -> nn.Module:
        return Network(self.config)

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        assert isinstance(network, Network)
        self._check_all_named()
        if network.mapping.w_avg.isnan().any():
            network.mapping.w_avg.copy_(_mean_w(network.mapping, self.config))
        mode: NoiseMode = self.entry.sampling.noise or "const"
        for name, layer in network.named_modules():
            if isinstance(layer, Layer) and layer.noisy:
                layer.noise_mode = mode
                if mode == "const" and layer.noise_const.isnan().any():
                    raise CheckpointError(
                        f"{self.entry.model_id}: the weights hold no noise map for {name}; state "
                        "'sampling: {noise: random}' or '{noise: none}' in the entry"
                    )
        return Fused(network) if fused else network

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return ada_names(state)

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        return self.network.synthesis(self._ws(self.latent(noise), given), self._draws(noise))

    def ws(self, latents: Tensor, given: Any = None) -> Tensor:
        """Intermediate latents [B, num_ws, w_dim] float32, truncated, for latents [B, z_dim].

        ``given`` is a condition as ``generate`` takes it, or a ``Given``.
        """
        check_latents(self, latents)
        if not isinstance(given, Given):
            given = self.given(given, range(len(latents)))
        given = given.on(self.device, self.dtype)
        self.check_given(given)
        with device.exact_convolutions(self.device):
            return self._ws(latents.to(self.device, self.dtype), given).float()

    def decode_ws(self, ws: Tensor, noise: Noise | None = None) -> Tensor:
        """Raw images [B, C, H, W] float32 for intermediate latents [B, num_ws, w_dim], or [B, w_dim] for all layers.

        Nothing is truncated. Differentiable when ``fused=False``; ``noise`` as in ``decode``.
        """
        shape = tuple(ws.shape[1:])
        if shape not in ((self.config.w_dim,), (self.num_ws, self.config.w_dim)):
            raise GenerationError(
                f"{self.entry.model_id}: ws must be [n, {self.num_ws}, {self.config.w_dim}] or "
                f"[n, {self.config.w_dim}], found {list(ws.shape)}"
            )
        noise = (Noise(0, range(len(ws))) if noise is None else noise).on(self.device, self.dtype)
        ws = ws.to(self.device, self.dtype)
        every = ws if ws.dim() == 3 else ws[:, None].expand(-1, self.num_ws, -1)
        with device.exact_convolutions(self.device):
            return self.network.synthesis(every, self._draws(noise)).float()

    def _ws(self, latents: Tensor, given: Given) -> Tensor:
        mapping = self.network.mapping
        w = mapping(latents, self._classes(given, latents))
        ws = w[:, None].expand(-1, self.num_ws, -1)
        psi, cutoff = self.entry.sampling.truncation, self.config.truncation_cutoff
        if psi is None or psi == 1:
            return ws
        near = torch.lerp(mapping.w_avg, ws, psi)
        return near if cutoff is None else torch.cat([near[:, :cutoff], ws[:, cutoff:]], dim=1)

    def _classes(self, given: Given, latents: Tensor) -> Tensor | None:
        """What goes into the embedding, [B, c_dim]: the given numbers, or 1 at the class and 0 elsewhere."""
        count = self.config.c_dim
        if count == 0:
            return None
        if given.attributes is not None:
            return given.attributes.to(latents.dtype)
        assert given.labels is not None  # check_given
        return F.one_hot(given.labels, count).to(latents.dtype)

    def _draws(self, noise: Noise) -> list[Tensor]:
        """Random noise of each layer, in their order; none where the noise is not random."""
        if self.entry.sampling.noise != "random" or not self.config.noisy():
            return []
        sizes = [size for size in self.config.resolutions() for _ in range(1 if size == 4 else 2)]
        return [noise.normal((1, size, size)) for size in sizes]

    def _check_all_named(self) -> None:
        """Every class is an input of the mapping: an entry names all of them, as classes or as numbers."""
        declared, count = self.entry.condition, self.config.c_dim
        named = len((declared.classes or declared.attributes or ()) if declared else ())
        if declared is not None and count and named != count:
            what = "classes" if declared.kind == "class" else declared.kind
            raise EntryError(f"{self.entry.model_id}: 'condition' names {named} {what}, the network takes {count}")


def _mean_w(mapping: MappingNetwork, config: Config) -> Tensor:
    """Mean w of latents of seed 0, for files without one; classes in turn."""
    z = Noise(0, range(MEAN_OF)).latent((config.z_dim,))
    c = F.one_hot(torch.arange(MEAN_OF) % config.c_dim, config.c_dim).float() if config.c_dim else None
    return mapping(z, c).mean(0)


def _infer(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Raises KeyError, IndexError or ValueError for a state dict of something else."""
    found = (re.match(r"synthesis\.b(\d+)\.conv1\.weight$", key) for key in state)
    sizes = sorted(int(match[1]) for match in found if match)
    last = f"synthesis.b{sizes[-1]}"
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", key)) for key in state)
    features = tuple(state[f"mapping.fc{i}.weight"].shape[0] for i in range(layers))
    embed, classes = state["mapping.embed.weight"].shape if "mapping.embed.weight" in state else (0, 0)
    config = {
        "z_dim": state["mapping.fc0.weight"].shape[1] - embed,
        "c_dim": classes,
        "w_dim": state[f"{last}.torgb.affine.weight"].shape[1],
        "img_resolution": sizes[-1],
        "img_channels": state[f"{last}.torgb.weight"].shape[0],
        "channels": tuple(state[f"synthesis.b{size}.conv1.weight"].shape[0] for size in sizes),
        "mapping_features": features,
        "embed_features": embed,
        "architecture": "skip" if "synthesis.b4.torgb.weight" in state else "orig",
        "use_noise": f"{last}.conv1.noise_strength" in state,
    }
    if f"{last}.skip.weight" in state:
        config["architecture"] = "resnet"
    if (fir := state.get(f"{last}.resample_filter")) is not None:
        config["filter_taps"] = fir.shape[0]
    return config
