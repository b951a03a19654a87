"""Why an item: what its score is made of, in the ids of the data set."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.score_paths import score_of
from recbole_cadmr.recommender import request
from recbole_cadmr.recommender.parts import Parts

_ROUNDING = 1e-7  # of a score
_SHOWN = 10  # chosen items that are printed
COLUMNS = ["path", "modality", "chosen_item", "contribution"]


@dataclass(frozen=True, repr=False)
class Explanation:
    """What the score of an item is made of, which prints as tables.

    Attributes:
        item: its id.
        score: as the model gives it; the sum of the contributions.
        parts: rows ``path, modality, chosen_item, contribution``; ``modality`` is "" where a path goes by none or by
            several at once, ``chosen_item`` where it is due to no item in particular. Contributions of exactly 0 are
            left out.
        unknown: how many of the items of a history the model does not know; nothing is due to them.
    """

    item: str
    score: float
    parts: pd.DataFrame
    unknown: int = 0

    def __repr__(self) -> str:
        tables = (frame.to_string(index=False) for frame in self._printed())
        return "\n\n".join([f"{self.item}: score {self.score:.6g}", *tables])

    def _repr_html_(self) -> str:
        tables = (frame.to_html(index=False) for frame in self._printed())
        return "\n".join([f"<p>{escape(self.item)}: score {self.score:.6g}</p>", *tables])

    def _printed(self) -> list[pd.DataFrame]:
        """The sums over the chosen items, and the largest of those over the paths, as texts."""
        frames = self.large_paths(), self.by_chosen_item().head(_SHOWN)
        shown = [frame.assign(contribution=frame["contribution"].map("{:.6g}".format)) for frame in frames]
        return [frame for frame in shown if len(frame)]

    def large_paths(self) -> pd.DataFrame:
        """As :meth:`by_path`, without what is rounding beside the score."""
        sums = self.by_path()
        return sums[sums["contribution"].abs() > _ROUNDING * abs(self.score)]

    def by_path(self) -> pd.DataFrame:
        """Rows ``path, modality, contribution``: the sums over the chosen items, in the order of the paths."""
        return self.parts.groupby(COLUMNS[:2], sort=False, as_index=False)["contribution"].sum()

    def by_chosen_item(self) -> pd.DataFrame:
        """Rows ``chosen_item, contribution``: the sums over the paths, the largest first."""
        of_items = self.parts[self.parts["chosen_item"] != ""]
        sums = of_items.groupby("chosen_item", sort=False, as_index=False)["contribution"].sum()
        return sums.sort_values("contribution", ascending=False, kind="stable", ignore_index=True)


def explain(parts: Parts, user: Any, history: Any, item: Any, content_weight: Any) -> Explanation:
    """Why an item has its score; see ``Recommender.explain``."""
    catalogue, engine = parts.catalogue, parts.engine
    number = catalogue.item_number(request.ids([item], "item")[0])
    weight = request.checked_weight(parts, content_weight)
    if (user is None) == (history is None):
        raise UserError("explain takes either a `user` or a `history`")
    if history is None:
        person = int(request.user_numbers(catalogue, [user])[0])
        row = parts.histories.known.batch(torch.tensor([person]))
        if not len(row.column):
            raise UserError(f"nothing is known about the user '{user}'")
        counts = row.value if parts.histories.recency else None
        return _explanation(parts, row.column.numpy(), number, person, weight, counts=counts)
    if not engine.takes_histories:
        raise UserError(f"{engine.name} knows only the users it was trained on; it takes no `history`")
    if isinstance(history, pd.DataFrame):
        if "item_id" not in history or ("user_id" in history and history["user_id"].nunique() > 1):
            raise UserError("`history` must be ids of items, or a table with the column item_id, of one person")
        history = history["item_id"]
    numbers = catalogue.numbers_of(request.ids(history, "history"))
    chosen = np.unique(numbers[numbers > 0])
    if not len(chosen):
        raise UserError("the history names no item of the catalogue")
    return _explanation(parts, chosen, number, None, weight, int((numbers == 0).sum()))


def _explanation(
    parts: Parts,
    chosen: np.ndarray,
    item: int,
    user: int | None,
    content_weight: float,
    unknown: int = 0,
    counts: torch.Tensor | None = None,
) -> Explanation:
    """Why the item of a number has its score.

    Args:
        chosen: numbers of the items that the person has, ascending; one at least.
        user: the number of the person; None of one that the model has not seen.
        unknown: as of :class:`Explanation`.
        counts: as of :meth:`Engine.score_paths`.
    """
    paths = parts.engine.score_paths(torch.from_numpy(chosen), item, user, content_weight, counts)
    ids = parts.catalogue.item_ids
    rows = [
        (path.name, path.modality, chosen_item, float(contribution))
        for path in paths
        for chosen_item, contribution in zip(ids[chosen] if path.by_item else [""], path.contributions)
        if contribution
    ]
    return Explanation(ids[item], score_of(paths), pd.DataFrame(rows, columns=COLUMNS), unknown)
