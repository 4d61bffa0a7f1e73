"""From an id to samples, over real registry files and real weights on disk."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub.constants  # noqa: F401  (reads the environment once: before a test changes it)
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import medzoo
from medzoo import weights, zoo
from medzoo.cli import main
from medzoo.errors import (
    ArgumentError,
    CheckpointError,
    ConditionError,
    DeviceError,
    DownloadError,
    EntryError,
    GenerationError,
    ImageFileError,
    IntegrityError,
    MedzooError,
    RegistryError,
    SavingError,
    UnknownModelError,
    WeightsError,
)
from tests.conftest import entry_fields, masked, random_state
from tests.tools.saving_case import content
from tests.tools.servers import ZenodoServer

AddModel = Callable[..., str]
HAND = "99101_MONAI_GAN_MEDNIST_HAND"


@pytest.fixture
def add_hand(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The published MedNIST checkpoint, read where it lies."""
    fields = entry_fields(
        model_id=HAND,
        config={"latent": 64, "start_shape": [64, 8, 8], "channels": [32, 16, 8, 1], "strides": [2, 2, 2, 1]},
        checkpoint={"container": "torch", "key": None, "strip_prefix": None},
        weights=[
            {
                "kind": "local",
                "path": str(shared / "checkpoints" / "mednist_gan" / "model.pt"),
                "sha256": "5302e6adf714d568bfc6d5238fc28c03cc99f4d623e3e1c9c5b1a6a56960d395",
            }
        ],
    )
    fields["output"] |= {"size": [64, 64]}
    folder = tmp_path / "hand"
    folder.mkdir()
    (folder / f"{HAND}.yaml").write_text(json.dumps(fields))
    monkeypatch.setenv("MEDZOO_REGISTRY", str(folder))
    return HAND


def test_published_weights_from_id_to_images(add_hand: str) -> None:
    samples = zoo.generate(add_hand, 6)
    assert samples.images.shape == (6, 1, 64, 64) and samples.model_id == HAND
    assert samples.weights_sha256 == "5302e6adf714d568bfc6d5238fc28c03cc99f4d623e3e1c9c5b1a6a56960d395"
    # Hands point to the left: the wrist at the right border is bright, the corners are dark.
    assert samples.images[:, 0, 24:40, -8:].mean(axis=(1, 2)).min() > 0.5
    assert samples.images[:, 0, :10, :10].mean(axis=(1, 2)).max() < 0.25
    assert samples.images.std(axis=0).mean() > 0.05


def test_generate_stream_and_load_agree(add_model: AddModel) -> None:
    model_id = add_model(**masked())
    whole = zoo.generate(model_id, 10, seed=4, start=2)
    assert whole.images.shape == (10, 3, 8, 8) and whole.masks is not None and whole.masks.shape == (10, 1, 8, 8)
    parts = list(zoo.stream(99001, 10, seed=4, start=2, batch_size=4))
    assert [len(part) for part in parts] == [4, 4, 2]
    for other in (sum(parts[1:], parts[0]), zoo.load("99001").generate(10, seed=4, start=2)):
        np.testing.assert_allclose(other.images, whole.images, atol=1e-5)
        assert other.indices.tolist() == list(range(2, 12))
    one = zoo.generate(model_id, 1, seed=4, start=7)
    np.testing.assert_allclose(one.images, whole[5].images, atol=1e-5)
    assert zoo.generate(model_id, 0).images.shape == (0, 3, 8, 8)


