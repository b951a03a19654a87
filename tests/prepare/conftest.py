"""Weights of a network that torchvision knows, drawn from a seed, since the published ones need a download."""

from __future__ import annotations

import pytest

from tests.extract.networks import write_weights


@pytest.fixture(scope="session")
def alexnet_weights(tmp_path_factory):
    return write_weights("alexnet", tmp_path_factory.mktemp("weights") / "alexnet.pth")
