"""Every metric keeps the contract that ``medzoo.testing`` ships."""

from __future__ import annotations

import pytest

from medzoo import metrics
from medzoo.testing import MetricCase, MetricContract

OWN = {"agreement", "classification", "diversity", "masks"}  # defined by their files, no publication to cite
LARGER = {"ms_ssim": 64, "spectrum": 64}  # pixels
TRAIN = {"agreement", "classification", "segmentation"}  # networks, for minutes


class TestContract(MetricContract):
    cases = [
        pytest.param(
            MetricCase(name, size=LARGER.get(name, 32), cites=name not in OWN),
            marks=[pytest.mark.slow] if name in TRAIN else [],
        )
        for name in metrics.builtin()
    ]
