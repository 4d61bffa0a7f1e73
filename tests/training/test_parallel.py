"""Two processes that train one run: the same networks in both, one folder, one path."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.files.png import encode_png
from medzoo.training import parallel, recipes
from medzoo.training.config import parse
from medzoo.training.tables import read_table
from medzoo.training.trainer import Trainer
from tests.tools.training import assert_same, load, quiet, small_trainer

ADA = {"name": "ada", "start": 0.5, "interval": 1, "kimg": 0.04}  # p moves by 0.2 a step


def make_config(**changes: Any) -> Any:
    fields = {
        "family": "wgan_gp", "dataset": "tiny", "size": 16, "masks": False, "config": {"ngf": 4, "nz": 5},
        "critic": {"ndf": 4, "steps": 2}, "steps": 4, "batch": 8, "snapshot": 2, "techniques": [ADA],
    }  # fmt: skip
    return parse(fields | changes)


def make_images(n: int = 12) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 1, 16, 16), dtype=np.uint8)
    return Images(pixels, None, tuple(f"i{i}" for i in range(n)))


class Constant:
    """Stands in for HeldOut in the first process: never a better snapshot than the first."""

    held = make_images(2)

    def __call__(self, images: Any, masks: Any) -> dict[str, float]:
        return {"fd": 1.0, "kid": 1.0}


def state(run: Trainer) -> dict[str, Any]:
    """Everything that decides the next steps, of one process."""
    return run.learner.state() | {"step": run.step}


# --- what both processes do ------------------------------------------------------------------------------------------


def scenario(device: torch.device, folder: Path) -> None:
    """A whole run; one that is stopped and goes on; one with batch norm; one that waits in vain; one that breaks."""
    here = parallel.rank()
    whole = small_trainer(make_config(), make_images(), folder / "whole", None, device)
    assert whole.run(quiet)
    torch.save(state(whole), folder / f"whole{here}.pt")

    cut = small_trainer(make_config(), make_images(), folder / "cut", None, device)
    assert not cut.run(quiet, lambda: here == 1 and cut.step == 3)  # asked of one of them
    cut = small_trainer(make_config(), make_images(), folder / "cut", None, device)
    assert cut.run(quiet)
    torch.save(state(cut), folder / f"cut{here}.pt")

    changes: dict[str, Any] = {"family": "dcgan", "critic": {"ndf": 4}, "techniques": [{"name": "cdc", "images": 8}]}
    norms = small_trainer(make_config(**changes), make_images(), folder / "norms", None, device)
    assert norms.run(quiet)
    torch.save(state(norms), folder / f"norms{here}.pt")

    config = make_config(held={"every": 1, "samples": 2, "patience": 1})
    waiting = small_trainer(config, make_images(), folder / "waiting", Constant() if here == 0 else None, device)  # type: ignore[arg-type]
    assert waiting.run(quiet)
    assert waiting.step == 2 and "no better snapshot" in str(waiting.stopped)

    broken = small_trainer(make_config(), make_images(), folder / "broken", None, device)
    if here == 1:
        torch.nn.init.constant_(next(broken.learner.generator.parameters()), float("nan"))
    with pytest.raises(TrainingError, match="step 1: a loss is not finite"):
        broken.run(quiet)

    with pytest.raises(TrainingError, match="batch: 9 cannot be shared by 2 processes; take a multiple of 2"):
        small_trainer(make_config(batch=9), make_images(), folder / "odd", None, device)

    network, made = codebook(here)
    assert torch.equal(parallel.broadcast(network.codebook.vectors), network.codebook.vectors)
    assert {tuple(row) for row in network.codebook.vectors.tolist()} <= {tuple(row) for row in made.tolist()}

    elsewhere = small_trainer(make_config(), make_images(), folder / ("whole", "elsewhere")[here], None, device)
    with pytest.raises(TrainingError, match="not every process sees it"):
        elsewhere.run(quiet)

    flat = [torch.full((3,), float(here)), torch.full((2, 2), here + 2.0), torch.full((), here, dtype=torch.float64)]
    parallel.average(flat)
    assert [one.unique().tolist() for one in flat] == [[0.5], [2.5], [0.5]]
    many = [torch.full((3,), float(here + i)) for i in range(7)]
    parallel.average(many, bucket=7)  # two at once
    assert [one.unique().tolist() for one in many] == [[i + 0.5] for i in range(7)]
    assert parallel.gather(torch.tensor([[here], [here + 10]])).flatten().tolist() == [0, 10, 1, 11]


def codebook(here: int) -> tuple[Any, torch.Tensor]:
    """A new VQ-VAE whose codebook has followed one batch, and the vectors that the batch had in all processes."""
    config = {"width": 8, "codes": 4, "code_dim": 2, "prior_width": 8, "prior_layers": 1}
    fields = {"family": "vqvae", "dataset": "tiny", "size": 28, "masks": False, "config": config, "steps": 5001}
    recipe: Any = recipes.recipe(parse(fields), recipes.Facts(colours=1, masks=0, classes=None))
    network, vectors = recipe.generator(), torch.arange(8.0).view(4, 2) + 100 * here
    recipe._batch = vectors, torch.zeros(4, dtype=torch.int64), vectors
    recipe.after_update(network)
    return network, parallel.gather(vectors)


def worker(rank: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with parallel.joined("cpu") as device:
        scenario(device, folder)
    (folder / f"threads{rank}.txt").write_text("\n".join(threads()))


def threads() -> list[str]:
    """Names of this process's threads, where the system lists them."""
    listed = Path("/proc/self/task")
    return [(one / "comm").read_text().strip() for one in listed.iterdir()] if listed.exists() else []


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, port = tmp_path_factory.mktemp("runs"), free_port()
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=worker, args=(rank, port, folder)) for rank in range(2)]
    for one in both:
        one.start()
    began = time.monotonic()
    while any(one.is_alive() for one in both) and not any(one.exitcode for one in both):
        if time.monotonic() - began > 400:
            break
        time.sleep(0.1)
    for one in both:
        one.join(20)  # where one has failed, the other hears of it
        if one.is_alive():
            one.kill()
            one.join()
    assert [one.exitcode for one in both] == [0, 0]
    return folder


