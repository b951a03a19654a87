"""Effects with intervals and corrected p values, and orders of models, out of the data of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from recbole_cadmr.reports.significance import holm
from recbole_cadmr.runs.topk_lists import RANKING, by_user, read_lists

LEVEL = 0.05
_DIGITS = 12  # behind the point; what is beyond them is rounding
LEAST_ORDERED = 3  # variants that make an order
_KEY = ["dataset", "variant", "departure"]
_ORDER_COLUMNS = ["dataset", "departure", "tau", "low", "high", "models", "n"]


def effects_of(
    data: pd.DataFrame,
    figures: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    lists: Mapping[tuple[str, str], Path],
) -> pd.DataFrame:
    """Every comparison in every figure: see ``Findings.effects`` for the columns; p values are to be corrected yet.

    Args:
        data: see ``Findings.data``.
        pairs: variants, and what each is compared with. Departures are compared with the protocol.
        lists: by data set and variant, the lists of a deterministic model, which is paired by users with another one.
    """
    rows = [
        effect
        for dataset in data["dataset"].unique()
        for figure in figures
        for effect in _effects(data, pairs, lists, dataset, figure)
    ]
    columns = [
        *_KEY,
        "base",
        "base_departure",
        "figure",
        "value",
        "base_value",
        "difference",
        "low",
        "high",
        "p",
        "n",
        "unit",
    ]
    return pd.DataFrame(rows, columns=columns)


def correct(effects: pd.DataFrame, figure: str, correlations: pd.DataFrame) -> None:
    """Holm-correct the p values in place: over all comparisons of a figure in the study, those of ``figure``, which the
    answer is about, together with those of the correlations within cells."""
    for name in {figure, *effects["figure"]}:
        tests = effects.index[(effects["figure"] == name) & effects["p"].notna()]
        others = correlations.index[correlations["p"].notna()] if name == figure else []
        corrected = holm([*effects.loc[tests, "p"], *correlations.loc[others, "p"]])
        effects.loc[tests, "p"], correlations.loc[others, "p"] = corrected[: len(tests)], corrected[len(tests) :]


def _effects(
    data: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    lists: Mapping[tuple[str, str], Path],
    dataset: str,
    figure: str,
) -> list[dict[str, object]]:
    rows = data[(data["dataset"] == dataset) & (data["figure"] == figure) & (data["stratum"] == "")]
    by_seed = {key: group.set_index("seed")["value"] for key, group in rows.groupby(_KEY[1:], sort=False)}
    compared = [((variant, ""), (base, "")) for variant, base in pairs]
    compared += [((variant, departure), (variant, "")) for variant, departure in by_seed if departure]
    effects = []
    for own, base in compared:
        if own not in by_seed or base not in by_seed:
            continue
        one, other = by_seed[own], by_seed[base]
        stands = [(dataset, variant) in lists for variant, _ in (own, base)]
        differences, unit = difference_by_seed(one, other, *stands), "seeds"
        if not len(differences):
            continue
        files = [lists.get((dataset, variant)) for variant, departure in (own, base) if not departure]
        if len(differences) == 1 and len(files) == 2 and all(files):
            by_users = [_of_users(Path(str(file)), figure) for file in files]
            if by_users[0] is not None and by_users[1] is not None and len(by_users[0]) == len(by_users[1]):
                differences, unit = by_users[0] - by_users[1], "users"
        effects.append(
            {
                **dict(zip(_KEY, (dataset, *own))),
                **dict(zip(("base", "base_departure"), base)),
                "figure": figure,
                "value": one.mean(),
                "base_value": other.mean(),
                **interval(differences),
                "n": len(differences),
                "unit": unit,
            }
        )
    return effects


def difference_by_seed(one: pd.Series, other: pd.Series, one_stands: bool, other_stands: bool) -> np.ndarray:
    """Differences of values by seed; ``.._stands`` says whether the one run of a model stands for all seeds."""
    if one_stands or other_stands:
        return np.atleast_1d(np.asarray(one.to_numpy() - other.to_numpy(), dtype=float))
    return (one - other).dropna().to_numpy(dtype=float)


def interval(differences: np.ndarray) -> dict[str, float]:
    """Mean ``difference``, its 95% t interval ``low`` to ``high``, ``p`` of the paired t-test; NaN without spread."""
    differences = np.round(differences, _DIGITS)
    mean, n = float(differences.mean()), len(differences)
    if n < 2 or np.ptp(differences) == 0:
        return {"difference": mean, "low": math.nan, "high": math.nan, "p": math.nan}
    error = float(stats.sem(differences))
    half = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return {"difference": mean, "low": mean - half, "high": mean + half, "p": p}


def _of_users(file: Path, figure: str) -> np.ndarray | None:
    """A ranking metric of every user; None of another figure."""
    name, _, k = figure.partition("@")
    if name not in map(str.lower, RANKING):
        return None
    return by_user(read_lists(file), [int(k)], [name])[figure]


def orders_of(data: pd.DataFrame, figure: str, lists: Mapping[tuple[str, str], Path]) -> pd.DataFrame:
    """How the order of the variants by a figure holds: see ``Findings.orders`` for the columns.

    Args:
        data, lists: as of :func:`effects_of`.
    """
    rows = data[(data["figure"] == figure) & (data["stratum"] == "")]
    found: list[tuple[object, ...]] = []
    for dataset, group in rows.groupby("dataset", sort=False):
        tables = {
            departure: _by_seed(part, {variant for place, variant in lists if place == dataset})
            for departure, part in group.groupby("departure", sort=False)
        }
        protocol = tables.get("")
        if protocol is None or len(protocol) < LEAST_ORDERED:
            continue
        for departure, table in tables.items():
            both = protocol.index.intersection(table.index)
            seeds = protocol.columns.intersection(table.columns)
            if departure and len(both) >= LEAST_ORDERED:
                taus = _taus((protocol.loc[both, seed], table.loc[both, seed]) for seed in seeds)
                known = [tau for tau in taus if not math.isnan(tau)]
                found += [(dataset, departure, *_mean_tau(known), len(both), len(known))] if taus else []
        taus = _taus((protocol[one], protocol[other]) for one, other in combinations(protocol.columns, 2))
        known = [tau for tau in taus if not math.isnan(tau)]
        if taus:  # pairs of seeds share seeds, so that there is no interval
            mean = float(np.mean(known)) if known else math.nan
            found.append((dataset, "another seed", mean, math.nan, math.nan, len(protocol), len(known)))
    return pd.DataFrame(found, columns=_ORDER_COLUMNS)


def _by_seed(rows: pd.DataFrame, stand: set[str]) -> pd.DataFrame:
    """Values of variants: a row a variant, a column a seed; of some of them one run stands for all seeds."""
    table = rows.pivot(index="variant", columns="seed", values="value").round(_DIGITS)
    alone = table.index.isin(list(stand))
    table[alone] = table[alone].ffill(axis=1).bfill(axis=1)
    return table


def _taus(pairs: Iterable[tuple[pd.Series, pd.Series]]) -> list[float]:
    """Kendall's tau of each pair, over the variants that have both values; none where there are fewer than three, NaN
    where all of them tie."""
    both = (pd.concat(pair, axis=1, keys=["one", "other"]).dropna() for pair in pairs)
    return [
        float(stats.kendalltau(pair["one"], pair["other"]).statistic) for pair in both if len(pair) >= LEAST_ORDERED
    ]


def _mean_tau(taus: Sequence[float]) -> tuple[float, float, float]:
    if not taus:
        return math.nan, math.nan, math.nan
    values = interval(np.array(taus))
    return values["difference"], max(values["low"], -1.0), min(values["high"], 1.0)


def flipped(means: pd.Series) -> tuple[int, int, float]:
    """How many pairs of variants change their order under a departure, how many there are, and of those that do the
    largest difference under the protocol, as a share of the better one.

    Args:
        means: by variant and departure.
    """
    table = means.unstack("departure").round(_DIGITS)
    flips, widest = 0, 0.0
    pairs = list(combinations(table.index, 2))
    for one, other in pairs:
        difference = (table.loc[one] - table.loc[other]).dropna()
        if (difference.drop("", errors="ignore") * difference.get("", 0.0) < 0).any():
            flips += 1
            widest = max(widest, abs(difference[""]) / max(table.at[one, ""], table.at[other, ""]))
    return flips, len(pairs), widest
