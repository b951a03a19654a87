"""The closed form's search for its own settings on validation: few fits, and many looks at each."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.formatting import seconds, text_of
from recbole_cadmr.layers.content_autoencoder import ContentAutoencoder, as_batch, popularity_damping
from recbole_cadmr.layers.content_graph import OF_ATTENTION, two_hops
from recbole_cadmr.layers.low_rank_autoencoder import LowRankAutoencoder
from recbole_cadmr.layers.sparse import compressed, padded_rows
from recbole_cadmr.schema import checked
from recbole_cadmr.training.checkpoint import load_checkpoint, save_checkpoint
from recbole_cadmr.training.contents import SearchRecord
from recbole_cadmr.training.coordinate_descent import MARGIN, Point, better, descend, difference, is_hopeless
from recbole_cadmr.training.held_out import HeldOut

# What has to be done again where a setting changes: little, or the fit of the autoencoder; or else the attention.
_OF_SCORES = ("enhancement", "output_smoothing", "direct_path", "popularity_damping")
_OF_FIT = ("direction", "content_rows", "reg_weight", "row_scaling", "item_scaling")
_ONCE = ("recency", *OF_ATTENTION)
# An autoencoder of the rows as they are, without content (EASE), which the closed form is never to end below.
_PLAIN = dict.fromkeys((*_OF_SCORES, "recency", "direction", "content_rows", "row_scaling", "item_scaling"), 0.0)
_ROWS = 1024  # of users, enhanced at once
_FACTOR = 3.0  # by which the weight of one modality is raised or lowered

_log = logging.getLogger("recbole_cadmr")


@dataclass
class ClosedFormSearch:
    """Coordinate descent over the settings of a closed form, by how it ranks held-out items.

    One setting at a time walks along its ladder, up or down, as long as that is better. Those of the scores are cheap
    and walk at every fit; those of the attention, and what recent entries of a row count for, walk once; a step of
    those of the fit costs one. A step is taken if the paired difference over users is ``margin`` of its standard
    errors: what is better by chance alone is not worth a setting of its own. A look ends after a sample of the users
    if these leave little hope of that (:func:`is_hopeless`). It starts from the settings of the closed form and from a
    plain autoencoder.

    Args:
        ladders: by name, the values that a setting may take, ascending; other settings stay.
        budget: most fits.
        record: file that keeps what every fit came to, so that a search that was killed repeats none and ends alike.

    Attributes:
        fits: how many there were; the choice among attentions, which takes one again, counts as one.
        tried: how many settings were measured.
    """

    closed_form: ContentAutoencoder
    held_out: HeldOut
    ladders: Mapping[str, Sequence[float]]
    budget: int
    record: Path | None = None
    margin: float = MARGIN
    fits: int = 0
    tried: int = 0
    _recorded: dict[str, Any] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _best: Point | None = None
    _kind: str | None = None
    _fitted: dict[str, Any] = field(default_factory=dict)
    _recency: float | None = None
    _rows: Any = None
    _scored: bool = False
    _attended: dict[str, Any] = field(default_factory=dict)
    _A: Any = None
    _padded: Any = None
    _B: Any = None
    _X: Any = None
    _Y: Any = None
    _enhanced: Any = None
    _known: int = 0
    _near: Any = None
    _damping: Any = None

    def run(self) -> dict[str, Any]:
        """The settings that were found, by name."""
        if self.record is not None and self.record.is_file():
            self._recorded = checked(load_checkpoint(self.record), SearchRecord, self.record)["parts"]
        start = dict(self.closed_form.settings)
        plain = {**start, **{name: value for name, value in _PLAIN.items() if name in self.ladders}}
        best = self._fit_at(plain) if plain != start else None
        if best is None or self.fits < self.budget:
            own = self._fit_at(start)
            best = own if best is None else better(own, best, 0.0)
        if self.fits < self.budget and not self.ladders.keys().isdisjoint(_ONCE):
            best = self._part("attention", best.settings, partial(self._attend, best))
        self._best = best = self._walk(best, _OF_FIT, self._next_fit)
        return {name: value for name in self.ladders if (value := best.settings[name]) is not None}

    def gain(self) -> float:
        """How much better the settings found are than those of the closed form, as a share; takes a fit more."""
        assert self._best is not None, "run comes first"
        return float(difference(self._measured(dict(self.closed_form.settings)), self._best).mean())

    def _walk(
        self, best: Point, names: Sequence[str], measured: Callable[[dict[str, Any], Point], Point | None]
    ) -> Point:
        return descend(best, names, self._values, measured, self.margin)

    def _attend(self, best: Point) -> Point:
        """The settings of rows and attention that suit the best fit, and then those of the scores that suit these."""
        return self._walk(self._walk(best, _ONCE, self._measured), _OF_SCORES, self._measured)

    def _next_fit(self, settings: dict[str, Any], _: Point) -> Point | None:
        """What a fit by these settings comes to; None if there have been enough."""
        return self._fit_at(settings) if self.fits < self.budget else None

    def _fit_at(self, settings: dict[str, Any]) -> Point:
        """What a fit by these settings comes to, by the settings of the scores that suit it best."""

        def walk() -> Point:
            return self._walk(self._measured(settings), _OF_SCORES, self._measured)

        return self._part("fit", settings, walk)

    def _part(self, name: str, settings: dict[str, Any], walk: Callable[[], Point]) -> Point:
        """What a part of the search comes to: as the record has it, or by a walk that is then recorded."""
        key, parts = json.dumps([name, settings], sort_keys=True), self._recorded
        begin, again = perf_counter(), key in self._asked
        if key not in parts:
            point = walk()
            parts[key] = {"settings": point.settings, "metrics": point.metrics, "tried": self.tried}
            if self.record is not None:
                save_checkpoint(self.record, {"parts": parts})
        point = Point(parts[key]["settings"], parts[key]["metrics"])
        if not again:  # a descent asks for what it came from more than once
            self._asked.add(key)
            self.fits, self.tried = self.fits + 1, parts[key]["tried"]
            self._report(point, perf_counter() - begin)
        return point

    def _values(self, settings: Mapping[str, Any], name: str, direction: int) -> Iterator[Any]:
        """The values behind that of a setting on its ladder, in a direction; none if it has no ladder."""
        if name not in self.ladders:
            return
        if name == "modality_weights":
            weights = settings[name] or list(self.closed_form.attention(settings)[1].values())
            for place in range(len(weights) if len(weights) > 1 else 0):
                changed = [weight * _FACTOR ** (direction * (place == i)) for i, weight in enumerate(weights)]
                yield [weight / sum(changed) for weight in changed]
            return
        beyond = [value for value in self.ladders[name] if (value - settings[name]) * direction > 1e-9]
        yield from sorted(beyond, reverse=direction < 0)

    def _report(self, point: Point, duration: float) -> None:
        means = ", ".join(f"{value:.4f}" for value in point.metrics.mean(0))
        named = ((name, point.settings[name]) for name in self.ladders)
        settings = ", ".join(f"{name} {text_of(value)}" for name, value in named if value is not None)
        rest = seconds(duration * (self.budget - self.fits))
        begin = f"choosing settings: fit {self.fits} of at most {self.budget}"
        _log.info(
            f"{begin} ({seconds(duration)}, the rest at most about {rest}), {self.tried} settings tried: {means} by "
            f"{settings}",
            extra={"screen": f"{begin}, {self.tried} tried; at most about {rest} left"},
        )

    # Scores

    def _measured(self, settings: dict[str, Any], best: Point | None = None) -> Point:
        """What settings come to; of some users alone if these say that the settings are no better than the best."""
        self.tried += 1
        self._prepare(settings)
        scores = partial(self._scores, settings), partial(self._scores_at, settings)
        if best is None:
            return Point(settings, self.held_out.measure(*scores))
        return Point(settings, self.held_out.measure(*scores, partial(is_hopeless, best, margin=self.margin)))

    def _prepare(self, settings: Mapping[str, Any]) -> None:
        """Compute what the scores of users with these settings are made of, as far as settings before have not."""
        fitted = {name: settings[name] for name in _OF_FIT}
        attended = {name: settings[name] for name in OF_ATTENTION}
        if self._recency != settings["recency"]:
            self._rows, self._recency = self.closed_form.rows(settings)[self.held_out.users], settings["recency"]
            self._scored = False
        rows = self._rows
        if self._fitted != fitted:
            self._B, self._scored = None, False
            self._B = self.closed_form.autoencoder(settings, self._kind or self.closed_form.kind_of_search)
            self._kind, self._fitted = "exact" if isinstance(self._B, Tensor) else "sparse", fitted
        if not self._scored:
            self._X, self._attended, self._scored = _product(rows, self._B, self._X), {}, True
        if self._attended != attended:
            A, self._attended = self.closed_form.attention_matrix(settings), attended
            H, self._A = two_hops(A, settings["two_hop"]), compressed(A, self._X.device)
            self._near = (rows @ H).tocsr()
            self._near.sort_indices()
            self._padded = padded_rows(A)
            self._enhanced = (rows, _product(H, self._B)) if isinstance(self._B, Tensor) else (self._near, self._B)
            self._Y, self._known = torch.empty_like(self._X) if self._Y is None else self._Y, 0
        self._damping = torch.from_numpy(popularity_damping(self.closed_form.R, settings)).to(self._X)

    def _scores(self, settings: Mapping[str, Any], users: Tensor) -> Tensor:
        """Scores [n, I] of users by their places [n]."""
        scores = self._damped(settings, users)
        if settings["output_smoothing"]:
            by_item = scores.T.contiguous()  # in the processor's cache, if the block is: fast to multiply by A
            scores = torch.addmm(by_item, self._A, by_item, alpha=settings["output_smoothing"]).T
        if settings["direct_path"]:
            near = as_batch(self._near[users.numpy()], scores)
            scores[near.row, near.column] += settings["direct_path"] * near.value
        return scores

    def _scores_at(self, settings: Mapping[str, Any], users: Tensor, items: Tensor) -> Tensor:
        """Scores [n, m] of some items [n, m] alone."""
        # Of all items before they are smoothed: to look up the few in the tables of all users would miss every cache.
        damped, at = self._damped(settings, users), items.to(self._X.device)
        scores = damped.gather(1, at)
        if settings["output_smoothing"]:
            column, value = (table[items].to(damped.device).flatten(1) for table in self._padded)
            smoothed = (damped.gather(1, column) * value).view(*items.shape, -1).sum(-1)
            scores += settings["output_smoothing"] * smoothed
        if settings["direct_path"]:
            near = as_batch(self._near[users.numpy()], scores).dense
            scores += settings["direct_path"] * near.gather(1, at)
        return scores

    def _damped(self, settings: Mapping[str, Any], users: Tensor) -> Tensor:
        """Scores [n, I] before they are smoothed."""
        rows, B = self._enhanced
        while self._known <= users.max():  # only of those who are asked for: the others may never be
            block = slice(self._known, self._known + _ROWS)
            _product(rows[block], B, self._Y[block])
            self._known += _ROWS
        return torch.add(self._X[users], self._Y[users], alpha=settings["enhancement"]).mul_(self._damping)


def _product(rows: sp.csr_matrix, B: Tensor | LowRankAutoencoder, out: Tensor | None = None) -> Tensor:
    """Rows [n, I] times B [I, I], dense; into ``out`` [n, I] if given: new memory takes longer than the product."""
    if isinstance(B, Tensor):
        out = torch.empty(rows.shape[0], B.shape[1], device=B.device) if out is None else out
        return torch.addmm(out, compressed(rows, B.device), B.float(), beta=0, out=out)
    product = torch.from_numpy(B.product(rows)).float()
    return product if out is None else out.copy_(product)
