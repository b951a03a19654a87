"""CADMR with a softmax objective: a learned attention of items to items beside the closed-form autoencoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import RatingRows, RowBatch, cap_row_lengths, hold_out, hold_out_later, row_pairs
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.attention_scores import TINY, AttentionScores, candidates
from recbole_cadmr.layers.item_attention import (
    ItemAttention,
    Smoothing,
    attention_entries,
    sampled_attention_entries,
)
from recbole_cadmr.layers.low_rank_autoencoder import LowRankPlusSparse
from recbole_cadmr.layers.score_paths import ScorePath
from recbole_cadmr.layers.shared_batch import agreed, n_processes, rank, share, summed
from recbole_cadmr.models.base import HistoryRecommender
from recbole_cadmr.models.candidates import BestItems
from recbole_cadmr.models.closed_form import ClosedFormRecommender
from recbole_cadmr.models.content import Projection, projected, projections, unit_features

_FULL = 20_000  # items up to which the softmax runs over all of them unless told otherwise
_SAMPLED = 2**13  # and how many it runs over beyond
_CANDIDATES = 500  # items of the closed form that the attention looks at where that is fitted sparse
_LONGEST = 512  # items of a row that a step looks at; of a longer row, as many at random
_LOOKED_AT = 512  # items whose attention the diagnostics look at
# What an attention may choose by itself, in this order.
_ADAPTED = ("cooccurrence_smoothing", "attention_temperature", "content_smoothing", "held_out_share")


class SoftmaxCADMR(ClosedFormRecommender):
    """What :class:`CADMR` is with ``objective: softmax``.

    As in CADMR a user's rating row asks, the items' representations answer, and an autoencoder completes the row that
    the answers enhance; both are trained by what they are good at. Every item i of a row u attends to the whole
    catalogue by queries and keys of free embeddings and content (:class:`ItemAttention`), and the answers make
    ``p(j | u) = mean_(i in u) A_ij``: the attention-enhanced rating row, read as a distribution. It is trained by
    cross-entropy: a random part of each training row has to be told from the rest, the rest itself left out of the
    distribution; where the closed form goes by the order of interactions, what comes after a random one. The
    autoencoder is the closed-form :class:`ContentAutoencoder`. Scores are ``R S + attention_weight * log p``; the
    weight is chosen on validation, as a closed form has seen the rows it was fitted to and would be trusted too much on
    them.

    The closed form is fitted when first needed, also after loading: its weights are many times the size of the rest
    and follow from the training rows, so that checkpoints leave them out.
    """

    traits = replace(
        HistoryRecommender.traits,
        multimodal=True,
        reads_item_graphs=True,
        scores_cold_items=True,
        explains=True,
        weighs_content=True,
        takes_new_items=True,
        trainer="recbole_cadmr.training.softmax_trainer:SoftmaxTrainer",
        item_matrices=7,
        fits_sparse=True,
    )
    loss_names = ("cross_entropy",)
    shared_by = "work"
    # The defaults suit the attention beside them: a closed form that is a little better alone is worse in company.
    least_gain = 0.05
    attention_weight: Tensor

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        if config["rows"] != "users" or config["attention"] != "cross":
            raise UserError("objective softmax has its own attention, over rows of users; leave out rows and attention")
        linear = config["linear_settings"]
        if not isinstance(linear["reg_weight"], (int, float)):
            raise UserError("linear_settings: reg_weight must be one number; LinearCADMR chooses among several")
        super().__init__(config, dataset, linear, config.changed.get("linear_settings", ()))
        R, A = self.closed_form.R, self.closed_form.A
        order = self.closed_form.order
        self.order_rows = None if order is None else RatingRows(order, self.device, are_counts=True)
        self.fit_kind: str | None = None
        self._best: BestItems | None = None
        self.history_weight = config["history_weight"]
        self.free = [name for name in _ADAPTED if name not in config.changed and (A.nnz or name != "content_smoothing")]
        self.own_settings = {name: config[name] for name in _ADAPTED}

        self.smoothing_settings = dict(linear)  # A is theirs, whatever the closed form chooses
        weights = config["content_smoothing"], config["cooccurrence_smoothing"]
        self.smoothing = Smoothing(R, A, *weights, self.device)
        n_trained = dataset.item_num - 1 - dataset.added_item_count  # items that came later add no component
        features, reduced = unit_features(dataset, config["content_components"], n_trained)
        # What principal components a machine finds is not for another one to find again.
        self.content_scale, self._content_components = config["content_scale"], config["content_components"]
        self.register_buffer("features", self.content_scale * features, persistent=reduced)
        shape = config["attention_size"], config["attention_temperature"], config["embedding_scale"]
        n_items, n_features = features.shape
        self.members = [
            ItemAttention(n_items, n_features, self.smoothing, *shape) for _ in range(config["ensemble_size"])
        ]
        self.attentions = nn.ModuleList(self.members)
        self.attend(self.own_settings)
        self.attention_weights = list(config["attention_weights"])
        self.register_buffer("attention_weight", torch.tensor(float(self.attention_weights[0])))
        self._prepare_sampling(config, R)

    def _prepare_sampling(self, config: Config, R: Any) -> None:
        """What a sampled item counts for in the softmax of a step; nothing if that runs over all items."""
        n_items = R.shape[1]
        n_sampled = config["sampled_items"] or (n_items if n_items <= _FULL else _SAMPLED)
        self.n_sampled = None if n_sampled >= n_items else n_sampled
        if self.n_sampled is not None:
            drawn = np.sqrt(np.asarray(R.sum(0)).ravel() + 1)
            drawn /= drawn.sum()
            self._drawn = torch.from_numpy(drawn).to(self.device)
            inclusion = -np.expm1(self.n_sampled * np.log1p(-drawn))
            self._log_weight = -torch.from_numpy(np.log(inclusion)).float().to(self.device)

    # What is chosen on validation

    def attend(self, settings: Mapping[str, float]) -> None:
        """Let the attention have these settings: temperature, smoothing, share of a row held out in training."""
        self._cache.clear()
        self.held_out_share = settings["held_out_share"]
        self.smoothing.content = settings["content_smoothing"]
        self.smoothing.cooccurrence = settings["cooccurrence_smoothing"]
        for member in self.members:
            member.temperature = settings["attention_temperature"]

    def adopt_choices(self) -> None:
        """Let closed form and attention use what was chosen."""
        if self.chosen != self._adopted:
            chosen = self.choices().get("attention", {})
            self.attend({**self.own_settings, **{name: value for name, value in chosen.items() if name in self.free}})
        before = dict(self.closed_form.settings)
        super().adopt_choices()
        if before != self.closed_form.settings:
            self.closed_form.weights = None

    # Training

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Cross-entropy of held-out items given the rest of their rows, a mean over them; of all members together."""
        self.fit()
        batch = self.rating_rows.batch(interaction[self.USER_ID])
        kept = cap_row_lengths(batch.row, batch.n_rows, _LONGEST)  # pairs within a row grow with its square
        batch = replace(batch, row=batch.row[kept], column=batch.column[kept], value=batch.value[kept])
        if self.order_rows is not None and self.closed_form.settings["direction"]:
            place = self.order_rows.batch(interaction[self.USER_ID]).value[kept]
            held = hold_out_later(batch.row, place, batch.n_rows, self.held_out_share)
        else:
            held = hold_out(batch.row, batch.n_rows, self.held_out_share)
        entries = batch.row[~held], batch.column[~held], batch.row[held], batch.column[held]
        with torch.autocast(self.device.type, enabled=False):  # sums of exponentials need float32
            return torch.stack([self._cross_entropy(member, batch.n_rows, *entries) for member in self.members]).sum()

    def _cross_entropy(
        self, member: ItemAttention, n_rows: int, row: Tensor, column: Tensor, held_row: Tensor, held_column: Tensor
    ) -> Tensor:
        """Loss of entries (``held_row``, ``held_column``) given those at (``row``, ``column``).

        Of processes that share a batch, each computes the softmax of some of the asking items.
        """
        if not len(held_row):
            return member(self.features)[0].sum() * 0.0  # nobody in the batch has two items
        items, place = column.unique(return_inverse=True)
        asks, answers = row_pairs(row, held_row, n_rows)
        asks_known, known = row_pairs(row, row, n_rows)
        pair, target = torch.cat([asks, asks_known]), torch.cat([held_column[answers], column[known]])
        slot = torch.cat([answers, len(held_row) + row[asks_known]])  # what a pair's probability is added to
        own = share(len(items))
        if n_processes() > 1:
            mine = ((place[pair] >= own.start) & (place[pair] < own.stop)).nonzero().squeeze(1)
            pair, target, slot = pair[mine], target[mine], slot[mine]
        row_of_pair = place[pair] - own.start
        if self.n_sampled is None:
            query, key = member(self.features, items[own])
            probability = attention_entries(query, key, row_of_pair, target)
        else:
            sample = torch.multinomial(self._drawn, self.n_sampled, replacement=True).unique()
            answering, at = torch.cat([sample, target]).unique(return_inverse=True)
            sample, target = at[: len(sample)], at[len(sample) :]
            query, key = member(self.features, items[own], answering)
            of_answering = self._log_weight[answering]
            probability = sampled_attention_entries(query, key, row_of_pair, target, sample, of_answering)
        probability = probability / torch.bincount(row, minlength=n_rows)[row[pair]]
        total = torch.zeros(len(held_row) + n_rows, device=row.device).index_add(0, slot, probability)
        of_held, of_known = summed(total).split([len(held_row), n_rows])
        unknown = (1 - of_known).clamp(min=1e-6)[held_row]  # what is left for the items that are not in the row
        weight = torch.bincount(held_row, minlength=n_rows)[held_row].float() ** (self.history_weight - 1)
        loss = unknown.log() - of_held.clamp(min=TINY).log()
        return (weight * loss).sum() / weight.sum()

    def fit(self) -> None:
        """Fit the closed form, unless that is done."""
        self.adopt_choices()
        if self.closed_form.weights is None:
            # A fit of the other kind would give other scores, whatever memory is free when a checkpoint is loaded, or
            # in another process that shares the training.
            is_first, is_open = rank() == 0, self.fit_kind is None
            if is_open and not is_first:
                self.fit_kind = agreed(None)
            self.fit_kind, self._best = self.fit_closed_form(self.fit_kind), None
            if is_open and is_first:
                agreed(self.fit_kind)

    @torch.no_grad()
    def refit(self, before: Any, dataset: MultimodalDataset, n_known: int) -> None:
        """Give new items a query and a key by content alone; the closed form is fitted by itself when needed."""
        for member in self.members:
            member.embedding[n_known - 1 :] = 0.0
        if (found := self.projections(dataset, n_known)) is not None:
            self.features[n_known - 1 :] = self.content_scale * projected(dataset, n_known, found)
        self._cache.clear()

    def projections(self, dataset: MultimodalDataset, n_known: int) -> dict[str, Projection] | None:
        """How items behind the first ``n_known`` get features; None where those of all items are computed anew."""
        if "features" in self._non_persistent_buffers_set or not self.content_scale:
            return None
        known = self.features[: n_known - 1].cpu() / self.content_scale
        return projections(dataset, self._content_components, known)

    # Scores

    def _scores_of(self, batch: RowBatch) -> Tensor:
        return self._weighed_scores_of(batch, 1.0)

    def _weighed_scores_of(self, batch: RowBatch, content_weight: float) -> Tensor:
        self.fit()
        scores = self.closed_form.scores(batch, content_weight)
        return F.pad(self.attention_scores.added_to(scores, batch, self.attention_weight, self.n_candidates), (1, 0))

    @property
    def attention_scores(self) -> AttentionScores:
        """What the attention adds, as it is trained at this moment; kept over an evaluation."""
        return self._cached(
            "attention", lambda: AttentionScores([member(self.features) for member in self.members], keeps_rows=True)
        )

    @property
    def n_candidates(self) -> int | None:
        """How many items the attention looks at, where the closed form is fitted sparse: its best; None for all."""
        return _CANDIDATES if isinstance(self.closed_form.weights, LowRankPlusSparse) else None

    def candidates(self, scores: Tensor) -> Tensor | None:
        """The items [B, C] that the attention looks at, of which ``scores`` [B, I] are the closed form's; None for all.

        Where that is fitted sparse, these are its best, in no order.
        """
        return None if self.n_candidates is None else candidates(scores, self.n_candidates)

    @torch.no_grad()
    def listed_scores(self, interaction: Interaction) -> sp.csr_matrix | None:
        """Scores of the items that the closed form ranks first, where it is fitted sparse."""
        self.fit()
        if self.n_candidates is None:
            return None
        users = interaction[self.USER_ID]
        if self._best is None:
            self._best = BestItems(self.rating_rows, self.closed_form.scores, self.n_candidates)
        items, scores = self._best.of(users)
        scores = scores + self.attention_weight * self.log_p_at(self.rating_rows.batch(users), items)
        place = 1 + items.flatten().cpu().numpy(), np.arange(len(users) + 1) * items.shape[1]
        return sp.csr_matrix((scores.flatten().cpu().numpy(), *place), shape=(len(users), self.n_items))

    def log_p_at(self, batch: RowBatch, items: Tensor) -> Tensor:
        """``log p(j | u)`` [B, C] of the items [B, C] alone, a mean over the members; 0 for empty rows."""
        return self.attention_scores.log_p_at(batch, items)

    def log_p(self, batch: RowBatch) -> Tensor:
        """``log p(j | u)`` [B, I], a mean over the members; 0 for empty rows."""
        return self.attention_scores.log_p(batch)

    @torch.no_grad()
    def score_paths(
        self, chosen: Tensor, item: int, user: int | None = None, counts: Tensor | None = None
    ) -> list[ScorePath]:
        """The ways through the closed form and those of :meth:`AttentionScores.paths`."""
        self.fit()
        row, scores = chosen.to(self.device) - 1, None
        if self.n_candidates is not None:
            value = torch.ones(len(row), device=self.device) if counts is None else counts.to(self.device)
            scores = self.closed_form.scores(RowBatch(torch.zeros_like(row), row, value, 1, self.n_items - 1))
        weight = float(self.attention_weight)
        counts = None if counts is None else counts.to(self.device)
        attention = self.attention_scores.paths(row, item - 1, weight, scores, self.n_candidates, counts)
        return [*super().score_paths(chosen, item, user, counts), *attention]

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """``neighbours``: items that an item attends to, as exp of the entropy, a geometric mean over a sample."""
        query, key = self.members[0](self.features)
        looked_at = torch.linspace(0, len(query) - 1, min(_LOOKED_AT, len(query)), device=query.device).long()
        log_A = (query[looked_at] @ key.T).log_softmax(1)
        entropy = -(log_A.exp() * log_A).sum(1).mean()
        return {"neighbours": math.exp(float(entropy)), "attention_weight": float(self.attention_weight)}
