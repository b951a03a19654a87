"""The recommendation lists of a test part, kept in a run's folder, and metrics of them as RecBole computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import recbole.evaluator.metrics as recbole_metrics
import torch
from recbole.evaluator.base_metric import TopkMetric

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside
from recbole_cadmr.models.contract import traits
from recbole_cadmr.runs.folder import LISTS, RESULT
from recbole_cadmr.runs.result import RunResult
from recbole_cadmr.runs.session import Session
from recbole_cadmr.training.collector import hits
from recbole_cadmr.training.ranking import best

RANKING = ("Recall", "NDCG", "Hit", "Precision", "MRR", "MAP")
_DRAWN = ("Random", "ADMMSLIM")  # RecBole's models that draw with every score, so that no two rankings are the same
_NOISE = 1e-6  # of floats that are added up in another order


@dataclass(frozen=True)
class TopKLists:
    """What a model recommends to the users who have held-out items, with RecBole's ids.

    Attributes:
        users: int32 [T], ascending.
        top: int32 [T, K], the best items of each, best first; those of the train part (and what else the protocol
            leaves out) are not among them, and 0 stands where there are no more.
        top_cold: int32 [T, C], the same with items without train interactions as the only candidates; [T, 0] if there
            are none, or the model cannot score them.
        held_row, held_item: int32 [n], the held-out pairs: place of the user in ``users``, and the item.
        user_degree: int32 [T], train interactions of the users.
        item_degree: int32 [n_items], train interactions of all items, the padding item included.
        missing: bool [n_items], items that lack a modality.
    """

    __test__ = False  # no test of pytest's

    users: np.ndarray
    top: np.ndarray
    top_cold: np.ndarray
    held_row: np.ndarray
    held_item: np.ndarray
    user_degree: np.ndarray
    item_degree: np.ndarray
    missing: np.ndarray


def rank_test(session: Session, k: int) -> tuple[dict[str, float], TopKLists]:
    """Metrics of the test part by the session's model, and the lists, ``k`` long or as long as there are items."""
    trainer, config, train = session.trainer, session.config, session.train_data._dataset
    n_items = session.dataset.item_num
    train_matrix = train.inter_matrix(form="csr")
    item_degree = np.asarray((train_matrix > 0).sum(0)).ravel()
    cold = torch.from_numpy(item_degree == 0)
    cold[0] = False
    n_cold = int(cold.sum()) if traits(type(session.model)).scores_cold_items else 0
    users = session.test_data.uid_list
    # Filled in place: what is kept between two batches would split the memory that they are to reuse.
    top, top_cold = (torch.zeros(len(users), n, dtype=torch.int32) for n in (min(k, n_items - 1), min(k, n_cold)))
    seen = 0

    def keep(batch: Any) -> None:
        nonlocal seen
        place = slice(seen, seen + len(batch[0]))
        top[place] = _listed(best(batch[1], top.shape[1]))
        top_cold[place] = _listed(best(batch[1], top_cold.shape[1], cold))
        seen = place.stop

    trainer.on_ranking = keep
    try:
        metrics = trainer.evaluate(session.test_data, False, show_progress=bool(config["show_progress"]))
    finally:
        trainer.on_ranking = None
    held_out = session.test_data.held_out(users)
    who, lists, cold_lists, held_row, held_item = (
        part.numpy().astype(np.int32) for part in (users, top, top_cold, *held_out)
    )
    user_degree = np.asarray((train_matrix > 0).sum(1)).ravel()[who]
    missing = np.zeros(n_items, dtype=bool)
    if session.dataset.modality_names:
        present = [session.dataset.modality(name).present for name in session.dataset.modality_names]
        missing = ~torch.stack(present).all(0).numpy()
    degrees = user_degree.astype(np.int32), item_degree.astype(np.int32)
    return cast(dict[str, float], metrics), TopKLists(who, lists, cold_lists, held_row, held_item, *degrees, missing)


