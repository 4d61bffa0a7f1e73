"""Prompts -> what the UNet attends to: CLIP's tokenizer and text encoder (Radford et al. 2021)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from medzoo.errors import CheckpointError
from medzoo.families._diffusers_config import json_words, short, words

END = "<|endoftext|>"
# Prompts whose encoding is kept, and prompts that are encoded at once.
KEPT, AT_ONCE = 256, 16


class _Lock:
    """A lock that a copy of its owner, in this process or another, has one of its own of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[_Lock], tuple[()]]:
        return _Lock, ()


class Prompts:
    """Encodes prompts, equal ones once.

    The text encoder is not needed while images are made, so it waits in main memory and goes to the device only for
    prompts that are new.

    Args:
        encoder: transformers' CLIP text encoder, which says how many tokens a prompt has: longer ones are cut, shorter
            ones filled up.
        tokenizer: transformers' CLIPTokenizer.
    """

    def __init__(self, encoder: Any, tokenizer: Any) -> None:
        self.encoder, self.tokenizer = encoder, tokenizer
        self.length: int = encoder.config.max_position_embeddings
        self._known: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = _Lock()  # the encoder goes to the device and back

    def encode(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """The last hidden state after its norm, [B, length, width], in the type of the encoder; from any thread."""
        # Kept for later calls, which may want gradients of something else: that refuses tensors of inference mode.
        with self._lock, torch.inference_mode(False), torch.no_grad():
            found = {text: self._known[text] for text in dict.fromkeys(texts) if text in self._known}
            new = [text for text in dict.fromkeys(texts) if text not in found]
            if new:
                self.encoder.to(device)
                for first in range(0, len(new), AT_ONCE):
                    part = new[first : first + AT_ONCE]
                    found.update(zip(part, self._hidden(part, device).cpu(), strict=True))
                self.encoder.to("cpu")
            self._keep(found)
            return torch.stack([found[text] for text in texts]).to(device)

    def _hidden(self, texts: list[str], device: torch.device) -> Tensor:
        tokens = self.tokenizer(
            texts, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        ).input_ids
        hidden: Tensor = self.encoder(tokens.to(device), return_dict=True).last_hidden_state
        return hidden

    def _keep(self, found: Mapping[str, Tensor]) -> None:
        for text, hidden in found.items():
            self._known[text] = hidden
            self._known.move_to_end(text)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)


def read_tokenizer(state: Mapping[str, Tensor], pad: str, vocab_size: int) -> Any:
    """CLIP's byte-pair tokenizer from ``vocab.json`` and ``merges.txt``, or from ``tokenizer.json``.

    Args:
        pad: the token that prompts are filled up with.
        vocab_size: tokens that the encoder knows.

    Raises CheckpointError: no such parts, or they do not hold what they should.
    """
    from transformers import CLIPTokenizer

    vocab, merges = _vocabulary(state)
    for token in ("<|startoftext|>", END, pad):
        if token not in vocab:
            raise CheckpointError(f"tokenizer: its vocabulary has no token {short(token)}")
    if max(vocab.values()) >= vocab_size:
        raise CheckpointError(
            f"tokenizer: its vocabulary goes to {max(vocab.values())}, the text encoder knows {vocab_size} tokens"
        )
    try:
        return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad)
    except Exception as error:  # whatever the library says of words that are none, such as halves of a character
        raise CheckpointError(f"tokenizer: its vocabulary makes no tokenizer ({type(error).__name__})") from None


def pad_token(state: Mapping[str, Tensor]) -> str | None:
    """What prompts are filled up with, as ``tokenizer_config.json`` says; None where it does not."""
    stated = (json_words(state, "tokenizer/tokenizer_config") or {}).get("pad_token")
    found = stated.get("content") if isinstance(stated, dict) else stated
    return found if isinstance(found, str) else None


def _vocabulary(state: Mapping[str, Tensor]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    vocab, lines = json_words(state, "tokenizer/vocab"), words(state, "tokenizer/merges")
    if vocab is not None and lines is not None:
        merges: Any = [line for line in lines.splitlines() if line.strip() and not line.startswith("#version")]
    elif (whole := json_words(state, "tokenizer/tokenizer")) is not None:
        model = whole.get("model")
        if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
            raise CheckpointError("tokenizer/tokenizer.json: expected a byte-pair model of CLIP")
        vocab, merges = model.get("vocab"), model.get("merges")
    else:
        raise CheckpointError(
            "the parts tokenizer/vocab (vocab.json) and tokenizer/merges (merges.txt) are missing, or "
            "tokenizer/tokenizer (tokenizer.json) in their place"
        )
    if not isinstance(vocab, dict) or not vocab or not all(type(n) is int and n >= 0 for n in vocab.values()):
        raise CheckpointError("tokenizer: expected a vocabulary of words and their numbers, 0 and more")
    if not isinstance(merges, list):
        raise CheckpointError(f"tokenizer: expected a list of merges, found {short(merges)}")
    pairs: list[Any] = [tuple(one.split()) if isinstance(one, str) else one for one in merges]
    pairs = [tuple(one) if isinstance(one, list) else one for one in pairs]
    for pair in pairs:
        words_of_it = isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(one, str) for one in pair)
        if not words_of_it or not set(pair) | {"".join(pair)} <= vocab.keys():
            raise CheckpointError(f"tokenizer: {short(pair)} is no merge of two words of the vocabulary")
    return vocab, pairs
