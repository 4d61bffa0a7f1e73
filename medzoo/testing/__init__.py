"""Contract tests: what holds for every family, metric and file format, as ordinary pytest tests.

A plug-in runs them in three lines, and each check shows as a test of its own::

    from medzoo.testing import FamilyCase, FamilyContract

    class TestToy(FamilyContract):
        cases = [FamilyCase("toy", {"latent": 4, "size": 8}, (8, 8))]

``MetricContract`` and ``FormatContract`` work likewise. medzoo's own tests are exactly these. Needs pytest.
"""

from __future__ import annotations

import pytest

# Failed assertions show their values, as in a test file.
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in ("_families", "_formats", "_metrics")))

from medzoo.testing._cases import Contract, example_images  # noqa: E402
from medzoo.testing._families import FamilyCase, FamilyContract  # noqa: E402
from medzoo.testing._formats import FormatCase, FormatContract  # noqa: E402
from medzoo.testing._metrics import MetricCase, MetricContract  # noqa: E402
from medzoo.testing._weights import random_state  # noqa: E402

__all__ = [
    "Contract",
    "FamilyCase",
    "FamilyContract",
    "FormatCase",
    "FormatContract",
    "MetricCase",
    "MetricContract",
    "example_images",
    "random_state",
]
