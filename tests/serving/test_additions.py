"""People, interactions and items that the service is told of."""

from __future__ import annotations

import requests

import recbole_cadmr
from recbole_cadmr.serving.limits import Limits
from tests.serving.running import KEY, sentence_of, serving


def test_new_people_and_items_are_known_at_once(micro_runs, micro_data):
    with serving({"micro": micro_runs[0]}, key=KEY, data_path=micro_data) as running:

        def post(path, body):
            return running.post(path, body, x_api_key=KEY)

        def get(path, **query):
            return requests.get(running.address + path, query, headers={"x-api-key": KEY}, timeout=30).json()

        chosen = [{"user": user, "item": item} for user, item in (("zoe", "a"), ("ann", "a"), ("zoe", "?"))]
        (counts,) = post("/v1/interactions", {"interactions": chosen}).json()["models"].values()
        expected = {"new_users": 1, "new_pairs": 1, "known_pairs": 1, "unknown_items": 1}
        assert {name: counts[name] for name in expected} == expected
        assert get("/v1/users", q="z")["users"] == ["zoe"]
        assert [item["item"] for item in get("/v1/history", user="zoe")["items"]] == ["a"]
        (mine,) = post("/v1/recommend", {"user": "zoe", "k": 3}).json()["lists"]
        (same,) = post("/v1/recommend", {"history": ["a"], "k": 3}).json()["lists"]
        assert mine["items"] == same["items"] and mine["source"] == "model"

        item = {"id": "new", "title": "Nouveauté", "vectors": {"text": [1.0, 0.0, 0.2], "image": [1.0, 2.0]}}
        assert post("/v1/items", {"items": [item]}).json() == {"models": {"micro": {"new_items": 1}}}
        assert [found["item"] for found in get("/v1/search", q="nouveaute")["items"]] == ["new"]
        (one,) = post("/v1/recommend", {"history": ["b"], "k": 4}).json()["lists"]
        assert "new" in [row["item"] for row in one["items"]]
        assert "already" in sentence_of(post("/v1/items", {"items": [item]}), 400)
        for vectors, says in (
            ({"text": [1.0]}, "1 x 3 numbers"),
            ({"smell": [1.0]}, "no modality 'smell'"),
            ({"text": [1.0, 2.0, "x"]}, "`items[0].vectors.text[2]` must be a number, not 'x'"),
        ):
            response = post("/v1/items", {"items": [{"id": "other", "vectors": vectors}]})
            assert says in sentence_of(response, response.status_code)

        # A reload brings the old export back, with what came since.
        assert post("/v1/reload", {}).json() == {"models": {"micro": "loaded"}}
        assert get("/v1/users", q="z")["users"] == ["zoe"]
        assert [found["item"] for found in get("/v1/search", q="nouveaute")["items"]] == ["new"]
        (again,) = post("/v1/recommend", {"user": "zoe", "k": 4}).json()["lists"]
        assert "new" in [row["item"] for row in again["items"]]


def test_additions_beyond_the_limit_are_refused_whole_until_an_export_has_them(micro_runs, micro_data, tmp_path):
    recommender = recbole_cadmr.load(micro_runs[0], micro_data)
    recommender.export(tmp_path / "one")
    (tmp_path / "now").symlink_to("one")
    with serving({"shop": tmp_path / "now"}, key=KEY, limits=Limits(added=3)) as running:

        def told(*pairs):
            rows = [{"user": user, "item": item} for user, item in pairs]
            return running.post("/v1/interactions", {"interactions": rows}, x_api_key=KEY)

        item = {"id": "new", "vectors": {"text": [1.0, 0.0, 0.2]}}
        assert told(("zoe", "a"), ("zoe", "b"), ("zoe", "a")).json()["models"]["shop"]["new_pairs"] == 2
        assert running.post("/v1/items", {"items": [item]}, x_api_key=KEY).ok
        assert told(("zoe", "b")).ok  # is kept already
        assert sentence_of(told(("zoe", "b"), ("yan", "c")), 507) == (
            "the service keeps at most 3 items and interactions that no export has yet; it has 3, these are 1 more: "
            "give it an export with them, or a larger --max_added"
        )
        more = {"items": [{**item, "id": "newer"}]}
        assert "these are 1 more" in sentence_of(running.post("/v1/items", more, x_api_key=KEY), 507)
        served = running.models.get(None).recommender
        assert "yan" not in served.users and "newer" not in served.items
        served.export(tmp_path / "two")
        (tmp_path / "now").unlink()
        (tmp_path / "now").symlink_to("two")
        assert running.post("/v1/reload", {}, x_api_key=KEY).json() == {"models": {"shop": "loaded"}}
        assert told(("yan", "c")).ok
