"""Recommendation lists that another toolkit has made, checked against a split and measured as those of a run are.

What a list may not hold is told by the split itself. A model trained on the train part, with the users' train items
left out as in every protocol here, lists none of these; one that was trained on another split lists them as readily as
held-out ones, some of which it has learnt. So lists with more train items than held-out ones are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import sha256_of
from recbole_cadmr.reports.list_rows import ITEM, KEY, USER, read_list_rows
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import split_data
from recbole_cadmr.runs.topk_lists import TopKLists
from recbole_cadmr.runs.undisturbed import undisturbed

_LEAST_USERS = 0.9  # share of the users with held-out items of whom there have to be lists
_TELLING = 20  # held-out items that random lists would hold, so that lists with none leave them out


@dataclass(frozen=True)
class SplitData:
    """A split data set by RecBole's numbers, as a run sees it.

    Attributes:
        users, items: number by id.
        n_items: items, the padding item included.
        n_candidates: the first of them, which an evaluation ranks; nobody has the others.
        train, valid, test: ``user * n_items + item`` of each pair, ascending, each once.
        masks_valid: whether validation items are left out of the test part's ranking.
        missing: bool [n_items], items that lack a modality.
        modalities: what the setting of that name says if it was changed, as in a result.
    """

    name: str
    users: dict[str, int]
    items: dict[str, int]
    n_items: int
    n_candidates: int
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    masks_valid: bool
    missing: np.ndarray
    modalities: object

    @property
    def known(self) -> np.ndarray:
        """Pairs that a ranking of the test part leaves out; held-out ones are always ranked."""
        seen = np.union1d(self.train, self.valid) if self.masks_valid else self.train
        return np.setdiff1d(seen, self.test)


def read_split(config: Config) -> SplitData:
    """The data set of a run, split as the run splits it.

    Raises:
        UserError: if it cannot be read, or ranks other candidates for each user.
    """
    if config["domain_field"] is not None:
        raise UserError(
            f"{config['dataset']} ranks the items of one domain for each user, which lists from files do not say; "
            f"leave out --lists for it"
        )
    with undisturbed(), scratch_folder():
        dataset, (train, valid, test) = split_data(config)
        missing = np.zeros(dataset.item_num, dtype=bool)
        if dataset.modality_names:
            present = [dataset.modality(name).present for name in dataset.modality_names]
            missing = ~torch.stack(present).all(0).numpy()
    train, valid, test = (np.unique(part.pair_ids().numpy()) for part in (train, valid, test))
    return SplitData(
        name=config["dataset"],
        users=_numbers(dataset, dataset.uid_field),
        items=_numbers(dataset, dataset.iid_field),
        n_items=dataset.item_num,
        n_candidates=dataset.item_num - dataset.new_item_count,
        train=train,
        valid=valid,
        test=test,
        masks_valid=config["mask_valid_at_test"],
        missing=missing,
        modalities=config.changed.get("modalities"),
    )


def _numbers(dataset: MultimodalDataset, field: str) -> dict[str, int]:
    return {str(token): number for number, token in enumerate(dataset.field2id_token[field]) if number}


@dataclass(frozen=True)
class ForeignLists:
    """Lists from a file, measurable.

    Attributes:
        path, sha256: of the file.
        seed: of the training behind it; None if the file is not one of several.
        lists: as of a run; a user whom the file leaves out has none.
        modalities: as of the split.
        rows: of the file.
        measured_at: the lengths that at least half of the lists have; nothing is known beyond.
        notes: what a reader of the results has to know, a clause each.
    """

    path: Path
    sha256: str
    seed: int | None
    lists: TopKLists
    modalities: object
    rows: int
    measured_at: list[int]
    notes: list[str]

    def __str__(self) -> str:
        return "; ".join([f"{self.path.name}, {self.rows:,} rows, SHA-256 {self.sha256[:12]}", *self.notes])


def read_foreign(path: Path, split: SplitData, topk: Sequence[int], seed: int | None = None) -> ForeignLists:
    """The lists in a file, for the users with held-out items, up to the longest of ``topk``.

    Items that the protocol leaves out are removed from them, and counted.

    Raises:
        UserError: as of :func:`read_list_rows`; if the file has unknown ids, an item or a rank twice in a list, lists
            of too few users, or seems to be of another split.
    """
    rows, sha256 = read_list_rows(path), sha256_of(path)
    user = _numbered(path, rows[USER], split.users, "users", split.name)
    item = _numbered(path, rows[ITEM], split.items, "items", split.name)
    _refuse_twice(path, rows, user * split.n_items + item)
    place = np.lexsort((rows[KEY], user))  # stable: what has the same score stays in the order of the file
    user, item = user[place], item[place]
    who = np.unique(split.test // split.n_items)
    tested = np.isin(user, who)
    pair = (user * split.n_items + item)[tested]
    found = _check_split(path, split, pair)
    notes = []
    if others := len(np.unique(user[~tested])):
        notes.append(f"{_count(others, 'user', 'users')} without held-out items passed over")
    without = len(who) - len(np.unique(user[tested]))
    if len(who) - without < _LEAST_USERS * len(who):
        raise UserError(
            f"{path} has lists of {len(who) - without:,} of the {len(who):,} users of {split.name} with held-out "
            f"items; make them for all of these"
        )
    if without:
        notes.append(f"{_count(without, 'user has', 'users have')} no list, which counts as one without a hit")
    for part, known in (("train", split.train), ("validation", np.setdiff1d(split.valid, split.train))):
        gone = np.isin(pair, np.intersect1d(known, split.known))
        if gone.any():
            notes.append(f"{_count(int(gone.sum()), 'item', 'items')} of the users' {part} part removed")
            pair = pair[~gone]
    nobodys = pair % split.n_items >= split.n_candidates
    if nobodys.any():
        notes.append(f"{_count(int(nobodys.sum()), 'row', 'rows')} of items that nobody has removed")
        pair = pair[~nobodys]
    lists, length = _lists(split, who, pair, max(topk))
    if short := int(((length > 0) & (length < max(topk))).sum()):
        notes.append(f"{_count(short, 'list is', 'lists are')} shorter than {max(topk)}")
    measured = [k for k in topk if 2 * (length >= k).sum() >= (length > 0).sum() > 0]
    if not measured:
        raise UserError(f"most lists of {path} hold fewer than {min(topk)} items; make them {max(topk)} long")
    if len(measured) < len(topk):
        beyond = ", ".join(str(k) for k in topk if k not in measured)
        notes.append(f"not measured at {beyond}, which most lists do not reach")
    # As often as test items are found, validation items of the same users would be.
    valid = found["test"] / max(1, len(split.test)) * np.isin(split.valid // split.n_items, who).sum()
    if not split.masks_valid and valid >= _TELLING and not found["valid"]:
        notes.append(
            "no list has a validation item, which those of runs here may have: its results are better for that "
            "(mask_valid_at_test=True measures all without them)"
        )
    return ForeignLists(path, sha256, seed, lists, split.modalities, len(rows), measured, notes)


def _numbered(path: Path, column: pd.Series, numbers: dict[str, int], what: str, dataset: str) -> np.ndarray:
    codes, ids = pd.factorize(column)
    of_ids = np.array([numbers.get(name, 0) for name in ids], dtype=np.int64)
    unknown = [name for name, number in zip(ids, of_ids) if not number]
    if unknown:
        raise UserError(
            f"{path} names {len(unknown):,} of {len(ids):,} {what} that {dataset} does not have, such as "
            f"{str(unknown[0])!r:.60}; lists need the ids of its files"
        )
    return of_ids[codes]


def _refuse_twice(path: Path, rows: pd.DataFrame, pairs: np.ndarray) -> None:
    twice = pd.Series(pairs).duplicated()
    if twice.any():
        row = rows.iloc[int(np.argmax(twice))]
        raise UserError(
            f"{path} lists the item {row[ITEM]!r:.60} twice for the user {row[USER]!r:.60}, as {twice.sum():,} "
            f"rows do; give each item once"
        )


def _check_split(path: Path, split: SplitData, pair: np.ndarray) -> dict[str, int]:
    """How many listed pairs are of the train, validation and test part; refuse lists that are of another split."""
    parts = {"train": np.setdiff1d(split.train, split.test), "valid": split.valid, "test": split.test}
    found = {name: int(np.isin(pair, part).sum()) for name, part in parts.items()}
    if found["train"] > found["test"]:
        raise UserError(
            f"{path} lists {found['train']:,} train items of {split.name} to the users who have them, and "
            f"{found['test']:,} held-out ones: it seems to be of another split, or to recommend what users have; train "
            f"on the train part of {split.name}, and leave its items out of the lists"
        )
    by_chance = len(pair) / len(np.unique(split.test // split.n_items)) * len(split.test) / (split.n_items - 1)
    if not found["test"] and by_chance >= _TELLING:
        raise UserError(
            f"{path} lists none of the {len(split.test):,} held-out items of {split.name}, of which random lists would "
            f"hold about {by_chance:,.0f}: it seems to leave out all that users have; leave out train items alone"
        )
    return found


def _lists(split: SplitData, who: np.ndarray, pair: np.ndarray, longest: int) -> tuple[TopKLists, np.ndarray]:
    """The lists, and how long each is (at most ``longest``), from pairs that stand together by user, best first."""
    row = np.searchsorted(who, pair // split.n_items)
    begin = np.searchsorted(row, np.arange(len(who)))
    place = np.arange(len(row)) - begin[row]
    top = np.zeros((len(who), min(longest, split.n_items - 1)), dtype=np.int32)
    inside = place < top.shape[1]
    top[row[inside], place[inside]] = pair[inside] % split.n_items
    n_users = 1 + max(split.users.values())
    user_degree = np.bincount(split.train // split.n_items, minlength=n_users)[who]
    item_degree = np.bincount(split.train % split.n_items, minlength=split.n_items)
    held_row, held_item = np.searchsorted(who, split.test // split.n_items), split.test % split.n_items
    lists = TopKLists(
        users=who.astype(np.int32),
        top=top,
        top_cold=np.zeros((len(who), 0), np.int32),
        held_row=held_row.astype(np.int32),
        held_item=held_item.astype(np.int32),
        user_degree=user_degree.astype(np.int32),
        item_degree=item_degree.astype(np.int32),
        missing=split.missing,
    )
    return lists, (top > 0).sum(1)


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
