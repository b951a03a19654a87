"""Loading and asking leave the process as it was, and many may ask at once, also while something changes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.recommender.load_checkpoint import parts_of
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.runs.undisturbed import undisturbed
from tests.micro import open_micro, write_micro
from tests.recommender.made import made
from tests.recommender.test_export import opened

# Everything that a program may have set up for itself, and that RecBole's own loading changes.
PROBE = """
import logging, os, random, sys, threading, warnings
import numpy as np
import torch
import scipy.sparse, scipy.special  # which set filters of their own
import recbole_cadmr

def state():
    root, functional = logging.getLogger(), torch.utils.deterministic
    return {
        "root logger": (root.level, list(root.handlers), root.disabled, logging.root.manager.disable),
        "random": random.getstate(), "numpy": repr(np.random.get_state()), "torch": torch.get_rng_state().tolist(),
        "deterministic": torch.get_deterministic_debug_mode(), "uninitialized": functional.fill_uninitialized_memory,
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "threads": torch.get_num_threads(), "anomaly": torch.is_anomaly_enabled(), "warnings": list(warnings.filters),
        "shown": warnings.showwarning, "excepthooks": (sys.excepthook, threading.excepthook),
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("KMP_")},
        "streams": (sys.stdout, sys.stderr), "errors": np.geterr(), "inverse": np.linalg.inv,
        "n_threads": threading.active_count(),
    }

torch.set_num_threads(3)
warnings.simplefilter("error", ResourceWarning)
changed = lambda a, b: [name for name in a if a[name] != b[name]]
for path in sys.argv[1:]:
    before = state()
    recommender = recbole_cadmr.load(path)
    loaded = state()
    recommender.recommend(topk=2)
    recommender.recommend(recommender.users[:2], 2, diversity=0.2)
    after = state()
    print(changed(before, loaded), changed(loaded, after))
"""


def test_loading_and_asking_leave_no_trace(brief_run, tmp_path):
    Recommender(parts_of(opened(tmp_path, "BPR"))).export(tmp_path / "export")
    # The export first: what a checkpoint needs beyond it, RecBole above all, is imported after that.
    command = [sys.executable, "-c", PROBE, str(tmp_path / "export"), str(brief_run.checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n[] []\n"


def test_what_fails_on_loading_leaves_no_trace_either():
    before, state, mode = torch.get_num_threads(), torch.get_rng_state(), torch.get_deterministic_debug_mode()
    with pytest.raises(KeyError), undisturbed():
        torch.set_num_threads(before + 1)
        torch.rand(3)
        torch.set_deterministic_debug_mode(1 - mode)
        raise KeyError
    assert torch.get_num_threads() == before and torch.equal(torch.get_rng_state(), state)
    assert torch.get_deterministic_debug_mode() == mode


@pytest.mark.parametrize("name", ["best", "LightGCN", "MultiVAE", "CADMR"])
def test_models_are_copied_pickled_and_asked_by_many(tmp_path, name):
    if name == "CADMR":
        session = open_micro(write_micro(tmp_path), "CADMR")
        session.model.eval()
    else:
        session = opened(tmp_path, name)
    recommender = Recommender(parts_of(session))
    expected = recommender.recommend(topk=3)
    for twin in (copy.deepcopy(recommender), pickle.loads(pickle.dumps(recommender))):
        assert twin.recommend(topk=3).equals(expected)
    alone = {user: recommender.recommend([user], 3) for user in recommender.users}
    with ThreadPoolExecutor(8) as pool:
        for user, frame in pool.map(lambda user: (user, recommender.recommend([user], 3)), recommender.users * 20):
            assert frame.equals(alone[user])


def test_who_asks_while_it_changes_gets_the_old_or_the_new_whole():
    """Users and their histories change together, again and again: no answer mixes two of them."""
    recommender = made()
    names = ["new1", "new2", "new3"]
    whole = recommender.parts
    states = [whole]
    for n in range(1, 4):
        catalogue = whole.catalogue.with_users(names[:n])
        shape = catalogue.n_users, catalogue.n_items
        rows = sp.csr_matrix((np.ones(n, np.float32), (range(5, 5 + n), [n] * n)), shape=shape)
        states.append(Parts(catalogue, whole.histories.with_added(rows), whole.engine, whole.card))
    answers = {}
    for parts in states:
        frame = Recommender(parts).recommend(topk=3)
        answers[frame["user_id"].nunique()] = frame
    assert len(answers) == 4
    stop, asked = threading.Event(), []

    def ask():
        while not stop.is_set():
            frame = recommender.recommend(topk=3)
            asked.append(frame["user_id"].nunique())
            assert frame.equals(answers[asked[-1]])

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(ask) for _ in range(4)]
        turn = 0
        while len(asked) < 60 and not any(each.done() for each in running):
            turn += 1
            with recommender.lock:
                recommender.replace(states[turn % 4])
            time.sleep(0.001)
        stop.set()
        for each in running:
            each.result()
    assert len(asked) >= 60


def test_updates_and_requests_go_side_by_side(tmp_path):
    recommender = Recommender(parts_of(opened(tmp_path, "LinearCADMR")))
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            frame = recommender.recommend(topk=2)
            lists = frame.groupby("user_id")["item_id"].agg(list)
            assert all(len(set(items)) == len(items) for items in lists)

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(ask) for _ in range(3)]
        for n in range(20):
            recommender.update(pd.DataFrame({"user_id": [f"new{n}", "eve"], "item_id": ["a", "bcd"[n % 3]]}))
        stop.set()
        for each in running:
            each.result()
    assert "new19" in recommender.users and recommender.history("new19") == ["a"]
    assert sorted(recommender.history("eve")) == list("abcd")
