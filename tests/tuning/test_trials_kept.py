"""Which files of its trials a search keeps."""

from __future__ import annotations

from recbole_cadmr.tuning.trial_record import TrialRecord, best_record, write_record
from tests.tuning.stores import ALL, POINTS, keep_files, kept, listed, reports


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
