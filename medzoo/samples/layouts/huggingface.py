"""``--layout huggingface``: an image folder of the library ``datasets``, with ``train/metadata.jsonl``.

Its columns are image, and where there are any mask, label (the name of the class), condition and input; index, seed,
model_id and synthetic for all. Everything lies in ``train``, for file names decide the splits where no folder does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from medzoo.errors import SavingError
from medzoo.samples.formats import Run, class_name
from medzoo.samples.layouts._base import Layout, Record, Table, without_word

SPLIT = "train/"


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    if run.format != "png":
        raise SavingError(f"layout huggingface holds pictures, and {run.format} files are none; take --format png")


def content(run: Run, lines: Iterator[Record]) -> Iterable[bytes]:
    for line in lines:
        row = {
            "file_name": line["file"].removeprefix(SPLIT),
            "mask_file_name": None if line["mask_file"] is None else line["mask_file"].removeprefix(SPLIT),
            "label": class_name(line, run.classes),
            **{name: line[name] for name in ("condition", "input", "index", "seed", "model_id", "synthetic")},
        }
        yield json.dumps({name: value for name, value in row.items() if value is not None}).encode() + b"\n"


LAYOUT = Layout(
    about='the library `datasets`: `load_dataset("imagefolder", data_dir=...)`',
    folder=lambda run, record, role: f"{SPLIT}{role}s/",
    folders=lambda run: [f"{SPLIT}images/", f"{SPLIT}masks/"],
    ending=without_word,
    check=check,
    table=Table(f"{SPLIT}metadata.jsonl", content),
)