# --- what came of it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["whole", "cut", "norms"])
def test_both_processes_hold_the_same_networks(runs: Path, name: str) -> None:
    one, other = load(runs / f"{name}0.pt"), load(runs / f"{name}1.pt")
    for state in (one, other):
        state.pop("techniques")
    assert_same(one, other)
    for network in ("generator", "discriminator", "average"):
        assert all(bool(torch.isfinite(value).all()) for value in one[network].values())
    saved = load(runs / name / "latest.pt")
    assert_same({key: saved[key] for key in one}, one)


def test_controllers_agree(runs: Path) -> None:
    one, other = (load(runs / f"whole{rank}.pt")["techniques"][0] for rank in range(2))
    assert one == other and one["p"] != 0.5


def test_a_stopped_run_follows_the_path_of_one_that_was_not(runs: Path) -> None:
    for rank in range(2):
        assert_same(load(runs / f"cut{rank}.pt"), load(runs / f"whole{rank}.pt"))
    assert (runs / "cut" / "log.csv").read_bytes() == (runs / "whole" / "log.csv").read_bytes()


def test_the_processes_draw_different_images(runs: Path, tmp_path: Path) -> None:
    """The first one draws what a single process with half the batch draws; the mean of both is something else."""
    alone = small_trainer(make_config(batch=4, steps=1), make_images(), tmp_path)
    losses: list[float] = []
    alone.run(lambda step, found: losses.append(found["loss_d"]))
    first = read_table(runs / "whole" / "log.csv")[0]["loss_d"]
    assert abs(first - losses[0]) > 1e-6


