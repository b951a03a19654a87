"""The recommendation lists of a test part, kept in a run's folder: all that strata and tests of significance need."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside
from recbole_cadmr.workflows.session import Session

LISTS = "test_lists.npz"


@dataclass(frozen=True)
class TestLists:
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


@torch.no_grad()
def test_lists(session: Session, k: int) -> TestLists:
    """Rank the test part once more with the session's model; lists are ``k`` long, or as long as there are items."""
    trainer, data, train = session.trainer, session.test_data, session.train_data._dataset
    field, n_items = data.uid_field, session.dataset.item_num
    train_matrix = train.inter_matrix(form="csr")
    item_degree = np.asarray((train_matrix > 0).sum(0)).ravel()
    cold = torch.from_numpy(item_degree == 0).to(trainer.device)
    cold[0] = False
    n_cold = int(cold.sum()) if getattr(session.model, "scores_cold_items", False) else 0
    trainer.tot_item_num, trainer.item_tensor = n_items, session.dataset.get_item_feature().to(trainer.device)
    session.model.eval()
    users, top, top_cold, rows, items = [], [], [], [], []
    seen = 0
    for batch in data:
        interaction, scores, row, item = trainer._full_sort_batch_eval(batch)
        top.append(_best(scores, min(k, n_items - 1)))
        top_cold.append(_best(scores.masked_fill(~cold, -torch.inf), min(k, n_cold)))
        rows.append(row + seen)
        seen += len(scores)
        users.append(interaction[field].cpu())
        items.append(item)
    who, lists, cold_lists, held_row, held_item = (
        torch.cat(part).numpy().astype(np.int32) for part in (users, top, top_cold, rows, items)
    )
    user_degree = np.asarray((train_matrix > 0).sum(1)).ravel()[who]
    missing = np.zeros(n_items, dtype=bool)
    if session.dataset.modality_names:
        present = [session.dataset.modality(name).present for name in session.dataset.modality_names]
        missing = ~torch.stack(present).all(0).numpy()
    degrees = user_degree.astype(np.int32), item_degree.astype(np.int32)
    return TestLists(who, lists, cold_lists, held_row, held_item, *degrees, missing)


def _best(scores: torch.Tensor, k: int) -> torch.Tensor:
    value, item = scores.topk(k, dim=1)
    return item.masked_fill(value == -torch.inf, 0).cpu()


def write_lists(lists: TestLists, path: Path) -> None:
    """Write the lists, whole or not at all."""
    with write_aside(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **{entry.name: getattr(lists, entry.name) for entry in fields(lists)})


def read_lists(path: Path) -> TestLists:
    """Read what :func:`write_lists` wrote.

    Raises:
        UserError: if the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return TestLists(**{entry.name: archive[entry.name] for entry in fields(TestLists)})
    except Exception as error:  # zipfile, zlib and numpy each have their own errors for a damaged archive
        raise UserError(f"{path} is missing or damaged; remove its run and start it again") from error
