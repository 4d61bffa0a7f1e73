"""The pieces of FastGAN training against published formulas, and a run that is cut, killed and resumed."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import medzoo
from medzoo.datasets import Images
from medzoo.errors import DeviceError, TrainingError
from medzoo.families.fastgan import Network, noise_shapes
from medzoo.families.fastgan.gate import GatedNorm, compile_gates, norm_gate
from medzoo.nets import BatchNorm2d, SpectralConv2d
from medzoo.randomness import Noise
from medzoo.training import heldout, recipes, runfolder
from medzoo.training.config import TrainConfig, dump_config, load_config, parse
from medzoo.training.export import recalibrate, stored
from medzoo.training.learner import update_average
from medzoo.training.losses import hinge_fake, hinge_real
from medzoo.training.recipes import Facts
from medzoo.training.recipes._fastgan_discriminator import Discriminator, resize
from medzoo.training.runfolder import read_best
from medzoo.training.tables import read_table
from medzoo.training.trainer import Trainer
from tests.tools.paths import ROOT
from tests.tools.training import FASTGAN, Killed, assert_same, kill_at, load, quiet, small_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def make_config(**changes: Any) -> TrainConfig:
    fields = FASTGAN | changes
    return parse(fields | {"critic": FASTGAN["critic"] | fields["critic"]})


def make_images(n: int = 4, channels: int = 3, masks: bool = True) -> Images:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, channels, 128, 128), dtype=np.uint8)
    drawn = rng.integers(0, 2, (n, 1, 128, 128), dtype=np.uint8) if masks else None
    return Images(pixels, drawn, tuple(f"i{i}" for i in range(n)))


class Scripted:
    """Stands in for HeldOut: ``kid`` (and ``mask_gap``) from a list, one a measurement."""

    def __init__(self, *kids: float, gaps: Sequence[float] = ()) -> None:
        self.kids, self.gaps = list(kids), list(gaps)
        self.held = make_images(2)

    def __call__(self, images: Any, masks: Any = None) -> dict[str, float]:
        assert images.dtype == np.uint8 and images.shape[1:] == (3, 128, 128) and masks.max() <= 1
        found = {"fd": float(images.mean()), "kid": self.kids.pop(0)}
        return found | ({"mask_gap": self.gaps.pop(0)} if self.gaps else {})


def start(folder: Path, held: Any = None, images: Images | None = None, **changes: Any) -> Trainer:
    return small_trainer(make_config(**changes), images or make_images(), folder, held)


# --- pieces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [4, 8])  # fewer and more numbers than the weight has
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_spectral_norm_is_torchs(transposed: bool, training: bool, side: int) -> None:
    torch.manual_seed(0)
    mine = SpectralConv2d(3, 5, 4, 2, 1, transposed=transposed)
    mine.reset(1.0)
    plain: nn.Module = (nn.ConvTranspose2d if transposed else nn.Conv2d)(3, 5, 4, 2, 1, bias=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        reference = nn.utils.spectral_norm(plain, dim=1 if transposed else 0)
    reference.load_state_dict(mine.state_dict())
    mine.train(training)
    reference.train(training)
    x = torch.randn(2, 3, side, side)
    mine.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for _ in range(3):
        made, wanted = mine(x), reference(x)
        torch.testing.assert_close(made, wanted)
    torch.testing.assert_close(dict(mine.state_dict()), dict(reference.state_dict()))
    made.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(mine.weight_orig.grad, reference.weight_orig.grad)


@pytest.mark.parametrize("side", [2, 16])
def test_a_map_that_grows_in_one_piece(side: int) -> None:
    """The same map and the same gradients as nearest x2 and the convolution behind it, in the eyes of hooks too."""
    torch.manual_seed(0)
    conv, x = SpectralConv2d(3, 8, 3, 1, 1), torch.randn(2, 3, side, side, requires_grad=True)
    conv.reset()
    other, seen = copy.deepcopy(conv), list[Any]()
    conv.register_forward_hook(lambda module, given, made: seen.append(made))
    grown, plain = conv(x, grow=True), other(nn.functional.interpolate(x, scale_factor=2.0))
    torch.testing.assert_close(grown, plain)
    assert len(seen) == 1 and seen[0] is grown
    mine = torch.autograd.grad(grown.square().sum(), (x, conv.weight_orig))
    wanted = torch.autograd.grad(plain.square().sum(), (x, other.weight_orig))
    for gradient, expected in zip(mine, wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_spectral_norm_converges_to_the_largest_singular_value() -> None:
    torch.manual_seed(0)
    conv = SpectralConv2d(3, 5, 3)
    conv.reset(1.0)
    for _ in range(100):
        conv.weight()
    singular = torch.linalg.svdvals(conv.weight_orig.detach().flatten(1))
    torch.testing.assert_close(conv.weight() * singular[0], conv.weight_orig)
    torch.testing.assert_close(torch.linalg.svdvals(conv.weight().detach().flatten(1))[0], torch.tensor(1.0))


def test_hinge_losses_by_hand() -> None:
    rng = torch.Generator().manual_seed(0)
    assert hinge_real(torch.tensor([1.0, 5.0]), rng).item() == 0
    assert hinge_fake(torch.tensor([-1.0, -5.0]), rng).item() == 0
    assert 0.8 <= hinge_real(torch.zeros(1), rng).item() <= 1
    assert 2.8 <= hinge_fake(torch.tensor([2.0]), rng).item() <= 3
    # U(0.8, 1) has mean 0.9 and standard deviation 0.0577; 10,000 of them, to 5 standard errors.
    assert hinge_real(torch.zeros(10_000), rng).item() == pytest.approx(0.9, abs=0.003)
    assert hinge_fake(torch.full((10_000,), 1.0), rng).item() == pytest.approx(1.9, abs=0.003)
    single = torch.tensor([hinge_real(torch.zeros(1), rng).item() for _ in range(300)])
    assert single.min() < 0.82 and single.max() > 0.98


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_discriminator_shapes(size: int) -> None:
    small = min(128, size // 2)
    with torch.device("meta"):  # shapes without arithmetic
        network = Discriminator(8, 4, size)
        big, little = torch.empty(2, 4, size, size), torch.empty(2, 4, small, small)
        logits, maps = network(big, little)
        pairs = network.reconstructions(maps, big, little, 3)
    assert logits.shape == (2, 50)
    assert {name: one.shape[2:] for name, one in maps.items()} == {"big": (8, 8), "part": (16, 16), "small": (8, 8)}
    assert [(tuple(one.shape), tuple(target.shape)) for one, target in pairs] == [((2, 4, 64, 64),) * 2] * 3
    assert Network(8, 8, 4, size).small_size == small


@pytest.mark.parametrize("quadrant", [0, 1, 2, 3])
def test_reconstruction_targets(quadrant: int) -> None:
    """Quadrants row by row; the part of the map that is decoded lies where the part of the image does."""
    network = Discriminator(8, 1, 128).eval()
    big = torch.zeros(1, 1, 128, 128)
    for i in range(4):
        row, col = divmod(i, 2)
        big[..., 64 * row : 64 * row + 64, 64 * col : 64 * col + 64] = i
    small = resize(big, 64)
    _, maps = network(big, small)
    whole, part, little = network.reconstructions(maps, big, small, quadrant)
    assert torch.equal(whole[1], small) and torch.equal(little[1], small)
    assert part[1].unique().tolist() == [quadrant]
    row, col = divmod(quadrant, 2)
    crop = maps["part"][:, :, 8 * row : 8 * row + 8, 8 * col : 8 * col + 8]
    torch.testing.assert_close(part[0], network.decode_part(crop))


def test_area_average() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert resize(x, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_average_formula() -> None:
    """Weights and statistics are averaged, singular vectors and counters copied."""
    one, other = (nn.Sequential(SpectralConv2d(2, 3, 1), BatchNorm2d(3)) for _ in range(2))
    for network, value in ((one, 1.0), (other, 5.0)):
        for tensor in network.state_dict().values():
            tensor.fill_(value)
    update_average(one, other, 0.75)
    found = {name: tensor.unique().tolist() for name, tensor in one.state_dict().items()}
    copied = {"0.weight_u", "0.weight_v", "1.num_batches_tracked"}
    assert found == {name: [5] if name in copied else [2.0] for name in found}
    assert copied < found.keys()


@pytest.mark.slow
def test_compiled_norm_and_gate_are_the_eager_ones() -> None:
    if shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler")
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        norm = GatedNorm(6)
        if compiled:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own
                compile_gates(norm)
        nn.init.normal_(norm.weight, 1.0, 0.2)
        x = torch.randn(2, 6, 8, 8, requires_grad=True)
        noise, strength = torch.randn(2, 1, 8, 8), torch.tensor([0.3], requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = norm_gate(x, norm, noise, strength)
        out.square().sum().backward()
        results.append([out, x.grad, strength.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
    for eager, fused in zip(*results, strict=True):
        torch.testing.assert_close(eager, fused, atol=1e-5, rtol=1e-4)


def test_recalibrated_statistics_are_those_of_the_own_maps() -> None:
    torch.manual_seed(0)
    network = Network(ngf=8, nz=8, nc=4, im_size=128)
    network.reset()
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    recipe = recipes.recipe(make_config(), Facts(3, 1, None))
    found = recalibrate(recipe, network, torch.device("cpu"), batches=2, batch=3)
    # The first norm sees the latent's transposed convolution alone: its statistics by hand.
    maps = [network.init.init[0](Noise(1, range(i, i + 3)).latent((8,))[:, :, None, None]) for i in (0, 3)]
    norm = found.init.init[1]
    torch.testing.assert_close(norm.running_mean, torch.stack([one.mean((0, 2, 3)) for one in maps]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([one.var((0, 2, 3)) for one in maps]).mean(0))
    assert norm.momentum == 0.1 and not norm.training
    assert_same(dict(network.state_dict()), before)
    kept = {name: value for name, value in found.state_dict().items() if "running" not in name and "num_" not in name}
    assert_same(kept, {name: before[name] for name in kept})


def test_half_keeps_vectors_in_float32() -> None:
    state = Network(ngf=8, nz=8, nc=4, im_size=128).state_dict()
    half = stored(state, True)
    kinds = {name: value.dtype for name, value in half.items()}
    assert kinds["feat_8.1.weight_orig"] == torch.float16
    assert all(
        kind == (torch.float16 if name.endswith("weight_orig") else state[name].dtype) for name, kind in kinds.items()
    )
    assert {value.dtype for name, value in stored(state, False).items()} == {torch.float32, torch.int64}


# --- configuration ---------------------------------------------------------------------------------------------------


def test_a_configuration_survives_writing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    config = make_config(techniques=[{"name": "diffaugment", "policy": ["cutout"]}], lr=1e-4, mirror=True)
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_the_configurations_of_the_repository_are_valid() -> None:
    paths = sorted((ROOT / "registry" / "training").glob("*/config.yaml"))
    assert paths
    for path in paths:
        assert load_config(path).family == medzoo.info(path.parent.name).family


def test_every_problem_of_a_configuration_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    fields = FASTGAN | {"size": 100, "lr": "2e-4", "stesp": 3}
    fields |= {"colour": 1, "techniques": [{"name": "diffaugment", "policy": ["blur"]}], "config": {"ngf": 4, "nz": 8}}
    path.write_text("\n".join(f"{name}: {json.dumps(value)}" for name, value in fields.items()))
    lines = path.read_text().splitlines()
    with pytest.raises(TrainingError) as caught:
        load_config(path)
    problems = str(caught.value).splitlines()
    assert len(problems) == 6
    for name in ("size", "lr", "colour", "techniques.0", "config.ngf"):
        line = next(i for i, text in enumerate(lines, 1) if text.startswith(name.partition(".")[0] + ":"))
        assert any(one.startswith(f"{path}:{line}: {name}: ") for one in problems), (name, problems)
    for words in ("stesp: unknown", "found 100", "lr: expected a valid number", "write the number without quotes"):
        assert any(words in one for one in problems), words
    policy = "diffaugment.policy.0: expected 'color', 'translation' or 'cutout', found 'blur'"
    assert any(policy in one for one in problems)


@pytest.mark.parametrize("text", ["", "a: [", "seed: 1\nseed: 2\n", None])
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TrainingError, match=r"config\.yaml"):
        load_config(path)


# --- a run -----------------------------------------------------------------------------------------------------------


def test_a_killed_run_follows_the_path_of_one_that_was_not(tmp_path: Path) -> None:
    """Losses, both networks, averages, optimizers, tables and the best snapshot, bit for bit."""
    seen: dict[str, list[tuple[int, dict[str, float]]]] = {"whole": [], "cut": []}
    assert start(tmp_path / "whole", Scripted(0.5, 0.7)).run(lambda *one: seen["whole"].append(one))
    with pytest.raises(Killed):
        start(tmp_path / "cut", Scripted(0.5)).run(kill_at(3))
    assert [row["step"] for row in read_table(tmp_path / "cut" / "log.csv")] == [1, 2, 3]
    with (tmp_path / "cut" / "log.csv").open("a") as file:
        file.write("4,0.12")  # a line that was cut off
    (tmp_path / "cut" / ".latest.pt.part").write_bytes(b"half a file")
    assert start(tmp_path / "cut", Scripted(0.7)).run(lambda *one: seen["cut"].append(one))
    assert seen["cut"] == seen["whole"][2:]
    assert_same(load(tmp_path / "cut" / "latest.pt"), load(tmp_path / "whole" / "latest.pt"))
    for name in ("log.csv", "best.safetensors", "samples/000002.png", "samples/000004.png", "config.yaml"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    held = [read_table(tmp_path / name / "heldout.csv") for name in ("cut", "whole")]
    for rows in held:
        assert [(row["step"], row["kid"]) for row in rows] == [(2, 0.5), (4, 0.7)]
        assert all(row.pop("seconds") > 0 for row in rows)
    assert held[0] == held[1]
    assert not list((tmp_path / "cut").glob(".*.part"))


def test_the_best_snapshot_is_that_of_the_path_taken(tmp_path: Path) -> None:
    """Killed after a measurement whose state was not saved: neither its line nor its snapshot counts."""
    begun = start(tmp_path, Scripted(0.5, 0.1))
    begun.save = kill_second(begun.save)  # type: ignore[method-assign]
    with pytest.raises(Killed):
        begun.run(quiet)
    assert [row["kid"] for row in read_table(tmp_path / "heldout.csv")] == [0.5, 0.1]
    resumed = start(tmp_path, Scripted(0.6))
    resumed.run(quiet)
    assert [row["kid"] for row in read_table(tmp_path / "heldout.csv")] == [0.5, 0.6]
    best = read_best(tmp_path / "best.safetensors")
    assert (best.step, best.scores["kid"]) == (2, 0.5)
    assert resumed.best.step == 2

    # Gone or from elsewhere, it is written again from latest.pt.
    whole = (tmp_path / "best.safetensors").read_bytes()
    (tmp_path / "best.safetensors").write_bytes(b"nonsense")
    start(tmp_path).run(quiet)
    assert (tmp_path / "best.safetensors").read_bytes() == whole


def kill_second(save: Callable[[], None]) -> Callable[[], None]:
    calls = []

    def wrapped() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        save()

    return wrapped


def test_a_better_snapshot_replaces_the_best(tmp_path: Path) -> None:
    run = start(tmp_path, Scripted(0.5, 0.2))
    run.run(quiet)
    best = read_best(tmp_path / "best.safetensors")
    assert (best.step, best.scores["kid"]) == (4, 0.2)
    assert_same(best.generator, dict(run.learner.average.state_dict()))


def test_stopping_saves_and_resuming_finishes(tmp_path: Path) -> None:
    seen: list[int] = []
    begun = start(tmp_path, steps=3, snapshot=100)
    assert not begun.run(lambda step, _: seen.append(step), stopped=lambda: seen == [1])
    assert load(tmp_path / "latest.pt")["step"] == 1
    assert start(tmp_path, steps=3, snapshot=2).run(lambda step, _: seen.append(step))
    assert seen == [1, 2, 3]


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    start(tmp_path, steps=1).run(quiet)
    before = (tmp_path / "latest.pt").read_bytes()
    assert start(tmp_path, steps=1).run(kill_at(1))
    assert (tmp_path / "latest.pt").read_bytes() == before


def test_another_configuration_is_refused_by_the_name_of_the_field(tmp_path: Path) -> None:
    start(tmp_path, steps=1).run(quiet)
    before = (tmp_path / "config.yaml").read_bytes()
    with pytest.raises(TrainingError, match=r"batch: 2 -> 3; lr: 0\.0002 -> 0\.001.*--out"):
        start(tmp_path, batch=3, lr=0.001).run(quiet)
    with pytest.raises(TrainingError, match=r"config: \{'ngf': 8, 'nz': 8\} -> \{'ngf': 9, 'nz': 8\}"):
        start(tmp_path, config={"ngf": 9, "nz": 8}).run(quiet)
    assert (tmp_path / "config.yaml").read_bytes() == before


def test_losses_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    def poison(step: int, losses: dict[str, float]) -> None:
        if step == 3:
            with torch.no_grad():
                run.learner.generator.to_big.weight_orig.fill_(float("nan"))

    run = start(tmp_path)
    with pytest.raises(TrainingError, match=r"step 4: a loss is not finite \(.*loss_g nan.*latest\.pt holds the last"):
        run.run(poison)
    assert load(tmp_path / "latest.pt")["step"] == 2
    assert [row["step"] for row in read_table(tmp_path / "log.csv")] == [1, 2, 3]


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The step that breaks them can end with finite losses."""

    def poison(step: int, losses: dict[str, float]) -> None:
        if step == 4:
            run.learner.average.to_big.weight_orig.fill_(float("inf"))

    run = start(tmp_path, Scripted(0.5))
    with pytest.raises(TrainingError, match=r"step 4: average\.to_big\.weight_orig is not finite"):
        run.run(poison)
    assert load(tmp_path / "latest.pt")["step"] == 2


