"""Generated users of two domains, in the layout that ``prepare cross-domain`` reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def write_source(
    folder: Path, n_users: int = 60, n_items: tuple[int, int] = (40, 50), seed: int = 0, days: int = 30
) -> Path:
    """A folder of sequences and a map of items.

    Both domains have the same few tastes: a user stays with one for most of the time, so that either domain tells
    something of the other. Within a day items are sorted, as in the published files.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    tastes = 5
    taste_of = rng.integers(tastes, size=sum(n_items))
    lines = []
    for user in range(n_users):
        own = rng.integers(tastes)
        likely = np.where(taste_of == own, 12.0, 1.0)
        items = rng.choice(sum(n_items), size=rng.integers(6, 20), replace=False, p=likely / likely.sum())
        if (items < n_items[0]).all() or (items >= n_items[0]).all():
            items = np.append(items[:-1], [0 if items[0] >= n_items[0] else n_items[0]])
        when = np.sort(rng.integers(days, size=len(items))) * 86_400 + 1_380_000_000
        order = np.lexsort((items, when))
        lines.append(" ".join([str(user), *(f"{items[i] + 1}|{when[i]}" for i in order)]))
    (folder / "two_50_preprocessed.txt").write_text("\n".join(lines) + "\n")
    named = {f"N{item:04}": [item + 1, int(item >= n_items[0])] for item in range(sum(n_items))}
    (folder / "map_item_50.txt").write_text(json.dumps(named))
    return folder
