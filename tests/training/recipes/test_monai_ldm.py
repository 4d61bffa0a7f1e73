"""Training of latent diffusion on volumes: how they are read and deformed, both stages, and that the zoo shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import medzoo
from medzoo.datasets import Images, load_volumes
from medzoo.errors import DatasetError, TrainingError
from medzoo.imagefiles import read_volume
from medzoo.training import data, recipes, volumes
from medzoo.training.config import parse
from medzoo.training.data import about
from medzoo.training.export import export
from medzoo.training.heldout import sample
from medzoo.training.recipes import Facts
from medzoo.training.recipes.monai_ldm import SCHEDULE, standardise
from medzoo.training.tables import read_table
from tests.tools.training import Killed, assert_same, kill_at, load, quiet, small_trainer

pytest.importorskip("monai.networks.nets", reason="MONAI is not installed")
pytest.importorskip("einops", reason="einops is not installed")

STILL = {"rotation": 0.0, "zoom": 0.0, "shift": 0.0, "bend": 0.0, "gamma": 0.0}


pytestmark = pytest.mark.usefixtures("one_thread")


def make_config(**changes: Any) -> Any:
    fields = {
        "family": "monai_ldm", "folder": "toys", "size": [8, 12, 8], "spacing": 2.0, "steps": 4, "autoencoder_steps": 2,
        "config": {"autoencoder": [8, 8], "latent": 3, "unet": [8, 8], "head": 8}, "batch": 2, "snapshot": 2,
        "sampling_steps": 2,
    }  # fmt: skip
    return parse(fields | changes)


def make_toy(n: int = 1) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 1, 16, 24, 16), dtype=np.uint8)
    return Images(pixels, None, tuple(f"v{i}" for i in range(n)))


def write(path: Path, array: np.ndarray, sides: tuple[float, float, float] = (1, 1, 1)) -> None:
    """Array [upwards, to the back, to the left] as NIfTI, with voxels of these sides in that order."""
    x, y, z = sides[::-1]
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), np.diag([-x, -y, z, 1])), path)


# --- volumes ---------------------------------------------------------------------------------------------------------


def test_a_volume_is_placed_by_its_middle_and_its_voxels(tmp_path: Path) -> None:
    """A box of 8 x 4 x 6 mm, off the centre, of voxels of 2 x 1 x 0.5 mm, in 12 mm of 1 mm."""
    array = np.zeros((9, 20, 30), np.uint8)
    array[3:7, 13:17, 16:28] = 100
    write(tmp_path / "box.nii.gz", array, (2, 1, 0.5))
    volume = read_volume(tmp_path / "box.nii.gz")
    assert volume.spacing == (2, 1, 0.5)
    expected = np.zeros((1, 12, 12, 12), np.uint8)
    expected[0, 2:10, 4:8, 3:9] = 255
    assert (volumes.place(volume, (12, 12, 12), 1.0).numpy() == expected).all()
    assert (volumes.place(volume, (4, 2, 2), 1.0).numpy() == 255).all()  # cut


def test_a_black_volume_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "none.nii", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(TrainingError, match=r"none\.nii: holds nothing but black"):
        volumes.place(read_volume(tmp_path / "none.nii"), (4, 4, 4), 1.0)


def blob(at: tuple[float, float, float]) -> Tensor:
    """[1, 1, 40, 60, 40] with a bright place at so many voxels from the middle, half as fine as it is learned."""
    axes = [torch.arange(n) + 0.5 - n / 2 - off for n, off in zip((40, 60, 40), at, strict=True)]
    square = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2
    return torch.exp(-square / 18)[None, None] * 2 - 1


def middle(volume: Tensor) -> Tensor:
    """Of the brightness [1, 1, d, h, w], in voxels from the middle."""
    x = (volume[0, 0] + 1) / 2
    sums = [x.sum([a for a in range(3) if a != axis]) for axis in range(3)]
    return torch.stack([(one * (torch.arange(len(one)) + 0.5 - len(one) / 2)).sum() / x.sum() for one in sums])


def test_nothing_is_deformed_without_leave() -> None:
    config = make_config(size=[20, 30, 20], config={"autoencoder": [8], "unet": [8], "head": 8}, deform=STILL)
    found = volumes.deform(blob((6, 4, -2)), config, torch.Generator().manual_seed(0))
    torch.testing.assert_close(middle(found), torch.tensor([3.0, 2.0, -1.0]), atol=0.05, rtol=0)
    small = torch.nn.functional.avg_pool3d(blob((6, 4, -2)), 2)
    assert abs(found - small).max() < 1e-5


def test_a_turn_keeps_lengths_where_sides_differ() -> None:
    """About all axes, so that the sides of the volume would show."""
    wide = {"size": [20, 30, 20], "config": {"autoencoder": [8], "unet": [8], "head": 8}}
    turned = make_config(**wide, deform=STILL | {"rotation": 60.0})
    for seed in range(4):
        found = volumes.deform(blob((8, 12, 0)), turned, torch.Generator().manual_seed(seed))
        place = middle(found)
        assert place.norm() == pytest.approx(52**0.5, rel=0.02) and abs(place - torch.tensor([4.0, 6.0, 0])).max() > 0.5


@pytest.mark.parametrize("which", ["zoom", "shift", "bend", "gamma"])
def test_each_kind_of_change(which: str) -> None:
    config, images = make_config(deform=STILL | {which: 0.2}), torch.rand(2, 1, 16, 24, 16) * 2 - 1
    same = volumes.deform(images, make_config(deform=STILL), torch.Generator())
    found = [volumes.deform(images, config, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1]) and found[0].shape == same.shape == (2, 1, 8, 12, 8)
    assert all(abs(one - other).amax((1, 2, 3, 4)).min() > 0.01 for one, other in [(found[0], same), found[1:]])
    assert all(one.min() >= -1 and one.max() <= 1 for one in found)


def test_slices_are_upright_squares() -> None:
    volume = torch.zeros(2, 1, 4, 6, 2)
    volume[1, 0, 3, 0, 1] = 9  # head, front, left
    volume[1, 0, 2, 3, 1] = 5  # in all three
    found = volumes.slices(volume)
    assert found.shape == (6, 1, 6, 6) and not found[:3].any()
    axial, coronal, sagittal = found[3:, 0]
    assert [int(one.argmax()) for one in (axial, coronal, sagittal)] == [3 * 6 + 3, 2 * 6 + 3, 1 * 6 + 0]
    assert axial.sum() == coronal.sum() == 5 and sagittal.sum() == 14 and sagittal[2, 3] == 5


def test_a_folder_of_volumes(tmp_path: Path) -> None:
    for k in range(4):
        write(tmp_path / f"v{k}.nii.gz", np.full((8, 12, 8), 50 + k, np.uint8), (2, 2, 2))
    config = make_config(folder=str(tmp_path))
    train, held = data.load(config)
    assert train.images.shape == (2, 1, 16, 24, 16) and held.images.shape == (3 * 64, 1, 12, 12)
    (tmp_path / "v1.nii.gz").unlink()
    with pytest.raises(TrainingError, match=r"3 volume\(s\); at least 4 are needed"):
        data.load(config)
    with pytest.raises(TrainingError, match="not a folder"):
        data.load(make_config(folder=str(tmp_path / "v0.nii.gz")))


def test_a_dataset_of_pictures_is_no_dataset_of_volumes() -> None:
    with pytest.raises(DatasetError, match="has pictures, not volumes"):
        load_volumes("polyp_hyperkvasir_seg")


# --- the recipe ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 8}, "size"),
        ({"size": [8, 10, 8]}, "multiples of 4"),
        ({"config": {"unet": [16], "head": 32}}, "multiple of config.head"),
        ({"held_dataset": "brain_colin27_t1_brain"}, "go together"),
        ({"folder": None, "dataset": "brain_icbm152_t1"}, "go together"),
        ({"masks": True}, "masks"),
        ({"classes": True}, "classes"),
        ({"techniques": [{"name": "classical"}]}, "classical is a technique for pictures"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make_config(**changes)


def test_other_families_take_no_volumes() -> None:
    with pytest.raises(ValidationError, match="size"):
        parse({"family": "diffusion", "folder": "toys", "size": [8, 8, 8], "masks": False, "steps": 1})


def test_standardised_latents_change_no_volume() -> None:
    torch.manual_seed(0)
    autoencoder: Any = recipes.recipe(make_config(), Facts(1, 0, None)).generator().autoencoder
    x = torch.rand(2, 1, 8, 12, 8) * 2 - 1
    with torch.no_grad():
        mean, sigma = autoencoder.encode(x)
        noise = torch.randn_like(mean)
        made = autoencoder.decode(mean + sigma * noise)
        standardise(autoencoder, mean)
        after, sigma = autoencoder.encode(x)
        torch.testing.assert_close(after.mean((0, 2, 3, 4)), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(after.square().mean((0, 2, 3, 4)), torch.ones(3), atol=1e-4, rtol=0)
        torch.testing.assert_close(autoencoder.decode(after + sigma * noise), made, atol=1e-4, rtol=1e-3)


def test_the_target_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe: Any = recipes.recipe(make_config(), Facts(1, 0, None))
    torch.manual_seed(0)
    network: Any = recipe.generator()
    x, asked = torch.rand(32, 1, 8, 12, 8) * 2 - 1, []
    latents = network.autoencoder.encode(x)[0].detach()

    def none(noisy: Tensor, timesteps: Tensor) -> Tensor:
        asked.append((noisy, timesteps))
        return torch.zeros_like(noisy)

    monkeypatch.setattr(network.diffusion, "forward", none)
    found = recipe.loss(network, x, None, 2, torch.Generator().manual_seed(0))
    (noisy, times) = asked[0]
    alpha_bar_t = torch.from_numpy(SCHEDULE.alphas_cumprod).double()[times].view(-1, 1, 1, 1, 1)
    eps = (noisy - alpha_bar_t.sqrt() * latents) / (1 - alpha_bar_t).sqrt()
    assert abs(eps.mean()) < 0.03 and abs(eps.std() - 1) < 0.03
    v = alpha_bar_t.sqrt() * eps - (1 - alpha_bar_t).sqrt() * latents
    torch.testing.assert_close(found.total.double(), v.square().mean(), rtol=1e-4, atol=1e-6)


def test_stages_and_a_kill_between_them(tmp_path: Path) -> None:
    """Cut after the step that standardises the latents, and before; with more than one volume, and mirrored."""
    config, toys = make_config(mirror=True), make_toy(2)
    whole = small_trainer(config, toys, tmp_path / "whole")
    seen = []

    def report(step: int, losses: dict[str, float]) -> None:
        seen.append({name: value.clone() for name, value in whole.learner.generator.state_dict().items()})

    assert whole.run(report)
    changed = {name.partition(".")[0] for name in seen[0] if not torch.equal(seen[1][name], seen[3][name])}
    assert changed == {"diffusion"}
    changed = {name.partition(".")[0] for name in seen[0] if not torch.equal(seen[0][name], seen[1][name])}
    assert changed == {"autoencoder"}
    for last in (1, 3):
        folder = tmp_path / f"cut{last}"
        with pytest.raises(Killed):
            small_trainer(config, toys, folder).run(kill_at(last))
        assert small_trainer(config, toys, folder).run(quiet)
        assert_same(load(folder / "latest.pt"), load(tmp_path / "whole" / "latest.pt"))
    rows = read_table(tmp_path / "whole" / "log.csv")
    assert set(rows[0]) == {"step", "loss", "reconstruction", "kl", "v_error"}
    assert rows[1]["reconstruction"] > 0 == rows[1]["v_error"] and rows[2]["v_error"] > 0 == rows[2]["reconstruction"]


def test_the_zoo_shows_what_was_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(steps=3, ema=0.5)
    run = small_trainer(config, make_toy(), tmp_path / "run")
    run.run(quiet)
    registry, model = tmp_path / "registry", "99004_LDM_TOY"
    registry.mkdir()
    export(
        tmp_path / "run", model, registry, lambda *slices: {"kid": 0.5}, about(config, make_toy()), checkpoint="latest"
    )  # type: ignore[arg-type]
    monkeypatch.setenv("MEDZOO_REGISTRY", str(registry))
    entry = medzoo.info(model)
    assert (entry.output.type, entry.output.size, entry.output.spacing) == ("volume", (8, 12, 8), (2, 2, 2))
    assert "deformed copy" in (entry.notes or "")
    assert entry.config["schedule"]["clip_sample"] is False
    samples = medzoo.generate(model, 3, device="cpu")
    recipe, average = run.learner.recipe, run.learner.average
    pixels, masks = sample(recipe, average, 3, 0, torch.device("cpu"))
    shown = volumes.slices(torch.from_numpy(samples.images * 255)).numpy()
    assert masks is None and pixels.shape == (9, 1, 12, 12) and abs(shown - pixels).max() <= 0.5 + 0.1
    assert samples.images.std() > 0.01
    samples.save(tmp_path / "out", format="nifti", spacing=entry.output.spacing)
    back = read_volume(next((tmp_path / "out").glob("*.nii.gz")))
    assert back.stored.shape == (8, 12, 8) and back.spacing == (2, 2, 2)
