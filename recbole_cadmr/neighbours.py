"""The nearest rows of each row of a matrix of unit vectors: exact, or among those in the clusters nearest to it."""

from __future__ import annotations

import logging
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional as F

EXACT = 100_000  # rows up to which all pairs are compared
_RECALL = 0.95  # share of the nearest rows that the approximate search is to find
_SAMPLE = 1_000  # rows that it is measured on
_NUMBERS = 2**26  # of a block of cosines
_ROUNDS = 5  # of k-means
_PLACES = 2**23  # pairs of row and cluster that are held at once
_LONG = 60  # seconds, beyond which it is said how long it will take

_log = logging.getLogger("recbole_cadmr")


@torch.no_grad()
def nearest_rows(unit: Tensor, k: int, exact: int = EXACT) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest other rows of every row by cosine, nearest first, and these cosines: [n, k] each.

    Up to ``exact`` rows all pairs are compared, in time quadratic in n; memory is a block of cosines. Beyond, a row is
    compared with those in the clusters nearest to it, as in an inverted file (Jegou et al., TPAMI 2011); as many
    clusters as a sample of rows, whose neighbours are computed exactly, needs for .95 of them. The same rows give the
    same result.

    Args:
        unit: [n, d], of length 1.
        k: below n; 0 for none at all.
    """
    everything = torch.arange(len(unit), device=unit.device)
    if len(unit) <= exact or not k:
        return _nearest_of(everything, unit, k)
    start = perf_counter()
    generator = torch.Generator().manual_seed(0)
    centres = _centres(unit, generator)
    cluster = torch.cat([(rows @ centres.T).argmax(1) for rows in unit.split(_block(len(centres)))])
    sample = torch.randperm(len(unit), generator=generator)[:_SAMPLE].to(unit.device)
    true = _nearest_of(sample, unit, k)[0]
    # A neighbour is found if its cluster is among those that are searched: its rank among the row's clusters tells.
    to_centres = unit[sample] @ centres.T
    rank = torch.stack([(to_centres > to_centres.gather(1, c[:, None])).sum(1) for c in cluster[true].T])
    n_searched = int(rank.flatten().sort().values[int(_RECALL * (rank.numel() - 1))]) + 1
    recall = float((rank < n_searched).double().mean())
    share = n_searched / len(centres)
    if share > 0.3:  # a product of all rows is the faster one for its size
        _log.info(f"{len(unit):,} vectors form no clusters: the nearest ones are found by comparing all pairs")
        return _nearest_of(everything, unit, k)
    found = _in_clusters(unit, k, centres, cluster, n_searched)
    _log.info(
        f"the {k} nearest of {len(unit):,} vectors in {perf_counter() - start:.0f} s: {n_searched} of {len(centres):,} "
        f"clusters searched, recall {recall:.3f} (of {len(sample):,} vectors, beside an exact search)"
    )
    return found


def _block(n: int) -> int:
    """Rows of a block of ``n`` columns."""
    return max(_NUMBERS // max(n, 1), 1)


def _nearest_of(rows: Tensor, unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The nearest others of the given rows among all."""
    idx = torch.empty(len(rows), k, dtype=torch.long, device=unit.device)
    cos = torch.empty(len(rows), k, device=unit.device)
    block = _block(len(unit))
    cosines = unit.new_empty(min(block, len(rows)), len(unit))
    began = perf_counter()
    for start in range(0, len(rows), block):
        if start == block and (seconds := (perf_counter() - began) * len(rows) / block) > _LONG:
            _log.info(f"the {k} nearest of {len(rows):,} vectors: about {seconds:.0f} s")
        part = rows[start : start + block]
        cosine = torch.mm(unit[part], unit.T, out=cosines[: len(part)])
        cosine[torch.arange(len(part), device=unit.device), part] = -torch.inf
        cos[start : start + block], idx[start : start + block] = cosine.topk(k, dim=1)
    return idx, cos


def _centres(unit: Tensor, generator: torch.Generator) -> Tensor:
    """Directions of ``8 sqrt(n)`` clusters, by spherical k-means on a sample (Dhillon and Modha 2001)."""
    n_clusters = min(int(8 * len(unit) ** 0.5), len(unit))
    drawn = torch.randperm(len(unit), generator=generator)[: 32 * n_clusters].to(unit.device)
    sample = unit[drawn]
    centres = sample[:n_clusters].clone()
    for _ in range(_ROUNDS):
        sums = torch.zeros_like(centres)
        for rows in sample.split(_block(n_clusters)):
            sums.index_add_(0, (rows @ centres.T).argmax(1), rows)
        centres = torch.where(sums.any(1, keepdim=True), F.normalize(sums, dim=1), centres)
    return centres


def _in_clusters(unit: Tensor, k: int, centres: Tensor, cluster: Tensor, n_searched: int) -> tuple[Tensor, Tensor]:
    """The nearest rows in the ``n_searched`` clusters nearest to each row.

    By blocks of rows and by clusters: the rows of a block that search a cluster times those in it are one product.
    """
    idx = torch.zeros(len(unit), k, dtype=torch.long, device=unit.device)
    cos = torch.full((len(unit), k), -torch.inf, device=unit.device)
    members = _grouped(cluster, len(centres))
    for block in torch.arange(len(unit), device=unit.device).split(max(_PLACES // n_searched, 1)):
        nearest = [(unit[rows] @ centres.T).topk(n_searched, 1).indices for rows in block.split(_block(len(centres)))]
        searching = _grouped(torch.cat(nearest).flatten(), len(centres))
        for inside, places in zip(members, searching):
            for part in places.div(n_searched, rounding_mode="floor").split(_block(len(inside))):
                rows = block[part]
                cosine = (unit[rows] @ unit[inside].T).masked_fill_(rows[:, None] == inside, -torch.inf)
                cos[rows], place = torch.cat([cos[rows], cosine], 1).topk(k, 1)
                idx[rows] = torch.cat([idx[rows], inside.expand(len(rows), -1)], 1).gather(1, place)
    few = cos.isinf().any(1).nonzero().squeeze(1)  # fewer than k others there
    idx[few], cos[few] = _nearest_of(few, unit, k)
    return idx, cos


def _grouped(label: Tensor, n: int) -> tuple[Tensor, ...]:
    """The places of each of the labels below ``n``."""
    ends = torch.bincount(label, minlength=n).cumsum(0)
    return label.argsort(stable=True).tensor_split(ends[:-1].cpu())
