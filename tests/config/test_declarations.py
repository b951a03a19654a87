"""A setting is checked against its one declaration, and a mistyped one is answered with the nearest."""

from __future__ import annotations

import pytest

from recbole_cadmr.config.declarations import Setting, check_all, declared, inferred
from recbole_cadmr.config.yaml_text import parse_value, read_yaml
from recbole_cadmr.errors import UserError

HEADS = Setting("n_heads", 4, ("int",), minimum=1)
FUSION = Setting("fusion", "concat", ("str",), choices=("concat", "sum"))
SIZES = Setting("sizes", [5], ("list",), items="int", minimum=1)


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        (HEADS, "four", "cli: n_heads must be a whole number, not 'four'"),
        (HEADS, 2.5, "cli: n_heads must be a whole number, not 2.5"),
        (HEADS, True, "cli: n_heads must be a whole number, not True"),
        (HEADS, None, "cli: n_heads must be a whole number, not None"),
        (HEADS, 0, "cli: n_heads must be at least 1, not 0"),
        (FUSION, "cat", "cli: fusion must be one of concat, sum, not 'cat'"),
        (SIZES, [3, "x"], r"cli: sizes must be a list, each a whole number, not \[3, 'x'\]"),
        (SIZES, [3, 0], "cli: sizes must be at least 1, not 0"),
        (Setting("rate", 0.1, ("float",), exclusive_minimum=0), 0, "cli: rate must be above 0, not 0"),
        (Setting("p", 0.1, ("float",), exclusive_maximum=1), 1.0, "cli: p must be below 1, not 1.0"),
        (
            Setting("seed", 1, ("int",), maximum=2**32 - 1),
            2**32,
            "cli: seed must be at most 4294967295, not 4294967296",
        ),
        (Setting("p", 0.1, ("float",), maximum=1), 1.5, "cli: p must be at most 1, not 1.5"),
    ],
)
def test_what_is_not_allowed_is_said(setting, value, sentence):
    with pytest.raises(UserError, match=f"^{sentence}$"):
        setting.check(value, "cli")


def test_what_is_allowed_passes():
    HEADS.check(8, "cli")
    FUSION.check("sum", "cli")
    SIZES.check([1, 2], "cli")
    Setting("rate", 0.1, ("float",), exclusive_minimum=0).check(1, "cli")
    Setting("output", None, ("str",)).check(None, "cli")


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(UserError, match=r"^a.yaml: there is no setting 'n_head'; did you mean n_heads\?$"):
        check_all({"n_head": 2}, {"n_heads": HEADS, "fusion": FUSION}, "a.yaml")


def test_types_of_recboles_settings_come_from_their_defaults():
    settings = inferred({"epochs": 300, "use_gpu": True, "eval_args": {}, "topk": [10], "anything": None})
    for name, wrong in (("epochs", "many"), ("use_gpu", 1), ("eval_args", 3), ("topk", {})):
        with pytest.raises(UserError, match=name):
            settings[name].check(wrong, "cli")
    settings["topk"].check(10, "cli")
    settings["anything"].check({"a": 1}, "cli")


def test_declarations_are_read_with_type_from_the_default(tmp_path):
    (tmp_path / "m.yaml").write_text(
        "rate: {default: 1e-3, exclusive_minimum: 0, help: step}\nname: {default: ~, type: str}\n"
    )
    settings = declared(tmp_path / "m.yaml")
    assert settings["rate"] == Setting("rate", 0.001, ("float",), exclusive_minimum=0, help="step")
    assert settings["name"] == Setting("name", None, ("str",))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("[5, 10]", [5, 10]),
        ("False", False),
        ("None", None),
        ("baby", "baby"),
        ("{'RS':[0.8,0.2]}", {"RS": [0.8, 0.2]}),
    ],
)
def test_values_are_read_as_a_person_types_them(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a: [1", "not valid yaml"),
        ("- a\n- b\n", "lines of 'name: value'"),
        ("word", "lines of 'name: value'"),
        ("a: !!python/object/apply:os.system ['true']", "not valid yaml"),
    ],
)
def test_broken_yaml_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(UserError, match=sentence):
        read_yaml(tmp_path / "c.yaml")
