"""Searches on this machine share a Ray cluster, of which each start takes seconds."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import pytest

from recbole_cadmr.execution import ray_api
from recbole_cadmr.execution import ray_runner as cells


@pytest.fixture(scope="session", autouse=True)
def one_cluster():
    """A cluster is kept until another one is asked for, or a search ends with an error and may leave trials at work."""
    connected, kept, cluster = ray_api.connected, {}, ExitStack()

    def let_go():
        kept.clear()
        cluster.close()

    @contextmanager
    def keep(*asked):
        if asked not in kept:
            let_go()
            kept[asked] = cluster.enter_context(connected(*asked))
        try:
            yield kept[asked]
        except BaseException:
            let_go()
            raise

    with pytest.MonkeyPatch.context() as patch, cluster:
        for module in (ray_api, cells):
            patch.setattr(module, "connected", keep)
        yield
