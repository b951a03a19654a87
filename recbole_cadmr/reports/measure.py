"""Metrics of recommendation lists: by stratum, and of the lists as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recbole_cadmr.runs.topk_lists import RANKING, TopKLists, of_pairs

COLD = "cold items"  # how the names of their strata begin
_ACTIVITY = (("users with 1 to 5 train items", 1, 5), ("users with 6 to 10", 6, 10), ("users with more", 11, np.inf))
_RARE = 5  # most train interactions of a rare item
_COLD = "cold items (no train interaction)"
_TAIL = 0.8  # share of the items, the least chosen ones, that make the tail


def strata(lists: TopKLists) -> dict[str, np.ndarray]:
    """Which held-out pairs belong to each stratum: bool [n] by its name. Empty strata are left out."""
    degree, activity = lists.item_degree[lists.held_item], lists.user_degree[lists.held_row]
    chosen = {
        _COLD: degree == 0,
        f"rare items (1 to {_RARE})": (degree > 0) & (degree <= _RARE),
        "other items": degree > _RARE,
        "items missing a modality": lists.missing[lists.held_item],
        "users without train items": activity == 0,
        **{name: (activity >= low) & (activity <= high) for name, low, high in _ACTIVITY},
    }
    return {name: pairs for name, pairs in chosen.items() if pairs.any()}


def by_stratum(
    lists: TopKLists, topk: Sequence[int], metrics: Sequence[str] = RANKING, from_file: bool = False
) -> dict[str, dict[str, float]]:
    """Means over the users that have held-out items of a stratum; ``users`` and ``pairs`` say how many these are.

    A stratum restricts what is to be found, never the candidates. ``cold items among themselves`` is the exception:
    cold items alone are ranked. A model that cannot score cold items has no metrics of the two, lists ``from_file``
    none of the latter.
    """
    pairs_of = strata(lists)
    metrics_of = {name: _means(lists, lists.top, pairs, topk, metrics) for name, pairs in pairs_of.items()}
    if _COLD in pairs_of:
        metrics_of[f"{COLD} among themselves"] = _means(lists, lists.top_cold, pairs_of[_COLD], topk, metrics)
        if not lists.top_cold.shape[1]:
            counts = {name: metrics_of[_COLD][name] for name in ("users", "pairs")}
            metrics_of |= {f"{COLD} among themselves": counts} | ({} if from_file else {_COLD: counts})
    return metrics_of


def _means(
    lists: TopKLists, top: np.ndarray, pairs: np.ndarray, topk: Sequence[int], metrics: Sequence[str]
) -> dict[str, float]:
    users, values = of_pairs(lists, top, pairs, topk, metrics)
    counts = {"users": float(len(users)), "pairs": float(pairs.sum())}
    return counts | {name: float(value.mean()) for name, value in values.items()}


def diversity(lists: TopKLists, topk: Sequence[int]) -> dict[str, float]:
    """Coverage (share of all items that anyone is shown), Gini index of how often items are shown, and share of what is
    shown that belongs to the tail, the 80% of the items with the fewest train interactions.

    The first two are RecBole's ``ItemCoverage`` and ``GiniIndex`` without the padding item, which RecBole counts as one
    that is never shown.
    """
    n_items = len(lists.item_degree) - 1
    order = np.argsort(lists.item_degree[1:], kind="stable") + 1
    tail = np.zeros(n_items + 1, dtype=bool)
    tail[order[: int(_TAIL * n_items)]] = True
    figures = {}
    for k in topk:
        shown = np.sort(counts := np.bincount(lists.top[:, :k].ravel(), minlength=n_items + 1)[1:])
        total = max(int(shown.sum()), 1)
        figures[f"itemcoverage@{k}"] = float((shown > 0).mean())
        figures[f"giniindex@{k}"] = float(
            ((2 * np.arange(1, n_items + 1) - n_items - 1) * shown).sum() / n_items / total
        )
        figures[f"tailpercentage@{k}"] = float(counts[tail[1:]].sum() / total)
    return figures