def test_a_loop_of_generate_loads_the_model_once(add_model: AddModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model_id = add_model()
    zoo.generate(model_id, 1)
    cached = zoo._last
    assert cached is not None
    zoo.generate(model_id, 2, seed=9)
    assert zoo._last is cached
    zoo.generate(model_id, 1, precision="bfloat16")
    assert zoo._last is not cached
    # New weights under the same id are not taken for the old ones.
    before = zoo.generate(model_id, 1)
    add_model(random_state(entry_fields(), seed=1))
    after = zoo.generate(model_id, 1)
    assert after.weights_sha256 != before.weights_sha256 and not np.allclose(after.images, before.images)


def test_what_is_wrong_is_said_before_anything_is_fetched(
    add_model: AddModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_id = add_model()
    add_model({}, **entry_fields(model_id="99002_LATER", family="time_machine"))

    def fetch(*arguments: Any, **named: Any) -> None:
        pytest.fail("fetched")

    monkeypatch.setattr(weights, "fetch", fetch)
    with pytest.raises(DeviceError, match="unknown device 'gpu'; this machine has: cpu"):
        zoo.generate(model_id, 1, device="gpu")
    with pytest.raises(GenerationError, match="unknown precision 'half'"):
        zoo.generate(model_id, 1, precision="half")
    with pytest.raises(UnknownModelError, match="99001_TINY"):
        zoo.generate("99001_TINNY", 1)
    with pytest.raises(RegistryError, match=r"99002_LATER: its family 'time_machine' is not built yet\. Models that"):
        zoo.generate("99002", 1)
    add_model({}, **entry_fields(model_id="99003_TYPO", family="fastgn"))
    with pytest.raises(RegistryError, match=r"'fastgn' is not built yet; did you mean 'fastgan'\? Models that run"):
        zoo.generate("99003", 1)
    for precision, meant in (("fp16", "float16"), ("BF16", "bfloat16"), (torch.float64, "float32")):
        with pytest.raises(GenerationError, match=f"did you mean '{meant}'\\? Choose from"):
            zoo.generate(model_id, 1, precision=precision)
    with pytest.raises(EntryError, match="family 'monai_gan' has no truncation; nothing of its sampling can be chosen"):
        zoo.generate(model_id, 1, truncation=0.5)
    with pytest.raises(ConditionError, match="takes no images, which a window would be of"):
        zoo.load(model_id, window=(-100, 300))
    with pytest.raises(ConditionError, match="takes no condition"):
        zoo.stream(model_id, 1, "malignant")
    with pytest.raises(GenerationError, match="batch_size must lie"):
        zoo.generate(model_id, 1, batch_size=0)
    with pytest.raises(ConditionError, match="there is no file or folder 'nowhere'"):
        zoo.generate("00021", condition="nowhere")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageFileError, match=r"broken\.png"):
        medzoo.generate_into(tmp_path / "out", "00021", condition=tmp_path / "broken.png")
    for format, words in (("gif", "no format is named 'gif'"), ("npy", "32-bit floats")):
        with pytest.raises(SavingError, match=words):
            medzoo.generate_into(tmp_path / "out", model_id, 1, format=format, bits=16)
    with pytest.raises(EntryError, match=r"sampling\.step: unknown field; did you mean 'steps'\?"):
        zoo.load("10003", override={"sampling": {"step": 5}})
    with pytest.raises(EntryError, match=r"sampling\.sampler: expected 'ddpm', .*found 'dpm'"):
        zoo.generate("10003", 1, sampler="dpm")


def test_options_are_those_of_the_command(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"steps": 2, "sampler": "ddim", "guidance": 2.0}
    samples = zoo.generate("10003", 2, "pneumonia", **chosen)
    (streamed,) = zoo.stream("10003", 2, "pneumonia", **chosen)
    loaded = zoo.load("10003", override={"sampling": {"steps": 9}}, **chosen).generate(2, "pneumonia")
    assert samples.classes == ("normal", "pneumonia") and samples.revision == streamed.revision == loaded.revision
    options = ["--steps", "2", "--sampler", "ddim", "--guidance", "2", "--class", "pneumonia", "--quiet"]
    for format, bits in (("png", 16), ("npy", 8), ("npz", 8), ("dicom", 8), ("nifti", 8)):
        folders = tmp_path / f"python_{format}", tmp_path / f"cli_{format}"
        samples.save(folders[0], format=format, bits=bits)  # type: ignore[arg-type]
        arguments = ["generate", "10003", "-n", "2", "--format", format, "--bits", str(bits), "--out", str(folders[1])]
        assert CliRunner().invoke(main, [*arguments, *options]).exit_code == 0
        python, cli = (content(folder) for folder in folders)
        assert python.pop("run.json") and cli.pop("run.json") and python == cli
    assert zoo.load("10003", steps=np.int64(3)).entry.sampling.steps == 3  # type: ignore[arg-type]


def test_the_number_of_samples_has_a_default(add_model: AddModel) -> None:
    model_id = add_model(condition={"kind": "class", "classes": ["benign", "malignant"], "required": True})
    assert len(zoo.generate(model_id, condition=["benign", "malignant", "benign"])) == 3
    assert len(zoo.generate(model_id, condition="benign")) == sum(map(len, zoo.stream(model_id, condition=0))) == 10


def test_names_of_other_libraries_get_a_hint(add_model: AddModel) -> None:
    generate: Any = zoo.generate
    model_id = add_model()
    for arguments, meant in (
        ({"num_samples": 2}, "generate() takes no 'num_samples'; did you mean 'n'?"),
        ({"labels": [1]}, "did you mean 'condition'?"),
        ({"num_inference_steps": 5}, "did you mean 'steps'?"),
        ({"sed": 5}, "did you mean 'seed'?"),
        ({"output_path": "x"}, "samples.save(FOLDER) writes files"),
        ({"unicorn": 5}, "it takes model_id, n, condition, seed"),
    ):
        with pytest.raises(ArgumentError) as error:
            generate(model_id, **arguments)
        assert meant in str(error.value) and isinstance(error.value, TypeError)
    loaded: Any = zoo.load(model_id)
    with pytest.raises(ArgumentError, match=r"state it when the model is loaded: medzoo\.load\(\.\.\., steps=\.\.\.\)"):
        loaded.generate(2, steps=5)
    with pytest.raises(ArgumentError, match=r"medzoo\.load\(MODEL\)\.generate\(N, seed=\.\.\.\)"):
        loaded = zoo.load(model_id, seed=5)  # type: ignore[call-arg]


def test_progress_is_called_within_batches() -> None:
    seen: list[tuple[int, int, tuple[int, int] | None]] = []

    def watch(done: int, n: int, step: tuple[int, int] | None) -> None:
        seen.append((done, n, step))

    generator = zoo.load("10003", steps=2, sampler="ddim")
    generator.generate(3, "normal", batch_size=2, progress=watch)
    assert [item for item in seen if item[2] is None] == [(0, 3, None), (2, 3, None), (3, 3, None)]
    assert (0, 3, (2, 2)) in seen and (2, 3, (1, 2)) in seen and generator.on_progress is None


def test_arguments_reach_the_generator(add_model: AddModel) -> None:
    model_id = add_model()
    with pytest.raises(GenerationError, match="n must lie"):
        zoo.generate(model_id, -1)
    with pytest.raises(ConditionError, match="takes no condition"):
        zoo.generate(model_id, 1, "malignant")
    with pytest.raises(GenerationError, match="seed must be a whole number"):
        zoo.stream(model_id, 1, seed="x")  # type: ignore[arg-type]


def test_weights_that_do_not_fit_are_told(add_model: AddModel) -> None:
    model_id = add_model(random_state(entry_fields(**masked())))
    with pytest.raises(CheckpointError, match=r"99001_TINY: .* of another shape: conv\.layer_1"):
        zoo.load(model_id)


def test_changed_weights_are_refused(add_model: AddModel, tmp_path: Path) -> None:
    model_id = add_model()
    path = tmp_path / "registry" / f"{model_id}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError, match="99001_TINY"):
        zoo.fetch_weights(model_id)


def test_fetch_weights_gives_the_file(add_model: AddModel) -> None:
    (found,) = zoo.fetch_weights(add_model())
    assert set(load_file(found.path)) == set(random_state(entry_fields()))


def test_gradients_through_a_loaded_model(add_model: AddModel) -> None:
    generator = zoo.load(add_model(), fused=False)
    latents = generator.latents([3]).requires_grad_()
    (gradient,) = torch.autograd.grad(generator.decode(latents).sum(), latents)
    assert gradient.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in generator.network.parameters())


