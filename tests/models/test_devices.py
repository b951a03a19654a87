"""Every model on a GPU that is pretended: no tensor is on the wrong device, and all comes to what the CPU has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

import tests.models.test_conformance as conformance
from recbole_cadmr import load, train
from recbole_cadmr.config.config import Config
from recbole_cadmr.models import item_weights
from recbole_cadmr.models.item_weights import ItemWeightsRecommender
from recbole_cadmr.models.linearcadmr import LinearCADMR
from recbole_cadmr.models.vbpr import VBPR
from recbole_cadmr.runs.evaluate import evaluate
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.runs.session import open_session
from recbole_cadmr.runs.topk_lists import rank_test
from recbole_cadmr.runs.train import resume
from recbole_cadmr.training.callbacks import TrainingCallback
from tests.micro import SMALL, write_micro
from tests.models.conformance import Cut
from tests.pretended_cuda import ALLOCATED, CUDA, RESERVED, PretendedCuda, for_every_run

CASES = {
    name.removeprefix("Test"): case
    for name, case in vars(conformance).items()
    if name.startswith("Test") and hasattr(case, "floor")
}
# How often a step of training waits for the GPU, beside the two times that RecBole's loop does: it reads the loss.
WAITS = {
    "MGCN": 1,
    "LGMRec": 1,
    "SMORE": 1,
    "REARM": 2,
    "LATTICE": 7,
    "CADMRPaper": 8,
    "CADMRContent": 8,
    "CADMRBest": 8,
}
OTHERS = {
    "CADMR": [
        {**SMALL, "pretrain_epochs": 1, "tc_estimator": "discriminator", "gate": "sigmoid"},
        {**SMALL, "pretrain_epochs": 1, "rows": "items", "missing_modality": "learned", "fusion": "gated"},
        {"preset": "best", "attention_size": 4, "sampled_items": 2, "content_components": 2, "attention_trials": 1},
        {"preset": "best", "attention_size": 4, "linear_settings": {"fit": "sparse", "adaptive_fits": 1}},
    ],
    "RP3beta": [{}],
    "LinearCADMR": [{"fit": "sparse", "adaptive_fits": 2}, {"fit_dtype": "float64", "reg_weight": [1.0, 2.0]}],
    "MMHCL": [{"contrast_rows": 2, "equal_users": True}],
    "MENTOR": [{"noise_weight": 0.1, "mask_weight": 0.1}],
    "SLMRec": [{"ssl_task": "FD+FM"}],
    "EASE": [{}],  # whose scores come from the CPU
    "BPR": [{}],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("data"))


@pytest.fixture
def cuda(monkeypatch):
    """A GPU for every run that may use one."""
    with for_every_run(monkeypatch) as pretended:
        yield pretended


def come_to(config: Config, on_cuda: bool) -> tuple[Any, Any, float]:
    """Validations and lists of a training, and how often each step of another epoch waits for the GPU."""
    with scratch_folder() as scratch, PretendedCuda() if on_cuda else nullcontext() as pretended:
        if on_cuda:
            config["device"] = CUDA
        session = open_session(config, scratch)
        trainer, batches = session.trainer, session.train_data
        trainer.fit(batches, session.valid_data)
        figures = [(entry["losses"], entry["valid_result"]) for entry in trainer.history]
        result, lists = rank_test(session, 2)
        figures.append(({}, result))
        waits = 0.0
        if pretended is not None and not issubclass(type(session.model), (ItemWeightsRecommender, LinearCADMR)):
            pretended.waits.clear()
            trainer.hooks.before_epoch()
            trainer._train_epoch(batches, 0)
            waits = pretended.waits.total() / len(batches)
    return figures, lists, waits


def check_alike(config: Callable[[], Config]) -> float:
    """Train on both; how often each step waits for the GPU."""
    (ours, lists, _), (theirs, their_lists, waits) = come_to(config(), False), come_to(config(), True)
    assert len(ours) == len(theirs) > 0
    for (losses, result), (other_losses, other_result) in zip(ours, theirs):
        assert other_result == result and other_losses == pytest.approx(losses, rel=1e-4)  # another attention kernel
    for name in ("users", "top", "top_cold", "held_row", "held_item"):
        assert np.array_equal(getattr(lists, name), getattr(their_lists, name)), name
    return waits


@pytest.mark.parametrize("name", CASES)
def test_a_model_is_trained_and_scores_as_on_the_cpu_and_seldom_waits(data, name):
    case = CASES[name]
    epochs = {"epochs": 2} if "epochs" in case.small else {}
    waits = check_alike(lambda: case.config(data, **epochs))
    most = 0 if case.closed_form else 2 + WAITS.get(name, 0)
    assert min(2, most) <= waits <= most


@pytest.mark.parametrize(("model", "given"), [(model, given) for model, several in OTHERS.items() for given in several])
def test_so_is_what_takes_other_ways_through_the_code(data, monkeypatch, model, given):
    monkeypatch.setattr(item_weights, "_LARGE", 0)  # candidates are listed in any catalogue
    brief = {"epochs": 2, "topk": [2], "valid_metric": "Recall@2", "data_path": str(data), "show_progress": False}
    if model in ("EASE", "LinearCADMR", "RP3beta"):
        del brief["epochs"]
    check_alike(lambda: Config(model, "micro", settings={**brief, **given}))


class Cutter(TrainingCallback):
    """Ends a run in its second epoch."""

    def on_epoch_start(self, trainer: Any, epoch: int) -> None:
        if epoch == 1:
            raise Cut


def test_a_run_is_cut_resumed_evaluated_and_recommends(cuda, data, tmp_path):
    settings = {"preset": "best", "attention_size": 4, "epochs": 2, "attention_trials": 1, "topk": [1, 2]}
    settings["linear_settings"] = {"adaptive_fits": 1}
    settings |= {"valid_metric": "Recall@2", "data_path": str(data), "show_progress": False, "resume_step": 1}
    whole = train("CADMR", "micro", output=tmp_path / "whole", settings=settings)
    with pytest.raises(Cut):
        train("CADMR", "micro", output=tmp_path / "cut", settings=settings, callbacks=[Cutter()])
    again = resume(tmp_path / "cut")
    assert again.result["test_result"] == whole.result["test_result"]
    gpu = {"name": "pretended", "peak_allocated_bytes": ALLOCATED, "peak_reserved_bytes": RESERVED}
    assert read_result(whole.folder)["gpu"] == whole.result["gpu"] == gpu
    assert evaluate(whole.checkpoint)["result"] == whole.result["test_result"]
    model = load(whole.checkpoint)
    assert model.engine.model.attention_weight.is_cuda
    assert len(model.recommend(topk=2)) > 5
    history = model.recommend(["ann"], topk=2)[["user_id", "item_id"]]
    assert len(model.recommend_from_history(history, topk=1)[0]) == 1


# The GPU that is pretended

ROW = torch.zeros(3)
REFUSED = {
    "a product with a matrix of the CPU": lambda x: x @ torch.zeros(3, 2),
    "a sum with a row of the CPU": lambda x: x + ROW,
    "a list with a number of the CPU": lambda x: torch.stack([x.sum(), torch.tensor(1.0)]),
    "an index of the GPU into the CPU": lambda x: ROW[x[0].long()],
    "rows of the CPU put in": lambda x: x.index_put_((torch.tensor([0]),), ROW[None]),
    "numpy's look": lambda x: x.numpy(),
    "numpy's look, as an array": lambda x: np.asarray(x),
}
TAKEN = {
    "a number of the CPU": (lambda x: x * torch.tensor(2.0), [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]),
    "an index of the CPU": (lambda x: x[torch.tensor([1])], [[1.0, 1.0, 1.0]]),
    "what was brought": (lambda x: x + torch.arange(3.0).to(x.device), [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]),
    "what was made there": (lambda x: x + x.new_ones(1), [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]),
    "what goes back": (lambda x: x.cpu() + ROW, [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_gpu_refuses_is_refused(name):
    with PretendedCuda(), pytest.raises((RuntimeError, TypeError), match="device|indices|numpy"):
        REFUSED[name](torch.ones(2, 3, device=CUDA))


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_gpu_takes_is_computed(name):
    operation, expected = TAKEN[name]
    with PretendedCuda():
        found = operation(torch.ones(2, 3, device=CUDA))
        assert found.is_cuda == (name != "what goes back") and found.tolist() == expected


@pytest.mark.parametrize("mistake", [lambda users: torch.arange(len(users)) * 0, lambda users: users.detach().numpy()])
def test_a_mistake_in_a_model_is_found(data, monkeypatch, mistake):
    forward = VBPR.forward

    def mistaken(model: VBPR) -> Any:
        users, items = forward(model)
        return users + mistake(users)[:, None], items

    monkeypatch.setattr(VBPR, "forward", mistaken)
    with pytest.raises((RuntimeError, TypeError), match="device|numpy"):
        come_to(CASES["VBPR"].config(data), True)
