"""Who is let in, and how often: rates, names of this machine, keys, over HTTP."""

from __future__ import annotations

import pytest
import requests

from recbole_cadmr.serving.gate import _is_this_machine
from recbole_cadmr.serving.limits import Limits
from tests.serving.running import KEY, sentence_of, serving


def test_too_many_requests_are_told_when_to_ask_again(micro_runs, micro_data):
    with serving({"micro": micro_runs[0]}, limits=Limits(rate=2), data_path=micro_data) as running:
        answers = [running.get("/v1/users") for _ in range(8)]
        assert [answer.status_code for answer in answers[:4]] == [200] * 4
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused and refused[0].headers["retry-after"] == "1"
        assert sentence_of(refused[0], 429) == "more than 2 requests a second; ask again in 1 s"
        assert running.get("/health").status_code == 200  # is not limited
        # Nobody here is a proxy whose word on the client counts.
        forged = requests.get(running.address + "/v1/users", headers={"x-forwarded-for": "192.0.2.9"}, timeout=30)
        assert forged.status_code == 429


def test_a_proxy_says_who_asks(micro_runs, micro_data):
    limits = Limits(rate=1)
    with serving({"micro": micro_runs[0]}, limits=limits, data_path=micro_data, proxies="127.0.0.1") as running:
        for client in ("192.0.2.1", "192.0.2.2"):
            headers = {"x-forwarded-for": client}
            codes = [
                requests.get(running.address + "/v1/users", headers=headers, timeout=30).status_code for _ in range(3)
            ]
            assert codes == [200, 200, 429]


@pytest.mark.parametrize("here", ["localhost:8000", "127.0.0.1", "127.8.0.1:80", "[::1]:8000", "LOCALHOST"])
def test_names_of_this_machine(here):
    assert _is_this_machine(here.encode())


@pytest.mark.parametrize(
    "there", ["shop.example", "127.0.0.1.shop.example:8000", "localhost.shop.example", "[::1", "10.0.0.1"]
)
def test_names_of_others(there):
    assert not _is_this_machine(there.encode())


def test_a_service_of_this_machine_alone_is_not_asked_by_another_name(micro_runs, micro_data):
    with serving({"micro": micro_runs[0]}, data_path=micro_data, only_here=True) as running:
        assert running.get("/v1/users").status_code == running.get("/").status_code == 200
        for path in ("/v1/users", "/", "/health"):
            answer = requests.get(running.address + path, headers={"host": "shop.example"}, timeout=30)
            assert sentence_of(answer, 421) == "this service answers to localhost alone; see --key_file and --proxies"


def test_only_so_many_requests_wait(micro_runs, micro_data):
    with serving({"micro": micro_runs[0]}, limits=Limits(waiting=0), data_path=micro_data) as running:
        assert "are being answered" in sentence_of(running.get("/v1/users"), 503)


def test_a_key_keeps_out_who_has_none(micro_runs, micro_data, caplog):
    with serving({"micro": micro_runs[0]}, key=KEY, data_path=micro_data) as running:
        for path in ("/", "/health", "/ready", "/openapi.json", "/page/page.js"):
            assert running.get(path).status_code == 200
        for path in ("/v1/users", "/v1/history?user=ann", "/metrics", "/v1/nothing"):
            assert "this service needs a key" in sentence_of(running.get(path), 401)
        for headers in ({"x-api-key": KEY[:-1]}, {"authorization": "Bearer x"}, {"x-api-key": "é".encode()}):
            response = requests.get(running.address + "/v1/users", headers=headers, timeout=30)
            assert "this is not the key" in sentence_of(response, 401)
            assert response.headers["www-authenticate"] == "Bearer"
        for headers in ({"x-api-key": KEY}, {"authorization": f"bearer {KEY}"}):
            assert requests.get(running.address + "/v1/users", headers=headers, timeout=30).status_code == 200
        for answer in (running.get("/health"), running.get("/openapi.json"), running.get("/")):
            assert KEY not in answer.text
    assert KEY not in caplog.text
