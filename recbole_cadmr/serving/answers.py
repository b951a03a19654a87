"""Requests to recommenders, and what they give as plain values; each runs in a thread of the pool."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from recbole_cadmr.serving.bodies import ExplainBody, RecommendBody
from recbole_cadmr.serving.limits import Limits
from recbole_cadmr.serving.models import ServedModel
from recbole_cadmr.serving.refusal import Refused

_NOBODY = "-"  # the name of the one whose history a request brings; it is not shown
_NAMED = 20  # unknown ids that an answer names


def recommend(model: ServedModel, body: RecommendBody, limits: Limits) -> dict[str, Any]:
    """The lists that a request asks for."""
    recommender = model.recommender
    known = recommender.catalogue.item_numbers
    most = min(limits.k, len(known))
    k = body.k if "k" in body.model_fields_set else min(body.k, most)
    if k > most:
        why = "which are all" if most == len(known) else "the most of this service"
        raise Refused(422, f"`k` must be at most {most:,} items, {why}; not {k:,}")
    unknown: list[str] = []
    how: dict[str, Any] = {"topk": k, "diversity": body.diversity}
    if body.exclude:
        how["exclude"] = _known(body.exclude, known, unknown)
    if body.candidates is not None:
        how["candidates"] = _known(body.candidates, known, unknown)
        if not how["candidates"]:
            raise Refused(422, "`candidates` names no item of the model, so that nothing can be recommended")
    if body.content_weight is not None:
        how["content_weight"] = body.content_weight
    if body.history is not None:
        people: list[str | None] = [None]
        frame, _ = recommender.recommend_from_history(_history(_some_known(model, body.history, unknown)), **how)
    else:
        people = [body.user] if body.user is not None else list(body.users or ())
        if len(people) > limits.users:
            raise Refused(422, f"`users` must name at most {limits.users:,} people in one request, not {len(people):,}")
        frame = recommender.recommend(people, leave_out=body.leave_out, **how)
    lists = _lists(model, frame, people)
    return {**_about(model), "lists": lists, "unknown_items": unknown[:_NAMED]}


def explain(model: ServedModel, body: ExplainBody) -> dict[str, Any]:
    """What the scores of items are made of."""
    recommender = model.recommender
    known = recommender.catalogue.item_numbers
    how: dict[str, Any] = {} if body.content_weight is None else {"content_weight": body.content_weight}
    if body.history is not None:
        how["history"] = _some_known(model, body.history, [])
    else:
        how["user"] = body.user
    explained = []
    for item in body.items:
        if item not in known:
            raise _no_item(item)
        told = recommender.explain(item=item, **how)
        chosen, paths = told.by_chosen_item(), told.by_path()
        chosen = chosen.loc[chosen["contribution"].abs().sort_values(ascending=False, kind="stable").index[: body.most]]
        explained.append(
            {
                "item": item,
                "score": told.score,
                "chosen": [
                    {**_shown(model, one), "contribution": value}
                    for one, value in zip(chosen["chosen_item"].tolist(), chosen["contribution"].tolist())
                ],
                "rest": told.score - float(chosen["contribution"].sum()),
                "paths": paths.to_dict("records"),
            }
        )
    return {**_about(model), "explanations": explained}


def similar(model: ServedModel, item: str, k: int, by: str) -> dict[str, Any]:
    """The items most like one."""
    if item not in model.recommender.catalogue.item_numbers:
        raise _no_item(item)
    frame = model.recommender.similar_items(item, topk=k, by=by)
    return {**_about(model), "items": _scored(model, frame)}


def search(model: ServedModel, query: str, k: int) -> dict[str, Any]:
    """The items whose titles or ids match what somebody types."""
    ids = model.recommender.catalogue.item_ids[1:]  # what came after the titles were read stands behind
    return {**_about(model), "items": [_shown(model, ids[place]) for place in model.titles.find(query, k)]}


def items(model: ServedModel, ids: Iterable[str]) -> dict[str, Any]:
    """Those of some items that the model knows, as they are shown."""
    known = model.recommender.catalogue.item_numbers
    return {**_about(model), "items": [_shown(model, item) for item in ids if item in known]}


def history(model: ServedModel, user: str, k: int) -> dict[str, Any]:
    """What a person has."""
    found = model.recommender.history(user)
    return {**_about(model), "items": [_shown(model, item) for item in found[:k]], "total": len(found)}


def users(model: ServedModel, beginning: str, k: int) -> dict[str, Any]:
    """Ids of people that begin so, whatever the case and the accents, in their order."""
    return {"users": model.users.find(beginning, k)}


def _about(model: ServedModel) -> dict[str, Any]:
    return {"model": model.name, "version": model.version}


def _no_item(item: str) -> Refused:
    return Refused(404, f"the model knows no item '{item:.100}'")


def _known(ids: Iterable[str], known: dict[str, int], unknown: list[str]) -> list[str]:
    """Those of ``ids`` that are known, each once; the others go to ``unknown``."""
    found: list[str] = []
    for item in dict.fromkeys(ids):
        (found if item in known else unknown).append(item)
    return found


def _some_known(model: ServedModel, ids: Iterable[str], unknown: list[str]) -> list[str]:
    found = _known(ids, model.recommender.catalogue.item_numbers, unknown)
    if not found:
        raise Refused(422, "`history` names no item of the model")
    return found


def _history(ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"user_id": [_NOBODY] * len(ids), "item_id": ids})


def _shown(model: ServedModel, item: str) -> dict[str, Any]:
    return {"item": item, "title": model.recommender.titles.get(item), "picture": model.pictures.address(item)}


def _scored(model: ServedModel, frame: pd.DataFrame) -> list[dict[str, Any]]:
    pairs = zip(frame["item_id"].tolist(), frame["score"].tolist())
    return [{**_shown(model, item), "score": score} for item, score in pairs]


def _lists(model: ServedModel, frame: pd.DataFrame, people: list[str | None]) -> list[dict[str, Any]]:
    """The lists of people in their order; empty for whom nothing is left."""
    rows = _scored(model, frame)
    sources = frame["source"].tolist() if "source" in frame else ["model"] * len(rows)
    owners = frame["user_id"].tolist()
    by_person: dict[str | None, dict[str, Any]] = {
        person: {"user": person, "source": "model", "items": []} for person in people
    }
    for owner, source, row in zip(owners, sources, rows):
        found = by_person[owner if people != [None] else None]
        found["source"] = source
        found["items"].append(row)
    return list(by_person.values())
