"""What a path is: one decision for every command, and an error that says what would be accepted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medzoo import catalog
from medzoo.catalog import modelfolders, paths
from medzoo.errors import EntryError, MedzooError, UnknownModelError
from tests.conftest import entry_fields, random_state
from tests.tools.paths import ROOT

WEIGHTS = ROOT / "registry" / "weights" / "10001_FASTGAN_POLYP_W_MASKS.safetensors"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(*names: str, content: str = "x") -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)


@pytest.mark.parametrize(
    ("files", "asked", "kind", "path"),
    [
        (["run/config.yaml", "run/best.safetensors"], "run", "run", "run"),
        (["run/config.yaml", "run/latest.pt"], "run/", "run", "run"),
        (["run/config.yaml", "run/latest.pt"], "run/config.yaml", "run", "run"),
        (["run/config.yaml", "run/medzoo.yaml"], "run/medzoo.yaml", "run", "run"),
        (["out/medzoo.yaml", "out/model.safetensors"], "out", "published", "out"),
        (["out/medzoo.yaml"], "out/medzoo.yaml", "published", "out"),
        (["pipe/model_index.json"], "pipe", "pipeline", "pipe"),
        (["pipe/model_index.json"], "pipe/model_index.json", "pipeline", "pipe"),
        (["mine/90001_X.yaml", "mine/x.pt"], "mine", "entry", "mine/90001_X.yaml"),
        (["run/model/models/90001_X.yaml"], "run/model", "entry", "run/model/models/90001_X.yaml"),
        (["mine/90001_X.yml"], "mine/90001_X.yml", "entry", "mine/90001_X.yml"),
        (["x.pth"], "x.pth", "weights", "x.pth"),
        (["a/model.safetensors.index.json"], "a/model.safetensors.index.json", "weights", None),
    ],
)
def test_each_kind_by_its_names(files: list[str], asked: str, kind: str, path: str | None) -> None:
    made(*files)
    for argument in (asked, Path(asked), f"./{asked}"):
        found = paths.what_is(argument)
        assert found is not None and (found.kind, found.path) == (kind, Path(path or asked))
        assert found.is_bare is (kind in ("pipeline", "weights"))


def test_weights_by_their_content() -> None:
    shutil.copy(WEIGHTS, "no-suffix")
    assert paths.what_is("./no-suffix") == paths.ModelPath("weights", Path("no-suffix"))
    assert paths.what_is("no-suffix") == paths.ModelPath("weights", Path("no-suffix"))


def test_the_states_of_a_run_by_their_files() -> None:
    made("run/config.yaml", "run/best.safetensors", "run/latest.pt", "other/best.safetensors")
    for name, checkpoint in (("best.safetensors", "best"), ("latest.pt", "last")):
        assert paths.what_is(f"run/{name}") == paths.ModelPath("run", Path("run"), checkpoint)  # type: ignore[arg-type]
    assert paths.what_is("other/best.safetensors") == paths.ModelPath("weights", Path("other/best.safetensors"))


@pytest.mark.parametrize("word", ["10001", "polyp", "hf://org/model", "", 10001, "images", "notes.txt", "1" * 5000])
def test_what_is_no_path(word: str | int) -> None:
    made("images/a.png", "notes.txt")
    assert paths.what_is(word) is None


def test_a_word_that_is_an_id_too() -> None:
    made("10001/config.yaml", "10001/latest.pt", "fastgan/config.yaml", "fastgan/latest.pt")
    assert paths.what_is("10001") is None  # a number is an id
    assert paths.what_is("./10001") == paths.ModelPath("run", Path("10001"))
    with pytest.raises(
        UnknownModelError, match=r"'fastgan' is a model in this folder, and part of the id .*\./fastgan"
    ):
        paths.what_is("fastgan")


@pytest.mark.parametrize(
    ("files", "asked", "words"),
    [
        ([], "gone/x", "there is no file or folder gone/x"),
        (["a/x.png"], "./a", "is a folder without a model. A model is\n  a run of `medzoo train`"),
        (["a/config.yaml"], "./a", "a training run that has saved nothing yet"),
        (["a/x.pt", "a/readme.md"], "./a", "is no model itself; name a file in it: a/x.pt"),
        (["a/run/config.yaml", "a/run/latest.pt"], "./a", "is no model itself; name one in it: a/run"),
        (["a/90001_X.yaml", "a/90002_Y.yaml"], "./a", "holds 2 entries; name one: a/90001_X.yaml, a/90002_Y.yaml"),
        (["a/config.json", "a/x.json"], "./a", "one part of a pipeline of diffusers"),
        (["a/x.txt"], "a/x.txt", "is plain text, not a checkpoint. A model is\n"),
        (["a/x.txt"], "a", "no model has the id 'a'|means"),
    ],
)
def test_what_is_no_model(files: list[str], asked: str, words: str) -> None:
    made(*files)
    with pytest.raises(UnknownModelError) as caught:
        catalog.resolve(asked)
    assert any(word in str(caught.value) for word in words.split("|"))


def test_a_folder_named_as_no_id_says_what_it_lacks() -> None:
    made("pictures/x.png")
    with pytest.raises(
        UnknownModelError, match="no model has the id 'pictures'.* The folder pictures is a folder with"
    ):
        catalog.resolve("pictures")


# ----------------------------------------------------------------------------------- folders with an entry of their own


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder as a run leaves it, without a training."""
    from safetensors.torch import save

    def write(name: str = "my run", step: int | None = 7) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text("family: monai_gan")
        (folder / "medzoo.yaml").write_text(json.dumps(entry_fields(model_id="00000_RUN")))
        state = random_state(entry_fields())
        torch.save({"step": 9, "average": state, "optimizer": {"lr": 0.1}}, folder / "latest.pt")
        if step is not None:
            stated = {"medzoo": json.dumps({"step": step, "kid": 0.1, "sha256": ""})}
            (folder / "best.safetensors").write_bytes(save(state, stated))
        return folder

    return write


