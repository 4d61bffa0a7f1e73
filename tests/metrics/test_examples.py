"""The examples in the docstrings of metrics, and of what they share, are run; every public function has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import numpy as np
import pytest

from medzoo import metrics

FURTHER = ("medzoo.bench.references", "medzoo.imagefiles.areas", "medzoo.results.ranking")
MODULES = [*(f"medzoo.metrics.{module.name}" for module in pkgutil.iter_modules(metrics.__path__)), *FURTHER]
WITHOUT = {  # what an example would have to be long for
    "extrapolate", "spreads", "nearest_pixels", "authentic",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _as_read() -> None:
    """Arrays are printed as NumPy does by default, whatever another test has set."""
    np.set_printoptions(edgeitems=3, threshold=1000, precision=8, suppress=False, linewidth=75)


def load(name: str) -> ModuleType:
    pytest.importorskip("torch", reason="some metrics train networks")
    return importlib.import_module(name)


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    tests = doctest.DocTestFinder(exclude_empty=True).find(module := load(name), globs={**vars(module), "np": np})
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        runner.run(test)
    assert not runner.failures


@pytest.mark.parametrize("name", metrics.names())
def test_every_public_function_of_a_metric_has_an_example(name: str) -> None:
    module = load(f"medzoo.metrics.{name}")
    functions = inspect.getmembers(
        module, lambda thing: inspect.isfunction(thing) and thing.__module__ == module.__name__
    )
    for what, function in functions:
        if not what.startswith("_") and what not in {"measure", *WITHOUT}:
            assert ">>>" in (function.__doc__ or ""), what
