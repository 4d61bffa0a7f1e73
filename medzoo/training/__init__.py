"""Training generators from little data.

    from medzoo import training

    run = training.train(family="fastgan", data="polyps/", size=128, out="runs/polyps", techniques=["diffaugment"])
    run.export("90001_FASTGAN_POLYPS", registry="registry")

A family adds its networks and losses in ``medzoo.training.recipes``, a technique against over-fitting its hooks in
``medzoo.training.techniques``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo.lazy import exports

if TYPE_CHECKING:
    from medzoo.training.config import TrainConfig, load_config
    from medzoo.training.export import Exported, export_run
    from medzoo.training.interrupt import Stopped
    from medzoo.training.launch import train
    from medzoo.training.run import Run

__all__ = ["Exported", "Run", "Stopped", "TrainConfig", "export_run", "load_config", "train"]

_HOMES = {
    "Exported": "medzoo.training.export",
    "Run": "medzoo.training.run",
    "Stopped": "medzoo.training.interrupt",
    "TrainConfig": "medzoo.training.config",
    "export_run": "medzoo.training.export",
    "load_config": "medzoo.training.config",
    "train": "medzoo.training.launch",
}

__getattr__, __dir__ = exports(__name__, _HOMES)
