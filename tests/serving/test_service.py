"""The service asked over HTTP: right answers, and one sentence for each mistake."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import psutil
import pytest
import requests

import recbole_cadmr
from recbole_cadmr.serving.limits import Limits
from tests.serving.running import sentence_of, serving


@pytest.fixture(scope="module")
def recommender(linear):
    return recbole_cadmr.load(linear)


@pytest.fixture(scope="module")
def service(linear, brief_run):
    limits = Limits(rate=0, patience=1.0, users=50, body=100_000)
    with serving({"linear": linear, "paper": brief_run.checkpoint}, limits=limits) as running:
        yield running


def pairs(items):
    return [(row["item"], pytest.approx(row["score"], rel=1e-5)) for row in items]


def rows(frame):
    return list(zip(frame["item_id"], frame["score"]))


def test_lists_are_the_recommenders(service, recommender):
    body = {"users": ["u0003", "u0001"], "k": 7}
    answer = service.post("/v1/recommend", body).json()
    assert answer["model"] == "linear" and answer["unknown_items"] == []
    assert [one["user"] for one in answer["lists"]] == ["u0003", "u0001"]
    frame = recommender.recommend(["u0003", "u0001"], 7)
    for one in answer["lists"]:
        assert one["source"] == "model"
        assert rows(frame[frame["user_id"] == one["user"]]) == pairs(one["items"])
        assert [row["title"] for row in one["items"]] == [recommender.titles[row["item"]] for row in one["items"]]


def test_somebody_unknown_is_recommended_to_by_a_history(service, recommender):
    history = ["i0003", "i0017", "i0003", "gone"]
    answer = service.post("/v1/recommend", {"history": history, "k": 5, "exclude": ["i0001", "nor-this"]}).json()
    frame, _ = recommender.recommend_from_history(
        pd.DataFrame({"user_id": "x", "item_id": ["i0003", "i0017"]}), 5, exclude=["i0001"]
    )
    (one,) = answer["lists"]
    assert one["user"] is None and rows(frame) == pairs(one["items"])
    assert answer["unknown_items"] == ["nor-this", "gone"]


def test_only_candidates_are_recommended_and_none_that_is_excluded(service, recommender):
    candidates = recommender.items[:40]
    body = {"user": "u0001", "k": 5, "candidates": candidates, "exclude": candidates[::2]}
    (one,) = service.post("/v1/recommend", body).json()["lists"]
    frame = recommender.recommend(["u0001"], 5, candidates=candidates[1::2])
    assert len(frame) == 5 and rows(frame) == pairs(one["items"])


def test_content_weighs_as_much_as_asked(service, recommender):
    history = recommender.history("u0001")
    frame = pd.DataFrame({"user_id": "x", "item_id": history})
    lists = {}
    for weight in (0.0, 1.0, 2.5):
        body = {"history": history, "k": 8, "content_weight": weight}
        (one,) = service.post("/v1/recommend", body).json()["lists"]
        assert rows(recommender.recommend_from_history(frame, 8, content_weight=weight)[0]) == pairs(one["items"])
        lists[weight] = [row["item"] for row in one["items"]]
    assert lists[0.0] != lists[1.0] != lists[2.5]


@pytest.mark.parametrize("weight", [None, 2.0])
def test_why_adds_up_to_the_score(service, weight):
    how = {} if weight is None else {"content_weight": weight}
    (one,) = service.post("/v1/recommend", {"user": "u0001", "k": 3, "leave_out": "train", **how}).json()["lists"]
    items = [row["item"] for row in one["items"]]
    answer = service.post("/v1/explain", {"user": "u0001", "items": items, "most": 2, **how}).json()
    for told, row in zip(answer["explanations"], one["items"]):
        assert told["item"] == row["item"] and told["score"] == pytest.approx(row["score"], abs=1e-5)
        assert sum(path["contribution"] for path in told["paths"]) == pytest.approx(told["score"], abs=1e-6)
        largest = [abs(chosen["contribution"]) for chosen in told["chosen"]]
        assert len(largest) == 2 and largest == sorted(largest, reverse=True)
        total = sum(chosen["contribution"] for chosen in told["chosen"]) + told["rest"]
        assert total == pytest.approx(told["score"], abs=1e-9)


@pytest.mark.parametrize("by", ["model", "behaviour", "content"])
def test_similar_items_are_the_recommenders(service, recommender, by):
    answer = service.get("/v1/similar", item="i0003", k=4, by=by).json()
    assert rows(recommender.similar_items("i0003", 4, by)) == pairs(answer["items"])


def test_items_people_and_what_they_have_are_found(service, recommender):
    found = service.get("/v1/search", q="MIRR chr", k=3).json()["items"]
    assert len(found) == 3
    for item in found:
        words = item["title"].lower().split()
        assert any(word.startswith("mirr") for word in words) and any(word.startswith("chr") for word in words)
    assert service.get("/v1/users", q="u000", k=3).json() == {"users": ["u0000", "u0001", "u0002"]}
    assert service.get("/v1/users", q="U000", k=3).json() == {"users": ["u0000", "u0001", "u0002"]}
    assert service.get("/v1/users", q="v").json() == {"users": []}
    history = service.get("/v1/history", user="u0001").json()
    assert sorted(item["item"] for item in history["items"]) == sorted(recommender.history("u0001"))
    named = service.get("/v1/items", id=["i0002", "gone", "i0001"]).json()["items"]
    assert [item["item"] for item in named] == ["i0002", "i0001"]


def test_another_model_answers_where_it_is_named(service, brief_run):
    (one,) = service.post("/v1/recommend", {"user": "u0001", "k": 4, "model": "paper"}).json()["lists"]
    assert rows(recbole_cadmr.load(brief_run.checkpoint).recommend(["u0001"], 4)) == pairs(one["items"])


RECOMMEND, EXPLAIN = "/v1/recommend", "/v1/explain"


PEOPLE = [f"u{n:04}" for n in range(10_000)]


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (RECOMMEND, {"user": "u0001", "k": 0}, 422, "`k` must be at least 1, not 0"),
        (RECOMMEND, {"user": "u0001", "k": -3}, 422, "`k` must be at least 1, not -3"),
        (RECOMMEND, {"user": "u0001", "k": 791}, 422, "`k` must be at most 790 items, which are all; not 791"),
        (RECOMMEND, {"user": "u0001", "k": 10**30}, 422, "`k` must be"),
        (RECOMMEND, {"user": "u0001", "k": "5"}, 422, "`k` must be a whole number, not '5'"),
        (RECOMMEND, {"user": "u0001", "k": 2.5}, 422, "`k` must be a whole number, not 2.5"),
        (RECOMMEND, {"user": "u0001", "k": True}, 422, "`k` must be a whole number, not True"),
        (RECOMMEND, {"user": "nobody"}, 400, "'nobody'; people the model has not seen need a `history`"),
        (RECOMMEND, {"user": 1.5}, 422, "`user` must be an id, which is a text or a whole number, not 1.5"),
        (RECOMMEND, {"user": None}, 422, "give one of `user`, `users` or `history`, not none"),
        (RECOMMEND, {"user": ["u0001"]}, 422, "`user` must be an id"),
        (RECOMMEND, {"user": "u" * 2000}, 422, "`user` must be an id of 1 to 1000 characters, not of 2,000"),
        (RECOMMEND, {"users": []}, 422, "`users` must hold at least 1, not 0"),
        (RECOMMEND, {"users": "u0001"}, 422, "`users` must be a list, not 'u0001'"),
        (RECOMMEND, {"users": ["u0001", "u0001"]}, 400, "`users` names 'u0001' more than once"),
        (RECOMMEND, {"users": ["u0001", True]}, 422, "`users[1]` must be an id"),
        (RECOMMEND, {"users": PEOPLE[:51]}, 422, "at most 50 people in one request, not 51"),
        (RECOMMEND, {"users": PEOPLE}, 422, "at most 50 people in one request, not 10,000"),
        (RECOMMEND, {"user": "u0001", "history": ["i0001"]}, 422, "not `user` and `history`"),
        (RECOMMEND, {"history": ["gone"]}, 422, "`history` names no item of the model"),
        (RECOMMEND, {"user": "u0001", "candidates": ["gone"]}, 422, "`candidates` names no item"),
        (RECOMMEND, {"user": "u0001", "candidates": []}, 422, "`candidates` names no item"),
        (RECOMMEND, {"user": "u0001", "diversity": 1}, 422, "`diversity` must be below 1, not 1"),
        (RECOMMEND, {"user": "u0001", "content_weight": -1}, 422, "`content_weight` must be at least 0, not -1"),
        (RECOMMEND, {"user": "u0001", "content_weight": 2, "model": "paper"}, 400, "CADMR"),
        (RECOMMEND, {"user": "u0001", "leave_out": "some"}, 422, "`leave_out` must be 'all', 'train+valid', 't"),
        (RECOMMEND, {"user": "u0001", "exclud": []}, 422, "`exclud` is not known here; did you mean exclude?"),
        (RECOMMEND, {"user": "u0001", "model": "linera"}, 404, "no model 'linera' is served; did you mean linear?"),
        (RECOMMEND, {"user": "u0001", "model": 3}, 422, "`model` must be a text, not 3"),
        (RECOMMEND, [], 422, "the body must be an object of JSON"),
        (RECOMMEND, None, 422, "the body is missing"),
        (EXPLAIN, {"user": "u0001", "items": ["gone"]}, 404, "the model knows no item 'gone'"),
        (EXPLAIN, {"user": "nobody", "items": ["i0001"]}, 400, "nobody"),
        (EXPLAIN, {"user": "u0001", "items": ["i0001"] * 101}, 422, "`items` must hold at most 100, not 101"),
        (EXPLAIN, {"user": "u0001", "items": ["i0001"], "model": "paper"}, 400, "CADMR"),
        ("/v1/interactions", {"interactions": [{"user": "x", "item": "i0001"}]}, 403, "--key_file"),
        ("/v1/items", {"items": [{"id": "new"}]}, 403, "--key_file"),
        ("/v1/reload", {}, 403, "--key_file"),
        ("/v1/nothing", {}, 404, "there is nothing at /v1/nothing; /openapi.json lists what there is"),
        ("/v1/search", {}, 405, "/v1/search takes GET, not POST"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(service, path, body, status, says):
    assert says in service.error(path, body, status)


@pytest.mark.parametrize(
    ("path", "query", "status", "says"),
    [
        ("/v1/similar", {}, 422, "`item` is missing"),
        ("/v1/similar", {"item": "gone"}, 404, "the model knows no item 'gone'"),
        ("/v1/similar", {"item": "i0001", "k": 0}, 422, "`k` must be at least 1, not '0'"),
        ("/v1/similar", {"item": "i0001", "by": "taste"}, 422, "`by` must be 'model', 'behaviour' or 'content'"),
        ("/v1/search", {"q": "x" * 201}, 422, "`q` must have at most 200 characters"),
        ("/v1/history", {"user": "topk-nobody"}, 400, "topk-nobody"),
        ("/pictures/i0001", {}, 404, "there is no picture of 'i0001'"),
        ("/page/../style.css", {}, 404, "there is nothing at /style.css"),
        ("/page/passwd", {}, 404, "the page has no part 'passwd'"),
        ("/v1/recommend", {}, 405, "/v1/recommend takes POST, not GET"),
        ("/v1/recommend/", {}, 404, "there is nothing at /v1/recommend/"),
    ],
)
def test_a_mistake_in_an_address_is_one_sentence(service, path, query, status, says):
    assert says in sentence_of(service.get(path, **query), status)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"user": ', 400, "the body is no JSON"),
        (b'{"user": "u0001", "diversity": NaN}', 400, "the body is no JSON"),
        (b'{"user": "\\ud800"}', 400, "the body is no JSON"),
        (b'{"user": "\xff"}', 400, "the body is no JSON"),
        (b"[" * 90_000, 400, "the body is no JSON"),
        (b'{"user": "u0001", "user": "u0002"}', 200, ""),
        (b'{"user": "' + b"x" * 100_000 + b'"}', 413, "the body of a request must have at most 100,000 bytes"),
    ],
)
def test_a_body_that_is_no_json_or_too_large_is_refused(service, body, status, says):
    headers = {"content-type": "application/json; charset=utf-8"}
    response = requests.post(service.address + RECOMMEND, body, headers=headers, timeout=30)
    assert response.status_code == status and (status == 200 or says in sentence_of(response, status))


def test_a_body_of_another_type_is_refused(service):
    response = requests.post(service.address + RECOMMEND, {"user": "u0001"}, timeout=30)  # of a form
    assert "send it with the header 'Content-Type: application/json'" in sentence_of(response, 415)


def received(connection):
    """All that a service sends until it closes a connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_body_without_end_is_cut_off(service):
    def endless():
        while True:
            yield b"x" * 65536

    with pytest.raises(requests.ConnectionError), requests.Session() as session:
        response = session.post(service.address + RECOMMEND, endless(), timeout=30)
        assert response.status_code == 413  # where the answer is read before the connection is lost
        raise requests.ConnectionError


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{", 408),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ", 408),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea", 408),
        (b"no http at all\r\n\r\n", 400),
        (b"", None),
    ],
)
def test_a_client_that_hangs_is_not_waited_for(service, sent, answered):
    start = time.monotonic()
    with service.connection() as connection:
        connection.sendall(sent)
        answer = received(connection)
    assert time.monotonic() - start < 10
    if answered is None:
        assert answer == b""
    else:
        head, _, body = answer[answer.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {answered} ".encode()) and b"application/json" in head
        assert list(json.loads(body)) == ["error"]


def test_clients_that_hang_do_not_keep_others_waiting(service):
    hanging = [service.connection() for _ in range(50)]
    try:
        for connection in hanging:
            connection.sendall(b"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        start = time.monotonic()
        assert service.post(RECOMMEND, {"user": "u0001"}).status_code == 200
        assert time.monotonic() - start < 0.9
    finally:
        for connection in hanging:
            connection.close()


def test_a_client_that_goes_away_is_no_error(service):
    body = b'{"user": "u0001"}'
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for sent in (head % 90 + body, head % len(body) + body):
        with service.connection() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(sent)
    assert service.get("/health").json()["status"] == "ok"


def test_a_defect_is_said_without_its_details_and_logged(service, monkeypatch, caplog):
    monkeypatch.setattr("recbole_cadmr.serving.answers.search", lambda *_: 1 / 0)
    sentence = sentence_of(service.get("/v1/search", q="a"), 500)
    assert "a defect of this program, ZeroDivisionError; its log has it as failure " in sentence
    number = sentence.rpartition(" ")[2]
    (record,) = [record for record in caplog.records if number in record.getMessage()]
    assert record.exc_info[0] is ZeroDivisionError


def test_no_memory_is_said(service, monkeypatch):
    def search(*_):
        raise MemoryError

    monkeypatch.setattr("recbole_cadmr.serving.answers.search", search)
    assert "not enough memory" in sentence_of(service.get("/v1/search", q="a"), 503)


def test_the_interface_is_described_with_examples_that_work(service):
    described = service.get("/openapi.json").json()
    assert described["paths"].keys() >= {RECOMMEND, EXPLAIN, "/v1/similar", "/v1/search", "/health", "/metrics"}
    for name, path in (("RecommendBody", RECOMMEND), ("ExplainBody", EXPLAIN)):
        for example in described["components"]["schemas"][name]["examples"]:
            assert service.post(path, example).status_code == 200


def test_what_is_counted(service):
    for _ in range(3):
        service.get("/ready")
    service.get("/v1/similar")
    service.get("/nothing/of/the/kind")
    lines = dict(line.rsplit(" ", 1) for line in service.get("/metrics").text.splitlines() if line[0] != "#")
    count = 'recbole_cadmr_{}_total{{endpoint="{}",{}}}'.format
    assert float(lines[count("requests", "/ready", 'status="200"')]) >= 3
    assert float(lines[count("errors", "/v1/similar", 'side="client"')]) >= 1
    assert float(lines[count("requests", "other", 'status="404"')]) >= 1
    assert float(lines['recbole_cadmr_request_seconds_count{endpoint="/ready"}']) >= 3
    version = service.models.get("linear").version
    assert lines[f'recbole_cadmr_model{{model="LinearCADMR",name="linear",version="{version}"}}'] == "1.0"
    assert float(lines["process_resident_memory_bytes"]) > 2**20


def test_answers_do_not_depend_on_who_else_asks(service):
    users = [f"u{n:04}" for n in range(60)]
    alone = {user: service.post(RECOMMEND, {"user": user}).json()["lists"] for user in users}
    with ThreadPoolExecutor(16) as pool:
        for user, answer in zip(users * 3, pool.map(lambda user: service.post(RECOMMEND, {"user": user}), users * 3)):
            assert answer.json()["lists"] == alone[user]


def test_memory_stays(service):
    process = psutil.Process()
    with requests.Session() as session:

        def ask(n):
            for place in range(n):
                body = {"user": f"u{place % 1000:04}", "k": 20, "exclude": ["i0001"]}
                assert session.post(service.address + RECOMMEND, json=body, timeout=30).status_code == 200
            return process.memory_info().rss

        ask(100)
        before = ask(100)
        assert ask(400) - before < 8 * 2**20


def test_scores_are_numbers_of_json(service):
    text = service.post(RECOMMEND, {"user": "u0001", "k": 790, "leave_out": "none"}).text
    scores = [row["score"] for row in json.loads(text, parse_constant=pytest.fail)["lists"][0]["items"]]
    assert np.isfinite(scores).all()
