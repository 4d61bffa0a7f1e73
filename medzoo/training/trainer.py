"""The training loop: one step, one log line, snapshots that survive a kill.

Everything random in step k is drawn from (seed, k), so a run that was killed and resumed follows the path of one that
was not.
"""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.families.fastgan import Network, noise_shapes
from medzoo.nets import compile_training
from medzoo.randomness import Noise
from medzoo.training.config import TrainConfig
from medzoo.training.diffaugment import diffaugment
from medzoo.training.fastgan import Discriminator, hinge_fake, hinge_real, resize
from medzoo.training.heldout import HeldOut

Report = Callable[[int, dict[str, float]], None]


class Trainer:
    """One run in one folder.

    Writes ``log.csv`` (a line every ten steps), ``heldout.csv``, ``samples/<step>.png`` (the same noise each time),
    ``latest.pt`` (to resume) and ``best.safetensors`` (the averaged generator with the smallest held-out KID).
    """

    def __init__(self, config: TrainConfig, train: Images, folder: Path, held_out: HeldOut | None) -> None:
        self.config, self.folder, self.held_out = config, folder, held_out
        self.data = tensors(train, config.masks)
        self.colours = train.images.shape[1]
        torch.manual_seed(config.seed)
        shape = {**config.config, "nc": self.data.shape[1], "im_size": config.size}
        self.generator, self.average = Network(**shape), Network(**shape)
        self.generator.reset()
        self.discriminator = Discriminator(config.ndf, self.data.shape[1], config.size)
        for net in (self.generator, self.average, self.discriminator):
            net.to(memory_format=torch.channels_last)
        self.average.load_state_dict(self.generator.state_dict())
        self.average.requires_grad_(False).eval()
        self.optimizers = [
            torch.optim.Adam(net.parameters(), config.lr, config.betas, fused=True)
            for net in (self.generator, self.discriminator)
        ]
        self.step = 0
        self.best = math.inf
        if config.compile:
            compile_training()

    def run(self, report: Report) -> None:
        """Train up to ``config.steps``, from wherever the folder left off."""
        (self.folder / "samples").mkdir(parents=True, exist_ok=True)
        if (self.folder / "latest.pt").exists():
            self.resume()
        logs: dict[str, float] = {}
        while self.step < self.config.steps:
            logs = self.one_step()
            self.step += 1
            if not all(math.isfinite(value) for value in logs.values()):
                raise TrainingError(
                    f"step {self.step}: a loss is not finite ({logs}); the last good state is {self.folder / 'latest.pt'}"
                )
            if self.step % 10 == 0:
                append(self.folder / "log.csv", {"step": self.step, **logs})
            report(self.step, logs)
            if self.step % self.config.held.every == 0 and self.held_out is not None:
                self.measure()
            if self.step % self.config.snapshot == 0 or self.step == self.config.steps:
                self.save()

    def one_step(self) -> dict[str, float]:
        """One update of the discriminator, one of the generator, one of the average."""
        config, rng = self.config, torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        pick = torch.randint(len(self.data), (config.batch,), generator=rng)
        real = self.data[pick].float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
        latent = torch.randn(config.batch, self.generator.nz, generator=rng)
        noise = [torch.randn(config.batch, *shape, generator=rng) for shape in noise_shapes(config.size)]
        quadrant = int(torch.randint(4, (1,), generator=rng))

        def augmented(big: Tensor, small: Tensor | None = None) -> tuple[Tensor, Tensor]:
            state = rng.get_state()
            big = diffaugment(big, config.augment, self.colours, rng)
            if small is None:
                return big, resize(big, config.size // 2)
            rng.set_state(state)  # the small image moves with the large one
            return big, diffaugment(small, config.augment, self.colours, rng)

        with self.autocast():
            fake = self.generator.images(latent, noise)
            real_pair = augmented(real)
            fake_pair = augmented(*fake)
            logits_real, maps = self.discriminator(*real_pair)
            logits_fake, _ = self.discriminator(*(image.detach() for image in fake_pair))
            pairs = self.discriminator.reconstructions(maps, *real_pair, quadrant)
        loss_real, loss_fake = hinge_real(logits_real.float(), rng), hinge_fake(logits_fake.float(), rng)
        rebuilt = torch.stack([(decoded.float() - target.float()).abs().mean() for decoded, target in pairs]).sum()
        self.update(1, loss_real + loss_fake + config.reconstruction * rebuilt)

        self.discriminator.requires_grad_(False)
        with self.autocast():
            logits, _ = self.discriminator(*fake_pair)
        loss_g = -logits.float().mean()
        self.update(0, loss_g)
        self.discriminator.requires_grad_(True)
        self.update_average()
        return {
            "loss_d": float((loss_real + loss_fake).detach()),
            "loss_g": float(loss_g.detach()),
            "reconstruction": float(rebuilt.detach()),
            "d_real": float(logits_real.detach().float().mean()),
            "d_fake": float(logits_fake.detach().float().mean()),
        }

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def update(self, which: int, loss: Tensor) -> None:
        self.optimizers[which].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[which].step()

    @torch.no_grad()
    def update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.generator.state_dict().items():
            mine = self.average.state_dict()[name]
            if value.is_floating_point() and not name.endswith(("_u", "_v")):
                mine.lerp_(value, 1 - decay)
            else:
                mine.copy_(value)

    def measure(self) -> None:
        """Held-out distances of the average; keeps it if it is the best so far."""
        assert self.held_out is not None
        started = time.monotonic()
        images, _ = self.sample(self.config.held.samples)
        scores = self.held_out(images)
        append(self.folder / "heldout.csv", {"step": self.step, **scores, "seconds": time.monotonic() - started})
        if scores["kid"] < self.best:
            self.best = scores["kid"]
            save_generator(self.average, self.folder / "best.safetensors", {"step": str(self.step), **text(scores)})

    @torch.inference_mode()
    def sample(self, n: int, batch: int = 32) -> tuple[np.ndarray, np.ndarray | None]:
        """Images uint8 [n, c, h, w] and masks uint8 [n, 1, h, w] of the average, from the zoo's own noise."""
        parts = []
        for start in range(0, n, batch):
            noise = Noise(self.config.held.seed, range(start, min(n, start + batch)))
            latent = noise.latent((self.average.nz,))
            maps = [noise.normal(shape) for shape in noise_shapes(self.config.size)]
            with self.autocast():
                parts.append(self.average(latent, maps).float())
        raw = torch.cat(parts).add(1).mul(127.5).clamp(0, 255)
        images = raw[:, : self.colours].round().to(torch.uint8).numpy()
        masks = (raw[:, self.colours :] > 127.5).to(torch.uint8).numpy()
        return images, masks if masks.shape[1] else None

    def save(self) -> None:
        """Everything needed to go on, in one file that appears whole; and the grid."""
        state = {
            "step": self.step,
            "best": self.best,
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        target = self.folder / "latest.pt"
        partial = target.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, target)
        grid(*self.sample(32)).save(self.folder / "samples" / f"{self.step:06d}.png")

    def resume(self) -> None:
        state = torch.load(self.folder / "latest.pt", weights_only=True)
        self.step, self.best = state["step"], state["best"]
        for name in ("generator", "average", "discriminator"):
            getattr(self, name).load_state_dict(state[name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for name in ("log.csv", "heldout.csv"):
            forget_after(self.folder / name, self.step)


def tensors(images: Images, masks: bool) -> Tensor:
    """uint8 [n, c (+1), h, w], the mask as 0 and 255 in the last channel."""
    parts = [images.images]
    if masks:
        if images.masks is None:
            raise TrainingError("masks: true, but the dataset has no masks; set masks: false")
        parts.append(images.masks * np.uint8(255))
    return torch.from_numpy(np.concatenate(parts, axis=1))


def grid(images: np.ndarray, masks: np.ndarray | None, columns: int = 8):  # type: ignore[no-untyped-def]
    """Contact sheet, each mask to the right of its image."""
    from PIL import Image

    if images.shape[1] == 1:
        images = images.repeat(3, axis=1)
    if masks is not None:
        images = np.concatenate([images, masks.repeat(3, axis=1) * np.uint8(255)], axis=3)
    n, _, h, w = images.shape
    rows = -(-n // columns)
    sheet = np.zeros((rows * h, columns * w, 3), np.uint8)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        sheet[row * h : (row + 1) * h, column * w : (column + 1) * w] = image.transpose(1, 2, 0)
    return Image.fromarray(sheet)


def save_generator(network: Network, path: Path, metadata: dict[str, str]) -> None:
    from safetensors.torch import save_file

    partial = path.with_suffix(".partial")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, partial, metadata)
    os.replace(partial, path)


def append(path: Path, row: dict[str, float]) -> None:
    """One line of a CSV file, with a header if it is the first."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow({key: f"{value:.6g}" for key, value in row.items()})


def forget_after(path: Path, step: int) -> None:
    """Drop the lines that a resumed run will write again."""
    if path.exists():
        header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and int(line.split(",")[0]) <= step]
        path.write_text("".join([header, *kept]), encoding="utf-8")


def text(scores: dict[str, float]) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in scores.items()}
