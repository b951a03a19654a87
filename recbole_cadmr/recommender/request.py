"""What is asked of a recommender, checked: ids as numbers, filters as what lists are to be like."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender import lists
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.tables import COLUMNS, USUAL_LENGTH

_log = logging.getLogger("recbole_cadmr")


def ids(values: Any, name: str) -> list[str]:
    """Ids as texts, from the argument ``name``: a list, an array, a column of a table, ...; 17 is the id "17".

    Raises:
        UserError: if it is one text, or holds anything but texts and whole numbers (real numbers are damaged ids).
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise UserError(f"`{name}` must be a list of ids, not {values!r}")
    texts = []
    for value in values:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (str, int, np.integer)):
            raise UserError(f"`{name}` must hold ids, which are texts, not {value!r} ({type(value).__name__})")
        texts.append(str(value))
    return texts


def wanted(
    parts: Parts,
    names: np.ndarray,
    topk: Any,
    candidates: Any,
    exclude: Any,
    diversity: Any = 0.0,
    content_weight: Any = None,
    popular: Any = True,
) -> lists.Wanted:
    """What lists for the people called ``names`` are to be like, by the arguments of ``Recommender.recommend``.

    Raises:
        UserError: if they cannot be so.
    """
    catalogue = parts.catalogue
    most = catalogue.n_items - 1
    topk = min(USUAL_LENGTH, most) if topk is None else topk
    if isinstance(topk, (bool, np.bool_)) or not isinstance(topk, (int, np.integer)):
        raise UserError(f"topk must be a whole number, not {topk!r}")
    if not 1 <= topk <= most:
        raise UserError(f"topk must lie between 1 and the {most} items of the data set, not {topk}")
    if not isinstance(popular, (bool, np.bool_)):
        raise UserError(f"popular must be True or False, not {popular!r}")
    vectors = None
    if not _is_number(diversity) or not 0 <= diversity < 1:
        raise UserError(f"diversity must be a number from 0 to below 1, not {diversity!r}")
    if diversity:
        vectors = catalogue.content_vectors
        if vectors is None and (vectors := parts.engine.item_vectors()) is None:
            raise UserError(
                f"{parts.engine.name} has no vectors of the items, nor has the data set features of them; leave out "
                f"`diversity`"
            )
    weight = checked_weight(parts, content_weight)
    among, excluded = None, None
    if candidates is not None:
        among = torch.zeros(catalogue.n_items, dtype=torch.bool)
        among[_item_numbers(catalogue, candidates, "candidates")] = True
        if not among[1:].any():
            raise UserError("`candidates` names no item of the catalogue")
    if isinstance(exclude, pd.DataFrame):
        excluded = _excluded(catalogue, exclude, names)
    elif exclude is not None:
        among = torch.ones(catalogue.n_items, dtype=torch.bool) if among is None else among
        among[_item_numbers(catalogue, exclude, "exclude")] = False
    popularity = parts.histories.popularity if popular else None
    return lists.Wanted(int(topk), among, excluded, float(diversity), vectors, weight, popularity)


def checked_weight(parts: Parts, content_weight: Any) -> float:
    """The weight of content that an argument asks for.

    Raises:
        UserError: if it is no weight, or content has none in the scores of the model.
    """
    if content_weight is None:
        return 1.0
    if not _is_number(content_weight) or not 0 <= content_weight < np.inf:
        raise UserError(f"content_weight must be a number from 0 on, not {content_weight!r}")
    if content_weight != 1 and not parts.engine.weighs_content:
        raise UserError(f"content has no weight of its own in the scores of {parts.engine.name}")
    return float(content_weight)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _item_numbers(catalogue: Catalogue, values: Any, name: str) -> np.ndarray:
    """The numbers of the items that the argument ``name`` holds; of others it is logged how many there are."""
    numbers = catalogue.numbers_of(ids(values, name))
    if unknown := int((numbers == 0).sum()):
        _log.warning(f"{unknown:,} of {len(numbers):,} items of {name} are not in the catalogue; they are passed over")
    return numbers[numbers > 0]


def _excluded(catalogue: Catalogue, pairs: pd.DataFrame, names: np.ndarray) -> RatingRows:
    """Rows ``user_id, item_id`` of a table as rows of the people called ``names``."""
    if not set(COLUMNS[:2]) <= set(pairs.columns):
        has = ", ".join(map(str, pairs.columns))
        raise UserError(f"`exclude` must be item ids, or a table with the columns user_id and item_id, not {has}")
    items = catalogue.numbers_of(ids(pairs["item_id"], "exclude"))
    who = ids(pairs["user_id"], "exclude")
    people = pd.Index(names).get_indexer(np.array(who, dtype=object))
    if unknown := int((items == 0).sum()):
        _log.warning(f"{unknown:,} of {len(items):,} items of exclude are not in the catalogue; they are passed over")
    if others := sum(person not in catalogue.user_numbers for person in {who[i] for i in np.flatnonzero(people < 0)}):
        _log.warning(f"{others:,} people of exclude are neither asked for nor in the data set; they are passed over")
    used = (items > 0) & (people >= 0)
    return rows(people[used], items[used], (len(names), catalogue.n_items))


def histories(parts: Parts, table: Any) -> tuple[np.ndarray, RatingRows, int]:
    """The people of a table of histories, their rows, and how many of the table's rows name no item of the data set.

    Raises:
        UserError: if the model cannot score a history, it is none, or no row names an item of the data set.
    """
    catalogue, engine = parts.catalogue, parts.engine
    if not engine.takes_histories:
        raise UserError(f"{engine.name} knows only the users it was trained on; it takes no `history`")
    if not isinstance(table, pd.DataFrame) or not set(COLUMNS[:2]) <= set(table.columns):
        has = ", ".join(map(str, table.columns)) if isinstance(table, pd.DataFrame) else type(table).__name__
        raise UserError(f"`history` must be a table with the columns user_id and item_id, not {has}")
    items = catalogue.numbers_of(ids(table["item_id"], "history"))
    people, names = pd.factorize(np.array(ids(table["user_id"], "history"), dtype=object))
    known = items > 0
    if not known.any():
        raise UserError("no row of the history names an item of the data set")
    return names, rows(people[known], items[known], (len(names), catalogue.n_items)), int((~known).sum())


def rows(people: np.ndarray, items: np.ndarray, shape: tuple[int, int]) -> RatingRows:
    """Pairs of people and items by number as rows of this shape."""
    return RatingRows(sp.csr_matrix((np.ones(len(people), dtype=np.float32), (people, items)), shape=shape))


def user_numbers(catalogue: Catalogue, users: Any) -> np.ndarray:
    """The numbers of users of the catalogue.

    Raises:
        UserError: if they are no ids, none, repeated or unknown.
    """
    names = ids(users, "users")
    if not names:
        raise UserError("`users` names nobody; leave it out for all users")
    if len(set(names)) < len(names):
        repeated = next(user for user, n in Counter(names).items() if n > 1)
        raise UserError(f"`users` names '{repeated}' more than once")
    numbers = catalogue.user_numbers
    unknown = [user for user in names if user not in numbers]
    if unknown:
        raise UserError(
            f"{len(unknown)} of the {len(names)} users are not in the data set, the first is '{unknown[0]}'; "
            f"people the model has not seen need a `history`"
        )
    return np.array([numbers[user] for user in names], dtype=np.int64)
