"""One process at a time in a folder, whatever begins when, and whoever is killed."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.locking import LOCK, alone_in


def _try_all(folders, barrier, inside):
    for place, folder in enumerate(folders):
        barrier.wait()
        try:
            with alone_in(folder, "work"):
                with inside.get_lock():
                    inside[place] += 1
                time.sleep(0.01)
                barrier.wait()  # both have tried
        except UserError:
            barrier.wait()


def test_of_two_that_begin_at_once_one_gets_in(tmp_path):
    folders = [tmp_path / str(turn) for turn in range(100)]
    fork = multiprocessing.get_context("fork")
    barrier, inside = fork.Barrier(2), fork.Array("i", len(folders))
    workers = [fork.Process(target=_try_all, args=(folders, barrier, inside)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert list(inside) == [1] * len(folders)


def test_one_after_the_other_may_wait(tmp_path):
    folder = tmp_path / "run"
    refused = pytest.raises(UserError, match=rf"another run is using .*process {os.getpid()}")
    with alone_in(folder, "run"), refused, alone_in(folder, "run", patience=0.2):
        pass
    assert not folder.exists()  # nothing was put into it


def test_a_lock_that_is_another_file_is_left_as_it_is(tmp_path):
    (tmp_path / "mine").write_text("dear")
    os.link(tmp_path / "mine", tmp_path / LOCK)
    with alone_in(tmp_path, "run"):
        pass
    assert (tmp_path / "mine").read_text() == "dear"
    (tmp_path / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="cannot lock"), alone_in(tmp_path, "run"):
        pass
    assert (tmp_path / "mine").read_text() == "dear"


@pytest.mark.parametrize("place", ["file", "file/under"])
def test_what_cannot_be_locked_is_one_sentence(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot lock"), alone_in(tmp_path / place, "run"):
        pass
