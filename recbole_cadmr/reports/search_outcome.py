"""A search as its report looks at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_cadmr.formatting import short
from recbole_cadmr.reports.search_axes import key_of, text_of
from recbole_cadmr.tuning.samplers import equal_as_json
from recbole_cadmr.tuning.trial_record import FAILED, TrialRecord

_TOLD, _LONGEST = 4, 30  # settings in a line, and characters of a value


@dataclass(frozen=True)
class Outcome:
    """What was searched and what came of it.

    Attributes:
        search: content of ``search.json``.
        winner: the trial that was chosen, None if there is none.
    """

    search: Mapping[str, Any]
    records: Sequence[TrialRecord]
    winner: TrialRecord | None

    @property
    def metric(self) -> str:
        """What trials are compared by."""
        return str(self.search["metric"])

    @property
    def bigger(self) -> bool:
        """Whether more is better."""
        return bool(self.search["bigger"])

    @property
    def names(self) -> list[str]:
        """The settings that are searched."""
        return list(dict.fromkeys([*self.search["space"], *(name for r in self.records for name in r.point)]))

    @property
    def defaults(self) -> TrialRecord | None:
        """The trial of the defaults; None if it was not run, or took over another one's state."""
        first = next((record for record in self.records if record.number == 1), None)
        return (
            None if first is None or first.changes or not equal_as_json(first.point, self.search["defaults"]) else first
        )

    @property
    def defaults_score(self) -> float | None:
        """The score of the defaults, None if they failed."""
        record = self.defaults
        return None if record is None or record.status == FAILED else self.score(record)

    @property
    def trained(self) -> list[TrialRecord]:
        """The trials but for those that took over what another one had found with the same settings."""
        return [record for record in self.records if record.repeats is None]

    @property
    def scored(self) -> list[TrialRecord]:
        """The trials that trained, did not fail and have a score."""
        return [r for r in self.trained if r.status != FAILED and self.score(r) is not None]

    def score(self, record: TrialRecord) -> float | None:
        """The best validation score of a trial so far."""
        best = record.best(self.bigger)
        return None if best is None else float(best["valid_score"])

    def settings(self, record: TrialRecord) -> dict[str, Any]:
        """The settings that a trial reached its best score with."""
        best = record.best(self.bigger)
        return dict(record.point) if best is None else record.values_at(best["epoch"])

    def words(self, record: TrialRecord) -> str:
        """The settings of a trial that the defaults do not have, the first of them."""
        defaults = self.defaults.point if self.defaults else {}
        parts = [f"{name} {short(text_of(value), _LONGEST)}" for name, value in self.settings(record).items()
                 if name not in defaults or key_of(value) != key_of(defaults[name])]  # fmt: skip
        more = [f"{len(parts) - _TOLD} more"] if len(parts) > _TOLD else []
        return ", ".join([*parts[:_TOLD], *more]) or "the defaults"

    def is_winner(self, record: TrialRecord) -> bool:
        """Whether a trial is the chosen one."""
        return self.winner is not None and record.number == self.winner.number
