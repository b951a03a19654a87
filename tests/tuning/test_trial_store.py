"""The records of a search without Ray: who tries what, repeats, deaths, populations, going on, what is kept."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.history import read_history, rewrite_history
from recbole_cadmr.tuning.plan import Plan
from recbole_cadmr.tuning.samplers import SpaceEncoder
from recbole_cadmr.tuning.space import parse_space
from recbole_cadmr.tuning.trial_folder import TrialFolder
from recbole_cadmr.tuning.trial_record import TrialRecord, best_record, read_records, write_record
from recbole_cadmr.tuning.trial_store import TrialStore

POINTS = [{"lr": 0.1, "sizes": [8]}, {"lr": 0.2, "sizes": [8]}, {"lr": 0.2, "sizes": [4, 2]}]
SPACE = parse_space({"lr": {"uniform": [0.0, 1.0]}, "sizes": [[8], [4, 2]]}, "x")
CODER = SpaceEncoder(SPACE, POINTS[0])


def reports(*scores, start=0):
    """Validations, one an epoch."""
    return [
        {"epoch": epoch, "phase": "training", "valid_score": score, "valid_result": {"recall@2": score}, "losses": {},
         "seconds": 2.0 * (epoch + 1)}
        for epoch, score in enumerate(scores, start)
    ]  # fmt: skip


class KnownPlan(Plan):
    """A plan of these points, unless its sampler decides on the way."""

    def points(self):
        return [] if self.sampler == "bayesian" else POINTS


def store(root, sampler="random", scheduler="asha", bigger=True):
    """The store of a search."""
    space = {name: dimension.plain for name, dimension in SPACE.items()}
    return TrialStore(root, KnownPlan("BPR", "micro", None, {}, space, sampler, scheduler, 3, 1, 9, "recall@2", bigger,
                                      1, 1, POINTS[0], "hash"))  # fmt: skip


def listed(root, bigger=True):
    """One of a search whose points are known before."""
    return store(root, bigger=bigger)


def sampled(root):
    """One of a search whose sampler decides on the way."""
    return store(root, sampler="bayesian")


def population(root):
    """One of a population."""
    return store(root, scheduler="pbt")


def member(number, **changed):
    """What Ray gives a member of a population."""
    return {"number": number, **CODER.encode({**POINTS[number - 1], **changed})}


def add(store, number, start, new, memory):
    """Validations as a run writes them and then passes them on."""
    file = TrialFolder(store.root, number).run.history
    rewrite_history(file, [*read_history(file)[:start], *new])
    store.add(number, start, new, memory)


def begin(store, *arguments):
    """What a trial is given when it starts."""
    record, is_new = store.open(*arguments)
    return {**asdict(record), "replay": is_new}


def run_through(archive, number, *scores, name=None):
    """A trial from its begin to its end."""
    opened = begin(archive, name or f"ray{number}", {"number": number}, None)
    add(archive, number, 0, reports(*scores), 0)
    archive.finish(number)
    archive.conclude(name or f"ray{number}", False)
    return opened


def on_disk(root):
    return {record.number: record for record in read_records(root)}


# Who tries what


def test_a_trial_has_the_point_of_its_number(tmp_path):
    archive = listed(tmp_path)
    opened = begin(archive, "b", {"number": 2}, None)
    fresh = {"failure": None, "deaths": 0, "repeats": None, "seconds": 0.0, "peak_memory_bytes": 0, "reports": []}
    fresh |= {"cpu_seconds": 0.0, "energy": None}
    assert opened == {**fresh, "number": 2, "point": POINTS[1], "status": "running", "changes": [], "replay": True}
    assert begin(archive, "a", {"number": 1}, None)["point"] == POINTS[0]
    assert [r.number for r in read_records(tmp_path)] == [1, 2] == sorted(r.number for r in archive.standing()[0])


def test_points_of_a_sampler_are_numbered_as_they_come(tmp_path):
    archive = sampled(tmp_path)
    first = begin(archive, "a", CODER.encode(POINTS[0]), None)
    second = begin(archive, "b", {"lr": 0.25, "sizes": 1}, None)
    assert (first["number"], first["point"]) == (1, POINTS[0])
    assert (second["number"], second["point"]) == (2, {"lr": 0.25, "sizes": [4, 2]})


def test_what_comes_of_a_trial_is_on_disk_at_once(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    add(archive, 1, 0, reports(0.1, 0.3), 500)
    add(archive, 1, 2, reports(0.2, start=2), 400)
    assert on_disk(tmp_path)[1].reports == reports(0.1, 0.3, 0.2) and on_disk(tmp_path)[1].status == "running"
    archive.finish(1)
    archive.conclude("a", False)
    record = on_disk(tmp_path)[1]
    assert (record.status, record.seconds, record.peak_memory_bytes, record.epochs) == ("finished", 6.0, 500, 3)
    assert record.best() == reports(0.1, 0.3)[1] and record.best(bigger=False) == reports(0.1)[0]


def test_a_trial_that_the_scheduler_ends_is_stopped(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    add(archive, 1, 0, reports(0.1), 0)
    archive.conclude("a", False)
    archive.conclude("never seen", True)
    assert on_disk(tmp_path)[1].status == "stopped" and on_disk(tmp_path)[1].over and len(on_disk(tmp_path)) == 1


def test_a_trial_without_a_number_for_a_score_has_failed(tmp_path):
    archive = listed(tmp_path)
    run_through(archive, 1)
    run_through(archive, 2, math.nan)
    words = "nothing was validated: there is no validation part to choose on"
    assert {(r.status, r.failure) for r in read_records(tmp_path)} == {("failed", words)}
    assert best_record(read_records(tmp_path)) is None


# Repeats


def test_a_point_that_was_seen_is_not_trained_again(tmp_path):
    archive = sampled(tmp_path)
    begin(archive, "a", CODER.encode(POINTS[1]), None)
    add(archive, 1, 0, reports(0.1, 0.3), 0)
    archive.finish(1)
    again = begin(archive, "b", CODER.encode(POINTS[1]), None)
    assert (again["number"], again["repeats"], again["status"]) == (2, 1, "finished")
    assert again["reports"] == reports(0.1, 0.3) and again["replay"] and again["deaths"] == 0
    third = begin(archive, "c", CODER.encode(POINTS[1]), None)
    assert third["repeats"] == 1  # who was trained, not who repeats it
    assert {n: (r.repeats, r.status, r.reports) for n, r in on_disk(tmp_path).items()} == {
        1: (None, "finished", reports(0.1, 0.3)),
        2: (1, "finished", reports(0.1, 0.3)),
        3: (1, "finished", reports(0.1, 0.3)),
    }
    assert best_record(read_records(tmp_path)).number == 1


def test_a_point_whose_trial_failed_or_runs_is_trained(tmp_path):
    archive = sampled(tmp_path)
    begin(archive, "a", CODER.encode(POINTS[1]), None)
    assert begin(archive, "b", CODER.encode(POINTS[1]), None)["status"] == "running"
    archive.fail(1, "no", again=False)
    archive.fail(2, "no", again=False)
    third = begin(archive, "c", CODER.encode(POINTS[1]), None)
    assert (third["number"], third["repeats"], third["status"]) == (3, None, "running")


def test_the_reports_of_a_repeat_are_its_own(tmp_path):
    archive = sampled(tmp_path)
    begin(archive, "a", CODER.encode(POINTS[1]), None)
    add(archive, 1, 0, reports(0.1), 0)
    archive.conclude("a", False)  # stopped, and trained to its end later on
    begin(archive, "b", CODER.encode(POINTS[1]), None)
    add(archive, 1, 1, reports(0.2, start=1), 0)
    archive.finish(1)
    again = on_disk(tmp_path)[2]
    assert (again.status, again.reports) == ("stopped", reports(0.1))
    assert archive.records[2].reports == reports(0.1) and archive.records[1].reports == reports(0.1, 0.2)


def test_a_trial_that_was_trained_stands_before_one_that_repeats_it(tmp_path):
    # Two workers are given the same point; a kill, after which the first, without a report, repeats the second.
    archive = sampled(tmp_path)
    begin(archive, "a", CODER.encode(POINTS[1]), None)
    begin(archive, "b", CODER.encode(POINTS[1]), None)
    add(archive, 2, 0, reports(0.3), 0)
    keep_files(tmp_path, 2)
    archive.finish(2)
    archive = sampled(tmp_path)
    begin(archive, "c", CODER.encode(POINTS[1]), None)
    archive.prune()
    best = best_record(read_records(tmp_path))
    assert (
        TrialFolder(tmp_path, best.number).path / "run" / "result.json"
    ).is_file()  # which the end of the search reads
    assert (TrialFolder(tmp_path, best.number).path / "run" / "model.pt").is_file()


# Going on


def test_a_search_goes_on_from_its_files(tmp_path):
    archive = listed(tmp_path)
    run_through(archive, 1, 0.1, 0.3)
    begin(archive, "ray2", {"number": 2}, None)
    add(archive, 2, 0, reports(0.2), 7)

    archive = listed(tmp_path)
    finished = begin(archive, "new1", {"number": 1}, None)
    assert (finished["status"], finished["replay"], finished["reports"]) == ("finished", True, reports(0.1, 0.3))
    running = begin(archive, "new2", {"number": 2}, None)
    assert (running["status"], running["replay"], running["reports"]) == ("running", True, reports(0.2))
    assert running["deaths"] == 0
    add(archive, 2, 1, reports(0.4, start=1), 5)
    archive.finish(2)
    record = on_disk(tmp_path)[2]
    assert (record.reports, record.seconds, record.peak_memory_bytes) == (reports(0.2, 0.4), 4.0, 5)
    assert begin(archive, "new3", {"number": 3}, None)["reports"] == []


def test_a_sampler_that_begins_again_is_given_each_record_once(tmp_path):
    archive = sampled(tmp_path)
    for name, point in (("a", POINTS[0]), ("b", POINTS[1])):
        begin(archive, name, CODER.encode(point), None)
    add(archive, 1, 0, reports(0.3), 0)
    archive.finish(1)
    add(archive, 2, 0, reports(0.2), 0)

    archive = sampled(tmp_path)
    opened = [begin(archive, f"new{i}", CODER.encode(POINTS[p]), None) for i, p in enumerate((0, 1, 0, 2))]
    assert [o["number"] for o in opened] == [1, 2, 3, 4]
    assert [o["repeats"] for o in opened] == [None, None, 1, None]
    assert [o["status"] for o in opened] == ["finished", "running", "finished", "running"]
    assert opened[1]["reports"] == reports(0.2)


def test_a_failed_trial_stays_failed(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    archive.fail(1, "the loss is no number", again=False)
    archive.conclude("a", True)
    again = begin(listed(tmp_path), "b", {"number": 1}, None)
    assert (again["status"], again["failure"], again["deaths"]) == ("failed", "the loss is no number", 0)


def test_a_last_line_that_was_cut_is_left_out(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    add(archive, 1, 0, reports(0.1, 0.2), 0)
    file = TrialFolder(tmp_path, 1).run.history
    text = file.read_text()
    file.write_text(text + text.splitlines()[0][:30])
    assert on_disk(tmp_path)[1].reports == reports(0.1, 0.2)
    file.write_text(text[:-1])  # whole but for its end: it comes again
    assert on_disk(tmp_path)[1].reports == reports(0.1)


def test_a_trial_whose_last_line_was_cut_goes_on(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    add(archive, 1, 0, reports(0.1, 0.2), 0)
    file = TrialFolder(tmp_path, 1).run.history
    file.write_text(file.read_text()[:-10])

    archive = listed(tmp_path)
    assert begin(archive, "b", {"number": 1}, None)["reports"] == reports(0.1)
    add(archive, 1, 1, reports(0.2, 0.3, start=1), 0)
    assert on_disk(tmp_path)[1].reports == reports(0.1, 0.2, 0.3)


def test_reports_of_version_0_1_are_read_until_the_run_has_a_history(tmp_path):
    write_record(tmp_path, TrialRecord(1, POINTS[0]))
    lines = [json.dumps(report) + "\n" for report in reports(0.1, math.inf, math.nan, 0.2)]
    (TrialFolder(tmp_path, 1).path / "reports.jsonl").write_text("".join(lines) + lines[0][:20])
    read = on_disk(tmp_path)[1]
    assert [report["valid_score"] for report in read.reports] == [0.1, None, None, 0.2]
    assert read.best()["epoch"] == 3 and read.epochs == 4
    rewrite_history(TrialFolder(tmp_path, 1).run.history, reports(0.5))
    assert on_disk(tmp_path)[1].reports == reports(0.5)


def test_a_damaged_record_is_named(tmp_path):
    write_record(tmp_path, TrialRecord(3, POINTS[2]))
    file = TrialFolder(tmp_path, 3).path / "trial.json"
    assert file == tmp_path / "trials" / "0003" / "trial.json"
    for text in ("{", "[]", '{"number": 3}', json.dumps({**json.loads(file.read_text()), "more": 1})):
        file.write_text(text)
        with pytest.raises(UserError) as error:
            listed(tmp_path)
        assert str(error.value).startswith(f"{file} is damaged or was edited: ")
        assert str(error.value).endswith("; remove the folder of this trial to run it again")


# Deaths


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


# Populations


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


# What is kept

ALL = ["run/model.pt", "run/result.json", "run/resume.pt", "snapshots/2/model.pt", "snapshots/2/resume.pt"]


def keep_files(root, number):
    """What a run leaves, and snapshots."""
    for name in ALL:
        file = TrialFolder(root, number).path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(number))


def kept(root, number):
    folder = TrialFolder(root, number).path
    of_trial = ("trial.json", "run/history.jsonl")
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name not in of_trial)


def archive_of(root, records, **others):
    """An archive of records that have all files."""
    archive = listed(root, **others)
    for record in records:
        archive.records[record.number] = record
        write_record(root, record)
        keep_files(root, record.number)
    return archive


def record(number, status, *scores, point=None):
    return TrialRecord(number, point or {"lr": number, "sizes": [8]}, status, reports=reports(*scores))


def test_of_finished_trials_the_best_keeps_its_model_and_all_keep_their_results(tmp_path):
    archive = archive_of(tmp_path, [record(1, "finished", 0.3), record(2, "finished", 0.5), record(3, "running", 0.9)])
    archive.prune()
    assert kept(tmp_path, 1) == ["run/result.json"]
    assert kept(tmp_path, 2) == ["run/model.pt", "run/result.json"]
    assert kept(tmp_path, 3) == ALL  # it is not over
    archive.finish(3)
    archive.prune()
    assert kept(tmp_path, 2) == ["run/result.json"] and kept(tmp_path, 3) == ["run/model.pt", "run/result.json"]


def test_less_may_be_better(tmp_path):
    archive = archive_of(tmp_path, [record(1, "finished", 0.3), record(2, "finished", 0.5)], bigger=False)
    archive.prune()
    assert kept(tmp_path, 1) == ["run/model.pt", "run/result.json"] and kept(tmp_path, 2) == ["run/result.json"]


def test_of_stopped_trials_the_best_and_the_defaults_can_go_on(tmp_path):
    stopped = [record(1, "stopped", 0.1, point=POINTS[0]), record(2, "stopped", 0.5), record(3, "stopped", 0.2)]
    archive = archive_of(tmp_path, stopped)
    archive.prune()
    run = [name for name in ALL if name.startswith("run/")]
    assert (kept(tmp_path, 1), kept(tmp_path, 2), kept(tmp_path, 3)) == (run, run, [])


def test_a_failed_trial_keeps_nothing_and_is_never_the_best(tmp_path):
    archive = archive_of(tmp_path, [record(1, "failed", 0.9), record(2, "finished", 0.5)])
    archive.prune()
    assert kept(tmp_path, 1) == [] and kept(tmp_path, 2) == ["run/model.pt", "run/result.json"]


def test_the_next_best_has_its_model_if_the_best_fails_on_its_way_to_the_end(tmp_path):
    # A stopped trial is the best; trained to its end, it dies (its loss may be NaN).
    archive = archive_of(tmp_path, [record(1, "finished", 0.3), record(2, "stopped", 0.5)])
    archive.prune()
    archive.fail(2, "the training loss is nan", again=False)
    assert best_record(list(archive.records.values())).number == 1
    assert "run/model.pt" in kept(tmp_path, 1)


# How it stands


def test_a_search_that_cannot_be_written_is_to_end(tmp_path):
    archive = listed(tmp_path)
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "0002").write_text("in the way")
    with pytest.raises(UserError):
        begin(archive, "b", {"number": 2}, None)
    assert archive.standing()[1].startswith(f"cannot write {tmp_path}/trials/0002/trial.json: ")


def test_a_history_that_cannot_be_written_ends_it_too(tmp_path):
    archive = sampled(tmp_path)
    begin(archive, "a", CODER.encode(POINTS[1]), None)
    add(archive, 1, 0, reports(0.1), 0)
    archive.finish(1)
    TrialFolder(tmp_path, 2).run.history.mkdir(parents=True)
    with pytest.raises(UserError):
        begin(archive, "b", CODER.encode(POINTS[1]), None)
    assert archive.standing()[1] == f"cannot write {tmp_path}/trials/0002/run/history.jsonl: Is a directory"


def test_what_fails_as_the_search_ends_may_be_tried_again(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    archive.abort("cannot write /x: No space left on device")
    archive.fail(1, "RuntimeError", again=False)
    archive.conclude("a", True)
    assert on_disk(tmp_path)[1].status == "running"


def test_a_reason_to_end_is_told(tmp_path):
    archive = listed(tmp_path)
    archive.abort("cannot write /x: No space left on device")
    assert archive.standing() == ([], "cannot write /x: No space left on device")


def test_reports_that_are_known_are_not_added_again(tmp_path):
    archive = listed(tmp_path)
    begin(archive, "a", {"number": 1}, None)
    add(archive, 1, 0, reports(0.1, 0.2), 0)
    add(archive, 1, 1, reports(0.2, 0.3, start=1), 0)  # of a process that was begun anew, from an older state
    add(archive, 1, 0, reports(0.1), 0)
    assert archive.records[1].reports == reports(0.1, 0.2, 0.3)
