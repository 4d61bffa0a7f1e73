"""Sizes that no machine should be asked for are refused before anything is made."""

from __future__ import annotations

from typing import Any

import pytest

from medzoo.entry import Entry
from medzoo.errors import EntryError, MedzooError
from medzoo.families import get_family
from tests.conftest import entry_fields, random_state

IMAGE = {"type": "image", "size": [64, 64], "channels": 1, "masks": 0, "range": [-1.0, 1.0], "spacing": None}
INPUT = {"kind": "image", "inputs": ["image"], "channels": 1, "size": [20_000, 20_000]}

CYCLEGAN = {"input_nc": 1, "output_nc": 1, "ngf": 4, "n_blocks": 1, "norm": "instance"}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"config": {"latent": 4, "start_shape": [4, 4, 4], "channels": [4, 1], "strides": [2, 30_000]}}, "config"),
        ({"config": {"latent": 4, "start_shape": [4, 4, 4], "channels": [4, 1], "strides": [2, 2**31]}}, "config"),
        ({"output": IMAGE | {"size": [60_000, 60_000]}}, "output.size"),
        ({"output": IMAGE | {"type": "volume", "size": [2_000, 2_000, 2_000]}}, "output.size"),
        ({"output": IMAGE | {"channels": 10**6}}, "output"),
        (
            {
                "family": "cyclegan",
                "config": {"input_nc": 1, "output_nc": 1, "ngf": 4, "n_blocks": 1, "norm": "instance"},
                "condition": INPUT,
            },
            "condition.size",
        ),
    ],
)
def test_sizes_are_bounded(fields: dict[str, Any], where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = entry_fields(**fields)
    entry = Entry.model_validate(stated)
    state = random_state(entry_fields()) if stated["family"] == "monai_gan" else {}
    with pytest.raises(EntryError, match=rf"99001_TINY: .*{where}.*at most [0-9,]+ are accepted; .*MEDZOO_LIMIT_"):
        get_family(entry.family)(entry, state, device="cpu")
    for name in ("IMAGE_PIXELS", "VOLUME_VOXELS", "CHANNELS"):
        monkeypatch.setenv(f"MEDZOO_LIMIT_{name}", "1e30")
    try:  # raised knowingly, it is as before
        get_family(entry.family)(entry, state, device="cpu")
    except MedzooError as error:
        assert "MEDZOO_LIMIT" not in str(error)
