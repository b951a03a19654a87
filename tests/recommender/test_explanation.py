"""Why an item: contributions in the data set's own ids that add up to the score."""

from __future__ import annotations

import pandas as pd
import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.load_checkpoint import parts_of
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.runs.train import train
from tests.micro import PAIRS, open_micro, write_micro


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="module")
def run(folder):
    settings = {**PAIRS, "data_path": str(folder), "reg_weight": 2.0, "adaptive_fits": 1}
    return train("LinearCADMR", "micro", output=folder / "run", settings=settings)


@pytest.fixture(scope="module")
def recommender(run):
    from recbole_cadmr.recommender.load import load

    return load(run.checkpoint)


def of(folder, model, **settings):
    return Recommender(parts_of(open_micro(folder, model, **settings)))


def scores(recommender, user):
    frame = recommender.recommend([user], topk=4, leave_out="none")
    return dict(zip(frame["item_id"], frame["score"]))


def test_the_contributions_add_up_to_the_recommended_score(recommender):
    assert recommender.explains
    for item, score in scores(recommender, "cid").items():
        explanation = recommender.explain("cid", item=item)
        assert explanation.item == item and explanation.score == pytest.approx(score, rel=1e-5)
        assert explanation.parts["contribution"].sum() == pytest.approx(explanation.score, rel=1e-12)
        assert explanation.by_path()["contribution"].sum() == pytest.approx(explanation.score, rel=1e-12)
        assert explanation.by_chosen_item()["contribution"].is_monotonic_decreasing
        assert set(explanation.parts["chosen_item"]) <= {"a", "c", "d"}
        assert set(explanation.parts["modality"]) == {"", "text", "image"}


def test_a_history_is_explained_as_the_user_who_has_it(recommender):
    by_user, by_history = recommender.explain("cid", item="b"), recommender.explain(history=["d", "a", "c"], item="b")
    pd.testing.assert_frame_equal(by_user.parts, by_history.parts)
    table = pd.DataFrame({"item_id": ["a", "c", "d", "nothing"]})
    of_table = recommender.explain(history=table, item="b")
    assert of_table.score == by_user.score and of_table.unknown == 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"item": "z", "user": "cid"}, "the item 'z' is not in the catalogue"),
        ({"item": "a"}, "either a `user` or a `history`"),
        ({"item": "a", "user": "cid", "history": ["b"]}, "either a `user` or a `history`"),
        ({"item": "a", "user": "eve"}, "nothing is known about the user 'eve'"),
        ({"item": "a", "history": ["z"]}, "the history names no item of the catalogue"),
        ({"item": "a", "history": pd.DataFrame({"user_id": ["x", "y"], "item_id": ["a", "b"]})}, "of one person"),
        ({"item": 1.5, "user": "cid"}, "must hold ids"),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_sentence(recommender, how, message):
    with pytest.raises(UserError, match=message):
        recommender.explain(**how)


def test_models_without_parts_and_without_histories_say_so(folder):
    with pytest.raises(UserError, match="the scores of BPR do not fall into parts"):
        of(folder, "BPR").explain("cid", item="a")
    vbpr = of(folder, "VBPR")
    explanation = vbpr.explain("cid", item="a")
    assert explanation.score == pytest.approx(scores(vbpr, "cid")["a"], rel=1e-4)
    assert set(explanation.parts["chosen_item"]) == {""} and explanation.by_chosen_item().empty
    with pytest.raises(UserError, match="VBPR knows only the users it was trained on"):
        vbpr.explain(history=["a"], item="b")


def test_the_command_prints_the_sums(run, recommender, capsys):
    assert main(["explain", f"--checkpoint={run.checkpoint}", "--user=cid", "--item=b", "--topk=2"]) == 0
    printed = capsys.readouterr().out
    explanation = recommender.explain("cid", item="b")
    assert f"b: {explanation.score:.6g} for cid by LinearCADMR" in printed
    for path, modality, contribution in explanation.by_path().itertuples(index=False):
        assert f"| {path} | {modality} | {contribution:.6g} |" in printed
    first = explanation.by_chosen_item().iloc[0]
    assert f"| {first['chosen_item']} | {first['contribution']:.6g} |" in printed and "and 1 further ones" in printed
    assert main(["explain", f"--checkpoint={run.checkpoint}", "--item=b"]) == 2


def test_with_another_weight_of_content_why_and_list_agree(recommender):
    whole = recommender.explain("cid", item="b").by_path().set_index(["path", "modality"])["contribution"]
    for weight in (0.0, 0.5, 2.0):
        lists = recommender.recommend(["cid"], topk=4, leave_out="none", content_weight=weight)
        explanation = recommender.explain("cid", item="b", content_weight=weight)
        assert explanation.score == pytest.approx(dict(zip(lists["item_id"], lists["score"]))["b"], rel=1e-5)
        for (path, modality), contribution in whole.items():
            parts = explanation.parts[(explanation.parts["path"] == path) & (explanation.parts["modality"] == modality)]
            factor = 1.0 if path == "autoencoder" else weight
            assert parts["contribution"].sum() == pytest.approx(factor * contribution, rel=1e-6)
    with pytest.raises(UserError, match="content_weight must be a number from 0 on"):
        recommender.explain("cid", item="b", content_weight=-1)


def test_a_long_title_is_shortened_in_the_heading(run, recommender, capsys, monkeypatch):
    monkeypatch.setattr(Recommender, "titles", {"b": "begin " + 300 * "x" + " end"})
    assert main(["explain", f"--checkpoint={run.checkpoint}", "--user=cid", "--item=b"]) == 0
    heading = capsys.readouterr().out.splitlines()[0]
    assert heading.startswith("b, begin xxx") and "x end: " in heading and len(heading) < 140
