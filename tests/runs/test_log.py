"""The log of a run holds what RecBole and the package say; the root logger is left to the program that runs it."""

from __future__ import annotations

import logging

import pytest

import recbole_cadmr
from recbole_cadmr.training.callbacks import TrainingCallback
from tests.micro import open_drawn, write_drawn, write_micro


@pytest.fixture
def host():
    """The root logger as a program has set it up, and what reaches its handler."""
    root = logging.getLogger()
    before = root.handlers, root.level
    records = []

    class Handler(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    root.handlers = [Handler(level=logging.ERROR), Handler()]
    root.setLevel(logging.WARNING)
    yield root, records
    root.handlers, root.level = before


class SetUp(TrainingCallback):
    """What is set up at the root logger while a run trains."""

    def on_validation(self, trainer, validation):
        root = logging.getLogger()
        self.handlers, self.level = list(root.handlers), root.level
        logging.getLogger("host").warning("validated")
        logging.getLogger("host").info("no more than that")
        trainer.logger.info("said by the trainer")
        trainer.model.logger.info("said by the model")
        logging.getLogger("recbole_cadmr").info("said by the package")


def test_a_program_keeps_its_logging_and_a_run_its_log(host, tmp_path, capsys):
    root, records = host
    handlers = list(root.handlers)
    seen = SetUp()
    data = write_micro(tmp_path / "dataset")
    settings = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False, "epochs": 1, "data_path": str(data)}
    run = recbole_cadmr.train("BPR", "micro", output=tmp_path / "run", settings=settings, callbacks=[seen])
    recbole_cadmr.evaluate(run.checkpoint)
    recbole_cadmr.load(run.checkpoint).recommend(topk=1)
    assert (seen.handlers, seen.level) == (handlers, logging.WARNING)
    assert (root.handlers, root.level) == (handlers, logging.WARNING)
    assert records == ["validated"]
    (log,) = (tmp_path / "run" / "log").iterdir()
    screen = capsys.readouterr().out
    for message in (
        "said by the trainer",
        "said by the model",
        "said by the package",
        "BPR on micro",
        "held-out interactions only",
    ):
        assert message in log.read_text() and message in screen
    assert "validated" not in log.read_text()


def test_what_a_program_switches_off_is_on_in_a_run(host, tmp_path):
    loggers = [logging.getLogger(name) for name in ("recbole", "recbole_cadmr")]
    for logger in loggers:  # as logging.config.dictConfig does with loggers that are there
        logger.disabled = True
    try:
        recbole_cadmr.train("Pop", output=tmp_path / "run", settings={"show_progress": False})
        assert all(logger.disabled and logger.propagate and not logger.handlers for logger in loggers)
    finally:
        for logger in loggers:
            logger.disabled = False
    (log,) = (tmp_path / "run" / "log").iterdir()
    assert "Pop on synthetic" in log.read_text() and "epoch    0 training" in log.read_text()


def test_outside_of_a_run_the_messages_reach_the_root_logger(host, tmp_path):
    rows = ["a x", "a y", "b x", "b y", "c x", "c z", "a x"]
    open_drawn(write_drawn(tmp_path, rows), eval_args={"split": {"RS": [8, 1, 1]}})
    assert any("drawn" in message for message in host[1])
