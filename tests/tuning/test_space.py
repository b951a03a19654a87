"""What a search may choose from, how that is written, what is refused, and the points that are drawn."""

from __future__ import annotations

import math
from itertools import product

import pytest

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.tuning.space import (
    Dimension,
    check_space,
    grid_points,
    parse_space,
    random_points,
    read_space,
)

PROTOCOL = "it says how results are measured, so that scores could not be compared"
MACHINE = "it belongs to the machine, not to the model"


def refusal(function, *arguments):
    """The words of the error that a call ends with."""
    with pytest.raises(UserError) as error:
        function(*arguments)
    return str(error.value)


@pytest.fixture(scope="module")
def cadmr():
    return Config("CADMR")


# Grammar


def test_choices_and_ranges_are_read_as_they_are_written():
    text = {"rows": ["users", "items"], "tc_weight": {"choice": [0.0, 1]}, "gate_init": {"uniform": [0, 0.5]},
            "learning_rate": {"loguniform": [0.001, 0.1]}, "n_heads": {"randint": [1, 8]},
            "latent_size": {"lograndint": [16, 256]}}  # fmt: skip
    assert parse_space(text, "x") == {
        "rows": Dimension("rows", ("users", "items")),
        "tc_weight": Dimension("tc_weight", (0.0, 1)),
        "gate_init": Dimension("gate_init", (), "uniform", 0, 0.5),
        "learning_rate": Dimension("learning_rate", (), "loguniform", 0.001, 0.1),
        "n_heads": Dimension("n_heads", (), "randint", 1, 8),
        "latent_size": Dimension("latent_size", (), "lograndint", 16, 256),
    }


def test_choices_may_be_lists_mappings_and_nothing():
    (dimension,) = parse_space({"x": [[500], [500, 100], {"a": 1}, None]}, "x").values()
    assert dimension.choices == ([500], [500, 100], {"a": 1}, None) == dimension.values


def test_a_space_is_the_same_after_a_way_through_plain_values():
    text = {"a": ["x", [1]], "b": {"uniform": [0, 1]}, "c": {"lograndint": [1, 64]}}
    space = parse_space({**text, "d": {"choice": [1, 2]}}, "x")
    assert {name: dimension.plain for name, dimension in space.items()} == {**text, "d": [1, 2]}
    assert parse_space({name: dimension.plain for name, dimension in space.items()}, "x") == space


def test_a_dimension_says_what_it_holds():
    assert str(Dimension("x", ("users", [1, 2], None))) == "users, [1, 2], None"
    assert str(Dimension("x", (), "loguniform", 0.0001, 0.01)) == "0.0001 to 0.01 (loguniform)"


