"""Tables come from result files, and only comparable ones stand in one."""

from __future__ import annotations

import json

import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.workflows.table import results_table


def copy_with(run, folder, change):
    folder.mkdir()
    result = json.loads((run.folder / "result.json").read_text())
    change(result)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_the_table_shows_the_figures_of_the_files(brief_run, tmp_path, capsys):
    other = copy_with(brief_run, tmp_path / "other", lambda r: r["test_result"].update({"recall@20": 0.123456}))
    assert main(["table", str(brief_run.folder), str(other)]) == 0
    header, rule, first, second = capsys.readouterr().out.strip().splitlines()
    assert header.startswith("| synthetic | preset | recall@10 | recall@20 |") and rule.count("---") == 8
    assert f"| CADMR | paper | {brief_run.result['test_result']['recall@10']:.4f} |" in first
    assert "| 0.1235 |" in second


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r["fingerprint"].update(sha256="other"), "other data"),
        (lambda r: r["protocol"].update(mask_valid_at_test=True), "mask_valid_at_test differs"),
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
