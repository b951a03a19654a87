"""SASRec on the merged sequence and the streams of two domains, with gated cross-attention between the streams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.sequences import Sequences
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.packed_attention import Earlier, EncoderLayer, Packed, dropped_out
from recbole_cadmr.models.contract import ModelTraits, SequenceRecommender
from recbole_cadmr.models.cross_attention import derangement, gated_cross_attention
from recbole_cadmr.models.probed import ProbedModel, figures_of

DOMAINS = {"A": 1, "B": 2}  # as MultimodalDataset.domains numbers them


@dataclass
class _Stream:
    """The stream of a domain over merged sequences: states X [n, d] of their entries that are of it."""

    X: Tensor
    entries: Packed

    @cached_property
    def earlier(self) -> Earlier:
        """What its entries see of it."""
        return Earlier(self.entries, self.entries)


class TwoDomainSASRec(ProbedModel, SequenceRecommender):
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
        history = Sequences.of([dataset], self.max_seq_length)  # what validation reads
        users = history.length.nonzero().squeeze(1)
        some = users[torch.linspace(0, len(users) - 1, min(len(users), config["probe_users"])).long()]
        some = some[history.length[some].argsort(stable=True)]
        for name, value in (("users", some), ("items", history.items[some]), ("length", history.length[some])):
            self.register_buffer(f"probe_{name}", value, persistent=False)
        known = torch.from_numpy(np.unique(train.items.numpy()))
        for name, number in DOMAINS.items():
            self.register_buffer(f"items_{name}", (domains == number).nonzero().squeeze(1), persistent=False)
            pool = known[domains[known] == number]
            if not len(pool):
                raise UserError(f"no train interaction of {dataset.dataset_name} is with an item of its domain {name}")
            self.register_buffer(f"pool_{name}", pool, persistent=False)

        self.item_embedding = nn.Embedding(self.n_items, size, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, size)
        self.norm = nn.LayerNorm(size)
        inner = config["inner_size"] * size
        self.encoders = nn.ModuleDict({
            stream: nn.ModuleList(EncoderLayer(size, heads, inner, dropout) for _ in range(config["n_layers"]))
            for stream in self.streams
        })  # fmt: skip
        self.apply(_initialise)
        self.source = config["gca_source"]
        levels = {"none": 0, "early": 1, "stack": config["n_layers"] + 1}[config["gca_positions"]]
        self.exchange = nn.ModuleList(
            nn.ModuleDict({name: gated_cross_attention(config, heads, dropout) for name in DOMAINS})
            for _ in range(levels)
        )
        self.register_buffer("partner", derangement(dataset.user_num, config["seed"]), persistent=False)
        self._probed: dict[str, tuple[Tensor, Tensor]] | None = None
        self.untrained = ""

    # States of sequences

    def forward(
        self, items: Tensor, length: Tensor, users: Tensor | None = None, last: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """States after each item, one sequence behind the other [N, d]: of the merged sequences, and of each domain's
        stream by its last item so far (0 before it has one).

        Args:
            items: int64 [B, L], then zeros; ``length`` [B] of them, one at least, count. Sequences of like length are
                best neighbours.
            users: ids [B], where the setting ``gca_source`` is ``shuffled``.
            last: whether only the states after the last items [B, d] are asked for.
        """
        X, merged, domain = self._embedded(items, length)
        streams = others = _streams(X, merged, domain)
        if self.source == "shuffled" and len(self.exchange):
            theirs = self.partner[users]
            others = _streams(*self._embedded(self.train_items[theirs], self.train_length[theirs]))
        asked = merged.size.cumsum(0) - 1 if last else None
        latest = {name: _latest(domain == number, merged, asked) for name, number in DOMAINS.items()}

        *before, final = self.encoders["merged"]
        seen = Earlier(merged, merged)
        for layer in before:
            X = layer(X, seen)
        X = final(X, seen if asked is None else Earlier(merged.select(asked), merged), asked)

        n_layers = self._config["n_layers"]
        for level in range(n_layers + 1):
            if level < len(self.exchange):
                self._exchange(level, streams, others)
            if level == n_layers:
                break
            read_again = level + 1 < len(self.exchange)
            for name, stream in streams.items():
                layer = self.encoders[name][level]
                if others is not streams and read_again:
                    others[name].X = layer(others[name].X, others[name].earlier)
                if not last or read_again or level + 1 < n_layers:
                    stream.X = layer(stream.X, stream.earlier)
                    continue
                have = latest[name] >= 0
                ends = latest[name][have]
                stream.X = layer(stream.X, Earlier(stream.entries.select(ends), stream.entries), ends)
                latest[name] = torch.where(have, have.cumsum(0) - 1, -1)
        return X, {name: _rows(stream.X, latest[name]) for name, stream in streams.items()}

    def _embedded(self, items: Tensor, length: Tensor) -> tuple[Tensor, Packed, Tensor]:
        """Vectors of the entries of merged sequences [N, d], where these lie, and their domains [N]."""
        row, place = (torch.arange(items.shape[1], device=items.device) < length[:, None]).nonzero().T
        items, from_end = items[row, place], length[row] - 1 - place  # the last place is 0, wherever a sequence begins
        X = self.norm(self.item_embedding(items) + self.position_embedding(from_end))
        X = dropped_out(X, self._config["dropout"] if self.training else 0.0)
        return X, Packed(row, place, length), self.domain_of[items]

    def _exchange(self, level: int, streams: dict[str, _Stream], others: dict[str, _Stream]) -> None:
        after = {}
        for (name, stream), source in zip(streams.items(), reversed(DOMAINS)):
            Y = others[name if self.source == "own" else source]
            module = self.exchange[level][name]
            seen = None if self.source == "none" else Earlier(stream.entries, Y.entries)
            added = module.added(stream.X, Y.X, seen)
            after[name] = stream.X + module.alpha * added
            if self._probed is not None:
                asked = slice(None) if seen is None else seen.some
                self._probed[f"{name}{level}"] = stream.X[asked], added[asked]
        for name, X in after.items():
            streams[name].X = X

    # Training and scores

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean cross-entropy of the next items of the batch's users, each among items of its domain."""
        users = interaction[self.USER_ID]
        users = users[self.train_length[users].argsort(stable=True)]
        items, length = self.train_items[users], self.train_length[users]
        merged, own = self(items, length, users)
        target = items[:, 1:][torch.arange(self.max_seq_length, device=items.device) < length[:, None]]
        pools = [getattr(self, f"pool_{name}") for name in DOMAINS]
        n = self._config["n_negatives"]
        drawn = torch.cat([pool[torch.randint(len(pool), (n,), device=pool.device)] for pool in pools])
        vectors = self.item_embedding(torch.cat([target, drawn]))  # at once: a look-up has a gradient of all items
        losses = []
        for name, others, negative in zip(DOMAINS, drawn.split(n), vectors[len(target) :].split(n)):
            places = (self.domain_of[target] == DOMAINS[name]).nonzero().squeeze(1)
            state = merged[places] + own[name][places]  # [n, d]
            positive = (state * vectors[places]).sum(1, keepdim=True)
            others_score = (state @ negative.T).masked_fill(others == target[places][:, None], -torch.inf)
            logits = torch.cat([positive, others_score], dim=1)
            losses.append(F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long), reduction="sum"))
        return torch.stack(losses).sum() / max(len(target), 1)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of the batch's users for all items [B, n_items], each by its domain; the padding item's is 0."""
        order = interaction[self.ITEM_SEQ_LEN].argsort(stable=True)
        users, items, length = (interaction[name][order] for name in (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN))
        merged, own = self(items, length, users, last=True)
        back = order.argsort()
        scores = merged.new_zeros(self.n_items, len(length))  # by items, so that those of a domain are whole rows
        for name in DOMAINS:
            items = getattr(self, f"items_{name}")
            scores[items] = self.item_embedding(items) @ (merged + own[name])[back].T
        return scores.T

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores [B] of pairs of user and item."""
        scores = self.full_sort_predict(interaction)
        return scores.gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)

    # The alignment of what streams read with what they are

    def _alignment(self) -> dict[str, float]:
        if not len(self.exchange):
            return {}
        self._probed = {}
        self(self.probe_items, self.probe_length, self.probe_users)
        rows, self._probed = self._probed, None
        figures: dict[str, float] = {}
        for place, (X, added) in rows.items():
            figures |= figures_of(place, X, added, self.exchange[int(place[1:])][place[0]])
        return figures


def _streams(X: Tensor, merged: Packed, domain: Tensor) -> dict[str, _Stream]:
    which = {name: (domain == number).nonzero().squeeze(1) for name, number in DOMAINS.items()}
    return {name: _Stream(X[own], merged.select(own)) for name, own in which.items()}


def _latest(of_it: Tensor, merged: Packed, asked: Tensor | None) -> Tensor:
    """Of the entries that are ``of_it`` (bool [N]) the number of the last one so far, at each entry of the merged
    sequences or at those ``asked``; -1 where the sequence has none."""
    so_far = of_it.cumsum(0)
    before = (so_far - of_it.long())[merged.first[merged.row]]  # in the sequences before
    latest = torch.where(so_far > before, so_far - 1, -1)
    return latest if asked is None else latest[asked]


def _rows(X: Tensor, which: Tensor) -> Tensor:
    """Rows of X by number [n, d], zeros for -1."""
    if not len(X):
        return X.new_zeros(len(which), X.shape[1])
    return X[which.clamp(min=0)] * (which >= 0)[:, None]


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