def test_a_file_is_read_with_numbers_as_a_person_writes_them(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("learning_rate: [1e-3, 1e-2]\nweight_decay: {loguniform: [1e-6, 1e-3]}\n")
    assert read_space("CADMR", file=file) == {
        "learning_rate": Dimension("learning_rate", (0.001, 0.01)),
        "weight_decay": Dimension("weight_decay", (), "loguniform", 1e-6, 1e-3),
    }


def test_a_preset_with_a_space_of_its_own_has_that_one():
    assert "tc_weight" in read_space("CADMR") and "tc_weight" in read_space("CADMR", "paper")
    assert "tc_weight" not in read_space("CADMR", "best") and read_space("CADMR", "best")


# Refusals of the grammar


def test_a_model_without_a_space_says_how_to_write_one():
    assert refusal(read_space, "Pop") == (
        "there is no space of Pop; write one (name: [choices], a line a setting), give --space"
    )


def test_an_empty_file_is_refused(tmp_path):
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    line = "names no setting to search; write a line such as learning_rate: [0.001, 0.01]"
    assert refusal(read_space, "CADMR", None, file) == f"{file} {line}"


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    assert refusal(read_space, "CADMR", None, tmp_path) == (
        f"{tmp_path} is a folder; --space takes a yaml file of settings and their choices"
    )
    assert refusal(read_space, "CADMR", None, tmp_path / "no") == f"there is no settings file {tmp_path / 'no'}"


@pytest.mark.parametrize("entry", [0.1, "users", [], None, {}, {"choice": []}, {"uniform": [0, 1], "choice": [1]}])
def test_what_is_neither_choices_nor_a_range_is_refused(entry):
    shown = entry["choice"] if isinstance(entry, dict) and len(entry) == 1 else entry
    assert refusal(parse_space, {"x": entry}, "f.yaml") == (
        f"f.yaml: x must be a list of choices, or a range such as {{loguniform: [0.0001, 0.01]}}, not {shown!r}"
    )


def test_an_unknown_kind_of_range_names_the_nearest():
    assert refusal(parse_space, {"x": {"loguniforn": [1, 2]}}, "f.yaml") == (
        "f.yaml: x has an unknown kind of range 'loguniforn'; did you mean loguniform or uniform or lograndint?"
    )
    assert refusal(parse_space, {"x": {7: [1, 2]}}, "f.yaml") == "f.yaml: x has an unknown kind of range 7"


@pytest.mark.parametrize(
    ("kind", "ends", "needs"),
    [
        ("uniform", [1, 0], "two numbers, the lower one first"),
        ("uniform", [1, 1], "two numbers, the lower one first"),
        ("uniform", [0, 1, 2], "two numbers, the lower one first"),
        ("uniform", [0, "1"], "two numbers, the lower one first"),
        ("uniform", [False, True], "two numbers, the lower one first"),
        ("uniform", [0, math.inf], "two numbers, the lower one first"),
        ("uniform", 3, "two numbers, the lower one first"),
        ("loguniform", [0, 1], "two numbers above 0, the lower one first"),
        ("loguniform", [-1, 1], "two numbers above 0, the lower one first"),
        ("randint", [1, 2.5], "two whole numbers, the lower one first"),
        ("randint", [8, 1], "two whole numbers, the lower one first"),
        ("lograndint", [0, 8], "two whole numbers above 0, the lower one first"),
    ],
)
def test_ends_that_make_no_range_are_refused(kind, ends, needs):
    assert refusal(parse_space, {"x": {kind: ends}}, "f.yaml") == (
        f"f.yaml: x needs {needs}, as {kind}: [1, 8], none beyond 1e+15, not {ends!r}"
    )


# Refusals of what is searched


def check(cadmr, **text):
    return refusal(check_space, parse_space(text, "f.yaml"), cadmr, "f.yaml")


def test_an_unknown_setting_names_the_nearest(cadmr):
    assert check(cadmr, learnin_rate=[0.1]).startswith(
        "f.yaml: CADMR has no setting 'learnin_rate'; did you mean learning_rate"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *[(name, PROTOCOL) for name in ("topk", "metrics", "valid_metric", "eval_args", "split_seed",
                                        "mask_valid_at_test", "benchmark_filename", "evaluate_test")],
        *[(name, MACHINE) for name in ("threads", "gpu_id", "use_gpu", "data_path", "output", "show_progress",
                                       "resume_step", "resume_seconds", "eval_batch_size")],
        ("seed", "a seed picked by its score is luck"),
        ("model", "search each model by itself, and compare them with benchmark --tune"),
        ("dataset", "search each data set by itself"),
        ("preset", "name it with --preset, and search each by itself"),
        ("settings_schedule", "--scheduler pbt finds one"),
    ],
)  # fmt: skip
def test_what_no_search_should_choose_is_refused_with_the_reason(cadmr, name, reason):
    assert check(cadmr, learning_rate=[0.1], **{name: [1, 2]}) == f"f.yaml: {name} cannot be searched: {reason}"


def test_values_that_are_not_allowed_are_refused(cadmr):
    assert check(cadmr, row_dropout_prob=[0.5, 1.0]) == "f.yaml: row_dropout_prob must be below 1, not 1.0"
    assert check(cadmr, row_dropout_prob={"uniform": [0, 1]}) == "f.yaml: row_dropout_prob must be below 1, not 1"
    assert check(cadmr, tc_weight={"uniform": [-1, 1]}) == "f.yaml: tc_weight must be at least 0, not -1"
    assert check(cadmr, rows=["users", "user"]) == "f.yaml: rows must be one of users, items, not 'user'"
    assert check(cadmr, n_heads=[2, 2.5]) == "f.yaml: n_heads must be a whole number, not 2.5"
    assert check(cadmr, autoencoder_hidden_sizes=[[500], 500]) == (
        "f.yaml: autoencoder_hidden_sizes must be a list, not 500"
    )


@pytest.mark.parametrize("kind", ["uniform", "loguniform"])
def test_a_whole_number_is_not_drawn_from_all_numbers(cadmr, kind):
    assert check(cadmr, n_heads={kind: [1, 8]}) == "f.yaml: n_heads must be a whole number; use randint or lograndint"
    check_space(parse_space({"n_heads": {"randint": [1, 8]}, "tc_weight": {kind: [1, 8]}}, "f"), cadmr, "f")


# Points

CHOICES = parse_space({"a": [1, 2, 3], "b": ["x", "y"], "c": [[1], None]}, "x")
DEFAULTS = {"a": 2, "b": "x", "c": None}
RANGES = parse_space({"a": {"uniform": [-0.5, 0.25]}, "b": {"loguniform": [0.0001, 0.1]}, "c": {"randint": [1, 6]},
                      "d": {"lograndint": [4, 8]}, "e": ["x", "y"]}, "x")  # fmt: skip
OF_RANGES = {"a": 0.1, "b": 0.01, "c": 2, "d": 64, "e": "z"}  # a default may lie outside


def all_choices():
    return [dict(zip("abc", values)) for values in product([1, 2, 3], ["x", "y"], [[1], None])]


@pytest.mark.parametrize(("space", "defaults"), [(CHOICES, DEFAULTS), (RANGES, OF_RANGES)])
def test_points_begin_with_the_defaults_and_more_of_them_begin_with_the_fewer(space, defaults):
    ten = random_points(space, 10, "key", defaults)
    assert len(ten) == 10 and ten[0] == defaults
    assert all(point not in ten[:place] for place, point in enumerate(ten))
    assert random_points(space, 5, "key", defaults) == ten[:5]
    assert random_points(space, 10, "key", defaults) == ten != random_points(space, 10, "other", defaults)
    assert random_points(space, 1, "key", defaults) == [defaults]


