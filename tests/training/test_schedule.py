"""The learning rate over the epochs."""

from __future__ import annotations

import pytest

from tests.micro import open_micro, write_micro


def rates(trainer, epochs):
    found = []
    for epoch in epochs:
        trainer._set_learning_rate(epoch)
        (group,) = trainer.optimizer.param_groups
        found.append(group["lr"])
    return found


def test_a_cosine_falls_to_a_twentieth_and_a_constant_stays(tmp_path):
    folder = write_micro(tmp_path)
    for schedule, expected in (("cosine", [0.01, 0.00525, 0.0007325]), ("constant", [0.01, 0.01, 0.01])):
        settings = {"objective": "softmax", "epochs": 10, "learning_rate": 0.01, "learning_rate_schedule": schedule}
        trainer = open_micro(folder, **settings).trainer
        trainer.ensure_optimizer()
        assert rates(trainer, [0, 5, 9]) == pytest.approx(expected, rel=1e-4)


def test_each_phase_has_a_cosine_of_its_own(tmp_path):
    settings = {"epochs": 4, "pretrain_epochs": 2, "learning_rate": 0.01, "pretrain_learning_rate": 0.1}
    trainer = open_micro(write_micro(tmp_path), learning_rate_schedule="cosine", **settings).trainer
    trainer._start("pretrain", 0)
    assert rates(trainer, [0, 1]) == pytest.approx([0.1, 0.0525])
    trainer._start("finetune", 2)
    assert rates(trainer, [2, 4]) == pytest.approx([0.01, 0.00525])
