"""Interactions as a table, before they are split: duplicates and the k-core."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recbole_cadmr.data.prepare.tally import Tally
from recbole_cadmr.errors import UserError


def clean(interactions: pd.DataFrame, tally: Tally) -> pd.DataFrame:
    """Interactions with usable ids, each pair once: its earliest, in the order given.

    Args:
        interactions: ``user_id``, ``item_id`` (text) and, if known, ``rating`` and ``timestamp`` (numbers).
    """
    ids = interactions[["user_id", "item_id"]]
    unusable = np.zeros(len(ids), dtype=bool)
    for name in ids:
        # An id that is empty, or would end a field or a line of an atomic file.
        unusable |= (ids[name].isna() | (ids[name] == "") | ids[name].str.contains("[\t\r\n]", regex=True)).to_numpy(
            bool
        )
    tally.note("interactions without a usable user or item id", n=int(unusable.sum()))
    kept = interactions[~unusable]
    if "timestamp" in kept:
        kept = kept.sort_values("timestamp", kind="stable")
    repeated = kept.duplicated(["user_id", "item_id"])
    tally.note("repeated interactions of a user with an item", n=int(repeated.sum()))
    return kept[~repeated].sort_index().reset_index(drop=True)


def k_core(interactions: pd.DataFrame, k: int) -> pd.DataFrame:
    """The largest part in which every user and every item has at least ``k`` interactions.

    Raises:
        UserError: if there is none.
    """
    codes = [pd.factorize(interactions[name])[0] for name in ("user_id", "item_id")]
    kept = np.arange(len(interactions))
    while len(kept):
        enough = np.ones(len(kept), dtype=bool)
        for code in codes:
            enough &= np.bincount(code[kept])[code[kept]] >= k
        if enough.all():
            return interactions.iloc[kept].reset_index(drop=True)
        kept = kept[enough]
    raise UserError(
        f"no interaction is left: none of the {len(interactions):,} lies in a {k}-core; give a smaller --k_core"
        if len(interactions)
        else "no interaction is left; look at what was passed over, or at --source"
    )