def test_a_small_space_is_tried_whole_and_the_defaults_once():
    points = random_points(CHOICES, 50, "key", DEFAULTS)
    assert len(points) == 12 and sorted(map(str, points)) == sorted(map(str, all_choices()))
    outside = {**DEFAULTS, "a": 9}
    assert len(random_points(CHOICES, 50, "key", outside)) == 13


def test_the_points_of_a_key_stay_what_they_are():
    # As they were when this was written: the same command is to try the same settings in a year, too.
    first = random_points(parse_space({"a": [1, 2, 3, 4, 5, 6]}, "x"), 6, "CADMR@paper baby 2024", {"a": 3})
    assert [point["a"] for point in first] == [3, 1, 6, 5, 4, 2]
    drawn = random_points(parse_space({"a": {"randint": [1, 1000]}}, "x"), 5, "CADMR@paper baby 2024", {"a": 3})
    assert [point["a"] for point in drawn] == [3, 442, 233, 59, 169]


def test_a_space_too_large_to_lay_out_is_drawn_from():
    large = parse_space({name: list(range(22)) for name in "abc"}, "x")  # 10,648 points
    points = random_points(large, 30, "key", {"a": 0, "b": 0, "c": 0})
    assert len(points) == 30 and all(point not in points[:place] for place, point in enumerate(points))
    assert points[0] == {"a": 0, "b": 0, "c": 0} and all(0 <= v < 22 for point in points for v in point.values())


def test_ranges_are_drawn_with_both_ends_and_whole_numbers_are_whole():
    points = random_points(RANGES, 300, "key", OF_RANGES)[1:]
    assert all(-0.5 <= p["a"] <= 0.25 and 0.0001 <= p["b"] <= 0.1 and p["e"] in ("x", "y") for p in points)
    assert {p["c"] for p in points} == {1, 2, 3, 4, 5, 6} and all(type(p["c"]) is int for p in points)
    whole = {p["d"] for p in points}
    assert all(type(p["d"]) is int for p in points) and whole == {4, 5, 6, 7, 8}
    # Half of what is drawn lies below the middle: of a uniform range the mean, of a logarithmic one the geometric.
    assert 0.4 < sum(p["a"] < -0.125 for p in points) / len(points) < 0.6
    assert 0.4 < sum(p["b"] < math.sqrt(0.0001 * 0.1) for p in points) / len(points) < 0.6
    assert 0.4 < sum(p["d"] < math.sqrt(4 * 8) for p in points) / len(points) < 0.6


def test_a_small_range_of_whole_numbers_has_an_end(monkeypatch):
    draws, draw = [], Dimension.draw

    def counted(dimension, source):
        draws.append(dimension.name)
        assert len(draws) < 20_000, "it draws for ever"
        return draw(dimension, source)

    monkeypatch.setattr(Dimension, "draw", counted)
    space = parse_space({"a": {"randint": [1, 3]}, "b": ["x", "y"]}, "x")
    points = random_points(space, 20, "key", {"a": 1, "b": "x"})
    assert sorted((point["a"], point["b"]) for point in points) == list(product([1, 2, 3], ["x", "y"]))


def test_a_choice_that_is_named_twice_is_tried_once():
    space = parse_space({"a": [1, 2, 2, 1]}, "x")
    assert sorted(point["a"] for point in random_points(space, 9, "key", {"a": 1})) == [1, 2]
    assert grid_points(space, {"a": 1}) == [{"a": 1}, {"a": 2}]


def test_a_grid_has_the_defaults_and_every_other_point():
    points = grid_points(CHOICES, DEFAULTS)
    assert points == [DEFAULTS, *(point for point in all_choices() if point != DEFAULTS)] and len(points) == 12
    outside = {"a": 9, "b": "x", "c": None}
    assert grid_points(CHOICES, outside) == [outside, *all_choices()]


def test_a_grid_of_a_range_is_refused():
    assert refusal(grid_points, RANGES, OF_RANGES) == (
        "a grid needs choices, and a is a range; list its values or use another sampler"
    )


@pytest.mark.parametrize("ends", [[1, 10**30], [-(10**400), 1], [0, 1e300]])
@pytest.mark.parametrize("kind", ["randint", "uniform"])
def test_ranges_beyond_any_machine_are_one_sentence(kind, ends):
    with pytest.raises(UserError, match="the lower one first"):
        parse_space({"learning_rate": {kind: ends}}, "the space")


def test_points_end_where_the_space_does():
    space = parse_space({"n": {"randint": [1, 10_500]}}, "the space")  # more than is laid out, fewer than is asked for
    assert len(random_points(space, 20_000, "key", {"n": 1})) == 10_500


def test_a_grid_of_too_many_points_is_refused():
    space = parse_space({name: list(range(100)) for name in "abcd"}, "the space")
    with pytest.raises(UserError, match=r"the grid has 1e\+08 points"):
        grid_points(space, dict.fromkeys("abcd", 0))
