"""Another export in the place of the one that is served: taken whole, or refused whole, without a lost request."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
import requests

import recbole_cadmr
from recbole_cadmr.errors import UserError
from recbole_cadmr.serving.limits import Limits
from tests.serving.running import KEY, sentence_of, serving

ASK = {"history": ["a"], "k": 3}


@pytest.fixture(scope="module")
def exports(micro_runs, micro_data, tmp_path_factory):
    """Exports of both models, without their data set."""
    folder = tmp_path_factory.mktemp("exports")
    for name, checkpoint in zip(("old", "new"), micro_runs):
        recbole_cadmr.load(checkpoint, micro_data).export(folder / name)
    return folder


@pytest.fixture
def place(exports, tmp_path):
    """A link to the old export."""
    for name in ("old", "new"):
        shutil.copytree(exports / name, tmp_path / name)
    link = tmp_path / "current"
    link.symlink_to("old")
    return link


def turn(link: Path, target: str) -> None:
    """Let a link lead elsewhere, as a nightly job does it: without a moment in which it leads nowhere."""
    aside = link.with_name("aside")
    aside.symlink_to(target)
    os.replace(aside, link)


def wait_until(true, seconds=30.0):
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds
        time.sleep(0.05)


def ask(running):
    return running.post("/v1/recommend", ASK, x_api_key=KEY).json()


def reload(running):
    return requests.post(running.address + "/v1/reload", json={}, headers={"x-api-key": KEY}, timeout=60)


def test_a_new_export_is_taken_without_a_lost_request(place, exports):
    answers, is_over = [], threading.Event()

    def keep_asking(address):
        with requests.Session() as session:
            while not is_over.is_set():
                response = session.post(f"{address}/v1/recommend", json=ASK, timeout=30)
                answers.append((response.status_code, response.json()))

    with serving({"shop": place}, watch=0.05, limits=Limits(rate=0)) as running:
        before = ask(running)
        asking = [threading.Thread(target=keep_asking, args=(running.address,)) for _ in range(3)]
        for thread in asking:
            thread.start()
        turn(place, "new")
        wait_until(lambda: running.get("/health").json()["models"][0]["version"] != before["version"])
        time.sleep(0.2)
        is_over.set()
        for thread in asking:
            thread.join()
        after = ask(running)
    loaded = recbole_cadmr.load(exports / "new")
    assert after["version"] == loaded.version != before["version"]
    expected = {before["version"]: before["lists"], after["version"]: after["lists"]}
    assert before["lists"] != after["lists"]
    assert {status for status, _ in answers} == {200}
    versions = [answer["version"] for _, answer in answers]
    assert all(answer["lists"] == expected[answer["version"]] for _, answer in answers)
    assert set(versions) == set(expected)


def cut_short(export):
    file = max(export.iterdir(), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[:-100])


def one_byte_changed(export):
    file = max(export.iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def one_file_missing(export):
    max(export.iterdir(), key=lambda file: file.stat().st_size).unlink()


def no_manifest(export):
    (export / "manifest.json").unlink()


def nothing(export):
    shutil.rmtree(export)


@pytest.mark.parametrize("damage", [cut_short, one_byte_changed, one_file_missing, no_manifest, nothing])
@pytest.mark.parametrize("in_place", [True, False])
def test_a_broken_export_is_refused_and_the_old_one_stays(place, caplog, damage, in_place):
    with serving({"shop": place}, key=KEY) as running:
        before = ask(running)
        damage(place.parent / ("old" if in_place else "new"))
        if not in_place:
            turn(place, "new")
        (error,) = reload(running).json()["models"].values()
        assert f"version {before['version']} is still served" in error and "defect" not in error
        assert ask(running) == before
        health = running.get("/health").json()
        told = error.replace(str(place.resolve()), "shop")
        assert health["status"] == "ok" and health["models"][0]["error"] == told and str(place.parent) not in told
        assert "shop: the export is refused" in caplog.text
        text = requests.get(running.address + "/metrics", headers={"x-api-key": KEY}, timeout=30).text
        assert 'recbole_cadmr_reloads_total{name="shop",result="refused"} 1.0' in text

        # What is whole again is taken.
        shutil.rmtree(place.parent / "whole", ignore_errors=True)
        if in_place:
            turn(place, "new")
        else:
            turn(place, "old")
        assert reload(running).json()["models"] == {"shop": "loaded"}
        assert running.get("/health").json()["models"][0]["error"] is None


def test_what_is_refused_is_not_tried_again_until_it_changes(place, caplog):
    with serving({"shop": place}, watch=0.05) as running:
        (place.parent / "new" / "manifest.json").write_text("{")
        turn(place, "new")
        wait_until(lambda: running.get("/health").json()["models"][0]["error"])
        time.sleep(1.5)
        assert caplog.text.count("the export is refused") == 1
        turn(place, "old")
        wait_until(lambda: running.get("/health").json()["models"][0]["error"] is None)


def test_only_the_model_that_is_named_is_loaded_anew(place):
    with serving({"a": place, "b": place.parent / "old"}, key=KEY) as running:
        turn(place, "new")
        headers = {"x-api-key": KEY}
        answer = requests.post(running.address + "/v1/reload", json={"model": "b"}, headers=headers, timeout=60)
        assert answer.json() == {"models": {"b": "loaded"}}
        a, b = running.get("/health").json()["models"]
        assert a["version"] == b["version"]
        answer = requests.post(running.address + "/v1/reload", json={"model": "a"}, headers=headers, timeout=60)
        a, b = running.get("/health").json()["models"]
        assert a["version"] != b["version"]
        answer = requests.post(running.address + "/v1/reload", json={"model": "c"}, headers=headers, timeout=60)
        assert "no model 'c' is served" in sentence_of(answer, 404)


def test_what_a_new_export_lacks_is_given_to_it(place):
    with serving({"shop": place}, key=KEY) as running:
        body = {"interactions": [{"user": "zoe", "item": "a"}]}
        assert running.post("/v1/interactions", body, x_api_key=KEY).status_code == 200
        turn(place, "new")
        assert reload(running).json()["models"] == {"shop": "loaded"}
        mine = running.post("/v1/recommend", {"user": "zoe", "k": 3}, x_api_key=KEY).json()["lists"][0]["items"]
        assert mine == ask(running)["lists"][0]["items"]


def test_a_change_that_the_second_model_refuses_says_that_the_first_has_it(micro_runs, micro_data):
    sources = dict(zip(("one", "two"), micro_runs))
    with serving(sources, data_path=micro_data) as running:
        second = running.models.get("two").recommender

        def act(kept, asked):
            if asked is second:
                raise UserError("it cannot")
            return {"n": 1}

        with pytest.raises(UserError) as refused:
            running.models.change(None, act)
        assert str(refused.value) == (
            "two: it cannot; one took it in already: to tell one model alone, name it as `model`"
        )
        assert running.models.change("one", act) == {"one": {"n": 1}}
