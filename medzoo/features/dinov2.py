"""DINOv2 (Oquab et al., TMLR 2024): the class token of a vision transformer that learned without labels.

Distances in these features agree better with people than FID does on natural images (Stein et al., NeurIPS 2023,
whose FD-DINOv2 takes the ``large`` network). ``variant`` is ``small``, ``base`` (the default) or ``large``: 384, 768
or 1024 features. Images are resized bilinearly (antialiased) to 224 x 224, 16 x 16 patches; the embeddings of
positions, published for 37 x 37, are resized to that bicubically, as the ``transformers`` library does (the authors'
own code differs a little there). Weights: facebook/dinov2-* on the Hub, Apache-2.0, safetensors, pinned to a commit;
hashes as several public projects state them. **Nobody has run this download here**; the network is compared with that
of ``transformers`` on random weights.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medzoo.errors import CheckpointError
from medzoo.features import _vit
from medzoo.features._files import File, obtain, on_the_hub
from medzoo.features._vit import Shape, TransformerExtractor, chosen, position_state

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def shape_of(width: int, depth: int, heads: int, *, patch: int = 14, size: int = 224) -> Shape:
    return Shape(width, depth, heads, patch, size, 1e-6, MEAN, STD)


def file_of(repo: str, revision: str, sha256: str, size: int | None) -> File:
    return File((on_the_hub(f"facebook/{repo}", revision, "model.safetensors", sha256, size),), "safetensors")


VARIANTS = {
    "small": (
        shape_of(384, 12, 6),
        file_of(
            "dinov2-small",
            "ed25f3a31f01632728cabb09d1542f84ab7b0056",
            "ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
            None,
        ),
    ),
    "base": (
        shape_of(768, 12, 12),
        file_of(
            "dinov2-base",
            "f9e44c814b77203eaa57a6bdbbd535f21ede1415",
            "d73036b56966966d07975d696bde331762f37297e2f095de8cea0040c3aa0841",
            346_345_912,
        ),
    ),
    "large": (
        shape_of(1024, 24, 16),
        file_of(
            "dinov2-large",
            "47b73eefe95e8d44ec3623f8890bd894b6ea2d6c",
            "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
            1_217_522_888,
        ),
    ),
}
NAMES = {
    "token": "embeddings.cls_token",
    "position": "embeddings.position_embeddings",
    "patches.weight": "embeddings.patch_embeddings.projection.weight",
    "patches.bias": "embeddings.patch_embeddings.projection.bias",
    "last.weight": "layernorm.weight",
    "last.bias": "layernorm.bias",
}
OF_LAYER = {
    "norm1": "norm1",
    "norm2": "norm2",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "q": "attention.attention.query",
    "k": "attention.attention.key",
    "v": "attention.attention.value",
    "out": "attention.output.dense",
    "scale1": "layer_scale1.lambda1",
    "scale2": "layer_scale2.lambda1",
}


class DINOv2(TransformerExtractor):
    """Features float32 [n, width]; images are brought to 224 x 224 and normalised with ImageNet's mean, deviation."""

    name = "dinov2"
    range = f"(x - {MEAN}) / {STD}"
    license = "Apache-2.0"


def create(variant: str = "base", **options: Any) -> DINOv2:
    """The extractor with the published weights.

    Raises:
        WeightsError: the weights are not available, or are not those that were meant.
    """
    shape, file = chosen(DINOv2.name, VARIANTS, variant)
    state, sha256 = obtain(DINOv2.name, file, variant=variant, keep=lambda key: key != "embeddings.mask_token")
    return build(shape, state, sha256, **options)


def build(shape: Shape, state: dict[str, Tensor], sha256: str | None, **options: Any) -> DINOv2:
    """The extractor with weights under their published names."""
    return DINOv2.filled(shape, renamed(state, shape), sha256, **options)


def renamed(state: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """Names of ``transformers.Dinov2Model`` -> those of ``VisionTransformer``."""
    try:
        ours = _vit.renamed(state, shape, NAMES, "encoder.layer.{}.", OF_LAYER)
    except KeyError as error:
        raise CheckpointError(
            f"features 'dinov2': the weights lack {error}; they are not those of a Dinov2Model"
        ) from None
    return ours | {"position": position_state(ours["position"], shape)}
