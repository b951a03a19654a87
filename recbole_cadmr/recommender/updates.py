"""Interactions that came after training, and the users in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from recbole_cadmr.data.prepare.interactions import is_usable, read_values
from recbole_cadmr.data.prepare.options import Options
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import read_rows
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.parts import Parts


@dataclass(frozen=True)
class Update:
    """What came of new interactions.

    Attributes:
        new_pairs: pairs of a user and an item that are in use now.
        known_pairs: rows that repeat one, or a pair from before.
        held_out: those among them whose pair is in the validation or test part: it is not recommended again, but has no
            part in any score; ``train --final`` makes a model of all.
        new_users: users whom nothing was known of before.
        unknown_items: rows of items that are not in the catalogue; they were passed over.
        unknown_users: rows of users that the model, which learns every user by itself, cannot score until it is
            trained again; they were passed over.
        refitted: whether the model was fitted anew to all that is known now, with what earlier updates did not fit it
            to; if not, it scores people by their new
            histories as far as it takes any, and recommends nothing that they have.
    """

    new_pairs: int
    known_pairs: int
    held_out: int
    new_users: int
    unknown_items: int
    unknown_users: int
    refitted: bool


def with_interactions(parts: Parts, users: list[str], items: list[str], refit: bool | None) -> tuple[Parts, Update]:
    """What a recommender is made of, with further interactions; see ``Recommender.update``.

    Raises:
        UserError: if a user has an id that no data set can have, or a fit is asked for that the model does not have.
    """
    catalogue, can_refit = parts.catalogue, parts.source is not None and parts.source.refits
    unusable = [user for user in users if not is_usable(user)]
    if unusable:
        raise UserError(f"a user cannot be called {unusable[0]!r:.100}; an id is one line without tabs, not '[PAD]'")
    if refit and not can_refit:
        raise UserError(
            f"{parts.engine.name} is not fitted anew to single interactions: train it again for that; leave out `refit`"
        )
    item = catalogue.numbers_of(items)
    known = np.array([user in catalogue.user_numbers for user in users], dtype=bool)
    usable = item > 0
    strangers = usable & ~known
    if not parts.engine.takes_histories:
        usable &= known
    new_users = list(dict.fromkeys(user for user, row in zip(users, usable & ~known) if row))
    larger = catalogue.with_users(new_users) if new_users else catalogue
    numbers = np.array([larger.user_numbers.get(user, 0) for user in users], dtype=np.int64)
    shape = larger.n_users, larger.n_items
    ones = np.ones(int(usable.sum()), dtype=np.float32)
    rows = sp.csr_matrix((ones, (numbers[usable], item[usable])), shape=shape)
    rows.data[:] = 1
    histories = parts.histories.with_added(sp.csr_matrix(shape, dtype=np.float32))
    new = rows - rows.multiply(sum(histories.parts.values(), histories.added) > 0)
    new.eliminate_zeros()
    left_out = histories.fitted.nnz < histories.added.nnz  # by an earlier update
    refitted = bool(new.nnz or left_out) and can_refit and refit is not False
    scored, held_out = histories.parts["train"] + histories.added, histories.parts["valid"] + histories.parts["test"]
    update = Update(
        new_pairs=int(new.nnz),
        known_pairs=int(usable.sum() - new.nnz),
        held_out=int((rows.multiply(held_out > 0) > scored).sum()),
        new_users=len(new_users),
        unknown_items=int((item == 0).sum()),
        unknown_users=0 if parts.engine.takes_histories else int(strangers.sum()),
        refitted=refitted,
    )
    if not new.nnz and not refitted:
        return parts, update
    histories = histories.with_added(new, refitted)
    engine = parts.engine
    if refitted and parts.source is not None:
        engine = parts.source.engine(larger, histories)
    return replace(parts, catalogue=larger, histories=histories, engine=engine), update


def read_interactions(
    path: Path,
    skipped: SkippedRows,
    user_column: str = "user_id",
    item_column: str = "item_id",
    quantity_column: str | None = None,
    rating_column: str | None = None,
    min_rating: float | None = None,
) -> pd.DataFrame:
    """Rows ``user_id, item_id`` of a csv, tsv, jsonl or parquet file, without those that ``prepare`` leaves out, too.

    Args:
        skipped: counts what is left out: lines and numbers that cannot be read, rows without a usable user or item,
            without a positive quantity, or rated below ``min_rating``.

    Raises:
        UserError: if the file cannot be read, has no such columns, or no row that can be used.
    """
    named = {"user_id": user_column, "item_id": item_column, "quantity": quantity_column, "rating": rating_column}
    columns = {ours: theirs for ours, theirs in named.items() if theirs is not None}
    rows = read_rows(path, skipped, list(dict.fromkeys(columns.values())))
    table = pd.DataFrame({ours: rows[theirs] for ours, theirs in columns.items()})
    table, _ = read_values(table, path, Options(path.name, min_rating=min_rating), skipped)
    table = table[["user_id", "item_id"]]
    usable = table.map(is_usable).all(axis=1) if len(table) else pd.Series(dtype=bool)
    skipped.note("interactions without a usable user or item id", n=int((~usable).sum()))
    if not usable.any():
        raise UserError(f"{path} holds no rows" if rows.empty else f"{path} holds no row with a usable user and item")
    return table[usable].reset_index(drop=True)


def columns_of(interactions: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The columns ``user_id`` and ``item_id`` of a table.

    Raises:
        UserError: if it is no table with these, or has no rows.
    """
    if not isinstance(interactions, pd.DataFrame) or not {"user_id", "item_id"} <= set(interactions.columns):
        raise UserError("`interactions` must be a table with the columns user_id and item_id")
    if interactions.empty:
        raise UserError("`interactions` holds no rows")
    return interactions["user_id"], interactions["item_id"]
