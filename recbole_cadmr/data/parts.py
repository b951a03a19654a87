"""Warnings about the parts of a split: users and items only held out, and pairs both held out and in training."""

from __future__ import annotations

from logging import getLogger
from typing import Any

import numpy as np


def report_parts(train: Any, valid: Any, test: Any) -> None:
    """Log what makes held-out interactions trivial or unreachable, counted by part."""
    log, name = getLogger("recbole_cadmr"), train.dataset_name
    users, items = train.uid_field, train.iid_field
    pairs_of = {part: _pairs(data) for part, data in (("train", train), ("validation", valid), ("test", test))}
    repeated = sum(len(pairs) - len(np.unique(pairs)) for pairs in pairs_of.values())
    if repeated:
        log.warning(f"{repeated:,} interactions of {name} repeat a user and an item of their part")
    for held_out, earlier in (("validation", "train"), ("test", "train"), ("test", "validation")):
        both = int(np.isin(pairs_of[held_out], pairs_of[earlier]).sum())
        if both:
            advice = (
                "prepare the set again without them (rm_dup_inter does not act on a set that comes split)"
                if train.benchmark_filename_list
                else "leave repeated ones out with --rm_dup_inter=first"
            )
            log.warning(
                f"{both:,} of {len(pairs_of[held_out]):,} held-out {held_out} interactions of {name} are {earlier} "
                f"interactions, too, which makes them easy to rank; {advice}"
            )
    for field, what, fate, tell in ((users, "user", "kept", log.warning), (items, "item", "ranked", log.info)):
        held_out = np.concatenate([data.inter_feat[field].numpy() for data in (valid, test)])
        if late := len(np.setdiff1d(held_out, train.inter_feat[field].numpy())):
            who = f"1 {what} has" if late == 1 else f"{late:,} {what}s have"
            tell(f"{who} held-out interactions only in {name}; {'it is' if late == 1 else 'they are'} {fate}")
    if train.item_feat is not None:
        used = np.unique(np.concatenate([data.inter_feat[items].numpy() for data in (train, valid, test)]))
        if unused := train.item_num - 1 - len(used):
            log.warning(f"{unused:,} items of the file {name}.item have no interactions; they are ranked, too")


def _pairs(part: Any) -> np.ndarray:
    return (part.inter_feat[part.uid_field] * part.item_num + part.inter_feat[part.iid_field]).numpy()
