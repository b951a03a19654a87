"""The report on the installation tells what is there and what does not fit."""

from __future__ import annotations

import shutil
from importlib.metadata import version

from recbole_cadmr.cli import doctor as workflow
from recbole_cadmr.cli.main import main
from tests.micro import write_micro


def test_the_report_lists_versions_workarounds_devices_and_sets(tmp_path, capsys):
    write_micro(tmp_path / "dataset")
    shutil.copytree(tmp_path / "dataset" / "micro", tmp_path / "dataset" / ".micro.work")  # half of one, after a kill
    assert main(["doctor", "--data_path", str(tmp_path / "dataset")]) == 0
    report = capsys.readouterr().out
    for line in (f"recbole                 {version('recbole')}", f"torch                   {version('torch')}"):
        assert line in report
    assert "scipy dok_matrix" in report and "threads of" in report
    assert "synthetic" in report and str(tmp_path / "dataset" / "micro") in report
    assert ".micro" not in report
    assert report.rstrip().endswith("Everything fits.")


def test_what_does_not_fit_is_said(monkeypatch):
    monkeypatch.setattr(workflow, "version", lambda name: "99.0" if name == "numpy" else version(name))
    report, sound = workflow.doctor()
    assert not sound
    assert "numpy                   99.0  does not fit: <2 is needed" in report


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert main(["doctor"]) == 0  # without dataset/, which nobody has named
    assert main(["doctor", "--data_path", "absent"]) == 2
    assert "there is no folder absent; give the folder of the data sets as --data_path" in capsys.readouterr().err
