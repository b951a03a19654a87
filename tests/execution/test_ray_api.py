"""Members of a population exchange in step, whoever is quicker and whatever else draws random numbers."""

from __future__ import annotations

import random
import sys
from types import SimpleNamespace

import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.ray_api import connected, population_scheduler

SCORES = [0.4, 0.1, 0.3, 0.2]


class Member:
    """What the scheduler of either Ray asks of a trial: the new one for the manager of its checkpoints."""

    def __init__(self, number):
        self.trial_id, self.experiment_tag, self.config = str(number), "", {"number": number, "rate": number}
        self.status, self.temporary_state = "RUNNING", SimpleNamespace(saving_to=None)
        manager = SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None))
        self.run_metadata = SimpleNamespace(checkpoint_manager=manager)
        self.on_checkpoint(SimpleNamespace(id=number, owner=number))

    @property
    def checkpoint(self):
        return self.run_metadata.checkpoint_manager._latest_checkpoint_result.checkpoint

    def is_finished(self):
        return self.status in ("TERMINATED", "ERROR")

    def set_experiment_tag(self, tag):
        pass

    def set_config(self, config):
        self.config = config

    def on_checkpoint(self, checkpoint):
        self.run_metadata.checkpoint_manager._latest_checkpoint_result = SimpleNamespace(checkpoint=checkpoint)


class Population:
    """Four members under the scheduler, exchanging every three epochs."""

    def __init__(self, rates=(0, 1, 2, 3)):
        self.members = [Member(number) for number in range(4)]
        executor = SimpleNamespace(has_resources_for_trial=lambda trial: True)
        self.controller = SimpleNamespace(
            get_trials=lambda: self.members, trial_executor=executor, search_alg=None, pause_trial=None
        )
        self.scheduler = population_scheduler(
            7,
            time_attr="epoch",
            metric="score",
            mode="max",
            perturbation_interval=3,
            hyperparam_mutations={"rate": list(rates)},
            quantile_fraction=0.25,
        )
        for member in self.members:
            self.scheduler.on_trial_add(self.controller, member)

    def report(self, number, epoch, is_written=True):
        told = {"epoch": epoch, "score": SCORES[number]}
        decision = self.scheduler.on_trial_result(self.controller, self.members[number], told)
        if decision == "PAUSE" and is_written:
            self.members[number].status = "PAUSED"
        return decision

    def next(self):
        return self.scheduler.choose_trial_to_run(self.controller)

    @property
    def rates(self):
        return [member.config["rate"] for member in self.members]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]])
def test_the_worst_takes_over_from_the_best_whoever_comes_last(order):
    random.seed(str(order))
    population = Population()
    for number in order[:3]:
        assert population.report(number, 2) == "CONTINUE" and population.report(number, 3) == "PAUSE"
        random.random()  # as Ray's event loop does
        assert population.next() is None and population.rates == [0, 1, 2, 3]
    assert population.report(order[3], 3, is_written=False) == "PAUSE"
    assert population.next() is None and population.rates == [0, 1, 2, 3]  # the state of the last is being written
    population.members[order[3]].status = "PAUSED"
    assert population.next() is population.members[0]
    assert population.rates == [0, 3, 2, 3]  # in any order, and another than the best one has
    assert population.members[1].checkpoint.owner == 0  # a copy of the best one's
    assert population.members[1].checkpoint is not population.members[0].checkpoint
    assert population.report(2, 5) == "CONTINUE" and population.report(2, 6) == "PAUSE"


@pytest.mark.parametrize("end", ["TERMINATED", "ERROR"])
def test_who_waits_is_not_kept_waiting_by_one_that_ends(end):
    population = Population()
    for number in range(3):
        population.report(number, 3)
    population.members[3].status = end
    assert population.next() is population.members[0] and population.rates[1] != 1


def test_a_space_of_one_value_leaves_none_to_change():
    population = Population(rates=[0])
    for number in range(4):
        population.report(number, 3)
    assert population.next() is population.members[0] and population.rates == [0, 0, 2, 3]


def test_a_python_that_ray_cannot_start_is_refused_before_it_waits(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/home/ä b/bin/python")
    with pytest.raises(UserError, match="cannot read the path of Python, /home/ä b/bin/python; install"):
        connected("local").__enter__()
