"""A data set is made by one process alone, and nothing but it is left, however that ended."""

from __future__ import annotations

import os
import signal
import time
import zipfile

import numpy as np
import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.data.archive import extract_zip
from recbole_cadmr.data.generate import write as write_generated
from recbole_cadmr.data.prepare import movielens, write
from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def half(folder):
    """What a killed process leaves: half of a data set, and what it had computed."""
    (folder / ".shop.work" / ".shop.x1y2z3").mkdir(parents=True)
    (folder / ".shop.work" / ".shop.x1y2z3" / "shop.train.inter").write_text("half")
    (folder / ".shop.work" / "text").mkdir()
    return folder


def test_halves_go_and_what_was_computed_stays_until_the_work_is_done(tmp_path):
    half(tmp_path)
    with pytest.raises(ZeroDivisionError), working_folder(tmp_path / "shop") as work:
        assert left(work) == [".lock", "text"]
        raise ZeroDivisionError
    assert left(tmp_path) == [".shop.work"] and left(tmp_path / ".shop.work") == ["text"]
    with working_folder(tmp_path / "shop") as work, folder_aside(tmp_path / "shop", within=work) as aside:
        assert left(work) == [".lock", aside.name, "text"]
    assert left(tmp_path) == ["shop"]


def test_a_folder_of_halves_alone_goes_too(tmp_path):
    half(tmp_path)
    (tmp_path / ".shop.work" / "text").rmdir()
    with pytest.raises(ZeroDivisionError), working_folder(tmp_path / "shop"):
        raise ZeroDivisionError
    assert not left(tmp_path)


def test_one_process_at_a_time(tmp_path):
    with working_folder(tmp_path / "shop"):
        again = pytest.raises(UserError, match="another preparation of .*shop is using")
        with again, working_folder(tmp_path / "shop"):
            pass
        with working_folder(tmp_path / "other"):
            pass
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "shop.inter").touch()
    with pytest.raises(UserError, match="already there"), working_folder(tmp_path / "shop"):
        pass
    assert left(tmp_path) == ["shop"]


@pytest.mark.parametrize("command", ["mmrec", "generate"])
def test_a_terminated_command_leaves_nothing(tmp_path, monkeypatch, capsys, command):
    def terminated(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)  # never through

    source = tmp_path / "source"
    source.mkdir()
    (source / "shop.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n")
    np.save(source / "text_feat.npy", np.ones((2, 3)))
    monkeypatch.setattr(write, "write_data_set", terminated)
    monkeypatch.setattr(write_generated, "write_world", terminated)
    half(tmp_path / "dataset")
    (tmp_path / "dataset" / ".shop.work" / "text").rmdir()
    given = {
        "mmrec": ["prepare", "mmrec", "--source", str(source), "--data_path", str(tmp_path / "dataset")],
        "generate": ["generate", "--output", str(tmp_path / "dataset" / "shop"), "--users", "60", "--items", "60"],
    }
    assert main(given[command]) == 2
    assert "stopped" in capsys.readouterr().err
    assert not left(tmp_path / "dataset")
    monkeypatch.undo()
    assert main(given[command]) == 0
    assert left(tmp_path / "dataset") == ["shop"]


def test_a_half_unpacked_archive_is_not_read_and_is_unpacked_anew(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml-100k.zip", "w") as archive:
        archive.writestr("ml-100k/u.data", "1\t2\t3\t4\n" * 9)
        archive.writestr("ml-100k/u.item", "")
    cut = tmp_path / ".ml-100k.work" / ".ml-100k.a1b2c3d4" / "ml-100k"
    cut.mkdir(parents=True)
    for name in ("u.data", "u.item"):
        (cut / name).write_text("1\t2\t3\t4\n")
    (cut.parents[1] / "u.data").write_text("1\t2\t3\t4\n")
    (cut.parents[1] / "u.item").touch()
    assert movielens._find(tmp_path) is None
    extract_zip(tmp_path / "ml-100k.zip", tmp_path / "ml-100k")
    ratings, _ = movielens._find(tmp_path)
    assert ratings == tmp_path / "ml-100k" / "ml-100k" / "u.data" and len(ratings.read_text().splitlines()) == 9
    assert left(tmp_path) == ["ml-100k", "ml-100k.zip"]
