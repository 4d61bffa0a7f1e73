"""An entry with weights that are any bytes, for tests of how weights are obtained; conversion is a plain copy."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path
from typing import Any

from medzoo import weights
from medzoo.entry import Entry
from medzoo.files import cache
from medzoo.weights import Patience
from tests.tools.servers import COMMIT

MODEL = "00010_FASTGAN_POLYP_PATCHES_W_MASKS"
REPO = "deepsynthbody/fastgan"
# Bytes that are not recognised as text, enough of them to break in the middle.
CONTENT = b"\x93\x00numbers" + random.Random(10).randbytes(1_024_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(first_wait=0.01, piece=10_000)


def entry(*sources: dict[str, Any], container: str = "torch", **layout: Any) -> Entry:
    """An entry with these sources, for a checkpoint of this layout."""
    return Entry.model_validate(
        Entry.blank(
            MODEL,
            "fastgan",
            weights=list(sources),
            checkpoint={"container": container, "key": None, "strip_prefix": None} | layout,
        )
    )


def hub_source(sha256: str | None = SHA256, revision: str | None = COMMIT, **more: Any) -> dict[str, Any]:
    return {"kind": "hub", "repo": REPO, "revision": revision, "file": "model.bin", "sha256": sha256} | more


def http_source(url: str, sha256: str | None = SHA256, **more: Any) -> dict[str, Any]:
    return {"kind": "http", "url": url, "sha256": sha256} | more


def copied(original: Path, entry: Entry, target: Path) -> None:
    """Stands in for ``checkpoints.convert``: no torch, and bytes that can be compared."""
    shutil.copyfile(original, target)


def fetch(entry: Entry, **options: Any) -> weights.Weights:
    """``weights.fetch`` with a copy for the conversion, and short waits."""
    return weights.fetch(entry, **({"base": None, "convert": copied, "patience": QUICK} | options))


def leftovers() -> list[str]:
    """Everything in the cache but locks, finished weights with their records, and the lock file."""
    files = [path for path in cache.root().rglob("*") if path.is_file() and "locks" not in path.parts]
    return [
        path.name
        for path in files
        if not path.name.startswith("lock.json")
        and not (path.suffix in (".safetensors", ".json") and path.with_suffix(".json").exists())
    ]
