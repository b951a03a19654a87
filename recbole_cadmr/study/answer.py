"""What the runs of a study say, in words and tables, every number of it from the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from recbole_cadmr.formatting import markdown_table, p_value, plain, signed
from recbole_cadmr.study.claims import verdicts
from recbole_cadmr.study.effects import LEVEL, flipped
from recbole_cadmr.study.plan import Plan


@dataclass(frozen=True)
class Findings:
    """What the finished runs of a study say.

    Attributes:
        data: a row a run and figure: ``dataset``, ``variant``, ``departure`` ("" is the protocol), ``seed``,
            ``stratum`` ("" are all held-out items), ``figure`` and ``value``.
        effects: a row a comparison: ``dataset``, ``figure``, ``variant`` and ``departure`` against ``base`` and
            ``base_departure``; ``value``, ``base_value``, ``difference`` with its 95% interval ``low`` to ``high`` (t),
            ``p`` (see :func:`correct`), ``n`` and ``unit`` (seeds or users) that it is paired by.
        correlations: those that the study asks for; see :func:`correlations_of`, but for ``p``, which is corrected.
        orders: a row a departure: Kendall's ``tau`` between the orders of the variants by the first figure under it
            and under the protocol, mean over the ``n`` seeds that have one, ``low`` to ``high``, ``models``; NaN where
            all models tie.
        published: ``dataset``, ``variant``, ``figure``, ``value`` and ``source`` of what was published.
        x: place of variants on the axis.
        missing: by name, why there is no result.
        quick: whether this is a trial.
    """

    plan: Plan
    data: pd.DataFrame
    effects: pd.DataFrame
    correlations: pd.DataFrame
    orders: pd.DataFrame
    published: pd.DataFrame
    x: dict[str, float]
    missing: dict[str, str]
    quick: bool

    @property
    def datasets(self) -> list[str]:
        """Data sets with a result."""
        return list(self.data["dataset"].unique())

    def values(self, dataset: str, figure: str) -> pd.DataFrame:
        """``mean``, ``std`` and ``count`` over the runs by variant and departure, of all held-out items."""
        rows = self.data[
            (self.data["dataset"] == dataset) & (self.data["stratum"] == "") & (self.data["figure"] == figure)
        ]
        return rows.groupby(["variant", "departure"], sort=False)["value"].agg(["mean", "std", "count"])

    def strata(self, dataset: str, figure: str) -> pd.DataFrame:
        """Means over the runs under the protocol: a row a variant, a column a stratum."""
        rows = self.data[
            (self.data["dataset"] == dataset) & (self.data["departure"] == "") & (self.data["stratum"] != "")
        ]
        rows = rows[rows["figure"] == figure]
        if rows.empty:
            return pd.DataFrame()
        table = rows.groupby(["variant", "stratum"], sort=False)["value"].mean().unstack()
        return table.reindex(columns=list(rows["stratum"].unique()), index=list(rows["variant"].unique()))

    def tables(self) -> str:
        """Everything as markdown."""
        parts = [f"# {plain(self.plan.question)}", *([_TRIAL] if self.quick else [])]
        for dataset in self.datasets:
            parts += [f"## {plain(dataset)}", markdown_table(self._value_table(dataset))]
            effects = self.effects[self.effects["dataset"] == dataset]
            if len(effects):
                parts.append(markdown_table(effect_table(effects).map(plain)))
            if len(orders := self.orders[self.orders["dataset"] == dataset]):
                parts.append(markdown_table(order_table(orders).map(plain)))
            if len(strata := self.strata(dataset, self.plan.figures[0])):
                texts = strata.map(lambda value: "" if math.isnan(value) else number(value))
                texts.insert(0, f"{self.plan.figures[0]}, by stratum", [plain(name) for name in strata.index])
                parts.append(markdown_table(texts))
        if len(self.correlations):
            parts += ["## Correlations", markdown_table(correlation_table(self.correlations))]
        if self.missing:
            rows = [(plain(name), plain(reason)) for name, reason in self.missing.items()]
            parts += ["## Missing", markdown_table(pd.DataFrame(rows, columns=["what", "why"]))]
        return "\n\n".join(parts) + "\n"

    def _value_table(self, dataset: str) -> pd.DataFrame:
        by_figure = {figure: self.values(dataset, figure) for figure in self.plan.figures}
        keys = list(dict.fromkeys(key for values in by_figure.values() for key in values.index))
        rows = []
        for variant, departure in keys:
            cells = [
                spread(values.at[key, "mean"], values.at[key, "std"])
                if (key := (variant, departure)) in values.index
                else ""
                for values in by_figure.values()
            ]
            runs = max(int(values["count"].get((variant, departure), 0)) for values in by_figure.values())
            rows.append([plain(variant), plain(departure), str(runs), *cells])
        return pd.DataFrame(rows, columns=["variant", "departure", "runs", *by_figure])

    def answer(self) -> str:
        """The answer in paragraphs, every number of it from the data."""
        paragraphs = [f"**{_shown(self.plan.question)}**" + (f" {_TRIAL}" if self.quick else "")]
        for dataset in self.datasets:
            first, *others = self._about_orders(dataset) if self.plan.orders else self._about_effects(dataset)
            further = (self._along_axis(dataset), self._by_stratum(dataset), self._about_published(dataset))
            paragraphs += [f"On {_shown(dataset)}: {first}", *others, *(" ".join(part) for part in further if part)]
        tests = int(self.effects.loc[self.effects["figure"] == self.plan.figures[0], "p"].notna().sum())
        tests += int(self.correlations["p"].notna().sum())
        if tests and not self.plan.orders:
            paragraphs.append(
                "Brackets are 95% intervals; p values are Holm-corrected over the "
                f"{tests} test{'s' * (tests != 1)} of the study."
            )
        paragraphs += self._about_correlations()
        if self.missing:
            paragraphs.append(f"Missing, for the reasons in the tables: {', '.join(map(_shown, self.missing))}.")
        return "\n\n".join(paragraphs) + "\n"

    def _about_effects(self, dataset: str) -> list[str]:
        """A paragraph for each variant that others are compared with."""
        figure = self.plan.figures[0]
        effects = self.effects[(self.effects["figure"] == figure) & (self.effects["dataset"] == dataset)]
        paragraphs = []
        for base in dict.fromkeys(zip(effects["base"], effects["base_departure"])):
            mine = effects[(effects["base"] == base[0]) & (effects["base_departure"] == base[1])]
            mine = mine.sort_values("difference", key=abs, ascending=False)
            values = self.values(dataset, figure).loc[base]
            runs = f"{values['count']:.0f} {'seeds' if values['count'] > 1 else 'run'}"
            value = spread(values["mean"], values["std"])
            sentences = [f"{figure} of *{_shown(base[0])}* is {value} ({runs})."]
            is_sure = mine["p"] < LEVEL
            for what, chosen in (
                ("higher", mine[is_sure & (mine["difference"] > 0)]),
                ("lower", mine[is_sure & (mine["difference"] < 0)]),
                ("not told apart from it", mine[(mine["p"] >= LEVEL)]),
                ("without a test", mine[mine["p"].isna()]),
            ):
                if len(chosen):
                    is_told = what in ("higher", "lower")
                    listed = "; ".join(_effect_text(effect, is_told) for effect in chosen.to_dict("records"))
                    sentences.append(f"{what[0].upper()}{what[1:]}: {listed}.")
            paragraphs.append(" ".join(sentences))
        return paragraphs or [self._plain_values(dataset)]

    def _plain_values(self, dataset: str) -> str:
        figure = self.plan.figures[0]
        values = self.values(dataset, figure)["mean"]
        if values.empty:
            return f"no run has {figure}."
        return f"{figure} is " + ", ".join(f"{number(v)} of *{_shown(name)}*" for (name, _), v in values.items()) + "."

    def _along_axis(self, dataset: str) -> list[str]:
        """The figures beside the first along the axis of the study."""
        sentences = []
        for figure in self.plan.figures[1:] if self.x else ():
            means = self.values(dataset, figure)["mean"]
            points = {self.x[variant]: mean for (variant, departure), mean in means.items() if variant in self.x}
            if points:
                listed = ", ".join(f"{number(points[x])} at {x:g}" for x in sorted(points))
                sentences.append(f"Along {_shown(self.plan.axis)}, {figure} is {listed}.")
        return sentences

    def _by_stratum(self, dataset: str) -> list[str]:
        """The best variant of each stratum, where the variants stand for content of other kinds."""
        table = self.strata(dataset, self.plan.figures[0])
        if table.empty or not any(variant.each for variant in self.plan.variants):
            return []
        best = table.loc[:, table.max() > table.min()].fillna(-math.inf).idxmax()  # none where all are the same
        listed = "; ".join(
            f"{stratum} *{_shown(name)}* ({number(table.at[name, stratum])})" for stratum, name in best.items()
        )
        return [f"By stratum, the highest are: {listed}."] if listed else []

    def _about_orders(self, dataset: str) -> list[str]:
        orders = self.orders[self.orders["dataset"] == dataset]
        if orders.empty:
            return ["there are too few results to compare orders."]
        listed = "; ".join(
            f"{_shown(row['departure'])} {_tau(row, '.2f')}{_interval(row['low'], row['high'], '.2f')}"
            for row in orders.sort_values("tau").to_dict("records")
        )
        sentences = [
            f"Kendall's tau between the order of {orders['models'].max()} models by {self.plan.figures[0]} under the "
            f"protocol and under each departure: {listed}."
        ]
        flips, pairs, widest = flipped(self.values(dataset, self.plan.figures[0])["mean"])
        sentences.append(f"{flips} of {pairs} pairs of models change their order under one departure at least")
        sentences[-1] += f"; of these the widest apart differ by {widest:.0%} under the protocol." if flips else "."
        return sentences

    def _about_correlations(self) -> list[str]:
        """Correlations and the verdicts on claims, over all data sets."""
        texts = [
            f"{row['x']} with {row['y']} {_correlation(row, 'within')} within cells{_p_of(row)} and "
            f"{_correlation(row, 'pooled')} pooled ({row['n']} runs, {row['cells']} cell{'s' * (row['cells'] != 1)})"
            for row in self.correlations.dropna(subset="pooled").to_dict("records")
        ]
        paragraphs = [f"Over all data sets, the correlations are: {'; '.join(texts)}."] if texts else []
        found = verdicts(self.plan.claims, self.correlations, self.effects, self.plan.figures[0])
        return paragraphs + [f"The claim that {_shown(says)}: {verdict}" for says, verdict in found.items()]

    def _about_published(self, dataset: str) -> list[str]:
        sentences = []
        for row in self.published[self.published["dataset"] == dataset].to_dict("records"):
            values = self.values(dataset, row["figure"])
            if row["figure"] != self.plan.figures[0] or row["variant"] not in values.index:
                continue
            means = values.loc[row["variant"]]["mean"].sort_values(ascending=False)
            reached = [_shown(departure or "the protocol itself") for departure in means[means >= row["value"]].index]
            nearest = f"the highest is {number(means.iloc[0])} ({_shown(means.index[0] or 'the protocol itself')})"
            sentences.append(
                f"The published {number(row['value'])} of *{_shown(row['variant'])}* ({_shown(row['source'])}) is "
                f"reached by {', '.join(reached) if reached else 'nothing that was tried: ' + nearest}."
            )
        return sentences


_TRIAL = (
    "(A trial, by --quick: few seeds, short trainings, the embedded data set. It shows that the study works, no more.)"
)


def _shown(text: object) -> str:
    """A text in a paragraph, whose own asterisks mark names."""
    return plain(text).replace("*", "&#42;")


def number(value: float) -> str:
    """A figure as it is shown."""
    if abs(value) < 1:
        return f"{value:.4f}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def spread(mean: float, deviation: float) -> str:
    """A mean with its standard deviation, which is NaN of one value."""
    return number(mean) + ("" if math.isnan(deviation) else f" ± {number(deviation)}")


def _difference(value: float) -> str:
    """A difference of figures, with its sign."""
    return signed(value) if abs(value) < 1 else f"{value:+,.4g}".replace("-", "−")


def _interval_of(effect: Mapping[str, object]) -> str:
    """The interval of a difference; "" where there is none."""
    low, high = (float(str(effect[key])) for key in ("low", "high"))
    return "" if math.isnan(low) else f"[{_difference(low)}, {_difference(high)}]"


def _interval(low: float, high: float, form: str) -> str:
    return "" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]".replace("-", "−")


def name_of(effect: Mapping[str, object]) -> str:
    """What is compared: a variant, a departure of it, or both."""
    return " · ".join(str(effect[key]) for key in ("variant", "departure") if effect[key] and key not in _said(effect))


def _said(effect: Mapping[str, object]) -> tuple[str, ...]:
    return ("variant",) if effect["departure"] and effect["variant"] == effect["base"] else ()


def _effect_text(effect: Mapping[str, object], with_p: bool) -> str:
    tested = f", {p_value(float(str(effect['p'])))}" if with_p else ""
    by = f"{_difference(float(str(effect['difference'])))} {_interval_of(effect)}".strip()
    return f"*{_shown(name_of(effect))}* by {by}{tested}"


def effect_table(effects: pd.DataFrame) -> pd.DataFrame:
    """Effects as texts."""
    rows = [
        {
            "figure": effect["figure"],
            "variant": effect["variant"],
            "departure": effect["departure"],
            "against": effect["base"],
            "value": number(effect["value"]),
            "against it": number(effect["base_value"]),
            "difference": _difference(effect["difference"]),
            "95% interval": _interval_of(effect),
            "p (Holm)": "" if math.isnan(effect["p"]) else p_value(effect["p"]),
            "paired by": f"{effect['n']:,} {effect['unit']}" if effect["n"] > 1 else "one run",
        }
        for effect in effects.to_dict("records")
    ]
    table = pd.DataFrame(rows)
    return table if table["departure"].any() else table.drop(columns="departure")


def correlation_table(correlations: pd.DataFrame) -> pd.DataFrame:
    """Correlations as texts."""
    rows = [
        {
            "correlation of": f"{row['x']} with {row['y']}",
            "runs": str(row["n"]),
            "cells": str(row["cells"]),
            "within cells": _correlation(row, "within"),
            "p (Holm)": "" if math.isnan(row["p"]) else p_value(row["p"]),
            "pooled": _correlation(row, "pooled"),
        }
        for row in correlations.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _correlation(row: Mapping[str, Any], kind: str) -> str:
    """One with its interval; "unknown" where there are too few points."""
    if math.isnan(row[kind]):
        return "unknown"
    return f"{row[kind]:+.2f}".replace("-", "−") + _interval(row[f"{kind}_low"], row[f"{kind}_high"], "+.2f")


def _p_of(row: Mapping[str, Any]) -> str:
    return "" if math.isnan(row["p"]) else f" ({p_value(row['p'])})"


def _tau(row: Mapping[str, Any], form: str) -> str:
    return "none, as all models tie" if math.isnan(row["tau"]) else f"{row['tau']:{form}}".replace("-", "−")


def order_table(orders: pd.DataFrame) -> pd.DataFrame:
    """Kendall's taus as texts."""
    rows = [
        {
            "order under": row["departure"],
            "Kendall's tau": _tau(row, ".3f"),
            "95% interval": _interval(row["low"], row["high"], ".3f").strip(),
            "models": str(row["models"]),
        }
        for row in orders.sort_values("tau").to_dict("records")
    ]
    return pd.DataFrame(rows)
