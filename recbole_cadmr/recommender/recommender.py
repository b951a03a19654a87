"""Recommendations by a trained model, in the ids of its data set."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.vector_store import VectorCache
from recbole_cadmr.files import path_of
from recbole_cadmr.recommender import lists, request
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.embeddings import write_embeddings
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.explanation import Explanation, explain
from recbole_cadmr.recommender.export import NEIGHBOURS_OF_AN_ITEM, write_export
from recbole_cadmr.recommender.histories import LEFT_OUT, Histories
from recbole_cadmr.recommender.new_items import with_items
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.similar import similar_items
from recbole_cadmr.recommender.tables import table_of
from recbole_cadmr.recommender.updates import Update, columns_of, with_interactions

if TYPE_CHECKING:
    from recbole_cadmr.runs.session import Session


class Recommender:
    """A trained model that recommends; made by :func:`load`.

    What it is made of is never changed: whoever changes it (:meth:`replace`) puts another whole in its place, so that
    it can be asked by many threads meanwhile.

    Attributes:
        lock: held by those who change what the recommender is made of, never by those who ask.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.lock = threading.RLock()

    def __repr__(self) -> str:
        parts = self._parts
        can = {
            "recommends for histories of people it has never seen": self.takes_histories,
            "explains its scores": self.explains,
            "takes new items": self.takes_new_items,
        }
        counts = f"{parts.catalogue.n_users - 1:,} users, {parts.catalogue.n_items - 1:,} items"
        return "\n  ".join([f"{self.model_name} on {parts.card['dataset']}: {counts}", *filter(can.get, can)])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("lock", "session")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, lock=threading.RLock())

    @property
    def parts(self) -> Parts:
        """What it is made of at this moment; ask once for what has to fit together."""
        return self._parts

    def replace(self, parts: Parts) -> None:
        """Put another whole in place of what it is made of; who asks at this moment is answered by the old one."""
        self._parts = parts

    @cached_property
    def session(self) -> Session:
        """The model as it was trained, with its data set and loaders, as RecBole's functions take them.

        Raises:
            UserError: if the recommender was not loaded from a checkpoint, or that is not there any more.
        """
        source = self._parts.source
        if source is None:
            raise UserError("an export holds no data set and no model of RecBole's kind; load the run's model.pt")
        return source.session()

    @property
    def catalogue(self) -> Catalogue:
        """Items and users, by id and number."""
        return self._parts.catalogue

    @property
    def histories(self) -> Histories:
        """What the users have."""
        return self._parts.histories

    @property
    def engine(self) -> Engine:
        """What gives the scores."""
        return self._parts.engine

    @property
    def model_name(self) -> str:
        """The name of the model."""
        return self.engine.name

    @property
    def takes_histories(self) -> bool:
        """Whether people are scored whom the model has never seen."""
        return self.engine.takes_histories

    @property
    def users(self) -> list[str]:
        """The ids of all users."""
        return self.catalogue.user_ids[1:].tolist()

    @property
    def items(self) -> list[str]:
        """The ids of all items."""
        return self.catalogue.item_ids[1:].tolist()

    @property
    def titles(self) -> Mapping[str, str]:
        """The titles of the items that have one, by id."""
        return self.catalogue.titles

    @property
    def explains(self) -> bool:
        """Whether :meth:`explain` has something to say."""
        return self.engine.explains

    def explain(
        self,
        user: Any = None,
        history: Iterable[Any] | None = None,
        *,
        item: Any,
        content_weight: float | None = None,
    ) -> Explanation:
        """What the score of an item is made of: contributions that add up to it.

        Args:
            user: an id, of whom the model goes by the train part and what was added since.
            history: in place of a user: ids of items, or a table with the column ``item_id``, of one person.
            item: an id, also of an item that the person has.
            content_weight: as of :meth:`recommend`.

        Raises:
            UserError: if an id is unknown, nothing is known about the person, or nothing true can be said about the
                scores of this model.
        """
        return explain(self._parts, user, history, item, content_weight)

    @property
    def takes_new_items(self) -> bool:
        """Whether :meth:`add_items` can take in products that came after training."""
        source = self._parts.source
        return source is not None and source.takes_new_items

    def add_items(
        self,
        ids: Iterable[Any],
        texts: Iterable[str | None] | None = None,
        pictures: Iterable[Any] | None = None,
        vectors: Mapping[str, Any] | Any = None,
        titles: Iterable[str | None] | None = None,
        text_model: str | os.PathLike[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        vector_cache: float = 0,
        sounds: Iterable[Any] | None = None,
        audio_model: str | os.PathLike[str] | None = None,
    ) -> int:
        """Take in products that came after training; from then on they are recommended and may stand in histories.

        The model scores them as it would have had they been there from the start with nobody having them; one that
        follows from the interactions alone is fitted to those of :meth:`update`, too, but for what came with
        ``refit=False``, so that it does not matter what came first. Texts, pictures and sounds are encoded by what made
        the vectors of the data set (its ``encoders.json``).

        Args:
            ids: of the items, none of which may be known.
            texts, pictures, sounds: of each, None for none; of a picture or a sound the name of its file, or its bytes.
            vectors: ready-made features by modality [n, width], rows of zeros for none, which may have a text or
                picture instead; without a name if the data set has one modality.
            titles: of each, None for none.
            text_model, weights, audio_model: where the text model, the image model or its weights, and the audio model
                lie; known where, and to whom, the data set was prepared from them.
            vector_cache: GiB of vectors to keep where ``prepare`` keeps its own, which are taken, too; 0 for neither.

        Returns:
            How many were added.

        Raises:
            UserError: if the model takes none, an id is known, repeated or none; if something about the content cannot
                be read, is missing or does not fit; if what made the vectors of the data set is not known or not there.
        """
        encoders = {
            name: None if place is None else str(path_of(place, argument))
            for name, place, argument in (
                ("text", text_model, "text_model"),
                ("image", weights, "weights"),
                ("audio", audio_model, "audio_model"),
            )
        }
        columns = {"texts": texts, "pictures": pictures, "sounds": sounds, "titles": titles}
        names, cache = request.ids(ids, "ids"), VectorCache.of_user(vector_cache)
        with self.lock:
            self.replace(with_items(self._parts, names, columns, vectors, encoders, cache))
        return len(names)

    def update(self, interactions: pd.DataFrame, refit: bool | None = None) -> Update:
        """Take in interactions that came after training.

        Whoever is scored by a history is scored by all of it from then on, users nobody knew among them; nothing that
        a user has is recommended again. A model that follows from the interactions alone is fitted to all of them, by
        the settings that it has.

        Args:
            interactions: rows ``user_id, item_id``; other columns are not read.
            refit: False for a model that stays as it was fitted, which takes no time, until an update fits it to all
                that has come; True for an error where a model cannot be fitted anew.

        Raises:
            UserError: if ``interactions`` is something else, or on such a ``refit``.
        """
        users, items = columns_of(interactions)
        names = request.ids(users, "interactions"), request.ids(items, "interactions")
        with self.lock:
            parts, update = with_interactions(self._parts, *names, refit)
            self.replace(parts)
        return update

    def similar_items(self, item: Any, topk: int = 10, by: str = "model") -> pd.DataFrame:
        """The items most like an item, without those that are not alike at all.

        Args:
            item: an id.
            by: ``behaviour``: the cosine of who has both, by the train part and what was added since; ``content``: the
                mean cosine of the features, modalities weighing as in the model, where they do; ``model``: what it
                scores for somebody who has this item alone, or the cosine of its item vectors.

        Returns:
            Rows ``item_id, rank, score``, at most ``topk``.

        Raises:
            UserError: if the item is unknown or nothing is known about its content, or the model compares no items.
        """
        parts = self._parts
        number = parts.catalogue.item_number(request.ids([item], "item")[0])
        return similar_items(parts, number, topk, by)

    @property
    def version(self) -> str:
        """A text that tells models apart: of an export or a checkpoint, the beginning of its hash."""
        return str(self._parts.card["version"])

    @property
    def popularity(self) -> np.ndarray:
        """How many people have each item, by what the model knows of them: float32, in the order of :attr:`items`."""
        return self.histories.popularity[1:].numpy()

    def history(self, user: Any) -> list[str]:
        """Ids of all that a user has, in whichever part of the data, in the order of :attr:`items`.

        Raises:
            UserError: if the user is unknown.
        """
        parts = self._parts
        number = torch.from_numpy(request.user_numbers(parts.catalogue, [user]))
        return parts.catalogue.item_ids[parts.histories.left_out("all").entries(number)[1].numpy()].tolist()

    def export(self, folder: str | os.PathLike[str], neighbours: int = NEIGHBOURS_OF_AN_ITEM) -> dict[str, Any]:
        """Write a folder that :func:`load` reads without checkpoint and data set; see :mod:`recommender.export`.

        Args:
            folder: a new one.
            neighbours: entries that each item keeps of weights of items by items.

        Returns:
            Its card, with what the pruning costs, measured on validation.

        Raises:
            UserError: if the model cannot be exported, or ``folder`` is in use.
        """
        return write_export(self._parts, path_of(folder, "output"), neighbours)

    def export_embeddings(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """Write the vectors of users and items, whose inner products are the scores, into a new folder.

        Returns:
            Its card: see :mod:`recommender.embeddings`.

        Raises:
            UserError: if the scores are no inner products, or ``folder`` is in use.
        """
        return write_embeddings(self._parts, path_of(folder, "output"))

    def checked_users(self, users: Iterable[Any] | None) -> list[str]:
        """The ids that :meth:`recommend` would recommend to, with its errors."""
        catalogue = self.catalogue
        return self.users if users is None else catalogue.user_ids[request.user_numbers(catalogue, users)].tolist()

    def recommend(
        self,
        users: Iterable[Any] | None = None,
        topk: int | None = None,
        leave_out: str = "all",
        candidates: Iterable[Any] | None = None,
        exclude: Iterable[Any] | pd.DataFrame | None = None,
        diversity: float = 0.0,
        popular: bool = True,
        content_weight: float | None = None,
    ) -> pd.DataFrame:
        """The ``topk`` items of highest score for each user.

        Args:
            topk: 50 if not given, or all items where there are fewer.
            users: user ids as in the data set's files (a whole number stands for its digits), in a list, an array or a
                column of a table, each once; all users if not given.
            leave_out: interactions that are not recommended again: ``all``, ``train+valid``, ``train`` (as when test
                metrics are computed) or ``none``. They are also the history that a model of sequences goes on from;
                with ``none``, the train part is.
            candidates: ids of the only items that may be recommended (what is in stock); all if not given.
            exclude: ids of items that nobody is recommended, or rows ``user_id, item_id`` of what these people are not.
                Ids of ``candidates`` and ``exclude`` that are not in the catalogue are passed over; how many is logged.
            diversity: from 0 to below 1, what similarity to the items ranked before counts against the score (maximal
                marginal relevance, on the best of ``4 topk`` items); by the items' content, else by the model.
            popular: whether users of whom the model knows nothing (in training, or by the history that a model of
                sequences goes on from) get the most popular items, instead of scores that mean nothing.
            content_weight: factor of what content adds to the scores of a closed form, from 0 on; as trained, which is
                1, if not given. Models whose scores have no such part refuse it.

        Returns:
            Rows ``user_id, item_id, rank, score, source`` (rank from 1, in the order of ``users``); fewer than ``topk``
            rows for a user who has fewer items left, none for one who has none. ``source`` is ``model``, or ``popular``
            with the number of users who have the item as ``score``. With ``diversity``, scores need not fall with rank.

        Raises:
            UserError: if ``users`` are no ids, unknown, none or repeated; on another ``topk``, ``leave_out`` or
                ``diversity``; if no candidate is in the catalogue, or nothing says how similar items are.
        """
        parts = self._parts
        catalogue, histories, engine = parts.catalogue, parts.histories, parts.engine
        if not isinstance(leave_out, str) or leave_out not in LEFT_OUT:
            raise UserError(f"leave_out must be one of {', '.join(LEFT_OUT)}, not {leave_out!r}")
        numbers = np.arange(1, catalogue.n_users) if users is None else request.user_numbers(catalogue, users)
        names = catalogue.user_ids[numbers]
        wanted = request.wanted(parts, names, topk, candidates, exclude, diversity, content_weight, popular)
        sequences = histories.sequences_of(leave_out) if engine.sequential else None
        left_out = histories.left_out(leave_out)
        ranked = lists.of_users(engine, histories, sequences, torch.from_numpy(numbers), left_out, wanted)
        return table_of(catalogue, names, ranked)

    def recommend_from_history(
        self,
        history: pd.DataFrame,
        topk: int | None = None,
        candidates: Iterable[Any] | None = None,
        exclude: Iterable[Any] | pd.DataFrame | None = None,
        diversity: float = 0.0,
        content_weight: float | None = None,
    ) -> tuple[pd.DataFrame, int]:
        """Recommend to people the model has never seen, from the items they chose.

        Args:
            history: rows ``user_id, item_id``, ids as in :meth:`recommend`; any user names, items of the data set.
            topk, candidates, exclude, diversity, content_weight: as of :meth:`recommend`.

        Returns:
            Rows as of :meth:`recommend`, in order of first appearance and without the items of a person's own
            history, and the number of rows of ``history`` that name no item of the data set. Who has no row left gets
            the most popular.

        Raises:
            UserError: if the model cannot score a history, ``history`` has not these columns or holds anything but ids
                in them, or no row names an item of the data set; and as of :meth:`recommend`.
        """
        parts = self._parts
        names, rows, n_unknown = request.histories(parts, history)
        wanted = request.wanted(parts, names, topk, candidates, exclude, diversity, content_weight)
        return table_of(parts.catalogue, names, lists.of_rows(parts.engine, rows, wanted)), n_unknown

    def most_popular(
        self, topk: int | None = None, candidates: Iterable[Any] | None = None, exclude: Iterable[Any] | None = None
    ) -> pd.DataFrame:
        """What somebody gets of whom nothing is known: rows as of :meth:`recommend`, but for ``user_id``."""
        parts = self._parts
        nobody = np.array([""], dtype=object)
        wanted = request.wanted(parts, nobody, topk, candidates, exclude)
        return table_of(parts.catalogue, nobody, [lists.most_popular(wanted)]).drop(columns="user_id")
