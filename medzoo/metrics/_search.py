"""Nearest neighbours among feature vectors, exactly, in memory that does not grow with their number squared.

Tiles of the distance matrix are float32 matrix products of centred vectors. They only propose: every distance that
is given, or that lies so close to a radius that float32 could have got it wrong, is computed again in float64 from
the difference itself. So copies have distance 0 exactly, and nothing depends on the tiles beyond float64 rounding.
Where float32 cannot tell the neighbours apart (a collapsed generator), the products are repeated in float64; what
differs by less than 1e-7 of the extent of the set may still change places, with its own distances.

With 2048 values a product costs 29 ns an element of the tile on one core; looking for the few elements below a row's
present bound costs 0.5 ns, a partial sort of all (``argpartition``, ``torch.topk``) 6 ns. NumPy multiplies as fast as
torch within 8 %, so this file needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._tiles import Indices, Matrix, Tile, Vectors, tiles

BLOCK = 1024  # rows of either side in one tile
SPARE = 4  # candidates kept beyond k, so that rounding seldom leaves the k-th in doubt
PAIRS = 64  # differences computed at once: they stay in the processor's cache


class Neighbours(NamedTuple):
    """Euclidean distances [n, k], ascending, and rows of the other set [n, k]; the lower index first at a tie."""

    distances: Matrix
    indices: Indices


class Inside(NamedTuple):
    """How many pairs (row of a, row of b) lie inside a ball: for each row of a [n] and of b [m]."""

    a: Indices
    b: Indices


def nearest(queries: Vectors, base: Vectors, k: int = 1, *, block: int = BLOCK) -> Neighbours:
    """The ``k`` rows of ``base`` [m, d] nearest to each of ``queries`` [n, d].

    Raises:
        ValueError: an empty set, different widths, values that are not finite, or fewer than ``k`` rows in ``base``.
    """
    queries, base = checked(queries, "queries"), checked(base, "base")
    _same_width(queries, base)
    return _nearest(queries, base, _enough(k, len(base), "rows"), block)


def nearest_others(vectors: Vectors, k: int = 1, *, block: int = BLOCK) -> Neighbours:
    """The ``k`` other rows of ``vectors`` [n, d] nearest to each; a row that is equal is another row all the same.

    Raises:
        ValueError: an empty set, values that are not finite, or fewer than ``k`` other rows.
    """
    vectors = checked(vectors, "vectors")
    own = np.arange(len(vectors))
    return _nearest(vectors, vectors, _enough(k, len(vectors) - 1, "other rows"), block, own, symmetric=True)


def count_inside(
    a: Vectors, b: Vectors, *, around_a: Sequence[Matrix] = (), around_b: Sequence[Matrix] = (), block: int = BLOCK
) -> list[Inside]:
    """For each family of balls, which pairs of ``a`` [n, d] and ``b`` [m, d] are nearer than its radius, counted.

    Args:
        around_a: families of radii [n] of balls around the rows of ``a``.
        around_b: families of radii [m] around the rows of ``b``.

    Returns:
        one ``Inside`` a family, those around ``a`` first. A pair exactly at the radius is outside.

    Raises:
        ValueError: an empty set, different widths, or values that are not finite.
    """
    a, b = checked(a, "a"), checked(b, "b")
    _same_width(a, b)
    families = [(0, np.asarray(r, np.float64)) for r in around_a] + [(1, np.asarray(r, np.float64)) for r in around_b]
    per_family = [Inside(np.zeros(len(a), np.int64), np.zeros(len(b), np.int64)) for _ in families]
    for tile in tiles(a, b, np.float32, block):
        precise: Tile | None = None
        for (axis, radii), counts in zip(families, per_family, strict=True):
            hits = tile.below(axis, radii)
            # Float32 leaves many in doubt where a set has collapsed; float64 leaves next to none.
            if 64 * int(np.count_nonzero(~hits.certain)) > tile.square.size:
                precise = precise or tile.again(np.float64)
                hits = precise.below(axis, radii)
            doubt = np.flatnonzero(~hits.certain)
            rows, columns = hits.rows[doubt], hits.columns[doubt]
            near = pair_distances(a, b, rows, columns) < radii[rows if axis == 0 else columns]
            inside = hits.certain
            inside[doubt[near]] = True
            counts.a[tile.rows] += np.bincount(hits.rows[inside] - tile.rows.start, minlength=tile.square.shape[0])
            counts.b[tile.columns] += np.bincount(
                hits.columns[inside] - tile.columns.start, minlength=tile.square.shape[1]
            )
    return per_family


def pair_distances(a: Vectors, b: Vectors, rows: Indices, columns: Indices) -> Matrix:
    """Euclidean distances [p] of ``a[rows]`` and ``b[columns]`` (p indices each), from differences in float64."""
    out = np.empty(len(rows))
    for start in range(0, len(rows), PAIRS):
        part = slice(start, start + PAIRS)
        difference = np.subtract(a[rows[part]], b[columns[part]], dtype=np.float64)
        out[part] = np.einsum("pd,pd->p", difference, difference)
    return np.sqrt(out, out=out)


def checked(vectors: Vectors, name: str) -> Vectors:
    """``vectors`` as [n, d] floats with at least one row.

    Raises:
        ValueError: it is not, or a value is not finite.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"{name} must be [n, d] with at least one row, found {list(vectors.shape)}")
    if vectors.dtype not in (np.float32, np.float64):
        vectors = vectors.astype(np.float64)
    for start in range(0, len(vectors), BLOCK):
        good = np.isfinite(vectors[start : start + BLOCK]).all(1)
        if not good.all():
            raise ValueError(f"{name}: row {start + int(good.argmin())} holds values that are not finite")
    return vectors


