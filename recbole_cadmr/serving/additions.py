"""What a model was told since it was loaded, kept for the next one that is loaded in its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.kept import KeptEncoders
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.serving.bodies import NewItem
from recbole_cadmr.serving.refusal import Refused


class Additions:
    """New items and interactions of one model, until an export has them.

    Args:
        most: how many of both together are kept.
        text_model, weights: where the text model and the weights of the image model lie, if that is not known.
        encoders: keeps what encodes them loaded.
    """

    def __init__(
        self,
        most: int,
        text_model: str | None = None,
        weights: str | None = None,
        encoders: KeptEncoders | None = None,
    ) -> None:
        self._most, self._encoders = most, encoders or KeptEncoders()
        self._places: dict[str, Any] = {"text_model": text_model, "weights": weights}
        self._items: dict[str, NewItem] = {}
        self._pairs: dict[tuple[str, str], None] = {}

    def check_room(self, items: Iterable[str] = (), pairs: Iterable[tuple[str, str]] = ()) -> None:
        """Refuse items and interactions that are more, with those that are kept, than may be."""
        held = len(self._items) + len(self._pairs)
        new = len(set(items) - self._items.keys()) + len(set(pairs) - self._pairs.keys())
        if held + new > self._most:
            raise Refused(
                507,
                f"the service keeps at most {self._most:,} items and interactions that no export has yet; it has "
                f"{held:,}, these are {new:,} more: give it an export with them, or a larger --max_added",
            )

    def add_items(self, recommender: Recommender, items: Sequence[NewItem]) -> dict[str, int]:
        """Give a recommender items that it does not know; returns how many.

        Raises:
            UserError: if it takes none, or not these; then it has none of them.
        """
        n = self._give(recommender, items)
        self._items |= {item.id: item for item in items}
        return {"new_items": n}

    def add_interactions(
        self, recommender: Recommender, pairs: Iterable[tuple[str, str]], refit: bool = False
    ) -> dict[str, int]:
        """Give a recommender interactions; returns what came of them, by the names of its ``Update``."""
        frame = pd.DataFrame(list(pairs), columns=["user_id", "item_id"])
        counts = asdict(recommender.update(frame, refit=refit))
        self._pairs |= dict.fromkeys(frame.itertuples(index=False, name=None))
        return counts

    def replay(self, recommender: Recommender) -> dict[str, int]:
        """Give another recommender what it lacks of all that, and forget what it has; returns what came of it.

        Items that it does not take, and interactions that it cannot use, are counted as ``lost_items`` and
        ``lost_pairs``; they are kept for the next one.
        """
        catalogue = recommender.catalogue
        self._items = {name: item for name, item in self._items.items() if name not in catalogue.item_numbers}
        self._pairs = dict.fromkeys(pair for pair in self._pairs if not _has(recommender, *pair))
        counts = dict.fromkeys(("new_items", "new_pairs", "lost_items", "lost_pairs"), 0)
        # What is refused, as where an encoder is gone, leaves those that are told otherwise.
        alike: dict[frozenset[str], list[NewItem]] = {}
        for item in self._items.values():
            alike.setdefault(frozenset(item.vectors), []).append(item)
        for items in alike.values():
            try:
                counts["new_items"] += self._give(recommender, items)
            except UserError:
                counts["lost_items"] += len(items)
        if self._pairs:
            counts["new_pairs"] = self.add_interactions(recommender, self._pairs)["new_pairs"]
            counts["lost_pairs"] = len(self._pairs) - counts["new_pairs"]
        return counts

    def _give(self, recommender: Recommender, items: Sequence[NewItem]) -> int:
        texts, pictures = [item.text for item in items], [item.picture for item in items]
        with self._encoders.in_use():
            return recommender.add_items(
                [item.id for item in items],
                texts=texts if any(texts) else None,
                pictures=pictures,
                vectors=_vectors(recommender, items),
                titles=[item.title for item in items],
                **self._places,
            )


def _vectors(recommender: Recommender, items: Sequence[NewItem]) -> dict[str, Any] | None:
    """Rows by modality, of zeros for items that have no vector of it; what is wrong with them is not judged here."""
    modalities = recommender.catalogue.modalities
    names = dict.fromkeys(name for item in items for name in item.vectors)
    missing = {name: [0.0] * modalities[name].width if name in modalities else [] for name in names}
    return {name: [item.vectors.get(name, missing[name]) for item in items] for name in names} or None


def _has(recommender: Recommender, user: str, item: str) -> bool:
    return user in recommender.catalogue.user_numbers and item in recommender.history(user)