def test_a_full_disk_keeps_the_last_state(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    start(tmp_path, steps=1).run(quiet)
    before = (tmp_path / "latest.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        with pytest.raises(TrainingError, match=r"no space left .* state of the last snapshot is whole.*same command"):
            start(tmp_path, steps=2).run(quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "latest.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))
    assert start(tmp_path, steps=2).run(quiet)


def test_one_process_a_folder(tmp_path: Path) -> None:
    filelock = pytest.importorskip("filelock")
    with (
        filelock.FileLock(tmp_path / ".lock"),
        pytest.raises(TrainingError, match="another process trains here"),
    ):
        start(tmp_path).run(quiet)
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_state_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "latest.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"latest\.pt: not a state .* move it away"):
        start(tmp_path).run(quiet)


def test_a_state_of_other_networks_is_named(tmp_path: Path) -> None:
    start(tmp_path, steps=1).run(quiet)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(TrainingError, match=r"does not fit the networks of this configuration"):
        start(tmp_path, critic={"ndf": 8}).run(quiet)


def test_a_best_snapshot_without_a_state_is_not_thrown_away(tmp_path: Path) -> None:
    start(tmp_path, Scripted(0.5), steps=1).run(quiet)
    (tmp_path / "latest.pt").unlink()
    with pytest.raises(TrainingError, match=r"best\.safetensors but no latest\.pt"):
        start(tmp_path).run(quiet)
    assert (tmp_path / "best.safetensors").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(TrainingError, match="run cannot be written"):
        start(tmp_path / "run").run(quiet)


def test_images_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="tiny: 1 training images are fewer than a batch of 2"):
        start(tmp_path, images=make_images(1))
    with pytest.raises(TrainingError, match="dataset tiny has no masks; set masks: false"):
        start(tmp_path, images=make_images(masks=False))
    with pytest.raises(TrainingError, match="two or more held-out images"):
        heldout.HeldOut(make_images(1))


def test_grey_images_without_masks_in_mixed_precision(tmp_path: Path) -> None:
    images = make_images(channels=1, masks=False)
    changes = {"masks": False, "precision": "bfloat16", "mirror": True, "techniques": [], "steps": 1}
    run = start(tmp_path, images=images, **changes)
    assert run.run(quiet)
    assert {value.dtype for value in run.learner.generator.state_dict().values()} == {torch.float32, torch.int64}
    pixels, masks = run.sample(3)
    assert pixels.shape == (3, 1, 128, 128) and masks is None


def test_start_values_depend_on_the_seed_alone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one = start(tmp_path).learner.generator.state_dict()
    state = torch.random.get_rng_state()
    other = start(tmp_path).learner.generator.state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's random numbers move
    assert_same(dict(one), dict(other))
    third = start(tmp_path, seed=1).learner.generator.state_dict()
    assert not torch.equal(one["to_big.weight_orig"], third["to_big.weight_orig"])


def test_mirroring_flips_image_and_mask_together(tmp_path: Path) -> None:
    run = start(tmp_path, batch=4, mirror=True)
    plain = run.learner.data.float().div(127.5).sub(1)
    found = {"plain": 0, "mirrored": 0}
    for seed in range(4):
        for one in run.learner.draw_reals(torch.Generator().manual_seed(seed))[0]:
            found["plain"] += any(torch.equal(one, image) for image in plain)
            found["mirrored"] += any(torch.equal(one, image.flip(2)) for image in plain)
    assert found["plain"] > 0 and found["mirrored"] > 0 and sum(found.values()) == 16


def test_samples_are_the_zoos(tmp_path: Path) -> None:
    """The noise of indices 0, 1, ... of the seed, in batches of any size."""
    learner = start(tmp_path).learner
    network = learner.average
    images, masks = heldout.sample(learner.recipe, network, 3, 7, torch.device("cpu"))
    noise = Noise(7, [2])
    raw = network(noise.latent((8,)), [noise.normal(shape) for shape in noise_shapes(128)])[0]
    expected = ((raw + 1) / 2).clamp(0, 1)
    # An untrained network gives numbers of 1e10 and more, a few of which the last digits carry across zero.
    assert (abs(images[2] / 255 - expected[:3].numpy()) > 0.5 / 255 + 1e-5).mean() < 0.001
    assert (masks[2, 0] != (expected[3] > 0.5).numpy()).mean() < 0.001
    other, _ = heldout.sample(learner.recipe, network, 3, 7, torch.device("cpu"), batch=2)
    assert (np.abs(other.astype(int) - images) > 1).mean() < 0.001


def test_without_a_compiler_training_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    with pytest.warns(UserWarning, match="needs a C[+][+] compiler, and there is no '/nowhere/c[+][+]'"):
        run = start(tmp_path, compile=True, steps=1)
    norms = [module for module in run.learner.generator.modules() if isinstance(module, GatedNorm)]
    assert norms and all(norm.fused is None for norm in norms)
    assert run.run(quiet)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch itself, when it first compiles
def test_a_run_compiles_its_own_networks_and_no_others(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler")
    compiled, plain = start(tmp_path / "one", compile=True), start(tmp_path / "other")
    for run, expected in ((compiled, True), (plain, False)):
        for network in run.learner.networks.values():
            norms = [module for module in network.modules() if isinstance(module, GatedNorm)]
            assert norms and all((norm.fused is not None) == expected for norm in norms)


def test_too_little_memory_is_said_in_words(tmp_path: Path) -> None:
    run = start(tmp_path)

    def train_step(step: int) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    run.learner.train_step = train_step  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="a batch of 2 does not fit in memory; lower batch"):
        run.run(quiet)


def test_tables_keep_large_step_numbers(tmp_path: Path) -> None:
    folder = runfolder.RunFolder(tmp_path)
    folder.add(folder.log, {"step": 1_234_567, "loss": 0.25})
    assert folder.log.read_text().splitlines() == ["step,loss", "1234567,0.25"]


@pytest.mark.gpu
def test_a_step_on_a_gpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    config = make_config(precision="bfloat16", steps=2)
    run = small_trainer(config, make_images(), tmp_path, Scripted(0.5), torch.device("cuda"))
    assert run.run(quiet)
    assert run.learner.data.device.type == "cuda"
    assert small_trainer(config, make_images(), tmp_path, None, torch.device("cpu")).run(quiet)  # and back
