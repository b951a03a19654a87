"""A closed form whose rows are computed elsewhere: the one of this machine, bit for bit, and none of them twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import recbole_cadmr
from recbole_cadmr.blocks import here
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers import low_rank_autoencoder
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.runs.train import resume
from recbole_cadmr.training.checkpoint import load_checkpoint
from recbole_cadmr.training.closed_form_blocks import FitOver

SETTINGS = {"fit": "sparse", "sparse_rank": 16, "sparse_neighbours": 20, "adaptive_fits": 1, "show_progress": False}


@pytest.fixture(scope="module")
def blocks():
    """How many blocks the items of the embedded set make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(low_rank_autoencoder, "BLOCK", 300)
        yield 3


@pytest.fixture(scope="module")
def whole(blocks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return recbole_cadmr.train("LinearCADMR", output=folder, settings=SETTINGS)


def are_alike(one, two):
    """Whether two runs have found the same model and the same results."""
    weights = [load_checkpoint(run / "model.pt")["other_parameter"]["_weights"] for run in (one, two)]
    results = [read_result(run)["test_result"] for run in (one, two)]
    for name in ("left", "right"):
        assert torch.equal(weights[0][name], weights[1][name])
    sparse = [part["sparse"] for part in weights]
    assert all(
        np.array_equal(getattr(sparse[0], name), getattr(sparse[1], name)) for name in ("data", "indices", "indptr")
    )
    assert sparse[0].nnz > 0
    return results[0] == results[1]


def test_the_fit_of_a_cluster_is_the_one_of_this_machine(whole, tmp_path):
    options = [f"--{name}={value}" for name, value in SETTINGS.items()]
    out = tmp_path / "run"
    assert main(["train", "--model=LinearCADMR", *options, "--ray-address=local", f"--output={out}"]) == 0
    assert are_alike(whole.folder, out) and not (out / "closed_form_rows").exists()


def test_rows_of_a_killed_run_are_not_computed_again(whole, blocks, tmp_path):
    def stops(compute, asked):
        for n, found in enumerate(here(compute, asked)):
            if n == 2:
                raise KeyboardInterrupt
            yield found

    def counts(compute, asked):
        for found in here(compute, asked):
            computed.append(found[0].name)
            yield found

    out, computed = tmp_path / "run", []
    with pytest.raises(KeyboardInterrupt, match="the state is kept"):
        recbole_cadmr.train("LinearCADMR", output=out, settings=SETTINGS, callbacks=[FitOver(stops)])
    assert len(list((out / "closed_form_rows").glob("*.npz"))) == 2
    resume(out, callbacks=[FitOver(counts)])
    assert are_alike(whole.folder, out) and len(computed) == blocks - 2


def test_what_is_not_cut_into_blocks_is_refused(tmp_path):
    for model, settings, sentence in (
        ("BPR", {"epochs": 1}, "--ray-address is for the closed form of LinearCADMR, which BPR has not; add --nproc"),
        ("LinearCADMR", {}, "the exact fit is one task, not blocks; leave out --ray-address, or give --fit=sparse"),
    ):
        with pytest.raises(UserError, match=f"^{sentence}$"):
            recbole_cadmr.train(
                model, output=tmp_path / model, settings={"show_progress": False, **settings}, callbacks=[FitOver(here)]
            )
        assert not (tmp_path / model).exists()
