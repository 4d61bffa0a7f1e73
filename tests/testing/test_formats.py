"""Every file format keeps the contract that ``medzoo.testing`` ships."""

from __future__ import annotations

import pytest

from medzoo.samples import formats
from medzoo.testing import FormatCase, FormatContract

FOUR, VOLUME, WORDS = (4, 16, 16), (1, 4, 16, 16), {"bits": 16}


class TestContract(FormatContract):
    cases = [
        FormatCase("png", refuses=((FOUR, 0, {}), (VOLUME, 0, {}), ((1, 16, 16), 2, {}), ((3, 16, 16), 0, WORDS))),
        FormatCase("png", (3, 16, 16)),
        FormatCase("png", options=WORDS),
        FormatCase("npy", marks=False, refuses=(((1, 16, 16), 0, WORDS),)),
        FormatCase("npz", marks=False, refuses=(((1, 16, 16), 0, WORDS),)),
        FormatCase("npz", FOUR, masks=2, marks=False, reads=False),
        FormatCase("dicom", refuses=((FOUR, 0, {}), ((3, 16, 16), 0, WORDS))),
        FormatCase("dicom", VOLUME, reads=False),
        FormatCase("nifti", refuses=(((1, 1, 40000), 0, {}),)),
        FormatCase("nifti", VOLUME, options=WORDS, reads=False),
        FormatCase("webdataset", refuses=(((2, 16, 16), 0, WORDS),)),
    ]


def test_every_format_is_among_them() -> None:
    assert {case.format for case in TestContract.cases} == set(formats.builtin())


def test_a_contract_without_cases_says_what_to_add() -> None:
    with pytest.raises(pytest.UsageError, match=r"Nothing states no cases; add: cases = \[...\]"):
        type("Nothing", (FormatContract,), {})().pytest_generate_tests(_Metafunc())


class _Metafunc:
    fixturenames = ("case",)
