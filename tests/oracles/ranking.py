"""The ranking metrics once more, from their definitions and sharing no code with RecBole: loops, no tricks."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np


def ranking_metrics(
    scores: np.ndarray,
    masked: Mapping[int, Iterable[int]],
    held_out: Mapping[int, Collection[int]],
    topk: Iterable[int],
) -> dict[str, float]:
    """Metrics by RecBole's names (``recall@20``), averaged over the users that have held-out items.

    Args:
        scores: [n_users, n_items]. Mask the padding item by giving it to every user.
        masked: by user, the items that are left out of the ranking.
        held_out: by user, the different items to be found.
    """
    sums: dict[str, float] = {}
    users = [user for user, items in held_out.items() if len(items)]
    for user in users:
        out, wanted = set(masked.get(user, ())), set(held_out[user])
        ranking = [int(item) for item in np.argsort(-scores[user], kind="stable") if int(item) not in out]
        for k in topk:
            found = [item in wanted for item in ranking[:k]]
            places = [place for place, hit in enumerate(found, start=1) if hit]
            ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(wanted)) + 1))
            values = {
                "recall": len(places) / len(wanted),
                "ndcg": sum(1 / math.log2(place + 1) for place in places) / ideal,
                "hit": float(bool(places)),
                "precision": len(places) / k,
                "mrr": 1 / places[0] if places else 0.0,
                "map": sum(sum(found[:place]) / place for place in places) / min(k, len(wanted)),
            }
            for name, value in values.items():
                sums[f"{name}@{k}"] = sums.get(f"{name}@{k}", 0.0) + value
    return {name: total / len(users) for name, total in sums.items()}
