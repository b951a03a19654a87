"""The records of a search without Ray: who tries what, repeats, going on, how it stands."""

from __future__ import annotations

import json
import math

import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.history import rewrite_history
from recbole_cadmr.tuning.trial_folder import TrialFolder
from recbole_cadmr.tuning.trial_record import TrialRecord, best_record, read_records, write_record
from tests.tuning.stores import CODER, POINTS, add, begin, keep_files, listed, on_disk, reports, run_through, sampled

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
