"""medzoo.limits: bounds that are looked at before the work, and that a user may raise."""

from __future__ import annotations

import pytest

from medzoo import limits
from medzoo.errors import DownloadError, MedzooError


def test_a_limit_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    most = limits.LIMITS["frames"].most
    limits.check("frames", most, "a.dcm", DownloadError)
    message = r"a\.dcm: 100,001 frames, at most 100,000 are accepted; .* set MEDZOO_LIMIT_FRAMES=100001"
    with pytest.raises(DownloadError, match=message):
        limits.check("frames", most + 1, "a.dcm", DownloadError)
    monkeypatch.setenv("MEDZOO_LIMIT_FRAMES", "100001")
    limits.check("frames", most + 1, "a.dcm", DownloadError)
    monkeypatch.setenv("MEDZOO_LIMIT_FRAMES", "1e3")
    assert limits.most("frames") == 1000


@pytest.mark.parametrize("stated", ["many", "", "0", "-5", "inf", "nan"])
def test_a_limit_that_is_no_number(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZOO_LIMIT_FRAMES", stated)
    with pytest.raises(MedzooError, match="MEDZOO_LIMIT_FRAMES: expected a number above 0"):
        limits.most("frames")
