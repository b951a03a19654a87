"""Shared by all tests: a clean place to run in, and one small trained model."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import settings

from tests.browser import browser, driver  # noqa: F401
from tests.postgres import Postgres

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Test processes run side by side, each with the one thread that a small model needs. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# On clusters that tests start by themselves, too, trials do not give way to the other test process.
os.environ.setdefault("RAY_worker_niceness", "0")

settings.register_profile("default", max_examples=50, deadline=None)
settings.register_profile("long", max_examples=5000, deadline=None)

# Seconds of training: a few epochs of both phases, quiet.
BRIEF = {"pretrain_epochs": 3, "epochs": 3, "show_progress": False, "gate_init": 0.3}


def pytest_configure(config):
    """Fuzz tests alone are asked for to be tried at length."""
    settings.load_profile("long" if config.option.markexpr == "fuzz" else "default")


# Those that take longest, in this order.
LONGEST = ["test_tune.py", "test_shop.py", "test_notebooks.py", "test_commands.py", "test_controls.py",
           "test_cluster.py", "test_closed_form_search.py", "test_benchmark.py", "test_data_parallel.py",
           "test_resume.py", "test_ray_blocks.py", "test_own.py", "test_softmaxcadmr.py", "test_image.py",
           "test_ray_runner.py", "test_embedded_accuracy.py"]  # fmt: skip


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish():
    """Libraries are not searched for garbage again and again, which takes a fifth of the time of small tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_place(monkeypatch, tmp_path):
    """Relative paths (``saved/``, ``dataset/``) fall into the test's own folder; RecBole sees no arguments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])


@pytest.fixture(scope="session")
def brief_run(tmp_path_factory):
    """CADMR after a brief training on the embedded data set."""
    import recbole_cadmr

    folder = tmp_path_factory.mktemp("brief") / "run"
    return recbole_cadmr.train("CADMR", "synthetic", output=folder, settings=BRIEF)


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL, empty; a test that asks for it is skipped where there is none."""
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture(scope="session", autouse=True)
def one_cluster(tmp_path_factory):
    """All that a process runs with Ray runs on one cluster, of two cores and with a cache of its own."""
    from recbole_cadmr.execution import ray_api, ray_runner

    connected, kept, cluster = ray_api.connected, [], ExitStack()

    @contextmanager
    def keep(address, *others):
        if address != "local":
            kept.clear()
            cluster.close()
            with connected(address, *others) as ray:
                yield ray
            return
        if not kept:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
                kept.append(cluster.enter_context(connected("local", 2)))
        yield kept[0]

    with pytest.MonkeyPatch.context() as patch, cluster:
        for module in (ray_api, ray_runner):
            patch.setattr(module, "connected", keep)
        yield
