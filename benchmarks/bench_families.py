"""Images per second of every convolutional family, at the size that was published: as published against fused.

    python benchmarks/bench_families.py [--json] [--only pggan,cyclegan] [--rounds 3] [--device cpu]

One process, random weights. For each model the ways of running take turns; each ratio is the median over the rounds.
``decode`` of given latents or images is timed: the network alone. GFLOP are counted as published and as fused; the
share of the matrix-product peak is of the fused count, the peak measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from measuring import gflop, matmul_peak, timed

from medzoo.bench.records import processor
from medzoo.entry import Entry
from medzoo.families import get_family
from medzoo.families._base import Generator
from medzoo.families._condition import Given
from medzoo.randomness import Noise
from medzoo.zoo import barefile


@dataclass(frozen=True)
class Model:
    """A network of published size.

    Attributes:
        image: shape [C, H, W] of the input image of one sample; None if there is none.
        stats: statistics of batch norm in ``sampling.norm_stats``.
        unit: weights are N(0, 1): the network scales them itself (equalised learning rate).
    """

    family: str
    config: dict[str, Any]
    image: tuple[int, int, int] | None = None
    stats: str | None = "running"
    batch: int = 8
    unit: bool = False


STYLEGAN2 = {"z_dim": 512, "c_dim": 0, "w_dim": 512, "img_resolution": 256, "img_channels": 3,
             "mapping_kwargs": {"num_layers": 8},
             "synthesis_kwargs": {"channel_base": 16384, "channel_max": 512}}  # fmt: skip
CHEST = {"variant": "cxr_pggan", "z_dim": 512, "initial_channel_depth": 512, "out_channels": 3,
         "depths": [512, 512, 512, 256, 128, 64, 32, 16]}  # fmt: skip
MODELS = {
    "dcgan, 64 px": Model("dcgan", {"nz": 100, "ngf": 64, "nc": 3, "image_size": 64}, batch=32),
    "dcgan, 128 px (00005, 00006)": Model("dcgan", {"nz": 100, "ngf": 64, "nc": 1, "image_size": 128}, batch=32),
    "pggan polyp, 256 px (00009)": Model("pggan", {"variant": "progan_polyp"}, unit=True),
    "pggan chest, 1024 px (00020)": Model("pggan", CHEST, batch=2, unit=True),
    "stylegan2, 256 px": Model("stylegan2", STYLEGAN2, unit=True),
    "fastgan, 256 px (00010)": Model(
        "fastgan", {"ngf": 64, "nz": 256, "nc": 4, "im_size": 256}, stats="sample", batch=16
    ),
    "monai_gan, 64 px (00101)": Model(
        "monai_gan",
        {"latent": 64, "start_shape": [64, 8, 8], "channels": [32, 16, 8, 1], "strides": [2, 2, 2, 1]},
        batch=32,
    ),
    "cyclegan, instance norm, 256 px": Model(
        "cyclegan",
        {"input_nc": 1, "output_nc": 1, "ngf": 64, "n_blocks": 9, "norm": "instance"},
        (1, 256, 256),
        batch=4,
    ),
    "cyclegan, batch norm, 256 px": Model(
        "cyclegan", {"input_nc": 1, "output_nc": 1, "ngf": 64, "n_blocks": 9, "norm": "batch"}, (1, 256, 256), batch=4
    ),
    "pix2pix U-Net, 256 px (00004)": Model(
        "pix2pix", {"input_nc": 1, "output_nc": 1, "num_downs": 8, "ngf": 64, "norm": "batch"}, (1, 256, 256)
    ),
    "pix2pixhd, 512 px (00023)": Model(
        "pix2pixhd",
        {"input_nc": 3, "output_nc": 3, "ngf": 64, "n_downsampling": 4, "n_blocks": 9, "norm": "instance"},
        (3, 512, 512),
        batch=1,
    ),
    "inpaint, inpainter, 256 px (00007)": Model(
        "inpaint", {"network": "inpaint", "input_nc": 5, "output_nc": 4}, (5, 256, 256), batch=4
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--only", help="models whose name contains one of these words, commas between them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precisions", default="float32,bfloat16", help="of the fused rows, commas between them")
    options = parser.parse_args()
    words = options.only.split(",") if options.only else [""]
    precisions = options.precisions.split(",")
    rows = []
    for name, model in MODELS.items():
        if any(word in name for word in words):
            rows.append(measure(name, model, precisions, options.device, options.rounds))
            if not options.json:
                print(line(rows[-1]), flush=True)
    report = {
        "models": rows,
        "matmul_gflops": {p: round(matmul_peak(options.device, p)) for p in precisions},
        "device": torch.cuda.get_device_name(options.device) if options.device != "cpu" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(
        json.dumps(report, indent=1) if options.json else json.dumps({k: v for k, v in report.items() if k != "models"})
    )


def measure(name: str, model: Model, precisions: list[str], device: str, rounds: int) -> dict[str, Any]:
    ways = {"published": (False, "float32", 1), "published_batched": (False, "float32", model.batch)}
    ways |= {f"fused_{precision}": (True, precision, model.batch) for precision in precisions}
    state = weights(model)
    generators = {way: make(model, state, fused, precision, device) for way, (fused, precision, _) in ways.items()}
    calls = {way: call(generators[way], model, batch) for way, (*_, batch) in ways.items()}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for way, (*_, batch) in ways.items():
                seconds = timed(calls[way], device)
                if turn:  # the first one warms up
                    rates[way].append(batch / seconds)
        work = {way: gflop(call(generators[way], model, 1)) for way in ("published", "fused_float32") if way in ways}
        plain, ours = (call(generators[way], model, 2)() for way in ("published", f"fused_{precisions[0]}"))
    peaks = {precision: matmul_peak(device, precision) for precision in precisions}
    return {
        "name": name,
        "parameters": sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point()),
        "batch": model.batch,
        "images_per_second": {way: round(statistics.median(rate), 2) for way, rate in rates.items()},
        "fused_vs_published": ratio(rates, f"fused_{precisions[0]}", "published"),
        "fused_vs_published_batched": ratio(rates, f"fused_{precisions[0]}", "published_batched"),
        "gflop_per_image": {way: round(value, 2) for way, value in work.items()},
        "share_of_matmul_peak": {
            p: round(
                statistics.median(rates[f"fused_{p}"]) * work.get("fused_float32", work["published"]) / peaks[p], 3
            )
            for p in precisions
        },
        "relative_difference": float(f"{((plain - ours).abs().max() / plain.abs().max()).item():.2e}"),
    }


def make(model: Model, state: dict[str, torch.Tensor], fused: bool, precision: str, device: str) -> Generator:
    return get_family(model.family)(entry(model), dict(state), fused=fused, device=device, precision=precision)


def entry(model: Model) -> Entry:
    stub = barefile.entry_for(get_family(model.family), model.family, weights(model), {"config": model.config})
    return barefile.overridden(stub, {"sampling": {"norm_stats": model.stats}})


_weights: dict[int, dict[str, torch.Tensor]] = {}


def weights(model: Model) -> dict[str, torch.Tensor]:
    """Seeded weights of a size that keeps values near 1."""
    if id(model) not in _weights:
        _weights.clear()  # one model in memory at a time
        _weights[id(model)] = random_weights(model)
    return _weights[id(model)]


def random_weights(model: Model) -> dict[str, torch.Tensor]:
    family = get_family(model.family)
    generator = object.__new__(family)  # weights are needed to make a whole one
    generator.config = family.Config.model_validate(model.config)
    torch.manual_seed(0)
    state = {}
    for key, tensor in generator.build().state_dict().items():
        if not tensor.is_floating_point():
            state[key] = torch.zeros_like(tensor)
        elif key.endswith("running_var"):
            state[key] = torch.ones_like(tensor)
        elif key.endswith(("weight_u", "weight_v")):
            state[key] = torch.full_like(tensor, 1 / math.sqrt(len(tensor)))
        elif key.endswith("affine.bias"):
            state[key] = torch.ones_like(tensor)
        elif key.startswith("mapping.fc") and tensor.dim() > 1:
            state[key] = 100 * torch.randn_like(tensor)  # its learning rate is a hundredth
        elif tensor.dim() > 1:
            state[key] = torch.randn_like(tensor) * (1 if model.unit else math.sqrt(2 / tensor[0].numel()))
        else:
            state[key] = torch.full_like(tensor, float(key.endswith("weight") and tensor.numel() > 1))
    return state


def call(generator: Generator, model: Model, batch: int) -> Callable[[], torch.Tensor]:
    noise = Noise(0, range(batch))
    latents = None if generator.latent_shape is None else generator.latents(range(batch))
    given = Given() if model.image is None else Given(images=noise.uniform(model.image))
    return lambda: generator.decode(latents, given, noise=Noise(0, range(batch)))


def ratio(rates: dict[str, list[float]], fast: str, slow: str) -> float:
    return round(statistics.median(a / b for a, b in zip(rates[fast], rates[slow], strict=True)), 2)


def line(row: dict[str, Any]) -> str:
    rates = " ".join(f"{way} {rate:g}" for way, rate in row["images_per_second"].items())
    work = " -> ".join(f"{value:g}" for value in row["gflop_per_image"].values())
    shares = ", ".join(f"{share:.0%} {precision}" for precision, share in row["share_of_matmul_peak"].items())
    return (
        f"{row['name']}: {row['parameters'] / 1e6:.1f} M, {work} GFLOP; images/s: {rates}; fused "
        f"{row['fused_vs_published']}x published, {row['fused_vs_published_batched']}x batched (batch {row['batch']}); "
        f"of peak: {shares}; largest difference {row['relative_difference']:.0e}"
    )


if __name__ == "__main__":
    main()