def test_a_run_is_its_best_snapshot(run_folder: Callable[..., Path]) -> None:
    import medzoo

    folder = run_folder()
    best, last = catalog.resolve(folder), catalog.resolve(folder / "latest.pt")
    assert (best.name, last.name) == ("my-run@best-7", "my-run@last-9")
    assert best.entry.model_id == "00000_MY_RUN" and best.entry.revision != last.entry.revision
    made = medzoo.generate(str(folder), 2)
    assert made.model_id == "my-run@best-7" and made.revision == best.entry.revision
    assert made.weights_sha256 == best.entry.weights[0].sha256
    assert medzoo.load(folder / "latest.pt").generate(1).model_id == "my-run@last-9"
    (folder / "best.safetensors").unlink()
    assert catalog.resolve(folder).name == "my-run@last-9"


def test_a_run_that_goes_on_is_another_model(run_folder: Callable[..., Path]) -> None:
    folder = run_folder()
    before = catalog.resolve(folder).entry.revision
    content = (folder / "best.safetensors").read_bytes()
    (folder / "best.safetensors").write_bytes(content[:-4] + b"\0\0\0\0")
    assert catalog.resolve(folder).entry.revision != before


def test_what_a_run_may_lack(run_folder: Callable[..., Path]) -> None:
    folder = run_folder(step=None)
    with pytest.raises(MedzooError, match="no best.safetensors yet; train it first"):
        modelfolders.of_run(folder, "best")
    (folder / "medzoo.yaml").unlink()
    with pytest.raises(EntryError, match="type the command that began the run once more"):
        catalog.resolve(folder)
    (folder / "best.safetensors").write_bytes(WEIGHTS.read_bytes())  # no snapshot of a run
    (folder / "medzoo.yaml").write_text(json.dumps(entry_fields()))
    with pytest.raises(EntryError, match="is no snapshot of `medzoo train`"):
        catalog.resolve(folder)


def test_a_published_folder_runs_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import medzoo

    folder = tmp_path / "published"
    folder.mkdir()
    shutil.copy(WEIGHTS, folder / "model.safetensors")
    entry = catalog.resolve("10001").entry
    source: dict[str, Any] = {"kind": "hub", "repo": "you/x", "revision": None, "file": "model.safetensors"}
    source |= {"sha256": entry.weights[0].sha256, "size": entry.weights[0].size}
    (folder / "medzoo.yaml").write_text(
        json.dumps(entry.model_dump(mode="json") | {"weights": [source], "verified": []})
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    located = catalog.resolve(folder)
    assert located.entry.weights[0].kind == "local" and located.entry.revision == entry.revision
    assert medzoo.load(folder, device="cpu").generate(1).model_id == entry.model_id
