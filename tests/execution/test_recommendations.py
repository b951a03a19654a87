"""Lists by a cluster: those of one machine, bit for bit, in parts that survive whoever is killed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution import recommendations as module
from recbole_cadmr.execution.recommendations import write_in_parts
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.load_checkpoint import parts_of
from recbole_cadmr.recommender.model_engine import ModelEngine
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.recommender.tables import Counts
from tests.micro import open_micro, write_micro


@pytest.fixture(scope="module")
def lists(brief_run):
    return load(brief_run.checkpoint).recommend(topk=7)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_parts_are_the_table_of_one_machine_bit_for_bit(brief_run, lists, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ModelEngine, "users_at_once", 60)
    out = tmp_path / "lists"
    n = lists["user_id"].nunique()
    assert write_in_parts(brief_run.checkpoint, out, "local", topk=7, part=100) == (n, Counts(len(lists), n, 0, 0))
    assert names(out) == [f"part-{i:05d}.parquet" for i in range(-(-n // 120))] and names(tmp_path) == ["lists"]
    assert pd.read_parquet(out).equals(lists)
    assert len(pd.read_parquet(out / "part-00000.parquet")) == 7 * 120
    few, asked = tmp_path / "few.txt", list(lists["user_id"].unique()[[5, 2]])
    few.write_text("\n".join(asked))
    arguments = [f"--checkpoint={brief_run.checkpoint}", f"--users={few}", "--topk=3", "--ray-address=local"]
    assert main(["recommend", *arguments, f"--output={tmp_path / 'two'}"]) == 0
    assert f"6 rows for 2 users in {tmp_path / 'two'}" in capsys.readouterr().out
    assert pd.read_parquet(tmp_path / "two")["user_id"].drop_duplicates().tolist() == asked
    assert main(["recommend", *arguments, f"--output={tmp_path / 'two'}"]) == 2
    assert "is already there" in capsys.readouterr().err


def test_an_export_is_asked_on_a_cluster_through_a_link_too(tmp_path, monkeypatch, capsys):
    recommender = Recommender(parts_of(open_micro(write_micro(tmp_path), "BPR", embedding_size=3)))
    recommender.export(tmp_path / "exports" / "monday")
    monkeypatch.chdir(tmp_path / "exports")
    Path("now").symlink_to("monday", target_is_directory=True)
    asked = ["recommend", "--checkpoint=now", "--topk=2", "--ray-address=local", "--output"]
    Path("mask").write_text("a\n")
    assert main([*asked, "lists"]) == main([*asked, "masked", "--exclude=mask"]) == 0
    expected = load("now").recommend(topk=2)
    assert f"{len(expected)} rows for {expected['user_id'].nunique()} users in lists" in capsys.readouterr().out
    assert pd.read_parquet("lists").equals(expected)
    masked = load("now").recommend(topk=2, exclude=["a"])
    assert pd.read_parquet("masked").equals(masked) and len(masked) < len(expected)


def test_parts_that_are_there_are_not_computed_again(brief_run, lists, tmp_path, monkeypatch):
    monkeypatch.setattr(ModelEngine, "users_at_once", 100)
    write, written = module.write_aside, []

    def stops_at_the_third(path):
        written.append(path.name)
        if len(written) == 3:
            raise KeyboardInterrupt
        return write(path)

    how = {"topk": 7, "part": 100}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "write_aside", stops_at_the_third)
        write_in_parts(brief_run.checkpoint, tmp_path / "lists", "local", **how)
    assert names(tmp_path) == [".lists.work"]
    kept = {name: (tmp_path / ".lists.work" / "parts" / name).stat().st_mtime_ns for name in written[:2]}
    write_in_parts(brief_run.checkpoint, tmp_path / "lists", "local", **how)
    assert pd.read_parquet(tmp_path / "lists").equals(lists)
    assert {name: (tmp_path / "lists" / name).stat().st_mtime_ns for name in kept} == kept
    # What was begun with other lists is not theirs.
    written.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "write_aside", stops_at_the_third)
        write_in_parts(brief_run.checkpoint, tmp_path / "others", "local", **{**how, "topk": 5})
    write_in_parts(brief_run.checkpoint, tmp_path / "others", "local", **how)
    assert pd.read_parquet(tmp_path / "others").equals(lists)


def test_what_is_wrong_is_said_before_any_work(brief_run, tmp_path, capsys):
    for wrong, sentence in (({"topk": 10**6}, "topk must lie between"), ({"users": ["nobody"]}, "'nobody'")):
        with pytest.raises(UserError, match=sentence):
            write_in_parts(brief_run.checkpoint, tmp_path / "lists", "127.0.0.1:1", **wrong)
    given = [
        "recommend",
        f"--checkpoint={brief_run.checkpoint}",
        f"--output={tmp_path / 'l'}",
        "--ray-address=127.0.0.1:1",
    ]
    assert main(given) == 2
    assert capsys.readouterr().err.startswith("error: there is no Ray cluster at 127.0.0.1:1")
    (tmp_path / "h").write_text("ann\t1\n")
    assert main([*given, f"--history={tmp_path / 'h'}"]) == 2
    assert capsys.readouterr().err == "error: --history is for this machine; leave out --ray-address\n"
    assert names(tmp_path) == ["h"]
