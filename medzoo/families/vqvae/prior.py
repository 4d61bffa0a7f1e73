"""A small transformer over the codes of an image (Vaswani et al., NeurIPS 2017; pre-norm), one after the other.

It says how likely each code is at a place, given the class and the codes before it in reading order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD = 32  # width of an attention head
Memory = tuple[Tensor, Tensor]  # keys and values of a layer, [n, heads, places, HEAD] each


class Prior(nn.Module):
    """Codes int64 [n, places] and classes int64 [n] -> logits [n, places, codes] of each code, given those before it.

    Attributes:
        dropout: share of the numbers that each layer drops in training.
    """

    def __init__(self, codes: int, places: int, classes: int, width: int, layers: int) -> None:
        super().__init__()
        self.given = nn.Embedding(max(1, classes), width)  # of the class, the same at every place
        self.code = nn.Embedding(codes, width)
        self.place = nn.Parameter(torch.empty(places, width))
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, codes)
        self.dropout = 0.0
        self.reset()

    def reset(self) -> None:
        """N(0, 0.02) weights and no biases."""
        nn.init.normal_(self.place, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        before = F.pad(self.code(codes[:, :-1]), (0, 0, 1, 0))  # nothing before the first
        x = F.dropout(before + self.place + self._given(labels)[:, None], self.dropout, self.training)
        for layer in self.layers:
            x = layer(x, self.dropout)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def sample(
        self, uniforms: Tensor, labels: Tensor | None = None, temperature: float = 1.0, top_k: int | None = None
    ) -> Tensor:
        """Codes int64 [n, places] for numbers U[0, 1) of the same shape.

        Keys and values of earlier places are kept, so every place costs one step.
        """
        n, places = uniforms.shape
        shape = n, self.place.shape[1] // HEAD or 1, places, min(HEAD, self.place.shape[1])
        memories = [(self.place.new_empty(shape), self.place.new_empty(shape)) for _ in self.layers]
        codes = torch.empty(n, places, dtype=torch.int64, device=uniforms.device)
        given = self._given(labels)
        x = given.expand(n, -1)
        for place in range(places):
            x = x + self.place[place]
            for layer, memory in zip(self.layers, memories, strict=True):
                x = layer.step(x, memory, place)
            codes[:, place] = pick(self.head(self.norm(x)), uniforms[:, place], temperature, top_k)
            x = self.code(codes[:, place]) + given
        return codes

    def _given(self, labels: Tensor | None) -> Tensor:
        """[n, width] of classes, or [1, width] where there are none."""
        given: Tensor = self.given.weight[:1] if labels is None else self.given(labels)
        return given


class Layer(nn.Module):
    """[n, places, width] -> the same shape: causal attention, then two linear layers, each added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        query, key, value = self._heads(x)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + F.dropout(self.out(seen.transpose(1, 2).flatten(2)), dropout, self.training)
        return x + F.dropout(self._think(x), dropout, self.training)

    def step(self, x: Tensor, memory: Memory, place: int) -> Tensor:
        """One place [n, width], which sees those in ``memory`` before it and is added there."""
        query, *new = self._heads(x[:, None])
        for store, one in zip(memory, new, strict=True):
            store[:, :, place : place + 1] = one
        seen = F.scaled_dot_product_attention(query, *(store[:, :, : place + 1] for store in memory))
        x = x + self.out(seen.flatten(1))
        return x + self._think(x)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [n, heads, places, HEAD]."""
        joined = self.attend(self.norm1(x)).unflatten(2, (3, -1, min(HEAD, x.shape[2]))).permute(2, 0, 3, 1, 4)
        query, key, value = joined
        return query, key, value

    def _think(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(self.norm2(x))))
        return out


def pick(logits: Tensor, uniforms: Tensor, temperature: float = 1.0, top_k: int | None = None) -> Tensor:
    """Codes int64 [n] from logits [n, codes] by numbers U[0, 1) [n]: the inverse of the cumulative probabilities.

    Args:
        temperature: below 1 likely codes become likelier.
        top_k: only so many of the likeliest codes; None for all.
    """
    logits = logits.double() / temperature
    if top_k is not None and top_k < logits.shape[1]:
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    cumulative = logits.softmax(1).cumsum(1)
    cumulative = cumulative / cumulative[:, -1:]  # ends at 1 exactly, above every uniform number
    return torch.searchsorted(cumulative, uniforms.double()[:, None], right=True)[:, 0]
