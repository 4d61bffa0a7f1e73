"""CLIP (Radford et al., ICML 2021): image embeddings that learned from 400 million pictures with captions.

``variant`` is ``large_336`` (the default: ViT-L/14 at 336 x 336, 768 features, which CMMD is defined on: Jayasumana et
al., "Rethinking FID", CVPR 2024) or ``base_32`` (ViT-B/32 at 224 x 224, 512 features, forty times less work).
Features are the class token behind the visual projection, as they are; CMMD brings them to length one itself. Images
are resized bicubically without antialiasing, aspect ratio not kept, as the code of CMMD does (CLIP's own preparation
antialiases and crops the middle).

Weights: openai/clip-vit-* on the Hub, torch files pinned to a commit; MIT, as the repository openai/CLIP says (the
Hub's cards state none). The files hold the text half, too, which is not used: 1.7 GB and 0.6 GB. Hashes as several
public projects state them. **Nobody has run this download here**; the network is compared with that of
``transformers`` on random weights.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medzoo.errors import CheckpointError
from medzoo.features import _vit
from medzoo.features._files import File, obtain, on_the_hub
from medzoo.features._vit import Shape, TransformerExtractor, chosen

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def shape_of(width: int, depth: int, heads: int, patch: int, size: int, projected: int) -> Shape:
    return Shape(
        width, depth, heads, patch, size, 1e-5, MEAN, STD,
        quick=True, norm_first=True, patch_bias=False, projected=projected,
    )  # fmt: skip


def file_of(repo: str, revision: str, sha256: str, size: int) -> File:
    return File((on_the_hub(f"openai/{repo}", revision, "pytorch_model.bin", sha256, size),), "torch")


VARIANTS = {
    "large_336": (
        shape_of(1024, 24, 16, 14, 336, 768),
        file_of(
            "clip-vit-large-patch14-336",
            "ce19dc912ca5cd21c8a653c79e251e808ccabcd1",
            "c6032c2e0caae3dc2d4fba35535fa6307dbb49df59c7e182b1bc4b3329b81801",
            1_711_974_081,
        ),
    ),
    "base_32": (
        shape_of(768, 12, 12, 32, 224, 512),
        file_of(
            "clip-vit-base-patch32",
            "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
            "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
            605_247_071,
        ),
    ),
}
NAMES = {
    "token": "vision_model.embeddings.class_embedding",
    "position": "vision_model.embeddings.position_embedding.weight",
    "patches.weight": "vision_model.embeddings.patch_embedding.weight",
    "project.weight": "visual_projection.weight",
    "first.weight": "vision_model.pre_layrnorm.weight",
    "first.bias": "vision_model.pre_layrnorm.bias",
    "last.weight": "vision_model.post_layernorm.weight",
    "last.bias": "vision_model.post_layernorm.bias",
}
OF_LAYER = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.out_proj",
}


class CLIP(TransformerExtractor):
    """Features float32 [n, dim], not normalised; images are resized and normalised with CLIP's mean and deviation."""

    name = "clip"
    resize = "bicubic"
    range = f"(x - {MEAN}) / {STD}"
    license = "MIT"


def create(variant: str = "large_336", **options: Any) -> CLIP:
    """The extractor with the published weights.

    Raises:
        WeightsError: the weights are not available, or are not those that were meant.
    """
    shape, file = chosen(CLIP.name, VARIANTS, variant)
    state, sha256 = obtain(CLIP.name, file, variant=variant, keep=lambda key: key.startswith("vis"))
    return build(shape, state, sha256, **options)


def build(shape: Shape, state: dict[str, Tensor], sha256: str | None, **options: Any) -> CLIP:
    """The extractor with weights under their published names."""
    return CLIP.filled(shape, renamed(state, shape), sha256, **options)


def renamed(state: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """Names of ``transformers.CLIPModel`` -> those of ``VisionTransformer``."""
    try:
        return _vit.renamed(state, shape, NAMES, "vision_model.encoder.layers.{}.", OF_LAYER)
    except KeyError as error:
        raise CheckpointError(f"features 'clip': the weights lack {error}; they are not those of a CLIPModel") from None
