"""All models, from the registry: papers, what each reads and can do, and its figures, published and measured."""

from __future__ import annotations

import re
from pathlib import Path

from recbole_cadmr.config.model_list import ListedModel, listed_forms, listed_models
from recbole_cadmr.config.model_yaml import DEFAULT_PRESET, preset_names, published_results
from recbole_cadmr.models.registry import MODELS
from tools.docs_site.markdown import table
from tools.docs_site.result_tables import Measured, measured

PAGE = "reference/models.md"
_METRICS = ("recall@20", "ndcg@10", "ndcg@20")
_HEAD = """# All models

From the registry, which `python -m recbole_cadmr models` lists, too. Families of them: [models](../models.md); settings
and presets of each: [here](model_settings.md).

Whether a model scores *cold items*, without a train interaction, by their content; *new people*, whom it has not seen,
by their history; *new items*, which came after training; *explains* what a score is made of; and is the *same for every
seed*.
"""
_FIGURES = """On the test part. *Here* are the means and deviations over seeds that [the results](../results.md) hold,
with the commands and conditions they were measured under. How far published figures compare with them:
[baselines](../baselines.md#results-on-baby).
"""
_ADDRESS = re.compile(r"(?<!\()(https://\S+)")
_ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")
_TRAITS = {
    "cold items": "scores_cold_items",
    "new people": "recommends_from_history",
    "new items": "takes_new_items",
    "explains": "explains",
    "same for every seed": "deterministic",
}


def pages(root: Path) -> dict[str, str]:
    """The page of all models."""
    models = listed_models()
    own = [form for model in models if model["name"] in MODELS for form in (model, *listed_forms(model["name"]))]
    recboles = [model for model in models if model["name"] not in MODELS]
    results = measured((root / "docs" / "results.md").read_text(encoding="utf-8"))
    parts = [
        _HEAD,
        f"## Of this package\n\n{_traits(own)}",
        f"### Papers\n\n{_papers(own)}",
        f"## Of RecBole\n\n{_traits(recboles)}",
        f"### RecBole's papers\n\n{_papers(recboles)}",
        f"## Figures\n\n{_figures([model['name'] for model in models], results)}",
    ]
    return {PAGE: "\n".join(parts)}


def _traits(models: list[ListedModel]) -> str:
    head = ["model", "reads", *_TRAITS]
    return table(head, ([_linked(model), model["reads"], *_said(model)] for model in models))


def _linked(model: ListedModel) -> str:
    name = model["name"].partition("@")[0]
    return f"[{model['name']}](model_settings.md#{name.lower()})"


def _said(model: ListedModel) -> list[str]:
    values: dict[str, object] = {**model}
    return ["yes" if values[trait] else "no" for trait in _TRAITS.values()]


def _papers(models: list[ListedModel]) -> str:
    return table(["model", "paper, or what it is"], ([model["name"], _reference(model)] for model in models))


def _reference(model: ListedModel) -> str:
    if not model["paper"] or "@" in model["name"]:
        return model["about"]
    title, text = (one.replace("*", r"\*") for one in (model["about"], model["paper"]))
    text = text.replace(title, f"*{title}*") if title != text else text
    return _ADDRESS.sub(r"<\1>", _ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", text))


def _figures(names: list[str], results: Measured) -> str:
    """A table a data set: each model and preset of which something was published or measured."""
    datasets = dict.fromkeys(dataset for measured in results.values() for dataset in measured)
    rows: dict[str, list[list[str]]] = {dataset: [] for dataset in datasets}  # in the order of the results
    sources: list[str] = []
    for name, preset in [(model, preset) for model in names for preset in _presets(model)]:
        published, here = published_results(name, preset), results.get((name, preset), {})
        for dataset in dict.fromkeys([*here, *published]):
            said = published.get(dataset)
            if said and said.source not in sources:
                sources.append(said.source)
            theirs = {metric: f"{value:.4f}" for metric, value in said.metrics.items()} if said else {}
            values = [of.get(metric, "") for of in (theirs, here.get(dataset, {})) for metric in _METRICS]
            number = str(sources.index(said.source) + 1) if said else ""
            rows.setdefault(dataset, []).append([f"{name}@{preset}" if preset else name, *values, number])
    head = ["model", *(f"{metric}, {whose}" for whose in ("published", "here") for metric in _METRICS), "source"]
    return "\n".join(
        [
            _FIGURES,
            *(f"### On {dataset}\n\n{table(head, lines)}" for dataset, lines in rows.items()),
            "Sources of what was published:\n",
            *(f"{number}. {source}" for number, source in enumerate(sources, 1)),
        ]
    )


def _presets(model: str) -> list[str | None]:
    """The presets of a model; None, the defaults, for one that has no default preset."""
    names = preset_names(model)
    return [*names] if DEFAULT_PRESET in names else [None, *names]
