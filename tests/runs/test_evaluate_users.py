"""``evaluate --users``: metrics of some users alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.topk_lists import by_user, read_lists
from tests.micro import PAIRS, write_micro


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """EASE on the micro set, of which dot and eve have test items."""
    place = tmp_path_factory.mktemp("users")
    settings = {**PAIRS, "data_path": str(write_micro(place / "dataset")), "save_lists": True}
    return recbole_cadmr.train("EASE", "micro", output=place / "run", settings=settings)


def test_metrics_are_averages_over_these_users(run, tmp_path, capsys):
    of_users = by_user(read_lists(run.folder / "test_lists.npz"), [1, 2])
    assert any(np.ptp(values) > 0 for values in of_users.values())
    arguments = ["evaluate", f"--checkpoint={run.checkpoint}", f"--users={tmp_path / 'users.txt'}"]
    for place, name in enumerate(("dot", "eve")):
        (tmp_path / "users.txt").write_text(f"{name}\nann\n{name}\n")
        assert main([*arguments, f"--output={tmp_path / name}.json"]) == 0
        assert "train items left out, 1 of the 2 users" in capsys.readouterr().out
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["users"] == {"given": 2, "measured": 1}
        assert found["result"] == pytest.approx({metric: values[place] for metric, values in of_users.items()})
    of_all = recbole_cadmr.evaluate(run.checkpoint, users=["ann", "bob", "cid", "dot", "eve"])
    assert of_all["result"] == run.result["test_result"] and of_all["users"] == {"given": 5, "measured": 2}


def test_who_is_unknown_or_has_nothing_to_be_found_is_refused(run, tmp_path, capsys):
    (tmp_path / "users.csv").write_text("who\ndot\nnobody\n")
    arguments = ["evaluate", f"--checkpoint={run.checkpoint}", "--user_column=who"]
    assert main([*arguments, f"--users={tmp_path / 'users.csv'}"]) == 2
    assert "--users names 1 of 2 that micro does not have, such as 'nobody'" in capsys.readouterr().err
    assert main(arguments) == 2 and "--user_column names a column of --users FILE" in capsys.readouterr().err
    for users, message in ((["ann"], "none of the 1 `users` has an item in the test part"), ([], "names nobody")):
        with pytest.raises(UserError, match=message):
            recbole_cadmr.evaluate(run.checkpoint, users=users)
