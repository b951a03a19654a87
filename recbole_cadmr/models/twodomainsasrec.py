"""SASRec on the merged sequence and the streams of two domains, with gated cross-attention between the streams."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.model.layers import TransformerEncoder
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.sequences import Sequences
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.contract import ModelTraits, SequenceRecommender
from recbole_cadmr.models.cross_attention import derangement, figures_of, gated_cross_attention

DOMAINS = {"A": 1, "B": 2}  # as MultimodalDataset.domains numbers them


@dataclass
class _Streams:
    """The streams of the domains over merged sequences, by domain: states [B, L, d]; which domain each item is of."""

    states: dict[str, Tensor]
    domain: Tensor  # [B, L], 0 for padding

    def seen_by(self, length: int, source: str) -> Tensor:
        """Which places [B, length, L] of a stream a query at each place sees: its own and those before."""
        before = torch.ones(length, self.domain.shape[1], dtype=torch.bool, device=self.domain.device).tril()
        return before & (self.domain == DOMAINS[source])[:, None]


class TwoDomainSASRec(SequenceRecommender):
    """Next-item recommendation to users of two domains (the skeleton that ABXI, arXiv 2501.15118, and its kin share).

    Item vectors are shared. A causal encoder (SASRec, Kang & McAuley 2018) reads the merged sequence and one reads each
    domain's stream, which is the merged sequence with the other domain's items masked. The score of an item is the
    inner product of its vector with the sum of the merged state and the last state of its domain's stream. Trained by
    a softmax over the target and sampled items of the target's domain, at every place of the sequence.

    Between the streams stands gated cross-attention ("orthogonal alignment", arXiv 2510.09435), by ``gca_positions``:
    X is a domain's stream, Y the other's, of which a query sees what came before it.

    Raises:
        UserError: if the data set has no two domains, or ``n_heads`` does not divide ``embedding_size``.
    """

    input_type = InputType.LISTWISE
    traits = ModelTraits(sequential=True, batch_by_rows=True)
    shared_settings = ("gated_cross_attention",)
    streams: ClassVar[tuple[str, ...]] = ("merged", *DOMAINS)
    encoders: Any
    exchange: Any

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        domains = dataset.domains()
        if domains is None:
            raise UserError(
                f"TwoDomainSASRec needs a data set of two domains; {dataset.dataset_name} has no domain_field"
            )
        size, heads, dropout = config["embedding_size"], config["n_heads"], config["dropout"]
        if size % heads:
            raise UserError(f"n_heads {heads} does not divide embedding_size {size}")
        self._config = config
        self.register_buffer("domain_of", domains, persistent=False)
        train = Sequences.of([dataset], self.max_seq_length + 1)  # the last of them is a target alone
        self.register_buffer("train_items", train.items, persistent=False)
        self.register_buffer("train_length", (train.length - 1).clamp(min=0), persistent=False)
        known = torch.from_numpy(np.unique(train.items.numpy()))
        for name, number in DOMAINS.items():
            self.register_buffer(f"items_{name}", (domains == number).nonzero().squeeze(1), persistent=False)
            pool = known[domains[known] == number]
            if not len(pool):
                raise UserError(f"no train interaction of {dataset.dataset_name} is with an item of its domain {name}")
            self.register_buffer(f"pool_{name}", pool, persistent=False)

        self.item_embedding = nn.Embedding(self.n_items, size, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, size)
        self.norm, self.dropout = nn.LayerNorm(size), nn.Dropout(dropout)
        inner = config["inner_size"] * size
        shape = (config["n_layers"], heads, size, inner, dropout, dropout, "gelu", 1e-12)
        self.encoders = nn.ModuleDict({stream: TransformerEncoder(*shape) for stream in self.streams})
        self.apply(_initialise)
        self.source = config["gca_source"]
        levels = {"none": 0, "early": 1, "stack": config["n_layers"] + 1}[config["gca_positions"]]
        self.exchange = nn.ModuleList(
            nn.ModuleDict({name: gated_cross_attention(config, heads, dropout) for name in DOMAINS})
            for _ in range(levels)
        )
        self.register_buffer("partner", derangement(dataset.user_num, config["seed"]), persistent=False)
        self._probed: dict[str, list[tuple[Tensor, Tensor]]] | None = None
        self.untrained: str = ""  # figures of the probe before training, as text: `resume.pt` keeps plain attributes

    # States of sequences

    def forward(self, items: Tensor, length: Tensor, users: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """States after each item: of the merged sequence [B, L, d], and of each domain's stream by its last item.

        Args:
            items: int64 [B, L], then zeros; ``length`` [B] of them count.
            users: ids [B], where the setting ``gca_source`` is ``shuffled``.
        """
        X, streams = self._embedded(items, length)
        merged = self._encoded("merged", X, streams.domain)
        others = None
        if self.source == "shuffled" and len(self.exchange):
            theirs = self.partner[users]
            others = self._embedded(self.train_items[theirs], self.train_length[theirs])[1]
        n_layers = self._config["n_layers"]
        for level in range(n_layers + 1):
            if level < len(self.exchange):
                self._exchange(level, streams, others or streams)
            if level == n_layers:
                break
            for each in (streams,) if others is None else (streams, others):
                each.states = {n: self._encoded(n, X, each.domain, level) for n, X in each.states.items()}
        return merged, {name: _latest(X, streams.domain == DOMAINS[name]) for name, X in streams.states.items()}

    def _embedded(self, items: Tensor, length: Tensor) -> tuple[Tensor, _Streams]:
        items = items[:, : max(int(length.max()), 1)]
        column = torch.arange(items.shape[1], device=items.device)
        from_end = (length[:, None] - 1 - column).clamp(min=0)  # the last place is 0, wherever a sequence begins
        X = self.dropout(self.norm(self.item_embedding(items) + self.position_embedding(from_end)))
        domain = self.domain_of[items].masked_fill(column >= length[:, None], 0)
        return X, _Streams(dict.fromkeys(DOMAINS, X), domain)

    def _encoded(self, stream: str, X: Tensor, domain: Tensor, level: int | None = None) -> Tensor:
        """All layers, or one, over the items of a stream; states of places that are not of it mean nothing."""
        of_it = domain > 0 if stream == "merged" else domain == DOMAINS[stream]
        L = X.shape[1]
        seen = torch.ones(L, L, dtype=torch.bool, device=X.device).tril() & of_it[:, None]
        mask = torch.where(seen, 0.0, -10000.0)[:, None]  # RecBole's
        layers = self.encoders[stream].layer
        for layer in layers if level is None else (layers[level],):
            X = layer(X, mask)
        return X

    def _exchange(self, level: int, streams: _Streams, others: _Streams) -> None:
        after = {}
        for (name, X), source in zip(streams.states.items(), reversed(DOMAINS)):
            source = name if self.source == "own" else source
            module = self.exchange[level][name]
            seen = None if self.source == "none" else others.seen_by(X.shape[1], source)
            added = module.added(X, others.states[source], seen)
            after[name] = X + module.alpha * added
            if self._probed is not None:
                asked = streams.domain == DOMAINS[name]
                asked = asked if seen is None else asked & seen.any(-1)
                self._probed.setdefault(f"{name}{level}", []).append((X[asked], added[asked]))
        streams.states = after

    # Training and scores

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean cross-entropy of the next items of the batch's users, each among items of its domain."""
        users = interaction[self.USER_ID]
        items = self.train_items[users]
        merged, own = self(items, self.train_length[users], users)
        target = items[:, 1 : merged.shape[1] + 1]
        losses = []
        for name in DOMAINS:
            places = self.domain_of[target] == DOMAINS[name]
            state = (merged + own[name])[places]  # [n, d]
            pool = getattr(self, f"pool_{name}")
            drawn = pool[torch.randint(len(pool), (self._config["n_negatives"],), device=pool.device)]
            positive = (state * self.item_embedding(target[places])).sum(1, keepdim=True)
            negative = state @ self.item_embedding(drawn).T
            negative = negative.masked_fill(drawn == target[places][:, None], -torch.inf)
            logits = torch.cat([positive, negative], dim=1)
            losses.append(F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long), reduction="sum"))
        n = (target > 0).sum().clamp(min=1)
        return torch.stack(losses).sum() / n

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of the batch's users for all items [B, n_items], each by its domain; the padding item's is 0."""
        users, length = interaction[self.USER_ID], interaction[self.ITEM_SEQ_LEN]
        merged, own = self(interaction[self.ITEM_SEQ], length, users)
        last = torch.arange(len(length), device=length.device), length - 1
        scores = merged.new_zeros(len(length), self.n_items)
        for name in DOMAINS:
            items = getattr(self, f"items_{name}")
            scores[:, items] = (merged[last] + own[name][last]) @ self.item_embedding(items).T
        return scores

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores [B] of pairs of user and item."""
        scores = self.full_sort_predict(interaction)
        return scores.gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)

    # The alignment of what streams read with what they are

    def before_epoch(self) -> None:
        """Measure the alignment before training, once."""
        if len(self.exchange) and not self.untrained:
            self.untrained = json.dumps(self._alignment())

    def diagnostics(self) -> dict[str, float]:
        """Of each domain and place of the cross-attention the figures of :func:`alignment`, now and before training.

        ``abs_cos_A0`` is that of the stream A before the first layer; ``gate_A0`` its gate.
        """
        if not len(self.exchange):
            return {}
        before = json.loads(self.untrained) if self.untrained else {}
        return {
            **self._alignment(),
            **{f"untrained_{name}": value for name, value in before.items() if name != "isotropic"},
        }

    @torch.no_grad()
    def _alignment(self) -> dict[str, float]:
        users = self.train_length.nonzero().squeeze(1)
        some = torch.linspace(0, len(users) - 1, min(len(users), self._config["probe_users"]), device=users.device)
        users, training = users[some.long()], self.training
        self._probed = {}
        self.eval()
        self(self.train_items[users], self.train_length[users], users)
        self.train(training)
        rows, self._probed = self._probed, None
        figures: dict[str, float] = {}
        for place, measured in rows.items():
            X, added = (torch.cat(parts) for parts in zip(*measured))
            figures |= figures_of(place, X, added, self.exchange[int(place[1:])][place[0]])
        return figures


def _latest(X: Tensor, of_it: Tensor) -> Tensor:
    """At each place the row of X [B, L, d] at the last place so far that is ``of_it`` [B, L], zeros before."""
    place = torch.arange(X.shape[1], device=X.device).expand_as(of_it)
    last = torch.where(of_it, place, -1).cummax(1).values
    rows = X.gather(1, last.clamp(min=0)[..., None].expand_as(X))
    return rows * (last >= 0)[..., None]


def _initialise(module: nn.Module) -> None:
    """As in SASRec."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        module.weight.data.normal_(0.0, 0.02)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.weight.data[module.padding_idx].zero_()
    elif isinstance(module, nn.LayerNorm):
        module.bias.data.zero_()
        module.weight.data.fill_(1.0)
    if isinstance(module, nn.Linear) and module.bias is not None:
        module.bias.data.zero_()