def test_anchors_are_those_of_the_first_process(runs: Path) -> None:
    """So that a run that goes on, with what the first process saved, goes on with those of all."""
    one, other = (load(runs / f"norms{rank}.pt")["techniques"][0]["anchors"] for rank in range(2))
    assert torch.equal(one, other)


def test_one_folder_was_written_once(runs: Path) -> None:
    assert [row["step"] for row in read_table(runs / "whole" / "log.csv")] == [1, 2, 3, 4]
    assert [row["step"] for row in read_table(runs / "waiting" / "heldout.csv")] == [1, 2]
    assert not (runs / "broken" / "latest.pt").exists() and not (runs / "odd").exists()


def test_nothing_of_the_group_is_left_when_it_is_parted(runs: Path) -> None:
    """A thread of gloo that still runs while the interpreter takes itself apart may abort the process."""
    for rank in range(2):
        left = (runs / f"threads{rank}.txt").read_text().splitlines()
        assert [name for name in left if "gloo" in name or "tcpstore" in name] == []


def test_alone_nothing_is_shared() -> None:
    tensors = [torch.ones(2)]
    parallel.average(tensors)
    assert tensors[0].tolist() == [1, 1] and (parallel.rank(), parallel.world(), parallel.local_batch(3)) == (0, 1, 3)
    assert parallel.on_rank0(lambda: 5) == 5 and parallel.broadcast("a") == "a"


def test_a_process_that_waits_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    for name, value in (stated | {"MASTER_PORT": str(free_port())}).items():
        monkeypatch.setenv(name, value)
    said = "the 2 processes of this run did not meet .*; start them with torchrun"
    with pytest.raises(TrainingError, match=said), parallel.joined("cpu", meeting=timedelta(seconds=1)):
        pass


# --- torchrun --------------------------------------------------------------------------------------------------------


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    rng = np.random.default_rng(0)
    (tmp_path / "mine").mkdir()
    for i in range(12):
        pixels = rng.integers(0, 256, (16, 16, 1), dtype=np.uint8)
        (tmp_path / "mine" / f"{i}.png").write_bytes(encode_png(pixels, {}))

    def start(*options: object) -> subprocess.Popen[str]:
        usual = ["--family", "wgan_gp", "--data", tmp_path / "mine", "--size", 16, "--batch", 4, "--no-held-out"]
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 2]
        command += ["--master-port", free_port(), "-m", "medzoo", "train", *usual, "--out", tmp_path / "run", *options]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    return start


@pytest.mark.slow
def test_torchrun_ctrl_c_and_again(tmp_path: Path, launch: Callable[..., subprocess.Popen[str]]) -> None:
    run = launch("--steps", 100_000, "--quiet", "--device", "cpu")
    began = time.monotonic()
    while not (tmp_path / "run" / "log.csv").exists():
        assert time.monotonic() - began < 100 and run.poll() is None
        time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    told = run.communicate(timeout=60)[1]
    assert "is saved in" in told and told.count("type the same command again") == 1
    step = load(tmp_path / "run" / "latest.pt")["step"]
    assert step >= 10
    again = launch("--steps", step + 2, "--json", "--device", "cpu")
    out, told = again.communicate(timeout=100)
    assert again.returncode == 0 and f'"step": {step + 2}, "made": 2' in out, told


@pytest.mark.slow
def test_torchrun_says_an_error_once(launch: Callable[..., subprocess.Popen[str]]) -> None:
    run = launch("--steps", 1, "--batch", 5, "--device", "cpu")
    told = run.communicate(timeout=100)[1]
    assert run.returncode != 0 and told.count("medzoo: batch: 5 cannot be shared by 2 processes") == 1
    run = launch("--steps", 1, "--size", 17, "--device", "cpu")
    told = run.communicate(timeout=100)[1]
    assert run.returncode != 0 and told.count("medzoo: size: expected") == 1
