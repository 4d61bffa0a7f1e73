"""Prompts from many threads: each gets its own encoding, and the encoder runs for one of them at a time."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from medzoo.families import _clip_text
from medzoo.families._clip_text import Prompts

WIDTH, LENGTH = 3, 2
CPU = torch.device("cpu")


class Encoder(torch.nn.Module):
    """The number that stands in a prompt, in place of a hidden state; remembers how many threads were in it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(max_position_embeddings=LENGTH)
        self.inside, self.most, self.calls = 0, 0, 0

    def forward(self, tokens: torch.Tensor, return_dict: bool) -> Any:
        self.inside += 1
        self.calls += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.001)  # lets the other threads run
        self.inside -= 1
        return SimpleNamespace(last_hidden_state=tokens[:, None, None].float().expand(-1, LENGTH, WIDTH))


def tokenizer(texts: list[str], **_: Any) -> Any:
    return SimpleNamespace(input_ids=torch.tensor([int(text) for text in texts]))


def check(encoded: torch.Tensor, texts: list[str]) -> None:
    assert encoded.shape == (len(texts), LENGTH, WIDTH)
    assert encoded[:, 0, 0].tolist() == [float(text) for text in texts]


def test_prompts_of_many_threads_never_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as many prompts as are kept, so that each thread throws out what the others have just added."""
    monkeypatch.setattr(_clip_text, "KEPT", 16)
    prompts = Prompts(Encoder(), tokenizer)
    start = threading.Barrier(8)

    def ask(thread: int) -> None:
        start.wait()
        for first in range(0, 64, 4):
            texts = [str((thread * 8 + first + offset) % 64) for offset in range(4)]
            check(prompts.encode(texts, CPU), texts)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))  # raises what a thread raised
    assert prompts.encoder.most == 1


def test_a_copy_has_a_lock_of_its_own_and_the_same_encodings() -> None:
    prompts = Prompts(Encoder(), tokenizer)
    check(prompts.encode(["7"], CPU), ["7"])
    twin = copy.deepcopy(prompts)
    with prompts._lock:  # a shared lock would never be free
        check(twin.encode(["7", "8"], CPU), ["7", "8"])
    assert twin.encoder.calls == 2 and prompts.encoder.calls == 1
    with pickle.loads(pickle.dumps(prompts._lock)):
        pass
