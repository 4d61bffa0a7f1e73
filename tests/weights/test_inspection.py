"""``medzoo info FILE``: what is in a file, told without torch and without running it."""

from __future__ import annotations

import collections
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from medzoo.cli import main
from medzoo.errors import CheckpointError, WeightsError
from medzoo.weights import inspection
from tests.tools import hostile
from tests.tools.hostile import Canary
from tests.tools.paths import ROOT


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["info", *arguments])


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(collections.OrderedDict(conv=torch.nn.Conv2d(1, 2, 3), norm=torch.nn.BatchNorm2d(2)))


TENSORS, NUMBERS = 7, 18 + 2 + 4 * 2 + 1  # of that network


def test_torch_file_of_several_state_dicts(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save({"g": state, "d": {"w": torch.ones(3)}, "epoch": 7, "note": "x" * 500}, tmp_path / "all.pth")
    found = inspection.inspect(tmp_path / "all.pth")
    assert (found.container, found.refused, found.source) == ("torch", (), 0)
    assert [(part.key, part.what, part.tensors, part.numbers) for part in found.parts[:3]] == [
        ("g", "mapping of 7", TENSORS, NUMBERS), ("d", "mapping of 1", 1, 3), ("epoch", "7", 0, 0),
    ]  # fmt: skip
    assert len(found.parts[3].what) < 70
    chosen = found.state_dicts[0]
    assert chosen.checkpoint == {"container": "torch", "key": "g"}
    assert (chosen.tensors, chosen.numbers) == (TENSORS, NUMBERS)
    assert chosen.names["conv.weight"] == [2, 1, 3, 3]
    result = run(str(tmp_path / "all.pth"))
    assert result.exit_code == 0
    for words in ("a torch file", "container: torch", "checkpoint: {container: torch, key: g}",
                  "7 tensors of 29 numbers", "collections.OrderedDict", "Nothing of the file was run"):  # fmt: skip
        assert words in result.stdout


def test_pickled_modules_say_what_they_were_made_with(tmp_path: Path) -> None:
    module = network()
    module._init_kwargs = {"z_dim": 4, "kwargs": {"layers": [1, 2], "act": torch.nn.ReLU, "gain": float("inf")}}  # type: ignore[assignment]
    for name, content in (("x.pkl", pickle.dumps({"G_ema": module})), ("x.pt", hostile.saved({"G_ema": module}))):
        (tmp_path / name).write_bytes(content)
        found = inspection.inspect(tmp_path / name)
        assert found.container == "pickle"
        assert "torch.nn.modules.container.Sequential" in found.names
        (part,) = found.parts
        assert (part.what, part.tensors, part.numbers) == ("torch.nn.modules.container.Sequential", TENSORS, NUMBERS)
        assert [inner.key for inner in part.parts] == ["conv", "norm"]
        assert part.arguments == {
            "z_dim": 4, "kwargs": {"layers": [1, 2], "act": "torch.nn.modules.activation.ReLU", "gain": "inf"},
        }  # fmt: skip
        assert found.state_dicts[0].class_name == "torch.nn.modules.container.Sequential"
        printed = json.loads(run(str(tmp_path / name), "--json").stdout)
        assert printed["state_dicts"][0]["checkpoint"] == {"container": "pickle", "key": "G_ema"}
        assert printed["parts"][0]["arguments"]["z_dim"] == 4
        assert 'made with {"z_dim": 4' in run(str(tmp_path / name)).stdout


def test_list_of_modules_is_one_state_dict(tmp_path: Path) -> None:
    torch.save([network(), network()], tmp_path / "Gs.pth")
    found = inspection.inspect(tmp_path / "Gs.pth")
    assert [part.key for part in found.parts] == ["0", "1"]
    (chosen,) = found.state_dicts
    assert chosen.checkpoint == {"container": "pickle", "key": None}
    assert (chosen.tensors, next(iter(chosen.names))) == (2 * TENSORS, "0.conv.weight")


def test_safetensors(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "x.safetensors", metadata={"model": "tiny"})
    found = inspection.inspect(tmp_path / "x.safetensors")
    assert (found.container, found.metadata) == ("safetensors", {"model": "tiny"})
    assert {part.key: part.what for part in found.parts}["conv.weight"] == "float32 [2, 1, 3, 3]"
    assert (found.state_dicts[0].tensors, found.state_dicts[0].numbers) == (TENSORS, NUMBERS)


def test_long_lists_are_cut_and_json_is_not(tmp_path: Path) -> None:
    save_file({f"w{i}": torch.ones(1) for i in range(100)}, tmp_path / "x.safetensors")
    assert "... and 60 more lines" in run(str(tmp_path / "x.safetensors")).stdout
    assert len(json.loads(run(str(tmp_path / "x.safetensors"), "--json").stdout)["parts"]) == 100


def test_a_refused_file_is_described_with_the_reason(tmp_path: Path) -> None:
    canary = Canary(tmp_path)
    (tmp_path / "x.pkl").write_bytes(hostile.beside_weights(hostile.running(canary)["posix.system"]))
    found = inspection.inspect(tmp_path / "x.pkl")
    assert found.container is None and found.state_dicts == () and "posix.system" in found.names
    result = run(str(tmp_path / "x.pkl"))
    assert result.exit_code == 0 and canary.is_alive()
    assert "Refused       names posix.system, a part of Python that no network needs" in result.stdout
    assert "wants to call posix.system" in result.stdout and "Read as" not in result.stdout


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("page.pth", b"<html>404</html>", "page.pth: is a web page"),
        ("cut.pkl", pickle.dumps({"w": [1.0] * 99})[:-9], "cut.pkl: it is cut short"),
        ("none.pt", None, "there is no file .*none.pt"),
        ("escape.pkl", pickle.dumps({"\x1b[2J": 1}), "a key of a mapping"),
        ("escape.safetensors", hostile.safetensors({"\x1b": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
         "cannot be printed"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_at(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((CheckpointError, WeightsError), match=words):
        inspection.inspect(tmp_path / name)
    result = run(str(tmp_path / name))
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "Traceback" not in result.stderr


def test_ids_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "101").write_text("a file that happens to have the name of a model")
    assert "00101_MONAI_GAN_MEDNIST_HAND" in run("101").stdout
    assert "there is no file or folder absent.pkl" in run("absent.pkl").stderr


def test_looking_needs_no_torch(tmp_path: Path) -> None:
    """Finding its family, which ``medzoo info FILE`` does too, builds networks."""
    torch.save({"g": network()}, tmp_path / "x.pt")
    save_file({"w": torch.ones(1)}, tmp_path / "x.safetensors")
    code = (
        "import sys, pathlib\nfrom medzoo.weights import inspection\n"
        "assert inspection.inspect(pathlib.Path(sys.argv[1])).state_dicts\n"
        "print('|', sorted({'torch', 'numpy', 'safetensors', 'requests'} & set(sys.modules)))"
    )
    for name in ("x.pt", "x.safetensors"):
        command = [sys.executable, "-c", code, str(tmp_path / name)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ran.stdout.rpartition("|")[2].strip() == "[]"
