"""The shipped entries: all valid, true to the census of published generators, and honest about what is unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from medzoo import catalog
from medzoo.catalog import Located
from medzoo.results import ranking
from tests.tools.paths import ROOT

CENSUS = ROOT.parent / "shared" / "facts" / "medigan_census.json"
MEDNIST_README = ROOT.parent / "shared" / "checkpoints" / "mednist_gan" / "README.md"

# Facts of the census that the entries deliberately do not repeat; their notes say why.
NO_SIZE = {"00011_SINGAN_POLYP_PATCHES_W_MASKS"}
NO_LATENT = {"00019_PGGAN_CHEST_XRAY"}
OTHER_DATA = {"00012_C-DCGAN_MMG_MASSES", "00019_PGGAN_CHEST_XRAY"}
LATENT_KEYS = ("nz", "z_dim", "input_code_dim")


@pytest.fixture(scope="module")
def shipped() -> dict[str, Located]:
    found, broken = catalog.scan()
    assert not broken, "\n".join(map(str, broken))
    return {located.entry.model_id: located for located in found}


def census() -> list[dict[str, Any]]:
    return list(json.loads(CENSUS.read_text())["models"]) if CENSUS.exists() else []


def of_census(key: str) -> pytest.MarkDecorator:
    """One test for each record of the census."""
    records = census()
    if not records:
        return pytest.mark.parametrize(key, [pytest.param({}, marks=pytest.mark.skip(reason=f"needs {CENSUS.name}"))])
    return pytest.mark.parametrize(key, records, ids=[record["model_id"][:5] for record in records])


def test_every_shipped_file_is_an_entry(shipped: dict[str, Located]) -> None:
    files = {path.stem for path in (ROOT / "registry" / "models").glob("*")}
    assert files == set(shipped)
    assert {f"{number:05d}" for number in range(1, 24)} <= {model_id[:5] for model_id in shipped}
    assert {"00101_MONAI_GAN_MEDNIST_HAND", "00102_FASTGAN_POLYP_PATCHES_W_MASKS_HUB"} <= set(shipped)


def test_numbers_are_unique(shipped: dict[str, Located]) -> None:
    assert len({model_id[:5] for model_id in shipped}) == len(shipped)


def test_what_came_along_is_there(shipped: dict[str, Located]) -> None:
    for located in shipped.values():
        for source in located.entry.weights:
            if source.kind == "package":
                assert (located.registry / source.file).is_file(), source.file


def test_every_score_has_a_direction(shipped: dict[str, Located]) -> None:
    for located in shipped.values():
        metrics = [score.metric for score in located.entry.reported]
        metrics += [check.metric for check in located.entry.verified if check.metric]
        for metric in metrics:
            assert ranking.direction(metric) in ("lower", "higher", "nearest 0.5")


def test_an_unknown_container_is_explained(shipped: dict[str, Located]) -> None:
    for located in shipped.values():
        if located.entry.checkpoint.container == "unknown":
            assert located.entry.notes is not None
            assert any(word in located.entry.notes for word in ("not opened", "opened it", "needs converting"))


@of_census("record")
def test_network_facts_agree_with_the_census(shipped: dict[str, Located], record: dict[str, Any]) -> None:
    entry = shipped[record["model_id"]].entry
    size = None if entry.model_id in NO_SIZE else tuple(int(side) for side in record["image_size"][:2])
    assert entry.output.size == size
    latent = next((entry.config[key] for key in LATENT_KEYS if key in entry.config), None)
    assert latent == (None if entry.model_id in NO_LATENT else record["latent_size"])
    assert (entry.sampling.latent is None) == ("noise-to" not in record["task"])
    assert (entry.output.masks > 0) == record["returns_mask"]
    assert (entry.condition is None) == (record["conditions"] is None)
    if isinstance(record["channels"], int):
        network = entry.output.channels + entry.output.masks * ("noise-to-image+mask" in record["task"])
        assert network == record["channels"]


@of_census("record")
def test_provenance_agrees_with_the_census(shipped: dict[str, Located], record: dict[str, Any]) -> None:
    entry = shipped[record["model_id"]].entry
    for source in entry.weights:  # several where the package needs several files
        assert source.kind == "http"
        assert source.url == record["package_link"]
        assert source.sha256 == record["package_hash"]
    assert f"*/{record['weights_file']}" in [source.member for source in entry.weights]
    assert (entry.modality, entry.organ) == (record["modality"], record["organ"])
    assert entry.license.weights == record["license"]
    assert entry.training_data.public == {"public": True, "non-public": False}.get(record["dataset_type"])
    if entry.model_id not in OTHER_DATA:
        stated = [name.lower().split()[0] for name in entry.training_data.datasets]
        assert stated == [name.lower().split()[0] for name in record["dataset"]]
    if record["known_inconsistencies"] or entry.model_id in NO_SIZE | NO_LATENT | OTHER_DATA:
        assert entry.notes


@of_census("record")
def test_scores_agree_with_the_census(shipped: dict[str, Located], record: dict[str, Any]) -> None:
    entry = shipped[record["model_id"]].entry
    performance = record["performance"]
    stated = {score.metric: score for score in entry.reported}
    for metric in ("FID", "FID_ratio", "FID_RADIMAGENET", "FID_RADIMAGENET_ratio", "SSIM", "MSE", "PSNR"):
        assert (stated[metric.upper()].value if metric.upper() in stated else None) == performance.get(metric)
    if "FID_no_images" in performance:
        assert f"{performance['FID_no_images']} images" in str(stated["FID"].protocol)
    downstream = {**performance, **performance.get("downstream_task", {})}
    for task in ("CLF", "DET", "SEG"):
        regimes = downstream.get(task, {})
        expected = sorted(
            (f"{task}_{name}".upper(), float(value))
            for regime in ("trained_on_fake", "trained_on_real_and_fake")
            for name, value in regimes.get(regime, {}).items()
        )
        assert sorted((s.metric, s.value) for s in entry.reported if s.metric.startswith(task + "_")) == expected


def test_mednist_is_the_published_file(shipped: dict[str, Located]) -> None:
    if not MEDNIST_README.exists():
        pytest.skip("needs shared/checkpoints/mednist_gan beside the checkout")
    entry = shipped["00101_MONAI_GAN_MEDNIST_HAND"].entry
    text = MEDNIST_README.read_text()
    (source,) = entry.weights
    assert source.sha256 is not None and source.sha256 in text
    assert f"{source.size:,} bytes" in text
    assert entry.sampling.latent == "uniform"
    assert entry.output.range == (0, 1)


def test_the_hub_copy_is_no_claim_of_equal_numbers(shipped: dict[str, Located]) -> None:
    original = shipped["00010_FASTGAN_POLYP_PATCHES_W_MASKS"].entry
    copy = shipped["00102_FASTGAN_POLYP_PATCHES_W_MASKS_HUB"].entry
    assert copy.config == original.config and copy.sampling == original.sampling and copy.output == original.output
    assert (original.checkpoint.key, original.checkpoint.strip_prefix) == ("g", "module.")
    assert (copy.checkpoint.key, copy.checkpoint.strip_prefix) == (None, "model.")
    assert copy.reported == () and copy.license.weights != original.license.weights
