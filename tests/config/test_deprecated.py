"""A deprecated name of a setting works wherever settings are given, warns once, and is refused beside the new one."""

from __future__ import annotations

import pytest

from recbole_cadmr.benchmark.plan import model_specs
from recbole_cadmr.config import deprecated
from recbole_cadmr.config.config import Config
from recbole_cadmr.config.deprecated import current_names, first_names
from recbole_cadmr.errors import UserError
from recbole_cadmr.tuning.plan import has_space, make_plan
from recbole_cadmr.tuning.space import read_space

LINEAR = "LinearCADMR"
WARNING = "regularisation is deprecated; it is called reg_weight now"


@pytest.fixture
def warned(caplog):
    deprecated._warn.cache_clear()
    return lambda: [record.getMessage() for record in caplog.records]


def test_names_are_replaced_wherever_they_stand(warned):
    given = {
        "seed": 1,
        "linear_settings": {"regularisation": 3.0, "two_hop": 0.1},
        "settings_schedule": {2: {"linear_settings": {"regularisation": 4.0}}},
    }
    expected = {
        "seed": 1,
        "linear_settings": {"reg_weight": 3.0, "two_hop": 0.1},
        "settings_schedule": {2: {"linear_settings": {"reg_weight": 4.0}}},
    }
    assert current_names("CADMR", given, "x", warn=False) == expected and warned() == []
    assert current_names("CADMR", given, "x") == expected
    assert warned() == ["regularisation is deprecated; it is called reg_weight now"]
    assert current_names("BPR", given, "x") == given  # no other model has the name
    assert first_names("CADMR", {**expected, "settings_schedule": None}) == {**given, "settings_schedule": None}
    assert first_names(LINEAR, {"reg_weight": 1, "seed": 2}) == {"regularisation": 1, "seed": 2}


@pytest.mark.parametrize("source", ["settings", "file", "space", "plan"])
def test_it_works_in_every_source_and_warns_once(tmp_path, warned, source):
    file = tmp_path / "x.yaml"
    file.write_text("regularisation: [7.0, 8.0]\n")
    for _ in range(2):
        if source == "space":
            assert read_space(LINEAR, None, file)["reg_weight"].choices == (7.0, 8.0)
        elif source == "plan":
            plan = make_plan(LINEAR, None, space={"regularisation": [7.0, 8.0], "two_hop": [0.0, 0.1]})
            assert plan.space["reg_weight"] == [7.0, 8.0]
        elif source == "file":
            assert Config(LINEAR, config_files=[file]).changed["reg_weight"] == [7.0, 8.0]
        else:
            assert Config(LINEAR, settings={"regularisation": 7.0})["reg_weight"] == 7.0
    assert warned() == [WARNING]


def test_a_later_source_wins_whatever_the_name(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("regularisation: 7.0\n")
    assert Config(LINEAR, config_files=[file], settings={"reg_weight": 8.0})["reg_weight"] == 8.0
    file.write_text("reg_weight: 7.0\n")
    assert Config(LINEAR, config_files=[file], settings={"regularisation": 8.0})["reg_weight"] == 8.0


@pytest.mark.parametrize(
    "values", [{"regularisation": 1.0, "reg_weight": 1.0}, {"reg_weight": 2.0, "regularisation": 1}]
)
def test_both_names_at_once_are_refused(tmp_path, values):
    with pytest.raises(UserError, match="settings: regularisation is an old name of reg_weight; give one of them"):
        Config(LINEAR, settings=values)
    with pytest.raises(UserError, match="settings: linear_settings: regularisation is an old name of reg_weight"):
        Config("CADMR", settings={"preset": "best", "linear_settings": values})


def test_a_value_is_checked_by_the_declaration_of_the_new_name():
    with pytest.raises(UserError, match="settings: reg_weight must be at least 0, not -1"):
        Config(LINEAR, settings={"regularisation": -1.0})
    with pytest.raises(UserError, match="there is no setting 'regularisation'"):
        Config("BPR", settings={"regularisation": 1.0})


def test_a_name_near_to_a_deprecated_one_is_answered_by_what_that_is_called_now():
    with pytest.raises(UserError, match=r"no setting 'regularization'; did you mean reg_weight\b(?!.*regularisation)"):
        Config(LINEAR, settings={"regularization": 1.0})
    with pytest.raises(UserError, match=r"linear_settings: .* 'regularization'; did you mean reg_weight"):
        Config("CADMR", settings={"preset": "best", "linear_settings": {"regularization": 1.0}})
    with pytest.raises(UserError, match="has no setting 'regularization'; did you mean reg_weight"):
        make_plan(LINEAR, None, space={"regularization": [7.0, 8.0]})
    with pytest.raises(UserError, match="none of the models has a setting 'regularization'; did you mean reg_weight"):
        model_specs([LINEAR], ["synthetic"], {"regularization": 1.0})


def test_a_given_setting_is_not_searched():
    assert "reg_weight" not in make_plan(LINEAR, None, settings={"regularisation": 7.0}).space
    everything = {"regularisation": 1, "enhancement": 1, "output_smoothing": 1, "attention_temperature": 1}
    assert not has_space(LINEAR, None, everything)