class TestHub:
    """``hf://``: the text comes from the Hub client, the rest is the ordinary path."""

    COMMIT = "a" * 40

    @pytest.fixture
    def hub(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        asked: list[tuple[Any, ...]] = []
        other = {"kind": "hub", "repo": "else/where", "revision": None, "file": "w.safetensors", "sha256": None}
        fields = entry_fields(weights=[other | {"repo": "org/model"}, other])

        def fetch_text(repo: str, revision: str | None, filename: str) -> weights.HubText:
            asked.append((repo, revision, filename))
            return weights.HubText(json.dumps(fields), self.COMMIT)

        monkeypatch.setattr(weights, "fetch_text", fetch_text)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        return asked

    def test_weights_beside_the_entry_are_pinned_to_its_commit(self, hub: list[tuple[Any, ...]]) -> None:
        with pytest.raises(DownloadError) as caught:
            zoo.generate("hf://org/model@v1.0", 1)
        assert hub == [("org/model", "v1.0", "medzoo.yaml")]
        assert f"org/model@{self.COMMIT}" in str(caught.value) and "else/where@main" in str(caught.value)

    def test_without_a_revision(self, hub: list[tuple[Any, ...]]) -> None:
        with pytest.raises(DownloadError):
            zoo.fetch_weights("hf://org/model")
        assert hub == [("org/model", None, "medzoo.yaml")]

    def test_no_command_asks_this_machine_for_it(
        self, hub: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever looks at the weights of a stranger's entry, its URLs may not lead here."""
        monkeypatch.delenv("HF_HUB_OFFLINE")
        with ZenodoServer() as server:
            source = {"kind": "http", "url": server.add("model.pt", b"x" * 1000), "sha256": None}
            text = json.dumps(entry_fields(weights=[source]))
            monkeypatch.setattr(weights, "fetch_text", lambda *_: weights.HubText(text, self.COMMIT))
            for ask in (zoo.load, zoo.fetch_weights, partial(zoo.generate, n=1)):
                with pytest.raises(DownloadError, match="is this machine or its own network"):
                    ask("hf://org/model")
            report = medzoo.check("hf://org/model")
            assert any("is this machine or its own network" in finding.reason for finding in report.findings)
            assert server.log == []

    def test_samples_say_where_they_come_from(
        self, hub: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """An entry of the Hub may state any id; what it makes says its address and commit."""
        file = tmp_path / "w.safetensors"
        save_file(random_state(entry_fields()), file)
        monkeypatch.setattr(weights, "fetch", lambda *_, **options: weights.Weights(file, "0" * 64, "hub"))
        address = f"hf://org/model@{self.COMMIT}"
        monkeypatch.chdir(tmp_path)
        done = medzoo.generate_into(None, "hf://org/model", 2)
        assert done.folder == Path("samples") / f"hf--org--model--{self.COMMIT[:12]}"
        for name in ("run.json", "manifest.jsonl", "00000000.png"):
            assert address.encode() in (done.folder / name).read_bytes()
        assert zoo.generate("hf://org/model@v1.0", 1).model_id == address

    def test_info_shows_it_before_anything_is_fetched(self, hub: list[tuple[Any, ...]]) -> None:
        """Under its address and commit, as samples are: the id that a stranger's entry states may be anybody's."""
        address = f"hf://org/model@{self.COMMIT}"
        assert zoo.info("hf://org/model").model_id == address
        result = CliRunner().invoke(main, ["info", "hf://org/model@v1.0"])
        assert result.exit_code == 0 and "A tiny model for tests" in result.stdout
        assert result.stdout.startswith(address) and "99001_TINY" not in result.stdout
        stated = json.loads(CliRunner().invoke(main, ["info", "hf://org/model@v1.0", "--json"]).stdout)
        assert stated["model_id"] == address
        assert f"org/model, w.safetensors, revision {self.COMMIT}" in result.stdout

    def test_files_of_this_machine_are_refused(
        self, hub: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "secret.pt").write_bytes(b"secret")
        for source in (
            {"kind": "local", "path": str(tmp_path / "secret.pt"), "sha256": None},
            {"kind": "package", "file": str(tmp_path / "secret.pt"), "sha256": "0" * 64},
            {"kind": "hub", "repo": "org/model", "revision": None, "file": "../../secret.pt", "sha256": None},
        ):
            text = json.dumps(entry_fields(weights=[source]))
            monkeypatch.setattr(weights, "fetch_text", lambda *_, text=text: weights.HubText(text, self.COMMIT))
            with pytest.raises(MedzooError, match="an entry of the Hub|inside the repository"):
                zoo.load("hf://org/model")

    @pytest.mark.parametrize("address", ["hf://org", "hf://org/model/sub/x", "hf://", "hf://org/model@"])
    def test_what_is_no_address(self, address: str, hub: list[tuple[Any, ...]]) -> None:
        with pytest.raises(UnknownModelError, match="is no address; type hf://organisation/repository"):
            zoo.load(address)
        assert hub == []


def test_a_stream_of_many_samples_takes_the_memory_of_a_few(add_model: AddModel) -> None:
    """Twenty thousand images of 32 x 32 would be 82 MB."""
    output = {"type": "image", "size": [32, 32], "channels": 1, "masks": 0, "range": [0.0, 1.0], "spacing": None}
    config = {"latent": 2, "start_shape": [1, 32, 32], "channels": [1], "strides": [1], "num_res_units": 1}
    model_id = add_model(output=output, config=config)

    def resident() -> int:
        status = Path("/proc/self/statm")
        if not status.exists():
            pytest.skip("needs /proc")
        return int(status.read_text().split()[1]) * 4096

    sizes = []
    for n in (2_000, 20_000):
        for samples in zoo.stream(model_id, n, batch_size=500):
            assert np.isfinite(samples.images[0, 0, 0, 0])
        sizes.append(resident())
    assert sizes[1] - sizes[0] < 20e6


def test_importing_the_zoo_does_not_import_torch() -> None:
    code = "import sys, medzoo.zoo; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_model_of_several_files(tmp_path: Path, add_model: AddModel) -> None:
    """Each part is obtained and converted by itself; the family gets one state dict."""
    state = random_state(entry_fields())
    whole = zoo.load(add_model(state)).generate(2)
    registry = tmp_path / "registry"
    parts = {"linear": {k: v for k, v in state.items() if k.startswith("linear.")}}
    parts["conv"] = {k: v for k, v in state.items() if k not in parts["linear"]}
    for part, tensors in parts.items():
        save_file({key.removeprefix(f"{part}."): value for key, value in tensors.items()}, registry / f"{part}.st")
    fields = entry_fields(model_id="99002_PARTS")
    fields["weights"] = [
        {"kind": "local", "path": f"{part}.st", "sha256": None, "part": part} for part in ("linear", "conv")
    ]
    (registry / "99002_PARTS.yaml").write_text(json.dumps(fields))
    found = zoo.fetch_weights("99002_PARTS")
    assert [one.part for one in found] == ["linear", "conv"]
    samples = zoo.load("99002_PARTS").generate(2)
    np.testing.assert_allclose(samples.images, whole.images, atol=1e-5)  # weights that lie otherwise in memory
    assert samples.weights_sha256 == weights.joint_sha256({one.part: one.sha256 for one in found})
    del fields["weights"][0]["part"]
    (registry / "99002_PARTS.yaml").write_text(json.dumps(fields))
    with pytest.raises(RegistryError, match="either every source has a part or none has"):
        zoo.load("99002_PARTS")


def test_fields_of_an_entry_in_another_way(add_model: AddModel) -> None:
    model_id = add_model()
    ranged = zoo.load(model_id, override={"output": {"range": [-3.0, 4.0]}}).generate(1)
    plain = zoo.load(model_id).generate(1)
    assert ranged.revision != plain.revision
    np.testing.assert_allclose(ranged.images, (plain.images + 3) / 7, atol=1e-6)
    with pytest.raises(RegistryError, match=f"{model_id}: override: output: range needs low < high"):
        zoo.load(model_id, override={"output": {"range": [4.0, -3.0]}})
    with pytest.raises(RegistryError, match=f"{model_id}: is of family 'monai_gan'; leave family 'fastgan' out"):
        zoo.load(model_id, family="fastgan")
    with pytest.raises(RegistryError, match="load takes a model .* or weights="):
        zoo.load(model_id, weights="x.pt")


@pytest.mark.parametrize("layout", ["bare", "nested", "prefixed", "safetensors"])
def test_a_bare_file_is_a_model(tmp_path: Path, layout: str) -> None:
    """The state dict is found, the configuration told by its shapes."""
    fields = entry_fields(family="fastgan", config={"ngf": 8, "nz": 8, "nc": 4, "im_size": 128})
    state = random_state(fields)
    path = tmp_path / "weights.bin"
    if layout == "safetensors":
        save_file(state, path)
    else:
        other = {"discriminator.weight": torch.zeros(3, 3)}
        made = {"prefixed": {f"net.{k}": v for k, v in state.items()} | other, "bare": state}.get(layout)
        torch.save(made or {"d": other, "g": state, "step": 3}, path)
    override = {"output": {"masks": 1}}
    generator = zoo.load(family="fastgan", weights=path, override=override, device="cpu")
    samples = generator.generate(2)
    assert samples.images.shape == (2, 3, 128, 128) and samples.masks is not None
    assert samples.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match=r"weights.bin: nothing in it is a generator of family 'monai_gan'"):
        zoo.load(family="monai_gan", weights=path)
    found = zoo.load(str(path), override=override, device="cpu")  # the family is found, too
    assert (found.entry, found.name, generator.name) == (generator.entry, path.name, path.name)
    np.testing.assert_allclose(found.generate(2).images, samples.images, atol=1e-5)
    with pytest.raises(UnknownModelError, match="there is no file or folder .*gone.pt"):
        zoo.load(str(tmp_path / "gone.pt"))
    with pytest.raises(WeightsError, match="there is no file .*gone.pt"):
        zoo.load(family="fastgan", weights=tmp_path / "gone.pt")


def test_calls_in_a_loop_look_for_the_family_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medzoo.zoo import finding

    state = random_state({"family": "dcgan", "config": {"ngf": 4, "nz": 8, "nc": 1, "image_size": 32}})
    path, only = tmp_path / "x.pt", finding.only
    asked: list[str] = []

    def noted(bare: Any, **options: Any) -> Any:
        asked.append(bare.name)
        return only(bare, **options)

    monkeypatch.setattr(finding, "only", noted)
    torch.save(state, path)
    first = [zoo.generate(path, 1) for _ in range(3)]
    assert asked == ["x.pt"] and len({one.revision for one in first}) == 1
    torch.save({name: value * 2 for name, value in state.items()}, path)
    assert zoo.generate(path, 1).revision != first[0].revision  # the file has changed


def test_two_models_from_many_threads(add_model: AddModel) -> None:
    ids = [add_model(), add_model(model_id="99002_OTHER")]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda k: medzoo.generate(ids[k % 2], 1).model_id, range(200)))
    finally:
        sys.setswitchinterval(interval)
    assert made == [ids[k % 2] for k in range(200)]
