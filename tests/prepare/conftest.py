"""Weights of a network that torchvision knows, drawn from a seed, since the published ones need a download."""

from __future__ import annotations

import pytest

from tests.extract.networks import write_weights


@pytest.fixture(scope="session")
def alexnet_weights(tmp_path_factory):
    return write_weights("alexnet", tmp_path_factory.mktemp("weights") / "alexnet.pth")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Vectors are kept in the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
