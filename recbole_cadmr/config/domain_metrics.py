"""Ranking metrics of a data set of two domains, as RecBole's: of each domain, their mean, and among sampled items.

What is ranked for a user are the items of the held-out item's domain (``domain_field``); domains are in the order of
their names.

- ``NDCG_A``, ``NDCG_B``: mean NDCG of the users whose held-out items lie in the first or the second domain.
- ``NDCG_AB``: the mean of these two, whatever the domains' numbers of users.
- ``NDCG999_A``, ``NDCG999_B``: NDCG of a held-out item among 999 others of its domain, as papers on cross-domain
  recommendation report it (C2DSR, ABXI): its expectation over the draws, so that no draw is needed. Far higher than a
  full ranking's, and slow: it sorts all scores.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from recbole.evaluator import register
from recbole.evaluator.metrics import NDCG
from scipy.stats import hypergeom

from recbole_cadmr.errors import UserError


class _DomainNDCG(NDCG):
    metric_need: ClassVar[list[str]] = ["rec.topk", "rec.domain"]
    domains: ClassVar[tuple[int, ...]]
    name: ClassVar[str]

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        """The metric at each list length."""
        values, domain = self._by_user(dataobject), dataobject.get("rec.domain").numpy()
        present = [domain == own for own in self.domains if (domain == own).any()]
        if not present:
            raise UserError(f"{self.name}: no held-out item lies in the domain; leave the metric out")
        means = np.mean([values[rows].mean(0) for rows in present], axis=0)
        return {f"{self.name.lower()}@{k}": round(float(means[k - 1]), self.decimal_place) for k in self.topk}

    def _by_user(self, dataobject: Any) -> np.ndarray:
        """NDCG [users, longest list]."""
        values: np.ndarray = self.metric_info(*self.used_info(dataobject))
        return values


class _SampledNDCG(_DomainNDCG):
    metric_need: ClassVar[list[str]] = ["rec.meanrank", "rec.domain"]
    sampled: ClassVar[int] = 999

    def _by_user(self, dataobject: Any) -> np.ndarray:
        rank, candidates, held_out = dataobject.get("rec.meanrank").numpy().astype(float).T
        if (held_out != 1).any():
            raise UserError(f"{self.name} needs one held-out item of each user; leave the metric out")
        return expected_ndcg(np.floor(rank - 1), candidates - 1, self.sampled, max(self.topk))


def expected_ndcg(better: np.ndarray, others: np.ndarray, sampled: int, longest: int) -> np.ndarray:
    """Expected NDCG@1 to @``longest`` [n, longest] of an item among ``sampled`` of ``others`` [n], drawn at random.

    How many of the ``better`` [n] ones are drawn is hypergeometric; of fewer others, all are drawn.
    """
    places = np.arange(longest)
    drawn = np.minimum(sampled, others)
    chance = hypergeom.pmf(places, others[:, None], better[:, None], drawn[:, None])
    expected: np.ndarray = (chance / np.log2(places + 2)).cumsum(1)
    return expected


DOMAIN_METRICS: dict[str, Any] = {
    f"{name}{suffix}": type(f"{name}{suffix}", (base,), {"name": f"{name}{suffix}", "domains": domains})
    for name, base in (("NDCG", _DomainNDCG), ("NDCG999", _SampledNDCG))
    for suffix, domains in (("_A", (1,)), ("_B", (2,)), ("_AB", (1, 2)))
}
for _name, _metric in DOMAIN_METRICS.items():
    register.metrics_dict[_name.lower()] = _metric
    register.metric_types[_name.lower()] = _metric.metric_type
    register.metric_information[_name.lower()] = _metric.metric_need
