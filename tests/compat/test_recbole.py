"""Which RecBole is needed, and what it does to the log, the screen and the process."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
from recbole.trainer import trainer as recbole_trainer

from recbole_cadmr.compat import recbole as workarounds
from recbole_cadmr.compat.workarounds import status
from recbole_cadmr.errors import UserError


@pytest.mark.parametrize(("installed", "said"), [(None, "is not installed"), ("1.3.0", "1.3.0 is installed")])
def test_another_recbole_or_none_is_one_sentence(monkeypatch, installed, said):
    def version(name):
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(workarounds, "version", version)
    monkeypatch.setattr(workarounds, "PathFinder", SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.delitem(sys.modules, "recbole")
    with pytest.raises(UserError, match=f"RecBole {said}.*; run: pip install .*recbole==1.2.1$") as caught:
        importlib.import_module("recbole")
    assert isinstance(caught.value, ImportError)  # for programs that do without it
    assert status()["numpy names"] in ("applied", "not needed")


def test_without_recbole_a_command_ends_with_the_sentence(tmp_path):
    code = """
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from recbole_cadmr.compat import recbole as workarounds
def version(name):
    raise PackageNotFoundError(name)
workarounds.version, workarounds.PathFinder = version, SimpleNamespace(find_spec=lambda name: None)
from recbole_cadmr.cli.main import main
print(main(["train", "--epochs=1"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "2"
    assert done.stderr.startswith("error: RecBole is not installed; run: pip install ")
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_tensorboard_goes_into_the_folder_that_is_asked_for_and_nowhere_else(tmp_path):
    logger = logging.Logger("other")
    logger.addHandler(logging.FileHandler(tmp_path / "other.log"))
    with workarounds.tensorboard_in(tmp_path / "run"):
        recbole_trainer.get_tensorboard(logger).close()
        assert not (tmp_path / "run").exists()  # nothing was written
        writer = recbole_trainer.get_tensorboard(logger)
    writer.add_scalar("loss", 1.0, 0)
    writer.close()
    assert len(list((tmp_path / "run").glob("events.*"))) == 1
    assert not (tmp_path / "log_tensorboard").exists()
    recbole_trainer.get_tensorboard(logger).close()  # RecBole's own again
    assert len(list((tmp_path / "log_tensorboard" / "other").glob("events.*"))) == 1
    logger.handlers[0].close()


def test_what_pandas_and_torch_say_of_recboles_modules_is_hidden_and_nothing_else():
    code = """
import warnings
import recbole_cadmr
for module in ("recbole.data.dataset.dataset", "own"):
    for message in ("A value is being set on a copy of a DataFrame or Series", "The given NumPy array is not writable"):
        warnings.warn_explicit(message, UserWarning, module, 1, module)
    warnings.warn_explicit("of another kind", UserWarning, module, 2, module)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    shown = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert [line.partition(":")[0] for line in shown] == ["recbole.data.dataset.dataset", "own", "own", "own"]
    assert "of another kind" in shown[0]
