"""Recommendations from a checkpoint, in the data set's own ids."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_cadmr.data.atomic import write_atomic
from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.data.sequences import Sequences
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import path_of, read_text, write_aside
from recbole_cadmr.models.contract import traits
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import Session, load_session
from recbole_cadmr.training.ranking import ListedScores, best
from recbole_cadmr.training.refusals import check_scores

_LEFT_OUT = {"train": 1, "train+valid": 2, "all": 3, "none": 0}  # how many of the parts
_COLUMNS = ["user_id", "item_id", "rank", "score"]
_BLOCK = 2**18  # rows of a table that are turned into text at once
_BLANKS = re.compile(" +")


class Recommender:
    """A trained model that recommends.

    Args:
        checkpoint: a ``model.pt``.
        data_path: where the data set lies, if no longer where it was trained.

    Raises:
        UserError: if the checkpoint cannot be read or belongs to other data.
    """

    def __init__(self, checkpoint: str | os.PathLike[str], data_path: str | os.PathLike[str] | None = None) -> None:
        file, place = path_of(checkpoint, "checkpoint"), None if data_path is None else path_of(data_path, "data_path")
        with scratch_folder() as folder:
            self.session: Session = load_session(file, folder, place)
        self._dataset = self.session.dataset
        fields = self._dataset.uid_field, self._dataset.iid_field
        # As objects, so that the rows of a table share the texts of the ids.
        self._users, self._items = (self._dataset.field2id_token[field].astype(object) for field in fields)
        self._histories: dict[str, RatingRows] = {}

    @property
    def users(self) -> list[str]:
        """The ids of all users."""
        return list(self._users[1:])

    @property
    def users_at_once(self) -> int:
        """Users whose scores are computed together."""
        return max(self.session.trainer.test_batch_size // len(self._items), 1)

    def checked_users(self, users: Iterable[Any] | None) -> list[str]:
        """The ids that :meth:`recommend` would recommend to, with its errors."""
        return self.users if users is None else list(self._users[self._user_ids(users)])

    def recommend(self, users: Iterable[Any] | None = None, topk: int = 50, leave_out: str = "train") -> pd.DataFrame:
        """The ``topk`` items of highest score for each user.

        Args:
            users: user ids as in the data set's files (a whole number stands for its digits), in a list, an array or a
                column of a table, each once; all users if not given.
            leave_out: interactions that are not recommended again: ``train``, ``train+valid``, ``all`` or ``none``.
                They are also the history that a model of sequences goes on from; with ``none``, the train part is.

        Returns:
            Rows ``user_id, item_id, rank, score`` (rank from 1, in the order of ``users``); fewer than ``topk`` rows
            for a user who has fewer items left, none for one who has none.

        Raises:
            UserError: if ``users`` are no ids, unknown, none or repeated; on another ``topk`` or ``leave_out``.
        """
        if not isinstance(leave_out, str) or leave_out not in _LEFT_OUT:
            raise UserError(f"leave_out must be one of {', '.join(_LEFT_OUT)}, not {leave_out!r}")
        topk = self._checked_topk(topk)
        rows = np.arange(1, len(self._users)) if users is None else self._user_ids(users)
        if leave_out not in self._histories:
            self._histories[leave_out] = RatingRows(self._interactions(leave_out))
        history, sequences = self._histories[leave_out], self._sequences(leave_out)

        def scores_of(batch: slice) -> Tensor | ListedScores:
            user = torch.from_numpy(rows[batch])
            interaction = Interaction({self._dataset.uid_field: user})
            if sequences is not None:
                interaction.update(sequences.interaction(user, self.session.config))
            return self.session.trainer.rank((interaction, history.entries(user), None, None))

        return self._table(self._users[rows], topk, scores_of)

    @torch.no_grad()
    def recommend_from_history(self, history: pd.DataFrame, topk: int = 50) -> tuple[pd.DataFrame, int]:
        """Recommend to people the model has never seen, from the items they chose.

        Args:
            history: rows ``user_id, item_id``, ids as in :meth:`recommend`; any user names, items of the data set.

        Returns:
            Rows as of :meth:`recommend`, in order of first appearance and without the items of a person's own
            history, and the number of rows of ``history`` that name no item of the data set. Who has no row left gets
            no rows.

        Raises:
            UserError: if the model cannot score a history, ``history`` has not these columns or holds anything but ids
                in them, or no row names an item of the data set.
        """
        topk = self._checked_topk(topk)
        model = self.session.model
        if not traits(type(model)).recommends_from_history:
            raise UserError(
                f"{self.session.config['model']} knows only the users it was trained on; it takes no `history`"
            )
        if not isinstance(history, pd.DataFrame) or not set(_COLUMNS[:2]) <= set(history.columns):
            has = ", ".join(map(str, history.columns)) if isinstance(history, pd.DataFrame) else type(history).__name__
            raise UserError(f"`history` must be a table with the columns user_id and item_id, not {has}")
        numbers = self._dataset.field2token_id[self._dataset.iid_field]
        items = np.array([numbers.get(token, 0) for token in ids(history["item_id"], "history")], dtype=np.int64)
        people, names = pd.factorize(np.array(ids(history["user_id"], "history"), dtype=object)[items > 0])
        if not len(names):
            raise UserError("no row of the history names an item of the data set")
        ones = np.ones(len(people), dtype=np.float32)
        matrix = sp.csr_matrix((ones, (people, items[items > 0])), shape=(len(names), len(self._items)))
        rows = RatingRows(matrix, self.session.trainer.device)

        def scores_of(batch: slice) -> Tensor:
            dense = rows.dense(torch.arange(len(names), device=self.session.trainer.device)[batch])
            scores = model.score_rows(dense)
            check_scores(scores, self.session.config)
            scores = scores.masked_fill(dense > 0, -torch.inf)
            scores[:, 0] = -torch.inf
            return scores

        return self._table(np.asarray(names, dtype=object), topk, scores_of), int((items == 0).sum())

    def _checked_topk(self, topk: Any) -> int:
        most = len(self._items) - 1
        if isinstance(topk, (bool, np.bool_)) or not isinstance(topk, (int, np.integer)):
            raise UserError(f"topk must be a whole number, not {topk!r}")
        if not 1 <= topk <= most:
            raise UserError(f"topk must lie between 1 and the {most} items of the data set, not {topk}")
        return int(topk)

    def _user_ids(self, users: Any) -> np.ndarray:
        wanted = ids(users, "users")
        if not wanted:
            raise UserError("`users` names nobody; leave it out for all users")
        if len(set(wanted)) < len(wanted):
            repeated = next(user for user, n in Counter(wanted).items() if n > 1)
            raise UserError(f"`users` names '{repeated}' more than once")
        numbers = self._dataset.field2token_id[self._dataset.uid_field]
        unknown = [user for user in wanted if user not in numbers or user == "[PAD]"]
        if unknown:
            raise UserError(
                f"{len(unknown)} of the {len(wanted)} users are not in the data set, the first is '{unknown[0]}'; "
                f"people the model has not seen need a `history`"
            )
        return np.array([numbers[user] for user in wanted], dtype=np.int64)

    def _interactions(self, leave_out: str) -> sp.csr_matrix:
        parts = [data._dataset.inter_matrix(form="csr") for data in self._loaders[: _LEFT_OUT[leave_out]]]
        return sum(parts, sp.csr_matrix((len(self._users), len(self._items))))

    def _sequences(self, leave_out: str) -> Sequences | None:
        """What a model of sequences is told of the users; None for another model."""
        config = self.session.config
        if not traits(type(self.session.model)).sequential:
            return None
        parts = [data._dataset for data in self._loaders[: max(_LEFT_OUT[leave_out], 1)]]
        return Sequences.of(parts, config["MAX_ITEM_LIST_LENGTH"])

    @property
    def _loaders(self) -> tuple[Any, ...]:
        return self.session.train_data, self.session.valid_data, self.session.test_data

    def _table(self, users: np.ndarray, topk: int, scores_of: Callable[[slice], Tensor | ListedScores]) -> pd.DataFrame:
        """The lists of ``users``, by scores in which -inf marks what is left out."""
        trainer, start = self.session.trainer, 0
        step = self.users_at_once
        parts = []
        while start < len(users):
            scores = scores_of(slice(start, start + step))
            values, items = (tensor.cpu().numpy() for tensor in best(scores, topk))
            row, place = np.nonzero(values > -np.inf)
            numbers = row + start, items[row, place], place + 1
            parts.append((*(column.astype(np.int32) for column in numbers), values[row, place]))
            start += step
            step = trainer.users_at_once if isinstance(scores, ListedScores) else step
        row, item, place, value = (np.concatenate(column) for column in zip(*parts))
        columns = users[row], self._items[item], place.astype(np.int64), value
        return pd.DataFrame(dict(zip(_COLUMNS, columns)), copy=False)


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


def load(checkpoint: str | os.PathLike[str], data_path: str | os.PathLike[str] | None = None) -> Recommender:
    """The trained model of a checkpoint, ready to recommend; arguments and errors as of :class:`Recommender`."""
    return Recommender(checkpoint, data_path)


def recommend(
    checkpoint: str | os.PathLike[str], users: Iterable[Any] | None = None, topk: int = 50, leave_out: str = "train"
) -> pd.DataFrame:
    """The ``topk`` items of highest score of a checkpoint, as :meth:`Recommender.recommend` gives them."""
    return load(checkpoint).recommend(users, topk, leave_out)


def read_histories(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Rows ``user item``, separated by tabs, or by blanks where the first line has no tab.

    A header that names ``user_id`` and ``item_id`` (``:token`` may follow) may come first; other columns may then stand
    beside them, in any order. Blank lines are passed over.

    Raises:
        UserError: if the file is missing, empty, or has a line of other than two columns.
    """
    lines = [(number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]
    with_tabs = bool(lines) and "\t" in lines[0][1]
    rows = [(number, line.split("\t") if with_tabs else _BLANKS.split(line.strip(" "))) for number, line in lines]
    header = [name.partition(":")[0] for name in rows[0][1]] if rows else []
    width, places = 2, [0, 1]
    if header.count("user_id") == header.count("item_id") == 1:
        width, places = len(header), [header.index(name) for name in _COLUMNS[:2]]
        rows = rows[1:]
    for number, fields in rows:
        if len(fields) != width or not all(fields[place] for place in places):
            wanted = f"{width} columns" if width > 2 else "a user and an item"
            raise UserError(f"{path} line {number} must hold {wanted}, separated by a tab or a blank")
    if not rows:
        raise UserError(f"{path} holds no rows")
    return pd.DataFrame([[fields[place] for place in places] for _, fields in rows], columns=_COLUMNS[:2])


def read_users(path: str | os.PathLike[str]) -> list[str]:
    """User ids, one a line; blank lines, and a first line ``user_id`` (``:token`` may follow), are passed over."""
    users = [line for line in _lines(path) if line.strip()]
    if users and users[0].partition(":")[0] == "user_id":
        users = users[1:]
    if not users:
        raise UserError(f"{path} holds no users")
    return users


def _lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines without their ends and without a byte order mark; nothing else that Unicode calls a line end is one."""
    text = read_text(path).removeprefix("\ufeff")
    return [line.removesuffix("\r") for line in text.split("\n")]


def write_recommendations(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write tab-separated rows with a header, whole or not at all; an existing file is refused."""
    if os.path.lexists(path):
        raise UserError(f"{path} is already there; choose another `output`")
    # One format for each row takes half the time of pandas' writer.
    as_text = "%s\t%s\t%d\t%.6g".__mod__
    parts = (frame[_COLUMNS].iloc[start : start + _BLOCK] for start in range(0, len(frame), _BLOCK))
    rows = (as_text(row) for part in parts for row in zip(*(part[name].tolist() for name in _COLUMNS)))
    with write_aside(path) as temporary:
        write_atomic(temporary, _COLUMNS, rows)
