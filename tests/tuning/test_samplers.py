"""Points in Ray's terms and back, and when a trial may be judged."""

from __future__ import annotations

import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.tuning.samplers import SpaceEncoder, equal_as_json, grace_of
from recbole_cadmr.tuning.space import parse_space, random_points

SPACE = parse_space({"sizes": [[500], [500, 100], None], "linear": [{"fit": "exact"}, {}], "rows": ["users", "items"],
                     "tc": [1.0, 0.0, 0.1], "rate": {"loguniform": [0.001, 0.1]}, "heads": {"randint": [2, 8]},
                     "width": {"lograndint": [4, 64]}, "gate": {"uniform": [-1, 1]}}, "x")  # fmt: skip
DEFAULTS = {"sizes": [64], "linear": {}, "rows": "users", "tc": 0.5, "rate": 0.0005, "heads": 4, "width": 128,
            "gate": 0.0}  # fmt: skip


def coder(default, text):
    return SpaceEncoder(parse_space({"x": text}, "f"), {"x": default})


def refusal(*arguments):
    """The words of the error that a coder ends with."""
    with pytest.raises(UserError) as error:
        coder(*arguments)
    return str(error.value)


def test_points_are_the_same_after_a_way_through_ray_s_terms():
    both = SpaceEncoder(SPACE, DEFAULTS)
    points = random_points(SPACE, 60, "key", DEFAULTS)
    assert points[0] == DEFAULTS
    for point in points:
        encoded = both.encode(point)
        assert both.decode(encoded) == point
        assert all(type(value) in (int, float) for value in encoded.values())
    decoded = [both.decode(both.encode(point)) for point in points]
    assert {type(point[name]) for point in decoded for name in ("heads", "width")} == {int}


def test_choices_are_told_by_their_place_and_ranges_as_they_are():
    encoded = SpaceEncoder(SPACE, DEFAULTS).encode({**DEFAULTS, "sizes": None, "linear": {}, "tc": 0.1})
    assert encoded == {"sizes": 2, "linear": 1, "rows": 0, "tc": 1, "rate": 0.0005, "heads": 4, "width": 128,
                       "gate": 0.0}  # fmt: skip


def test_numbers_stand_by_size_and_others_as_they_came():
    def order(default, text):
        both = coder(default, text)
        return [both.decode({"x": place})["x"] for place in range(len(text) + (default not in text))]

    assert order(0.5, [1.0, 0.0, 0.1]) == [0.0, 0.1, 0.5, 1.0]
    assert order(10, [3, 20, 1]) == [1, 3, 10, 20] and order(3, [3, 20, 1]) == [1, 3, 20]
    assert order("b", ["c", "b", "a"]) == ["c", "b", "a"] and order("z", ["c", "a"]) == ["c", "a", "z"]
    assert order(None, [2, 1]) == [2, 1, None] and order(True, [False, True]) == [False, True]
    assert order([1], [[2], [1, 1]]) == [[2], [1, 1], [1]]


def test_population_based_training_may_change_to_every_value():
    assert SpaceEncoder(SPACE, DEFAULTS).mutations(["rows", "tc"], 1) == {"rows": [0, 1], "tc": [0, 1, 2, 3]}
    assert SpaceEncoder(SPACE, DEFAULTS).mutations([], 1) == {}


@pytest.mark.parametrize(
    ("default", "text", "told", "value"),
    [
        (0.5, {"uniform": [0, 1]}, 1.2, 1.0),
        (0.5, {"uniform": [0, 1]}, -0.1, 0.0),
        (0.5, {"uniform": [0, 1]}, 0.3, 0.3),
        (2.0, {"uniform": [0, 1]}, 1.6, 1.6),  # the default belongs to the range
        (2.0, {"uniform": [0, 1]}, 2.4, 2.0),
        (0.01, {"loguniform": [0.001, 0.1]}, 0.0008, 0.001),
        (4, {"randint": [2, 8]}, 4.8, 5),
        (4, {"randint": [2, 8]}, 9.6, 8),
        (4, {"randint": [2, 8]}, 1.6, 2),
        (1, {"randint": [2, 8]}, 1, 1),
        (64, {"lograndint": [4, 32]}, 76.8, 64),
    ],
)
def test_what_is_pushed_out_of_a_range_is_put_to_its_end(default, text, told, value):
    decoded = coder(default, text).decode({"x": told})["x"]
    assert decoded == value and type(decoded) is type(value)


def test_a_default_that_no_range_holds_is_refused():
    words = "which no range holds; list its values instead"
    assert refusal(None, {"uniform": [0, 1]}) == f"the default of x is None, {words}"
    assert refusal("auto", {"randint": [1, 3]}) == f"the default of x is auto, {words}"
    assert refusal([1], {"randint": [1, 3]}) == f"the default of x is [1], {words}"
    assert refusal(True, {"uniform": [0, 1]}) == f"the default of x is True, {words}"
    assert (
        refusal(0.0, {"loguniform": [0.1, 1]}) == "the default of x is 0.0, which no loguniform holds; list its values"
    )
    assert refusal(0, {"lograndint": [1, 4]}) == "the default of x is 0, which no lograndint holds; list its values"
    assert coder(0.0, {"uniform": [0.1, 1]}).decode({"x": 0.05}) == {"x": 0.05}


@pytest.mark.parametrize(
    ("given", "most", "step", "grace"),
    [
        (None, 300, 1, 11),  # the first of three reductions below the end
        (None, 1000, 1, 37),
        (None, 100, 1, 5),  # five validations
        (None, 100, 5, 25),
        (None, 12, 1, 4),  # a third at most
        (None, 100, 10, 40),  # a third, up to the next validation
        (None, 3, 1, 1),
        (None, 2, 1, 1),
        (None, 1, 1, 1),
        (None, 5, 5, 5),
        (7, 300, 1, 7),
        (7, 300, 5, 10),
        (10, 300, 5, 10),
        (1, 300, 20, 20),
        (400, 300, 1, 400),
    ],
)
def test_a_trial_has_some_validations_before_it_may_be_stopped(given, most, step, grace):
    assert grace_of(given, most, step) == grace


def test_grace_is_at_least_five_validations_but_at_most_a_third():
    for most in range(1, 400):
        for step in (1, 2, 3, 7):
            grace = grace_of(None, most, step)
            assert grace % step == 0 and grace > 0
            assert grace >= min(5 * step, most // 3) and grace < max(most // 3, 1) + step


def test_points_are_the_same_whatever_order_and_kind_of_list():
    assert equal_as_json({"a": 1, "b": [1, None]}, {"b": (1, None), "a": 1})
    assert (
        not equal_as_json({"a": 1}, {"a": 2})
        and not equal_as_json({"a": 1}, {"a": True})
        and not equal_as_json({"a": 1}, {})
    )
    assert equal_as_json({"x": {2: {"rate": 0.1}}}, {"x": {"2": {"rate": 0.1}}})  # as it comes out of a json file
