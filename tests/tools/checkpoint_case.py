"""A small DCGAN before and after averaging, and the forms in which people save both."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from medzoo.families._base import Generator

State = dict[str, Tensor]


def network(seed: int = 0) -> nn.Module:
    """A DCGAN of 32 px and one channel, nz 16 and ngf 4, under the names of its family."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i, (inp, out) in enumerate([(16, 16), (16, 8), (8, 4)]):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers += [nn.ConvTranspose2d(inp, out, 4, stride, padding, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    layers += [nn.ConvTranspose2d(4, 1, 4, 2, 1, bias=False), nn.Tanh()]
    made = nn.Module()
    made.main = nn.Sequential(*layers)
    for name, value in made.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand(value.shape) + 0.5)
    return made


def state(seed: int = 0) -> State:
    return dict(network(seed).state_dict())


RAW, AVERAGED, OTHER = state(1), state(2), state(3)
PARAMETERS = [name for name, _ in network().named_parameters()]
BUFFERS = [name for name, _ in network().named_buffers()]
DISCRIMINATOR = {"discriminator.0.weight": torch.zeros(3, 3), "discriminator.0.bias": torch.zeros(3)}
# Averaged parameters alone, over the buffers before averaging.
OVERLAID = RAW | {name: AVERAGED[name] for name in PARAMETERS}


def prefixed(prefix: str, tensors: State) -> State:
    return {prefix + name: value for name, value in tensors.items()}


def averaged_model() -> dict[str, Any]:
    """What torch's own ``AveragedModel`` saves."""
    made = network()
    made.load_state_dict(AVERAGED)
    return AveragedModel(made).state_dict()


class EMA:
    """The class that many repositories write for themselves; saved as an object."""

    def __init__(self, decay: float, **attributes: Any) -> None:
        self.decay = decay
        self.__dict__.update(attributes)


def _undotted(tensors: State, dot: str, front: str = "") -> State:
    return {(front + name).replace(".", dot): value for name, value in tensors.items()}


def whole_forms() -> dict[str, Any]:
    """Averaged weights with their buffers, in each form."""
    every = AVERAGED
    pytorch = {"initted": torch.tensor(True), "step": torch.tensor(3)}
    return {
        "state dict": every,
        "ordered": collections.OrderedDict(every),
        "module.": prefixed("module.", every),
        "_orig_mod.": prefixed("_orig_mod.", every),
        "module._orig_mod.": prefixed("module._orig_mod.", every),
        "_orig_mod.module.": prefixed("_orig_mod.module.", every),
        "another prefix": prefixed("net.", every),
        "prefixes": prefixed("model.net.module.", every),
        "AveragedModel": averaged_model(),
        "AveragedModel of DataParallel": {"n_averaged": torch.tensor(3)} | prefixed("module.module.", every),
        "shadow": {"shadow": every, "decay": 0.9},
        "shadow with a prefix": {"shadow": prefixed("module.", every)},
        "state dict in a state": {"state_dict": every, "updates": 3},
        "model in a state": {"model": prefixed("module.", every), "updates": 3},
        "ema_pytorch": pytorch | prefixed("ema_model.", every),
        "ema_pytorch with the online model": pytorch | prefixed("online_model.", RAW) | prefixed("ema_model.", every),
        "list of the state dict": list(every.values()),
        "list of parameters, then buffers": [every[name] for name in PARAMETERS + BUFFERS],
        "object": EMA(0.9, shadow=every),
        "module": module(every),
        "object with a module": EMA(0.9, module=module(every)),
    }


def parameter_forms() -> dict[str, Any]:
    """Averaged parameters alone, in each form."""
    own = {name: AVERAGED[name] for name in PARAMETERS}
    before = {name: RAW[name] for name in PARAMETERS}
    values = list(own.values())
    settings = {"decay": torch.tensor(0.9), "num_updates": torch.tensor(3)}
    return {
        "list": values,
        "tuple": tuple(values),
        "mapping by number": dict(enumerate(values)),
        "parameter list": {str(i): value for i, value in enumerate(values)},
        "parameter list of a module": prefixed("params.", {str(i): value for i, value in enumerate(values)}),
        "EMAModel of diffusers": {"shadow_params": values, "decay": 0.9, "optimization_step": 3},
        "with what was collected": {"collected_params": [*before.values()], "shadow_params": values, "decay": 0.9},
        "names": own,
        "names with a prefix": prefixed("module.", own),
        "shadow": {"shadow": own, "decay": 0.9},
        "shadow and backup": {"backup": before, "shadow": own, "decay": 0.9},
        "LitEma": settings | _undotted(own, ""),
        "names without dots": _undotted(own, "_"),
        "object": EMA(0.9, shadow=own, backup=before),
        "object with a list": EMA(0.9, shadow_params=values),
    }


def module(tensors: State) -> nn.Module:
    made = network()
    made.load_state_dict(tensors)
    return made


# Where they lie beside those before averaging: the content of a file, from one of the forms above.
LAYOUTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "g, g_ema": lambda form: {"g": RAW, "d": DISCRIMINATOR, "g_ema": form},
    "g_ema first": lambda form: {"g_ema": form, "g": RAW, "d": DISCRIMINATOR},
    "DataParallel": lambda form: {"netG": prefixed("module.", RAW), "netD": DISCRIMINATOR, "netG_ema": form},
    "model and ema": lambda form: {"model": RAW, "ema": form, "optimizer": {"state": {}, "param_groups": []}},
    "Lightning and ema": lambda form: {"state_dict": prefixed("generator.", RAW) | DISCRIMINATOR, "ema": form},
}
NAMES = (
    *("ema", "EMA", "g_ema", "G_ema", "netG_ema", "netG_EMA", "gema", "netGema", "model_ema", "ema_model", "modelEma"),
    *("generator_ema", "ema_0.9999", "ema_rate_0.999", "state_dict_ema", "ema_state_dict", "shadow", "g_shadow"),
    *("G_avg", "avg_g", "averaged", "averaged_model", "moving_average", "swa_model", "Gs", "G_smooth", "teacher"),
    *("mean_teacher", "g_running", "polyak"),
)


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def weights(generator: Generator) -> State:
    """The tensors that a generator of the family dcgan runs with, loaded with ``fused=False``."""
    return dict(generator.network.state_dict())


def same(found: State, wanted: State) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], value) for name, value in wanted.items())
