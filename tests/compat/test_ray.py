"""Ray is told where to listen; where a cluster then does: ``tests/tuning/test_cluster.py``."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

from recbole_cadmr.compat.ray import keep_ray_on_loopback


def test_ray_that_has_been_imported_is_told_too(monkeypatch):
    constants = SimpleNamespace(ENABLE_RAY_CLUSTER=True)
    monkeypatch.setitem(sys.modules, "ray._private.ray_constants", constants)
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")  # by the user, who wants it
    keep_ray_on_loopback()
    assert constants.ENABLE_RAY_CLUSTER
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    keep_ray_on_loopback()
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0" and not constants.ENABLE_RAY_CLUSTER