def _same_width(a: Vectors, b: Vectors) -> None:
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"vectors of one width are needed, found {list(a.shape)} and {list(b.shape)}")


def _enough(k: int, there: int, what: str) -> int:
    if not 1 <= k <= there:
        raise ValueError(f"{k} nearest neighbours asked for, but there are {there} {what} to choose from")
    return k


def _nearest(
    queries: Vectors, base: Vectors, k: int, block: int, own: Indices | None = None, *, symmetric: bool = False
) -> Neighbours:
    """``own``: row of ``base`` that each query is itself, left out."""
    keep = min(k + SPARE, len(base) - (own is not None))
    distances, indices, sure = _settled(queries, base, k, keep, np.float32, block, own, symmetric)
    doubt = np.flatnonzero(~sure)
    if len(doubt):
        own = None if own is None else own[doubt]
        distances[doubt], indices[doubt], _ = _settled(queries[doubt], base, k, keep, np.float64, block, own, False)
    return Neighbours(distances, indices)


def _settled(
    queries: Vectors, base: Vectors, k: int, keep: int, dtype: Any, block: int, own: Indices | None, symmetric: bool
) -> tuple[Matrix, Indices, NDArray[np.bool_]]:
    """Exact distances and indices [n, k], and whether no row outside the candidates can be nearer than the k-th."""
    best = _Best(len(queries), keep, dtype)
    slack, scale = np.zeros(len(queries)), 1.0
    for tile in tiles(queries, base, dtype, block, own, symmetric):
        best.offer(tile, 0)
        if symmetric and tile.rows != tile.columns:
            best.offer(tile, 1)
            slack[tile.columns] = np.maximum(slack[tile.columns], tile.slack(1))
        slack[tile.rows] = np.maximum(slack[tile.rows], tile.slack(0))
        scale = tile.scale
    rows = np.repeat(np.arange(len(queries)), keep)
    exact = pair_distances(queries, base, rows, best.indices.ravel()).reshape(-1, keep)
    order = np.lexsort((best.indices, exact))[:, :k]
    distances = np.take_along_axis(exact, order, 1)
    indices = np.take_along_axis(best.indices, order, 1)
    complete = keep == len(base) - (own is not None)
    sure = complete | (best.bound.astype(np.float64) - slack > (distances[:, -1] / scale) ** 2)
    return distances, indices, sure


class _Best:
    """The ``keep`` smallest elements of each row of a matrix of which tiles are seen, left to right."""

    def __init__(self, n: int, keep: int, dtype: Any) -> None:
        self.keep = keep
        self.squares = np.full((n, keep), np.inf, dtype)
        self.indices = np.zeros((n, keep), np.int64)
        self.bound = np.full(n, np.inf, dtype)  # the largest of each row

    def offer(self, tile: Tile, axis: int) -> None:
        mine, other = (tile.rows, tile.columns) if axis == 0 else (tile.columns, tile.rows)
        bound = self.bound[mine]
        if np.isinf(bound).any():
            square = tile.square if axis == 0 else np.ascontiguousarray(tile.square.T)
            at = np.broadcast_to(np.arange(other.start, other.stop), square.shape)
            if square.shape[1] > self.keep:
                order = np.argpartition(square, self.keep - 1, axis=1)[:, : self.keep]
                square, at = np.take_along_axis(square, order, 1), np.take_along_axis(at, order, 1)
            self._merge(mine, np.arange(len(bound)), square, at)
            return
        who, which = np.divmod(
            np.flatnonzero(tile.square < (bound[:, None] if axis == 0 else bound)), tile.square.shape[1]
        )
        squares = tile.square[who, which]
        if axis == 1:
            order = np.argsort(which, kind="stable")
            who, which, squares = which[order], who[order], squares[order]
        if not len(who):
            return
        counts = np.bincount(who, minlength=len(bound))
        rows = np.flatnonzero(counts)
        place = np.cumsum(counts > 0) - 1
        rank = np.arange(len(who)) - np.repeat(np.cumsum(counts) - counts, counts)
        found = np.full((len(rows), counts.max()), np.inf, squares.dtype)
        at = np.zeros(found.shape, np.int64)
        found[place[who], rank] = squares
        at[place[who], rank] = which + other.start
        self._merge(mine, rows, found, at)

    def _merge(self, mine: slice, rows: Indices, squares: Vectors, indices: Indices) -> None:
        """Rows ``rows`` of the slice ``mine`` with more elements [r, any]."""
        squares = np.concatenate([self.squares[mine][rows], squares], 1)
        indices = np.concatenate([self.indices[mine][rows], indices], 1)
        order = np.argsort(squares, axis=1, kind="stable")[:, : self.keep]
        self.squares[mine][rows] = np.take_along_axis(squares, order, 1)
        self.indices[mine][rows] = np.take_along_axis(indices, order, 1)
        self.bound[mine] = self.squares[mine][:, -1]
