"""What every feature extractor shares: checks, batches, resizing, precision, device, and what decides a feature."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo import device as devices
from medzoo.errors import DeviceError, MedzooError
from medzoo.features._resize import Resize, resized
from medzoo.text import first_line

Precision = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Extractor:
    """Turns images into feature vectors, a batch at a time. One of your own is a subclass:

        class Edges(Extractor):
            name, dim, size = "edges", 64, 128

        def create(**options):
            return Edges(network, **options)          # a torch module of yours

    and ``--features package.module:create`` (or ``medzoo.features.load("package.module:create")``) takes it.

    Attributes:
        name: of the file in ``medzoo/features``, stated beside every number made with it.
        dim: length of a feature vector.
        size: height and width in pixels that the network was trained on; other sizes are resized to it
            (aspect ratio not kept).
        resize: the filter of that.
        range: what becomes of values in [0, 1] before the network, in words.
        license: of the weights, as an SPDX identifier where one fits; None if there are none, or nobody says.
        version: part of ``identity``; raise it when the same weights give other features.
        cheap: features are made as fast as they are read, so that keeping them on disk is no use.
    """

    name: str
    dim: int
    size: int
    resize: Resize = "bilinear, antialias"
    range: str = "[0, 1]"
    license: str | None = None
    version: int | str = 1
    cheap: bool = False

    def __init__(
        self,
        network: nn.Module,
        *,
        device: str = "cpu",
        precision: Precision = "float32",
        batch_size: int = 8,
        weights_sha256: str | None = None,
        classifier: tuple[Tensor, Tensor | None] | None = None,
    ) -> None:
        """Args:
            network: float32 [n, 3, size, size] in [0, 1] -> [n, dim]; it casts its input to the type of its weights.
            device: a torch device name.
            precision: ``float32``, or ``bfloat16`` (two to three times the speed on CPUs that have it; features
                of EfficientNet-Lite0 move by 6 %, Frechet distances between polyp sets by less than 1 %).
            batch_size: images a forward pass; does not change the features beyond rounding.
            weights_sha256: of the file that the weights come from; None if there are none.
            classifier: weight [classes, dim] and bias [classes] or None, of the published network's last layer.

        Raises:
            MedzooError: an option that cannot be, or a device that is not there.
        """
        if precision not in get_args(Precision):
            raise MedzooError(f"{self.name}: precision '{precision}'; choose {' or '.join(get_args(Precision))}")
        if batch_size < 1:
            raise MedzooError(f"{self.name}: batch_size {batch_size}; at least 1 is needed")
        self.precision, self.batch_size, self.weights_sha256 = precision, batch_size, weights_sha256
        self.classifier = (
            None
            if classifier is None
            else tuple(None if part is None else part.detach().float().cpu().numpy() for part in classifier)
        )
        network = network.eval().requires_grad_(False)
        try:
            self.device = torch.device(device)
            network = network.to(self.device, DTYPES[precision])
        except (RuntimeError, AssertionError) as error:
            raise DeviceError(f"{self.name}: device '{device}' cannot be used ({first_line(error)})") from error
        self.network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def about(self) -> dict[str, Any]:
        """What a result says of its features: settings, as JSON."""
        return {
            "dim": self.dim,
            "size": self.size,
            "resize": self.resize,
            "range": self.range,
            "precision": self.precision,
            "weights_sha256": self.weights_sha256,
            "license": self.license,
            "device": str(self.device),
        }

    @property
    def identity(self) -> str:
        """Everything that decides a feature, as text; equal identities make features that may be compared."""
        decides = {key: value for key, value in self.about.items() if key not in ("license", "device")}
        return json.dumps({"name": self.name, "version": self.version} | decides, sort_keys=True)

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Features float32 [n, dim] of uint8 images (0..255) or float images (0..1), [n, 1 or 3, H, W].

        Images are read a batch at a time, so they may lie on disk (``numpy.memmap``).

        Raises:
            ValueError: wrong shape or type, or float values outside [0, 1] or not finite.
            MedzooError: the network gives other shapes than it should, or numbers that are not finite.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
            raise ValueError(f"{self.name}: images must be [n, 1 or 3, H, W], found {list(images.shape)}")
        if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
            raise ValueError(f"{self.name}: images must be uint8 (0..255) or float (0..1), found {images.dtype}")
        out = np.empty((len(images), self.dim), np.float32)
        exact = devices.exact_convolutions(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False), exact:
            for start in range(0, len(images), self.batch_size):
                batch = self.prepare(images[start : start + self.batch_size])
                features = self.network(batch)
                if features.shape != (len(batch), self.dim):
                    expected = [len(batch), self.dim]
                    raise MedzooError(f"{self.name}: features must be {expected}, found {list(features.shape)}")
                out[start : start + len(batch)] = features.float().cpu().numpy()
                if not np.isfinite(out[start : start + len(batch)]).all():
                    raise MedzooError(f"{self.name}: features of images {start} to {start + len(batch)} are not finite")
        return out

    def prepare(self, images: NDArray[Any]) -> Tensor:
        """One batch as float32 [n, 3, size, size] in [0, 1] on the device of the network."""
        batch = torch.from_numpy(np.array(images)).to(self.device)  # a copy: a memmap may not be written to
        batch = batch.float() / 255 if images.dtype == np.uint8 else batch.float()
        low, high = (float(value) for value in batch.aminmax())
        if not (low >= 0 and high <= 1):  # also false for NaN
            raise ValueError(f"{self.name}: float images must lie in [0, 1], found {low:g} to {high:g}")
        batch = resized(batch, self.size, self.resize).expand(-1, 3, -1, -1)
        return batch.contiguous(memory_format=torch.channels_last)

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Softmax of the network's own classifier: [n, dim] -> [n, classes]; None where there is no classifier."""
        if self.classifier is None:
            return None
        weight, bias = self.classifier
        assert weight is not None
        logits = features @ weight.T if bias is None else features @ weight.T + bias
        logits -= logits.max(1, keepdims=True)
        powers = np.exp(logits, dtype=np.float32)
        return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def normalised(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std for each channel of [n, c, h, w]."""
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]
