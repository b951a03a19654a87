"""Tables come from result files, and only comparable ones stand in one."""

from __future__ import annotations

import json

import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.formatting import seconds
from recbole_cadmr.reports.results_table import results_table


def copy_with(run, folder, change):
    folder.mkdir()
    result = json.loads((run.folder / "result.json").read_text())
    change(result)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def change(result, recall, seed=None, **settings):
    result["test_result"]["recall@20"] = recall
    result["settings"].update(settings)
    if seed is not None:
        result["protocol"]["seed"] = result["settings"]["seed"] = seed


def test_seeds_are_one_row_of_mean_and_deviation(brief_run, tmp_path):
    runs = [copy_with(brief_run, tmp_path / str(i), lambda r, i=i: change(r, 0.1 + i / 100, seed=i)) for i in range(3)]
    *_, row = results_table(runs, ["recall@20"]).splitlines()
    assert row.startswith("| CADMR | paper | 3 | 0.1100 ± 0.0100 |")
    twice = copy_with(brief_run, tmp_path / "twice", lambda r: change(r, 0.1, seed=2))
    with pytest.raises(UserError, match="the same settings and seed"):
        results_table([*runs, twice])


def test_the_table_shows_the_figures_of_the_files(brief_run, tmp_path, capsys):
    other = copy_with(brief_run, tmp_path / "other", lambda r: change(r, 0.123456, gate_init=0.5))
    assert main(["table", str(brief_run.folder), str(other)]) == 0
    header, rule, first, second = capsys.readouterr().out.strip().splitlines()
    assert header.startswith("| synthetic | preset | seeds | recall@10 | recall@20 |") and rule.count("---") == 10
    assert f"| CADMR gate_init=0.3 | paper | 1 | {brief_run.result['test_result']['recall@10']:.4f} |" in first
    assert second.startswith("| CADMR gate_init=0.5 | paper | 1 |")
    assert "| 0.1235 |" in second
    cpu = sum(brief_run.result["cpu_seconds"].values())
    assert header.endswith("| CPU time |") and first.endswith(f"| {seconds(cpu)} |")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r["fingerprint"].update(interactions="other"), "other data"),
        (lambda r: r["protocol"].update(mask_valid_at_test=True), "mask_valid_at_test is True, not False"),
        (lambda r: r.update(test_result=None), "no test result"),
        (lambda r: r.update(schema_version=99), "schema version"),
    ],
)
def test_what_cannot_be_compared_is_refused(brief_run, tmp_path, change, sentence):
    other = copy_with(brief_run, tmp_path / "other", change)
    with pytest.raises(UserError, match=sentence):
        results_table([brief_run.folder, other])


def test_an_unfinished_run_has_no_row(tmp_path):
    with pytest.raises(UserError, match="not finished"):
        results_table([tmp_path])
