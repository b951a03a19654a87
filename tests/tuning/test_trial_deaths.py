"""What the records of a search say of trials whose processes die."""

from __future__ import annotations

from tests.tuning.stores import add, begin, listed, on_disk, reports


def test_a_death_of_a_running_trial_is_counted_once(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    add(archive, 1, 0, reports(0.1), 0)
    again = begin(archive, "a", {"number": 1}, None)  # Ray begins it again in another process
    assert (again["deaths"], again["replay"], again["reports"]) == (1, False, reports(0.1))
    assert on_disk(tmp_path)[1].deaths == 1
    assert begin(listed(tmp_path), "b", {"number": 1}, None)["deaths"] == 1  # the search was cut, not the trial


def test_a_trial_that_comes_back_ends_as_any(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    archive.fail(1, "out of memory", again=True)
    assert archive.records[1].status == "running"
    assert begin(archive, "a", {"number": 1}, None)["deaths"] == 1
    add(archive, 1, 0, reports(0.1), 0)
    archive.finish(1)
    archive.conclude("a", False)
    record = on_disk(tmp_path)[1]
    assert (record.status, record.failure, record.deaths) == ("finished", None, 1)


def test_a_trial_that_fails_twice_says_of_what(tmp_path):
    archive = listed(tmp_path)
    for _ in range(2):
        begin(archive, "a", {"number": 1}, None)
        archive.fail(1, "[enforce fail] can't allocate memory", again=True)
    archive.conclude("a", True)
    record = on_disk(tmp_path)[1]
    assert (record.status, record.failure) == ("failed", "[enforce fail] can't allocate memory")


def test_a_trial_that_was_killed_twice_may_have_wanted_memory(tmp_path):
    archive = listed(tmp_path)
    for _ in range(2):
        begin(archive, "a", {"number": 1}, None)
    archive.conclude("a", True)
    record = on_disk(tmp_path)[1]
    assert (record.status, record.deaths) == ("failed", 1)
    assert record.failure == "its process was killed twice, maybe because memory was short"


def test_what_failed_by_itself_keeps_its_own_words(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    archive.fail(1, "a user has every item", again=False)
    archive.conclude("a", True)
    assert on_disk(tmp_path)[1].failure == "a user has every item"


OOM = "Task was killed due to the node running low on memory. Memory on the node: pid={}, actor ID=1, task"


def test_a_death_when_memory_is_short_is_the_trial_s_whose_process_is_named(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None, 77)
    begin(archive, "b", {"number": 2}, None, 7)
    assert archive.killed_for_memory(OOM.format(7)) == [2]
    assert {n: (r.status, r.deaths) for n, r in on_disk(tmp_path).items()} == {1: ("running", 0), 2: ("running", 1)}
    # Ray Tune begins again from the records.
    archive = listed(tmp_path)
    assert begin(archive, "c", {"number": 2}, None, 9)["deaths"] == 1
    assert archive.killed_for_memory(OOM.format(9)) == [2] and archive.killed_for_memory(OOM.format(8)) == []
    record = on_disk(tmp_path)[2]
    assert (record.status, record.deaths) == ("failed", 2)
    assert record.failure == "its process was killed twice, maybe because memory was short"


def test_a_trial_that_is_over_does_not_die_with_its_process(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None, 7)
    begin(archive, "a", {"number": 1}, None, 7)
    add(archive, 1, 0, reports(0.1), 0)
    archive.finish(1)
    begin(archive, "b", {"number": 2}, None, 7)  # in the same process, which takes the next trial
    assert archive.killed_for_memory(OOM.format(7)) == [2]
    assert {n: (r.status, r.deaths) for n, r in on_disk(tmp_path).items()} == {1: ("finished", 1), 2: ("running", 1)}
