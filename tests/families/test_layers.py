"""Networks without code: really published checkpoints give the values of their authors, what does not fit is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import medzoo
from medzoo.errors import MedzooError

CLASSES = {"kind": "class", "classes": [str(i) for i in range(10)], "required": False}
LABEL = {"op": "cat", "layers": [{"op": "use", "value": "label"}, {"op": "one_hot", "classes": 10}]}
SLOPE = {"op": "leaky_relu", "slope": 0.2}


def up(key: str, stride: int = 2, padding: int = 1) -> dict[str, Any]:
    return {"op": "conv_transpose", "key": key, "stride": stride, "padding": padding}


def layer(op: str, key: str, **more: Any) -> dict[str, Any]:
    return {"op": op, "key": key} | more


def grown(*names: tuple[str, str], last: str, then: str, activation: Any) -> list[Any]:
    """Transposed convolutions with batch norm, and one without."""
    steps = [step for conv, norm in names for step in (up(conv), layer("batch_norm", norm), activation)]
    return [*steps, up(last), then]


PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "cvae_mnist_mlp": ("cvae_model.pth", {
        "latent": [2], "classes": 10, "ignore": ["^enc"],
        "layers": [
            LABEL, layer("linear", "dec.dec_mlp.0"), "relu", layer("linear", "dec.dec_mlp.2"), "relu",
            layer("linear", "dec.dec_mlp.4"), "sigmoid", {"op": "view", "shape": [1, 28, 28]},
        ],
    }),
    "dcgan_mnist_small": ("generator.pt", {
        "latent": [100, 1, 1],
        "layers": [
            up("net.0", 1, 0), layer("batch_norm", "net.1"), "relu",
            *grown(("net.3", "net.4"), last="net.6", then="tanh", activation="relu"),
        ],
    }),
    "dcgan_faces32": ("generator.pt", {
        "latent": [100, 1, 1],
        "layers": [
            up("generator_deconv.0.0", 1, 0), layer("batch_norm", "generator_deconv.0.1"),
            layer("conv", "generator_deconv.1.0", padding=1), layer("batch_norm", "generator_deconv.1.1"), SLOPE,
            *grown(
                ("generator_deconv.2.0", "generator_deconv.2.1"), ("generator_deconv.3.0", "generator_deconv.3.1"),
                last="generator_deconv.4.0", then="tanh", activation=SLOPE,
            ),
        ],
    }),
    "vae_celeba_bn": ("vae.pth", {
        "latent": [32], "ignore": [r"^e\d", r"^bn[1-4]\.", "^fc"],
        "layers": [
            layer("linear", "d1"), "relu", {"op": "view", "shape": [64, 4, 4]},
            *grown(("d2", "bn6"), ("d3", "bn7"), ("d4", "bn8"), last="d5", then="sigmoid", activation=SLOPE),
        ],
    }),
    "vae_fashion_resized": ("vae.pt", {
        "latent": [8], "ignore": ["^encoder"],
        "layers": [
            layer("linear", "decoder.fc"), {"op": "view", "shape": [128, 4, 4]}, up("decoder.deconv_layers.0"), "relu",
            up("decoder.deconv_layers.2"), "relu", up("decoder.deconv_layers.4"),
            {"op": "upsample", "size": [28, 28], "mode": "bilinear"}, "sigmoid",
        ],
    }),
    "jointvae_fashion": ("model.pt", {
        "latent": [10], "classes": 10, "ignore": ["^img_to", "^features_to_hidden", "^fc_"],
        "layers": [
            LABEL, layer("linear", "latent_to_features.0"), "relu", layer("linear", "latent_to_features.2"), "relu",
            {"op": "view", "shape": [64, 4, 4]}, up("features_to_img.0"), "relu", up("features_to_img.2"), "relu",
            up("features_to_img.4"), "sigmoid",
        ],
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_somebody_published(name: str, shared: Path) -> None:
    file, config = PUBLISHED[name]
    golden = np.load(shared / "checkpoints" / name / "golden.npz")
    latents = torch.from_numpy(golden["latents"])
    asked = [int(label) for label in golden["labels"]] if "labels" in golden else None
    override: dict[str, Any] = {"config": config, "output": {"range": [-1, 1]}}
    if asked is not None:
        override["condition"] = CLASSES
    for fused in (False, True):
        model = medzoo.load(
            family="layers", weights=shared / "checkpoints" / name / file, override=override, device="cpu", fused=fused
        )
        made = model.decode(latents, asked)
        torch.testing.assert_close(made, torch.from_numpy(golden["output"]), atol=1e-5, rtol=0)
    assert 1e5 < model.config.traced[1] < 1e8


def load(path: Path, state: dict[str, torch.Tensor], **config: Any) -> Any:
    torch.save(state, path)
    return medzoo.load(family="layers", weights=path, override={"config": config}, device="cpu")


STATE = {"fc1.weight": torch.ones(3, 2), "fc2.weight": torch.ones(16, 4)}
VIEW = {"op": "view", "shape": [1, 4, 4]}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"latent": [4], "layers": [layer("linear", "fc2"), VIEW]}, "do not fit the layers: 1 unexpected: fc1"),
        ({"latent": [3], "layers": [layer("linear", "fc2"), VIEW], "ignore": ["fc1"]}, r"layers\[0\] .*gets \[3\]"),
        ({"latent": [4], "layers": [layer("linear", "fc2")], "ignore": ["fc1"]}, r"end in \[16\]; .*add a view"),
        ({"latent": [4], "layers": [layer("linear", "fc3"), VIEW]}, "holds no 'fc3.weight'; closest: "),
        ({"layers": ["relu"]}, "nothing goes in: state 'latent'"),
        ({"latent": [4], "layers": ["rello"]}, "did you mean "),
        ({"latent": [4], "layers": ["relu"], "ignore": ["("]}, "is no regular expression"),
        ({"latent": [4], "layers": ["relu"], "ignore": ["(a+)+$"]}, "one repetition .* at most"),
        ({"latent": [4], "layers": ["relu"], "ignore": ["a.*b.*c"]}, "one repetition .* at most"),
        ({"latent": [4], "layers": ["relu"], "ignore": ["(a|aa)*$"]}, "none of a group"),
        ({"latent": [4], "layers": [VIEW, {"op": "upsample", "scale": 1e9}]}, "layers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(config: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match=words):
        load(tmp_path / "x.pt", STATE, **config)


@pytest.mark.parametrize("pattern", ["^fc1", r"^(fc1|enc)\.", r"fc[^*+]\.weight", "fc1.*$", r"^fc\d?"])
def test_usual_patterns_of_what_is_left_out(pattern: str, tmp_path: Path) -> None:
    config = {"latent": [4], "layers": [layer("linear", "fc2"), VIEW], "ignore": [pattern]}
    assert load(tmp_path / "x.pt", STATE, **config).generate(1).images.shape == (1, 1, 4, 4)


def test_a_class_is_drawn_where_none_is_given(tmp_path: Path) -> None:
    layers = [{"op": "one_hot", "classes": 3}, layer("linear", "fc"), VIEW]
    model = load(tmp_path / "x.pt", {"fc.weight": torch.randn(16, 3)}, classes=3, layers=layers)
    samples = model.generate(60)
    assert set(samples.labels.tolist()) == {0, 1, 2}
    alone = model.generate(1, start=41)
    assert alone.labels[0] == samples.labels[41]
    np.testing.assert_allclose(alone.images[0], samples.images[41], atol=1e-6)
