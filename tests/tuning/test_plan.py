"""A search before it begins: what is left to search, how many trials and epochs, what is refused, search.json."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import sha256_of_all
from recbole_cadmr.tuning.plan import SEARCH, check_same, has_space, make_plan, read_plan, write_plan
from tests.micro import write_micro

BPR = {"learning_rate": [0.001, 0.01], "embedding_size": [8, 16, 64]}  # the defaults are 0.001 and 64


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("plan") / "dataset")


@pytest.fixture
def plan(data):
    """A plan on the micro set; settings as keywords, options of the search by name."""
    options = ("preset", "space", "sampler", "scheduler", "trials", "grace", "threads")

    def make(model="BPR", **given):
        mine = {name: given.pop(name) for name in options if name in given}
        settings = {"data_path": str(data), "topk": [1, 2], "valid_metric": "Recall@2", **given}
        return make_plan(model, "micro", settings=settings, **mine)

    return make


def refusal(function, *arguments, **given):
    """The words of the error that a call ends with."""
    with pytest.raises(UserError) as error:
        function(*arguments, **given)
    return str(error.value)


def test_a_plan_says_all_that_the_search_depends_on(plan, data):
    made = plan(space=BPR, epochs=9, seed=5, threads=2, trials=4)
    assert asdict(made) == {
        "model": "BPR",
        "dataset": "micro",
        "preset": None,
        "settings": {"data_path": str(data), "topk": [1, 2], "valid_metric": "Recall@2", "epochs": 9, "seed": 5,
                     "threads": 2},
        "space": BPR,
        "sampler": "random",
        "scheduler": "asha",
        "trials": 4,
        "grace": 3,
        "max_epochs": 9,
        "metric": "recall@2",
        "bigger": True,
        "seed": 5,
        "threads": 2,
        "defaults": {"learning_rate": 0.001, "embedding_size": 64},
        "data": sha256_of_all(data / "micro" / f"micro.{end}"
                              for end in ("test.inter", "train.inter", "valid.inter", "yaml")),
        "own_model": None,
        "schema_version": 1,
    }  # fmt: skip
    assert len(made.points()) == 4 and made.points()[0] == made.defaults


def test_settings_that_are_given_are_not_searched(plan):
    made = plan(space={**BPR, "weight_decay": {"uniform": [0, 0.1]}}, learning_rate=0.5)
    assert list(made.space) == ["embedding_size", "weight_decay"] == list(made.defaults)
    assert made.settings["learning_rate"] == 0.5 and all("learning_rate" not in point for point in made.points())
    assert made.config(**made.points()[1])["learning_rate"] == 0.5


def test_a_space_of_given_settings_alone_is_refused(plan):
    given = {"learning_rate": 0.1, "embedding_size": 8}
    words = "has nothing left to search: all of its settings are given"
    assert refusal(plan, space=BPR, **given) == f"the space {words}"
    assert refusal(plan, weight_decay=0.1, **given) == f"the space of BPR {words}"
    assert not has_space("BPR", None, {**given, "weight_decay": 0.1}) and has_space("BPR", None, given)
    assert not has_space("Pop", None, {})


def test_a_space_may_lie_in_a_file_that_errors_name(plan, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("embedding_size: [8, 16]\n")
    assert plan(space=file).space == {"embedding_size": [8, 16]}
    file.write_text("embeding_size: [8, 16]\n")
    assert refusal(plan, space=file).startswith(
        f"{file}: BPR has no setting 'embeding_size'; did you mean embedding_size"
    )


def test_there_are_no_more_trials_than_points(plan):
    assert plan(space=BPR).trials == 6  # of 20
    assert plan(space={**BPR, "embedding_size": [8, 16]}).trials == 5  # 4, and the defaults
    assert plan(space=BPR, trials=3).trials == 3
    assert plan(space={"weight_decay": {"uniform": [0, 1]}}).trials == 20
    # What a sampler decides on the way has no points before.
    bayesian = plan(space=BPR, sampler="bayesian", trials=9)
    assert bayesian.trials == 9 and bayesian.points() == []


def test_a_grid_has_as_many_trials_as_points(plan):
    made = plan(space=BPR, sampler="grid")
    assert made.trials == len(made.points()) == 6 and plan(space=BPR, sampler="grid", trials=10).trials == 6
    assert plan(space={**BPR, "embedding_size": [8, 16]}, sampler="grid").trials == 5
    assert refusal(plan, space=BPR, sampler="grid", trials=5) == (
        "the grid has 6 points (with the defaults), more than --trials 5; leave --trials out, or take the random "
        "sampler"
    )
    assert "embedding_size is a range" in refusal(plan, space={"embedding_size": {"randint": [1, 9]}}, sampler="grid")


def test_points_depend_on_model_data_set_and_seed_and_not_on_the_place(plan, data):
    space = {"weight_decay": {"uniform": [0, 1]}}
    assert plan(space=space, seed=1).points() == replace(plan(space=space, seed=1), settings={}, threads=9).points()
    assert plan(space=space, seed=1).points()[1] != plan(space=space, seed=2).points()[1]
    assert plan(space=space).points()[1] != plan("LightGCN", space=space).points()[1]
    assert plan(space=space, trials=3).points() == plan(space=space, trials=9).points()[:3]


def test_a_population_draws_its_members_and_has_at_least_four(plan):
    assert plan(space=BPR, scheduler="pbt", trials=4).trials == 4
    for sampler in ("grid", "bayesian"):
        assert refusal(plan, space=BPR, scheduler="pbt", sampler=sampler) == (
            "population based training draws its members by itself; leave --sampler out"
        )
    assert refusal(plan, space=BPR, scheduler="pbt", trials=3) == (
        "population based training needs at least 4 trials, not 3"
    )
    assert refusal(plan, space={"embedding_size": [8, 64]}, scheduler="pbt") == (
        "population based training needs at least 4 trials, not 2"  # there are no more points
    )


def test_an_unknown_sampler_or_scheduler_names_the_nearest(plan):
    assert refusal(plan, sampler="baysian") == (
        "there is no sampler 'baysian'; did you mean bayesian?; there are random, grid, bayesian"
    )
    assert refusal(plan, scheduler="asah") == (
        "there is no scheduler 'asah'; did you mean asha?; there are asha, pbt, fifo"
    )
    assert refusal(plan, scheduler="x") == "there is no scheduler 'x'; there are asha, pbt, fifo"


def test_what_is_not_validated_cannot_be_chosen_by(plan):
    assert refusal(plan, valid_metric="Recall@7").startswith(
        "valid_metric Recall@7 is not computed: metrics are Recall"
    )
    assert refusal(plan, eval_step=0) == (
        "a search chooses on validation, and eval_step 0 asks for none; give --eval_step=1"
    )


@pytest.mark.parametrize(
    ("model", "space", "settings", "most"),
    [
        ("BPR", BPR, {}, 300),
        ("BPR", BPR, {"epochs": 7}, 7),
        ("CADMR", {"tc_weight": [0.1]}, {"pretrain_epochs": 4, "epochs": 5}, 9),
        ("CADMR", {"pretrain_epochs": [2, 100], "epochs": {"randint": [3, 200]}}, {}, 300),
        ("CADMR", {"pretrain_epochs": [2, 100]}, {"epochs": 0}, 100),
        ("CADMR", {"tc_weight": [0.1]}, {"pretrain_epochs": 0, "epochs": 0}, 1),
        ("EASE", {"reg_weight": [1.0]}, {}, 1),
        ("LinearCADMR", {"enhancement": [1.0]}, {}, 1),
        ("LinearCADMR", {"enhancement": [1.0]}, {"reg_weight": [1.0, 2.0, 3.0]}, 3),
        ("LinearCADMR", {"reg_weight": [7.0, [1.0, 2.0], [1.0, 2.0, 3.0, 4.0]]}, {}, 4),
        ("LinearCADMR", {"reg_weight": {"uniform": [1, 9]}}, {}, 1),
    ],
)
def test_the_most_epochs_are_those_of_all_phases(plan, model, space, settings, most):
    made = plan(model, space=space, **settings)
    assert made.max_epochs == most and 1 <= made.grace <= most


def test_the_defaults_may_have_the_most_epochs(plan):
    assert plan(space={"epochs": [10, 20]}).max_epochs == 300  # which trial 1 has


def test_grace_is_as_many_epochs_as_are_between_validations(plan):
    assert plan(epochs=300, grace=7, eval_step=5).grace == 10
    assert plan(epochs=300, eval_step=5).grace == 25
    assert plan("EASE", eval_step=5).grace == 1


def test_the_defaults_are_those_of_the_preset(plan):
    space = {"objective": ["softmax"]}
    best, none = plan("CADMR", preset="best", space=space), plan("CADMR", space=space)
    assert (best.preset, best.defaults, best.trials) == ("best", {"objective": "softmax"}, 1)
    assert (none.preset, none.defaults, none.trials) == (None, {"objective": "squared"}, 2)
    assert best.config()["objective"] == "softmax"


# search.json


def test_a_plan_is_the_same_after_a_way_through_its_file(plan, tmp_path):
    made = plan(space={**BPR, "weight_decay": {"loguniform": [1e-6, 0.1]}}, weight_decay=0.1, stopping_step=3)
    write_plan(made, tmp_path)
    known = read_plan(tmp_path)
    assert known == made and known.points() == made.points()
    check_same(known, made, tmp_path)


def test_a_schedule_is_not_for_a_search(plan):
    with pytest.raises(UserError, match="takes no settings_schedule: its trials change settings only with --sch"):
        plan(space=BPR, settings_schedule={2: {"weight_decay": 0.1}})


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("space", {"space": {"learning_rate": [0.001]}}),
        ("sampler", {"space": BPR, "sampler": "bayesian"}),
        ("scheduler", {"space": BPR, "scheduler": "fifo"}),
        ("grace", {"space": BPR, "grace": 3}),
        ("epochs", {"space": BPR, "epochs": 5}),
        ("model", {"space": BPR, "model": "LightGCN"}),
    ],
)
def test_another_search_is_told_by_what_is_different(plan, tmp_path, what, other):
    known, now = plan(space=BPR), plan(**other)
    before, after = ({**asdict(one), **one.settings}.get(what, "the default") for one in (known, now))
    words = f"its {what} is {before}, not {after}"
    assert refusal(check_same, known, now, tmp_path) == (
        f"{tmp_path} holds another search: {words}; choose another --output"
    )


def test_other_interactions_are_refused_and_more_trials_are_not(plan, tmp_path):
    known = plan(space=BPR, trials=2)
    check_same(known, plan(space=BPR, trials=5), tmp_path)
    other = replace(known, data="0" * 64)
    assert refusal(check_same, known, other, tmp_path) == (
        f"{tmp_path} holds a search on other data than there are now; choose another --output"
    )


def test_data_that_moved_are_the_same_search(plan, tmp_path):
    known = plan(space=BPR)
    check_same(known, replace(known, settings={**known.settings, "data_path": "/elsewhere"}), tmp_path)


def test_a_folder_without_a_search_says_so(tmp_path):
    assert refusal(read_plan, tmp_path) == (
        f"{tmp_path} holds no search (search.json is missing); begin one with --output"
    )


def test_a_damaged_file_is_one_sentence(plan, tmp_path):
    file = tmp_path / SEARCH
    write_plan(plan(space=BPR), tmp_path)
    text = file.read_text()
    for damaged in (text[:100], "[]", "7", "", '"x"'):
        file.write_text(damaged)
        assert refusal(read_plan, tmp_path).startswith(f"{file} is damaged or was edited: ")
    content = json.loads(text)
    file.write_text(json.dumps({**content, "more": 1}))
    assert "edited: it has more" in refusal(read_plan, tmp_path)
    file.write_text(json.dumps({name: value for name, value in content.items() if name != "grace"}))
    assert "missing required field 'grace'" in refusal(read_plan, tmp_path)
    file.write_text(json.dumps({**content, "schema_version": 2}))
    assert refusal(read_plan, tmp_path) == f"{file} is not a search of schema version 1; begin a new one"
    file.write_bytes(b"\xff\xfe{}")
    assert refusal(read_plan, tmp_path).startswith(f"{file} is damaged or was edited: ")


def test_fewer_trials_are_refused(plan, tmp_path):
    known = plan(space=BPR, trials=4)
    with pytest.raises(UserError, match="holds a search of 4 trials, and can be resumed with as many or more"):
        check_same(known, plan(space=BPR, trials=3), tmp_path)


def test_features_belong_to_the_data(data, plan):
    # VBPR reads them, BPR does not.
    before = [make(model, data).data for model in ("VBPR", "BPR")]
    file = data / "micro" / "micro.text.npy"
    kept = file.read_bytes()
    try:
        np.save(file, np.load(file) + 1)
        after = [make(model, data).data for model in ("VBPR", "BPR")]
    finally:
        file.write_bytes(kept)
    assert before[0] != after[0] and before[1] == after[1]


def make(model, data):
    settings = {"data_path": str(data), "topk": [1, 2], "valid_metric": "Recall@2"}
    return make_plan(model, "micro", space={"learning_rate": [0.01, 0.1]}, settings=settings)


def test_fifo_has_no_grace(plan):
    with pytest.raises(UserError, match="the scheduler fifo stops no trial"):
        plan(space=BPR, scheduler="fifo", grace=3)
