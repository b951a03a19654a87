"""The records of a population, whose members take over each other's states."""

from __future__ import annotations

import pytest

from tests.tuning.stores import ALL, POINTS, add, begin, keep_files, kept, member, on_disk, population, reports


def pointer(number, epoch, n=None):
    return {"number": number, "epoch": epoch, "reports": epoch if n is None else n}


@pytest.fixture
def members(tmp_path):
    """A population of three with two validations each."""
    archive = population(tmp_path)
    for number, scores in ((1, (0.1, 0.2)), (2, (0.3, 0.4)), (3, (0.5, 0.6))):
        begin(archive, f"ray{number}", member(number), None)
        add(archive, number, 0, reports(*scores), 0)
    return archive


def test_a_member_takes_over_another_s_state_with_its_history(tmp_path, members):
    taken = begin(members, "ray1", member(3, lr=0.9) | {"number": 1}, pointer(3, 2))
    assert taken["number"] == 1 and taken["point"] == POINTS[2] and not taken["replay"]
    assert taken["reports"] == reports(0.5, 0.6) == on_disk(tmp_path)[1].reports
    assert taken["changes"] == [[2, {"lr": 0.9}]] and taken["deaths"] == 0 and taken["status"] == "running"
    assert on_disk(tmp_path)[1].changes == [[2, {"lr": 0.9}]]
    # The other one goes on by itself.
    add(members, 1, 2, reports(0.7, start=2), 0)
    assert on_disk(tmp_path)[3].reports == reports(0.5, 0.6) and on_disk(tmp_path)[3].changes == []


def test_only_what_is_known_up_to_the_state_is_taken_over(tmp_path, members):
    add(members, 3, 2, reports(0.7, 0.8, start=2), 0)
    taken = begin(members, "ray1", member(3, sizes=[8]) | {"number": 1}, pointer(3, 2))
    assert taken["reports"] == reports(0.5, 0.6) and taken["changes"] == [[2, {"sizes": [8]}]]


def test_changes_are_handed_on_from_member_to_member(tmp_path, members):
    begin(members, "ray1", member(3, lr=0.9) | {"number": 1}, pointer(3, 2))
    add(members, 1, 2, reports(0.7, 0.8, start=2), 0)
    add(members, 2, 2, reports(0.1, 0.1, start=2), 0)
    begin(members, "ray2", member(3, lr=0.9, sizes=[8]) | {"number": 2}, pointer(1, 4))
    record = on_disk(tmp_path)[2]
    assert record.changes == [[2, {"lr": 0.9}], [4, {"sizes": [8]}]] and record.point == POINTS[2]
    assert record.reports == reports(0.5, 0.6, 0.7, 0.8)
    assert [record.values_at(epoch) for epoch in (0, 1)] == [POINTS[2]] * 2
    assert [record.values_at(epoch) for epoch in (2, 3)] == [{"lr": 0.9, "sizes": [4, 2]}] * 2
    assert [record.values_at(epoch) for epoch in (4, 99)] == [{"lr": 0.9, "sizes": [8]}] * 2
    # From before its own change a state is taken without it.
    back = begin(members, "ray3", member(3) | {"number": 3}, pointer(2, 2))
    assert back["changes"] == [] and on_disk(tmp_path)[3].changes == []
    assert members.records[2].changes == [[2, {"lr": 0.9}], [4, {"sizes": [8]}]]


def test_a_member_that_is_only_put_back_changes_nothing(tmp_path, members):
    again = begin(members, "ray2", member(2), pointer(2, 1, 1))
    assert (again["changes"], again["point"], again["reports"]) == ([], POINTS[1], reports(0.3))
    assert on_disk(tmp_path)[2].changes == [] and on_disk(tmp_path)[2].reports == reports(0.3)


def test_what_is_pushed_out_of_a_range_stays_at_its_end(tmp_path, members):
    taken = begin(members, "ray1", {**member(3), "number": 1, "lr": 1.2}, pointer(3, 2))
    assert taken["changes"] == [[2, {"lr": 1.0}]] == on_disk(tmp_path)[1].changes


def test_a_member_that_is_over_takes_nothing_over(tmp_path, members):
    members.finish(1)
    taken = begin(members, "ray1", member(3, lr=0.9) | {"number": 1}, pointer(3, 2))
    assert (taken["status"], taken["reports"], taken["changes"]) == ("finished", reports(0.1, 0.2), [])


def test_a_population_keeps_its_states_until_it_ends(tmp_path, members):
    keep_files(tmp_path, 1)
    members.finish(1)
    members.conclude("ray1", False)
    members.conclude("ray2", False)
    assert kept(tmp_path, 1) == ALL
