"""Loaders of a run: training batches, and full ranking of the held-out parts, without Python per user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from inspect import unwrap
from logging import getLogger
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataloader.user_dataloader import UserDataLoader
from recbole.data.interaction import Interaction, cat_interactions
from recbole.data.utils import get_dataloader
from recbole.sampler import Sampler
from recbole.utils import InputType, ModelType

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import SCORES, EntriesByRow, RatingRows, binary, users_at_once
from recbole_cadmr.data.sequences import Sequences, in_order
from recbole_cadmr.errors import UserError

# Of models that score pairs alone (NeuMF, NNCF, ConvNCF) and hold far more than a number for each.
_PAIRS = 2**15
# Steps of an epoch times items, where a step looks at the whole catalogue whatever rows it takes.
_EPOCH_WORK = 2_000_000
# Entries of such a step at most, each of which may ask a sample of the items: 5 GB at 8,192 of these.
_MOST_ENTRIES = 2**16


def eval_batch_size(setting: int | None, n_items: int, ranks_all_items: bool) -> int:
    """Scores (users x items) of one evaluation step: the ``setting``, or as many as suit a catalogue of ``n_items``.

    RecBole's default of 4,096 would score one user a step.
    """
    if setting is not None:
        return setting
    return max(SCORES, users_at_once(n_items) * n_items) if ranks_all_items else _PAIRS


def joined(parts: Iterable[MultimodalDataset]) -> list[MultimodalDataset]:
    """The parts of a split data set as one train part, and two empty parts."""
    train, *held_out = parts
    rows = cat_interactions([part.inter_feat for part in (train, *held_out)])
    nothing = torch.empty(0, dtype=torch.long)
    return [train.copy(rows), *(part.copy(part.inter_feat[nothing]) for part in held_out)]


def prepare_loaders(
    config: Any, parts: Iterable[MultimodalDataset], batch_by_rows: bool, scores_at_once: int, sequential: bool = False
) -> tuple[Any, FullRankingLoader, FullRankingLoader]:
    """The train, validation and test loader of the parts of a data set.

    Samplers and training batches know the train part alone; RecBole's popularity sampling would count held-out
    interactions, too.

    Args:
        batch_by_rows: whether training batches are ids of rows, not interactions.
        scores_at_once: as of :func:`eval_batch_size`.
        sequential: whether the model reads histories: those of the validation part are the train part, those of the
            test part are the validation part, too.

    Raises:
        UserError: if the train part is empty, the order that a sequential model needs is missing, or the model cannot
            be trained with ``train_neg_sample_args``.
    """
    train, valid, test = parts
    if not len(train):
        raise UserError(f"the split leaves {train.dataset_name} without train interactions; change eval_args")
    _report_parts(train, valid, test)
    train_rows, valid_rows = (part.inter_matrix(form="csr") for part in (train, valid))
    seen = train_rows + valid_rows if config["mask_valid_at_test"] else train_rows
    histories: list[Sequences | None] = [None, None]
    if sequential:
        in_order((train, valid, test))
        longest = config["MAX_ITEM_LIST_LENGTH"]
        histories = [Sequences.of(parts, longest) for parts in ((train,), (train, valid))]
    by_prefixes = sequential and not batch_by_rows
    return (
        PrefixLoader(config, train, shuffle=config["shuffle"])
        if by_prefixes
        else _train_loader(config, train, batch_by_rows),
        FullRankingLoader(config, valid, train_rows, scores_at_once, histories[0]),
        FullRankingLoader(config, test, seen, scores_at_once, histories[1]),
    )


def _train_loader(config: Any, train: MultimodalDataset, batch_by_rows: bool) -> Any:
    # Without the hook (`recbole_api`), which would lead back here.
    kind = RowLoader if batch_by_rows else unwrap(get_dataloader)(config, "train")
    sampling, name = config["train_neg_sample_args"], config["model"]
    if kind in (RowLoader, UserDataLoader):
        if "train_neg_sample_args" in config.changed and sampling["distribution"] != "none":
            raise UserError(f"{name} learns from whole rows, without negative items; leave out train_neg_sample_args")
        # RecBole's loader of users always shuffles, and warns if it is told not to.
        return kind(config, train, None, shuffle=config["shuffle"] or kind is UserDataLoader)
    if sampling["distribution"] == "none":
        if config["MODEL_TYPE"] != ModelType.TRADITIONAL:
            raise UserError(f"{name} learns from negative items; train_neg_sample_args must name a distribution")
        return kind(config, train, None, shuffle=config["shuffle"])
    how = sampling["distribution"], sampling["sample_num"], bool(sampling.get("dynamic"))
    if config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE and how == ("uniform", 1, False):
        return TripleLoader(config, train, shuffle=config["shuffle"])
    # Drawn by popularity, an item of the train part; else any item of the set.
    n_items = len(train.inter_feat[train.iid_field].unique())
    _refuse_full_users(train, n_items if sampling["distribution"] == "popularity" else train.item_num - 1)
    sampler = Sampler(["train"], [train], sampling["distribution"], sampling["alpha"]).set_phase("train")
    return kind(config, train, sampler, shuffle=config["shuffle"])


def _refuse_full_users(train: MultimodalDataset, n_items: int) -> None:
    """Raise :class:`UserError` if a user has all of the ``n_items`` items that negative ones are drawn from."""
    sizes = torch.bincount(train.pair_ids().unique() // train.item_num)
    if int(sizes.max()) < n_items:
        return
    user = train.id2token(train.uid_field, int(sizes.argmax()))
    advice = f"take the user out of the files of {train.dataset_name}"
    if not train.benchmark_filename_list:
        advice += f", or leave out who has so many with --user_inter_num_interval=[0,{n_items})"
    raise UserError(f"user {user!r:.60} has every item, so that no negative item can be sampled; {advice}")


def _report_parts(train: Any, valid: Any, test: Any) -> None:
    """Log what makes held-out interactions trivial or unreachable, counted by part."""
    log, name = getLogger("recbole_cadmr"), train.dataset_name
    users, items = train.uid_field, train.iid_field
    parts = {"train": train, "validation": valid, "test": test}
    pairs_of = {part: data.pair_ids().numpy() for part, data in parts.items()}
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
            tell(f"in {name}, {who} held-out interactions only; {'it is' if late == 1 else 'they are'} {fate}")
    if train.item_feat is not None:
        used = np.unique(np.concatenate([data.inter_feat[items].numpy() for data in (train, valid, test)]))
        if unused := train.item_num - 1 - len(used):
            log.warning(f"{unused:,} items of the file {name}.item have no interactions; they are ranked, too")


class _TrainLoader(AbstractDataLoader):
    """Batches of ``train_batch_size``."""

    def _init_batch_size_and_step(self) -> None:
        self.step = self.config["train_batch_size"]
        self.set_batch_size(self.step)


class TripleLoader(_TrainLoader):
    """Batches (user, item, negative item), an epoch's negative items drawn at once.

    RecBole's loader for the same does so batch by batch and gathers every column of every interaction. Negative items
    are drawn alike among the items of the train part that the user does not have; an item that no train row holds is
    not known yet, and would be pushed down by being drawn.

    Raises:
        UserError: if a user has every item of the train part.
    """

    def __init__(self, config: Any, dataset: MultimodalDataset, sampler: None = None, shuffle: bool = True) -> None:
        self._fields = dataset.uid_field, dataset.iid_field, config["NEG_PREFIX"] + dataset.iid_field
        self._users, self._items = (dataset.inter_feat[field] for field in self._fields[:2])
        self._drawn_from = self._items.unique()
        self._n_items = dataset.item_num
        self._known = dataset.pair_ids().unique()  # ascending
        _refuse_full_users(dataset, len(self._drawn_from))
        self.sample_size = len(self._users)
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def __iter__(self) -> Iterator[Interaction]:
        users, items = self._users, self._items
        if self.shuffle:
            order = torch.randperm(len(users), generator=self.generator)
            users, items = users[order], items[order]
        # To the device at once: a copy in every step would let a GPU wait.
        columns = (column.to(self.config["device"]) for column in (users, items, self.negative_items(users)))
        for batch in zip(*(column.split(self.step) for column in columns)):
            yield Interaction(dict(zip(self._fields, batch)))

    def negative_items(self, users: torch.Tensor) -> torch.Tensor:
        """For each of the users [n] an item that the train part does not give them."""
        negative = torch.empty_like(users)
        waiting = torch.arange(len(users))
        while len(waiting):
            place = torch.randint(len(self._drawn_from), (len(waiting),), generator=self.generator)
            negative[waiting] = self._drawn_from[place]
            key = users[waiting] * self._n_items + negative[waiting]
            place = torch.searchsorted(self._known, key).clamp(max=len(self._known) - 1)
            waiting = waiting[self._known[place] == key]
        return negative


class PrefixLoader(_TrainLoader):
    """Batches of a history and the item that follows it, for all interactions but each user's first.

    What RecBole's ``SequentialDataset`` makes of a set that is not split yet; here in each batch, so that no history is
    held once for each of its prefixes.
    """

    def __init__(self, config: Any, dataset: MultimodalDataset, sampler: None = None, shuffle: bool = True) -> None:
        users, items, _ = in_order([dataset])
        self._users, self._items = torch.from_numpy(users), torch.from_numpy(items)
        same = torch.cat([torch.zeros(1, dtype=torch.bool), self._users[1:] == self._users[:-1]])
        place = torch.arange(len(users))
        self._before = place - torch.where(same, 0, place).cummax(0).values  # interactions of the user before each
        self._targets = same.nonzero().squeeze(1)
        if not len(self._targets):
            raise UserError(f"no user of {dataset.dataset_name} has two train interactions, of which one follows")
        self.sample_size = len(self._targets)
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def collate_fn(self, index: Sequence[int]) -> Interaction:
        """Users, their histories and the items that follow."""
        at = self._targets[torch.as_tensor(index)]
        length = self._before[at].clamp(max=self.config["MAX_ITEM_LIST_LENGTH"])
        column = torch.arange(self.config["MAX_ITEM_LIST_LENGTH"])
        place = ((at - length)[:, None] + column).clamp(max=len(self._items) - 1)
        histories = self._items[place].masked_fill_(column >= length[:, None], 0)
        dataset, suffix = self._dataset, self.config["LIST_SUFFIX"]
        batch = {
            dataset.uid_field: self._users[at],
            dataset.iid_field: self._items[at],
            dataset.iid_field + suffix: histories,
            self.config["ITEM_LIST_LENGTH_FIELD"]: length,
        }
        return self.transform(dataset, Interaction(batch))


class RowLoader(_TrainLoader):
    """Batches of rows of the rating matrix: ids of users (or of items, by the setting ``rows``).

    Rows without a train interaction, the padding row among them, are left out.
    """

    def __init__(self, config: Any, dataset: MultimodalDataset, sampler: None = None, shuffle: bool = True) -> None:
        self._field = dataset.iid_field if "rows" in config and config["rows"] == "items" else dataset.uid_field
        self._ids = torch.unique(dataset.inter_feat[self._field])
        self.sample_size = len(self._ids)
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def _init_batch_size_and_step(self) -> None:
        self.step = self.config["train_batch_size"]
        # RecBole's Config has no get.
        entries = self.config["batch_entries"] if "batch_entries" in self.config else None  # noqa: SIM401
        if entries:
            rows_an_entry = self.sample_size / len(self._dataset)
            least = min(self.sample_size * self._dataset.item_num // _EPOCH_WORK, round(_MOST_ENTRIES * rows_an_entry))
            self.step = max(1, min(self.step, round(entries * rows_an_entry)), least)
        self.set_batch_size(self.step)

    def collate_fn(self, index: Sequence[int]) -> Interaction:
        """The ids at ``index``."""
        return Interaction({self._field: self._ids[torch.as_tensor(index)]})


class FullRankingLoader(FullSortEvalDataLoader):
    """What RecBole's ``FullSortEvalDataLoader`` yields, from compressed rows.

    Args:
        dataset: the held-out part; its users are ranked in ascending id.
        known: [n_users, n_items] interactions left out of the ranking, unless they are held-out ones.
        scores_at_once: scores of a batch, all items of whole users: those of one user at least.
        histories: what users have chosen before, given with them to a model of sequences.

    Raises:
        UserError: if held-out items of one user lie in different domains.
    """

    def __init__(
        self,
        config: Any,
        dataset: MultimodalDataset,
        known: sp.csr_matrix,
        scores_at_once: int,
        histories: Sequences | None = None,
    ) -> None:
        self.uid_field, self.iid_field = dataset.uid_field, dataset.iid_field
        positive = binary(dataset.inter_matrix(form="csr"))
        self._positive = RatingRows(positive)
        known = binary(known)
        self._history = RatingRows(binary(known - known.multiply(positive)))
        self.uid_list = torch.from_numpy(np.flatnonzero(np.diff(positive.indptr)))
        dataset = dataset if histories is None else dataset.with_histories(histories)
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        if (domains := dataset.domains()) is not None:
            user, domain = positive.nonzero()[0], domains.numpy()[positive.nonzero()[1]]
            if ((user[1:] == user[:-1]) & (domain[1:] != domain[:-1])).any():
                raise UserError(
                    f"held-out items of a user of {dataset.dataset_name} lie in both domains, so that there is no one "
                    f"domain to rank; split by the last interaction, or set domain_field to None"
                )
        self.sample_size = len(self.uid_list)
        self._users_at_once = max(scores_at_once // dataset.item_num, 1)
        AbstractDataLoader.__init__(self, config, dataset, None, shuffle=False)
        self.is_sequential = False  # a row a user, with the items to leave out, whatever the model

    @property
    def uid2history_item(self) -> EntriesByRow:
        """The items that are left out for each user, as RecBole's ``case_study`` asks for them."""
        return EntriesByRow(self._history)

    @property
    def uid2positive_item(self) -> EntriesByRow:
        """The held-out items of each user."""
        return EntriesByRow(self._positive)

    def keep(self, users: torch.Tensor) -> None:
        """Rank these users alone, of those with held-out items."""
        kept = torch.isin(self.uid_list, users)
        self.uid_list, self.user_df = self.uid_list[kept], self.user_df[kept]
        self.sample_size = len(self.uid_list)

    def _init_batch_size_and_step(self) -> None:
        self.step = self._users_at_once
        self.set_batch_size(self.step * self._dataset.item_num)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        start = 0
        while start < self.sample_size:  # the step may change from batch to batch
            at = torch.arange(start, min(start + self.step, self.sample_size))
            yield self.collate_fn(at)
            start += len(at)

    def __len__(self) -> int:
        return -(-self.sample_size // self.step)

    def collate_fn(self, at: torch.Tensor) -> tuple[Any, ...]:
        """Users, (row, item) of their known items, and row and item of their held-out ones."""
        users = self.uid_list[at]
        return self.user_df[at], self._history.entries(users), *self.held_out(users)

    def held_out(self, users: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The held-out items of users [B]: their places in ``users`` and the items, ascending by both."""
        return self._positive.entries(users)
