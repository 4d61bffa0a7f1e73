"""What all contracts share: a class of tests that runs once for each of its cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray


class Contract:
    """Base of a class of tests with an argument ``case``: subclass it as ``TestSomething`` and state ``cases``."""

    cases: ClassVar[Sequence[Any]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            if not self.cases:
                raise pytest.UsageError(f"{type(self).__name__} states no cases; add: cases = [...]")
            metafunc.parametrize("case", self.cases, ids=str)


def example_images(channels: int, size: Sequence[int], n: int = 8) -> NDArray[np.uint8]:
    """Smooth images uint8 [n, channels, H, W], all different; the same in every run."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [[127 + 120 * np.sin((x + 2 * y) / (3 + i + c) + i) for c in range(channels)] for i in range(n)]
    return np.array(waves).astype(np.uint8)