def _listed(lists: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    value, item = lists
    return item.masked_fill(value == -torch.inf, 0).int().cpu()


def write_lists(lists: TopKLists, path: Path) -> None:
    """Write the lists, whole or not at all."""
    with write_aside(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **{entry.name: getattr(lists, entry.name) for entry in fields(lists)})


def read_lists(path: Path) -> TopKLists:
    """Read what :func:`write_lists` wrote.

    Raises:
        UserError: if the file is missing or damaged, or its arrays are not such lists.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            lists = TopKLists(**{entry.name: archive[entry.name] for entry in fields(TopKLists)})
    except Exception as error:  # zipfile, zlib and numpy each have their own errors for a damaged archive
        raise UserError(f"{path} is missing or damaged; remove its run and start it again") from error
    if wrong := _wrong(lists):
        raise UserError(f"{path} is damaged or was edited: {wrong}; remove its run and start it again")
    return lists


def _wrong(lists: TopKLists) -> str | None:
    """What is wrong with arrays that are to be lists; None if nothing is."""
    n_users, n_items, n_pairs = (np.size(part) for part in (lists.users, lists.item_degree, lists.held_item))
    expected = {  # shape, least value, and what values lie below
        "users": ((n_users,), 1, np.inf),
        "top": ((n_users, None), 0, n_items),
        "top_cold": ((n_users, None), 0, n_items),
        "held_row": ((n_pairs,), 0, n_users),
        "held_item": ((n_pairs,), 1, n_items),
        "user_degree": ((n_users,), 0, np.inf),
        "item_degree": ((n_items,), 0, np.inf),
        "missing": ((n_items,), 0, 2),
    }
    for name, (shape, low, high) in expected.items():
        array = getattr(lists, name)
        if array.dtype != (np.bool_ if name == "missing" else np.int32):
            return f"{name} holds {array.dtype}"
        if array.ndim != len(shape) or any(n not in (None, size) for n, size in zip(shape, array.shape)):
            return f"{name} has the shape {array.shape}"
        if array.size and (array.min() < low or array.max() >= high):
            return f"{name} has an entry that is out of bounds"
    if not n_users or (np.diff(lists.users) <= 0).any() or len(np.unique(lists.held_row)) < n_users:
        return "its users are not each once those of the held-out pairs"
    for name in ("top", "top_cold"):
        ranked = np.sort(getattr(lists, name), axis=1)
        if ((np.diff(ranked, axis=1) == 0) & (ranked[:, 1:] > 0)).any():
            return f"{name} has an item twice in a list"
    return None


def check_figures(lists: TopKLists, result: RunResult, folder: Path, noise: float = _NOISE) -> dict[str, float]:
    """Raise :class:`UserError` unless the test metrics of a run are those that its lists give.

    Args:
        noise: by which they may differ.

    Returns:
        The test metrics, by the lists as far as these decide them.
    """
    protocol, reported = result["protocol"], result["test_result"] or {}
    if result["model"] in _DRAWN:
        return reported
    if len(lists.item_degree) != result["fingerprint"]["counts"]["items"] + 1:
        raise UserError(f"{folder / LISTS} is of other items than {folder / RESULT}; one of the two is of another run")
    ranking = {name.lower() for name in RANKING}
    measured = by_user(lists, protocol["topk"], [name for name in protocol["metrics"] if name.lower() in ranking])
    means = {name: float(values.mean()) for name, values in measured.items()}
    for name, mean in means.items():
        if not abs(mean - reported.get(name, np.inf)) <= noise:
            raise UserError(
                f"{folder / RESULT} says {name} {reported.get(name)}, but the lists beside it give {mean:.6g}; "
                f"one of the two was edited or is of another run"
            )
    return {**reported, **means}


def by_user(lists: TopKLists, topk: Sequence[int], metrics: Sequence[str] = RANKING) -> dict[str, np.ndarray]:
    """Each metric of each user: float64 [T] by RecBole's names (``recall@20``)."""
    return of_pairs(lists, lists.top, np.ones(len(lists.held_item), dtype=bool), topk, metrics)[1]


def of_pairs(
    lists: TopKLists, top: np.ndarray, pairs: np.ndarray, topk: Sequence[int], metrics: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Places of the users that have any of the held-out ``pairs`` (bool [n]), and their metrics by lists ``top``."""
    n_items, longest = len(lists.item_degree), max(topk)
    held_out = np.sort(lists.held_row[pairs].astype(np.int64) * n_items + lists.held_item[pairs])
    *places, size = hits(torch.from_numpy(top.astype(np.int64)), torch.from_numpy(held_out), n_items).numpy().T
    users = np.flatnonzero(size)
    is_hit = np.zeros((len(users), longest), dtype=bool)  # lists are shorter where there are fewer candidates
    for place, column in enumerate(places[:longest]):
        is_hit[:, place] = column[users]
    values: dict[str, np.ndarray] = {}
    known = {name.lower(): name for name in RANKING}
    for name in (known[name.lower()] for name in metrics if name.lower() in known):
        metric: TopkMetric = getattr(recbole_metrics, name)({"topk": list(topk), "metric_decimal_place": 16})
        needs_size = name in ("Recall", "NDCG", "MAP")
        of_all = metric.metric_info(is_hit, *([size[users]] if needs_size else []))
        values |= {f"{name.lower()}@{k}": of_all[:, k - 1].astype(np.float64) for k in topk}
    return users, values
