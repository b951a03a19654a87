"""The part of every trainer that ranks all items for users."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import recbole.trainer
import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.model.abstract_recommender import GeneralRecommender
from torch import Tensor

from recbole_cadmr.compat.recbole import let_recbole_draw
from recbole_cadmr.config.config import Config
from recbole_cadmr.data.loaders import FullRankingLoader, eval_batch_size
from recbole_cadmr.memory import freed_memory_kept
from recbole_cadmr.models.contract import training_hooks, traits
from recbole_cadmr.models.registry import is_own
from recbole_cadmr.progress import bar_of_batches
from recbole_cadmr.training.collector import RankingCollector
from recbole_cadmr.training.ranking import ListedScores, contained
from recbole_cadmr.training.refusals import check_scores, refusals, whole_scores


class RankingTrainer(recbole.trainer.Trainer):
    """RecBole's trainer, which ranks users by the candidates that a model lists, if it does, or by the scores of all.

    Attributes:
        hooks: what the model answers beside losses and scores.
        domains: the domain of each item [n_items], of a data set of two; a user is ranked the items of the one that the
            held-out item lies in.
        users_at_once: how many users to rank next, by the scores that were held for those before.
        on_ranking: called with every batch that was ranked, as the collector gets it.
    """

    item_tensor: Any

    def __init__(self, config: Config, model: GeneralRecommender, train_data: AbstractDataLoader) -> None:
        super().__init__(config, model)
        let_recbole_draw(bar_of_batches)
        self.hooks = training_hooks(model)
        ranks_all_items = traits(type(model)).ranks_all_items
        self.test_batch_size = eval_batch_size(config["eval_batch_size"], model.n_items, ranks_all_items)
        self.tot_item_num = model.n_items
        self.users_at_once = self._fewest = max(self.test_batch_size // model.n_items, 1)
        self.domains: Tensor | None = train_data._dataset.domains()
        # Nobody can have chosen the others.
        self._n_candidates = model.n_items - train_data._dataset.new_item_count
        self.eval_collector = RankingCollector(config, self.domains)
        self.eval_collector.data_collect(train_data)
        self._train_data = train_data
        self.on_ranking: Callable[[Any], None] | None = None
        self._ranked: FullRankingLoader | None = None  # by `evaluate`

    @torch.no_grad()
    def evaluate(
        self, eval_data: Any, load_best_model: bool = True, model_file: Any = None, show_progress: bool = False
    ) -> Any:
        """RecBole's evaluation and result."""
        self._ranked = eval_data
        with self._refusals("score"), freed_memory_kept():
            result = super().evaluate(eval_data, load_best_model, model_file, show_progress)
        self._ranked = None
        return result

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        """RecBole's, or by the candidates that the model lists, with as many users in the next batch as these suit."""
        interaction, history, *held_out = batched_data
        scores: Tensor | ListedScores
        needs_all = self.eval_collector.needs_all_scores or self.domains is not None
        listed = None if needs_all else self.hooks.listed_scores(interaction.to(self.device))
        if listed is None:
            self.users_at_once, scores = self._fewest, self._candidate_scores(interaction, history)
            if self.domains is not None and held_out[0] is not None:
                row, item = held_out
                of_item = self.domains.to(scores.device)
                target = of_item.new_zeros(len(scores)).index_put_((row.to(scores.device),), of_item[item])
                if scores.stride(0) == 1:  # stored by items
                    scores.T.masked_fill_(of_item[:, None] != target, -torch.inf)
                else:
                    scores.masked_fill_(of_item != target[:, None], -torch.inf)
        else:
            check_scores(torch.from_numpy(listed.data)[None], self.config)
            if self._n_candidates < listed.shape[1]:
                shape, listed = listed.shape, listed[:, : self._n_candidates]
                listed.resize(shape)
            fitting = self.test_batch_size // 2 * len(interaction) // max(listed.nnz, 1)  # a key takes eight bytes
            self.users_at_once = max(min(fitting, 2 * len(interaction)), self._fewest)
            scores = ListedScores.of(listed, history, partial(self._scores_of_some, interaction, history), self._fewest)
        if self._ranked is not None:
            self._ranked.step = self.users_at_once
        batch = interaction, scores, *held_out
        if self.on_ranking is not None:
            self.on_ranking(batch)
        return batch

    @torch.no_grad()  # asked for when the lists are made
    def _scores_of_some(self, interaction: Any, history: tuple[Tensor, Tensor], users: Tensor) -> Tensor:
        """Scores of all items for the users at some ascending places [b] of a batch."""
        row, item = history
        theirs = contained(row, users)
        return self._candidate_scores(interaction[users], (torch.searchsorted(users, row[theirs]), item[theirs]))

    def _candidate_scores(self, interaction: Any, history: tuple[Tensor, Tensor] | None) -> Tensor:
        """Scores of which those of items that nobody has are -inf."""
        scores = self._all_scores(interaction, history)
        scores[:, self._n_candidates :] = -torch.inf
        return scores

    def _all_scores(self, interaction: Any, history: tuple[Tensor, Tensor] | None) -> Tensor:
        """RecBole's scores, refused where they are NaN or infinite before items are left out by -inf."""
        with self._refusals("score"):
            if is_own(type(self.model)) and traits(type(self.model)).ranks_all_items:
                scores = whole_scores(self.model, interaction.to(self.device))
                scores[:, 0] = -torch.inf
            else:
                scores = super()._full_sort_batch_eval((interaction, None, None, None))[1]
        check_scores(scores[:, 1:], self.config)  # the padding item's are -inf by now
        if history is not None:
            scores[history] = -torch.inf
        return scores

    @torch.no_grad()
    def scores(self, interaction: Any) -> Tensor:
        """Scores of all items [B, n_items] for the users of an interaction; the padding item's are -inf."""
        if self.item_tensor is None:  # of models that score pairs
            self.item_tensor = self._train_data._dataset.get_item_feature().to(self.device)
        return self._all_scores(interaction, None)

    @torch.no_grad()
    def rank(self, batch: Any) -> Tensor | ListedScores:
        """The scores of a batch as the loaders of held-out parts yield it, for :func:`best`."""
        if self.item_tensor is None:  # of models that score pairs
            self.item_tensor = self._train_data._dataset.get_item_feature().to(self.device)
        return self._full_sort_batch_eval(batch)[1]

    def _refusals(self, doing: str) -> AbstractContextManager[None]:
        return refusals(self.config, type(self.model), doing)
