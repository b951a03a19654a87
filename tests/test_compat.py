"""Every workaround acts where a bug is present and does nothing elsewhere."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import subprocess
import sys
import tempfile
import warnings
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import recbole.config
import recbole.data
import scipy.sparse
import torch
from recbole.data.dataset import Dataset
from recbole.data.dataset import dataset as recbole_dataset
from recbole.trainer import trainer as recbole_trainer
from recbole.utils import FeatureType

from recbole_cadmr import compat
from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError

CHECKOUT = Path(__file__).parents[1]


def in_new_process(code: str) -> str:
    """What ``code`` prints in a Python of its own, started in the checkout; a failure of it fails the test."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hooks_are_put_into_a_module_of_recboles_that_is_imported_later():
    spec = compat._BeforeImport().find_spec("recbole.config.configurator", recbole.config.__path__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Config is not recbole.config.Config and "get_model" in spec.loader.get_source(module.__name__)
    assert type(module.Config(model="RP3beta", dataset="synthetic")) is Config
    assert type(module.Config(model="BPR", dataset="ml-100k")) is module.Config
    assert importlib.util.find_spec("recbole.model.general_recommender.freedom") is not None
    assert importlib.util.find_spec("recbole.model.general_recommender.base") is None  # no model


def test_numpy_has_the_float_that_recbole_expects(monkeypatch):
    monkeypatch.delattr(np, "float", raising=False)
    assert compat.restore_numpy_names()
    assert vars(np)["float"] is np.float64
    assert not compat.restore_numpy_names()


@pytest.mark.parametrize("as_pairs", [False, True])
def test_dok_update_sets_the_entries(monkeypatch, as_pairs):
    monkeypatch.delattr(scipy.sparse.dok_matrix, "_update", raising=False)
    assert compat.restore_dok_update()
    entries = {(0, 1): 2.0, (1, 2): 3.0}
    matrix = scipy.sparse.dok_matrix((2, 3), dtype=np.float32)
    matrix[1, 2] = 7.0
    matrix._update(entries.items() if as_pairs else entries)
    np.testing.assert_array_equal(matrix.tocsr().toarray(), [[0, 2, 0], [0, 0, 3]])


def test_dok_update_of_scipy_is_left_alone(monkeypatch):
    own = object()
    monkeypatch.setattr(scipy.sparse.dok_matrix, "_update", own, raising=False)
    assert not compat.restore_dok_update()
    assert scipy.sparse.dok_matrix._update is own


def test_torchvision_and_sentence_transformers_import_with_the_workaround():
    code = """
import recbole_cadmr.compat as compat
compat.apply()
compat.apply()
import torch, torchvision
from torchvision.models import alexnet
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import v2
model = create_feature_extractor(alexnet(weights=None).eval(), ["classifier.5"])
print(tuple(model(v2.Resize((64, 64))(torch.zeros(1, 3, 80, 80)))["classifier.5"].shape))
import sentence_transformers
print(sentence_transformers.SentenceTransformer.__name__)
"""
    assert in_new_process(code).splitlines()[-2:] == ["(1, 4096)", "SentenceTransformer"]


def test_torchvision_operators_that_exist_are_not_declared_again():
    code = """
import torch
own = torch.library.Library("torchvision", "DEF")
own.define("nms(Tensor boxes, int a_schema_of_our_own) -> Tensor")
import recbole_cadmr.compat as compat
assert not compat.declare_torchvision_operators()
print(torch.ops.torchvision.nms.default._schema)
"""
    assert "a_schema_of_our_own" in in_new_process(code)


def test_torchvision_on_a_cuda_build_is_left_alone(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(compat, "_has_torchvision_operators", lambda: False)
    declared = len(compat._libraries)
    assert not compat.declare_torchvision_operators()
    assert len(compat._libraries) == declared


def test_tensorboard_goes_into_the_folder_that_is_asked_for_and_nowhere_else(tmp_path):
    logger = logging.Logger("other")
    logger.addHandler(logging.FileHandler(tmp_path / "other.log"))
    with compat.tensorboard_in(tmp_path / "run"):
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


def test_status_remembers_what_was_applied(monkeypatch):
    monkeypatch.setattr(compat, "_changed", {})
    monkeypatch.delattr(scipy.sparse.dok_matrix, "_update", raising=False)
    compat.apply()
    first = compat.status()
    compat.apply()
    assert compat.status() == first
    assert first["scipy dok_matrix"] == "applied"


def test_ray_is_not_imported():
    assert in_new_process("import recbole_cadmr, sys; print('ray' in sys.modules)").strip() == "False"


def test_a_user_without_a_home_gets_a_private_one(monkeypatch, tmp_path):
    pwd = pytest.importorskip("pwd")

    def unknown(uid):
        raise KeyError(uid)

    assert not compat.provide_home()
    monkeypatch.setenv("HOME", "")  # put back afterwards
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert compat.provide_home()
    home = Path.home()
    assert home.parent == tmp_path and home.stat().st_mode & 0o077 == 0
    monkeypatch.delenv("HOME")
    assert compat.provide_home() and Path.home() == home  # the next process has the same one
    monkeypatch.delenv("HOME")
    home.chmod(0o777)  # where anybody may have put what is read
    assert compat.provide_home() and Path.home() != home


def test_models_of_sequences_leave_anomaly_detection_as_it_is():
    code = """
import torch
from recbole_cadmr.models.registry import get_model
get_model("SASRec")
print(torch.is_anomaly_enabled())
torch.autograd.set_detect_anomaly(True)
get_model("GRU4Rec")
print(torch.is_anomaly_enabled())
"""
    assert in_new_process(code).split() == ["False", "True"]


def test_a_finder_that_asks_all_others_is_no_circle(monkeypatch):
    """As that of what measures coverage does."""

    class Asking(MetaPathFinder):
        def find_spec(self, *arguments):
            found = (finder.find_spec(*arguments) for finder in sys.meta_path if finder is not self)
            return next(filter(None, found), None)

    ours = next(finder for finder in sys.meta_path if isinstance(finder, compat._BeforeImport))
    monkeypatch.setattr(sys, "meta_path", [Asking(), ours, PathFinder])
    spec = sys.meta_path[0].find_spec("recbole.data.utils", recbole.data.__path__)
    assert isinstance(spec.loader, compat._Hooked) and spec.loader.get_filename().endswith("utils.py")


@pytest.fixture
def chained_fillna_does_nothing():
    """As from pandas 3 on; pandas 2 does so if it is told to."""
    if int(pd.__version__.partition(".")[0]) >= 3:
        yield
    else:
        with pd.option_context("mode.copy_on_write", True):
            yield


def test_missing_values_are_filled_where_pandas_changes_a_copy(monkeypatch, chained_fillna_does_nothing, tmp_path):
    monkeypatch.setattr(Dataset, "_fill_nan", inspect.unwrap(Dataset._fill_nan))
    monkeypatch.setattr(recbole_dataset, "pd", pd)
    people = pd.DataFrame({"country": [np.nan, 3.0, np.nan], "age": [np.nan, 20.0, 40.0], "words": [np.nan, [1], [2]]})
    kinds = {"country": FeatureType.TOKEN, "age": FeatureType.FLOAT, "words": FeatureType.TOKEN_SEQ}
    dataset = SimpleNamespace(
        feat_name_list=["user_feat"], user_feat=people, field2type=kinds, logger=logging.getLogger("recbole")
    )
    assert compat.fill_missing_values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Dataset._fill_nan(dataset)
    assert people["country"].tolist() == [0, 3, 0]
    assert people["age"].tolist() == [30, 20, 40]
    assert [list(words) for words in people["words"]] == [[], [1], [2]]
    (tmp_path / "items").write_text("item_id:token\twords:token_seq\na\tred blue\nb\t\n")
    items = recbole_dataset.pd.read_csv(tmp_path / "items", delimiter="\t")
    assert items["words:token_seq"].tolist() == ["red blue", ""]


@pytest.mark.skipif(int(pd.__version__.partition(".")[0]) >= 3, reason="chained fillna does nothing in this pandas")
def test_a_chained_fillna_that_works_is_left_alone(monkeypatch):
    own = inspect.unwrap(Dataset._fill_nan)
    monkeypatch.setattr(Dataset, "_fill_nan", own)
    assert not compat.fill_missing_values()
    assert Dataset._fill_nan is own


def test_sequences_of_a_column_are_counted_one_by_one(monkeypatch):
    monkeypatch.setattr(recbole_dataset, "len", len, raising=False)
    compat.restore_elementwise_agg()
    length = vars(recbole_dataset)["len"]
    assert pd.Series([[1, 2], [], [3]]).agg(length).tolist() == [2, 0, 1]
    assert length(pd.Series([True, False])) == 2 and length([1, 2, 3]) == 3


@pytest.mark.parametrize(("installed", "said"), [(None, "is not installed"), ("1.3.0", "1.3.0 is installed")])
def test_another_recbole_or_none_is_one_sentence(monkeypatch, installed, said):
    def version(name):
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(compat, "version", version)
    monkeypatch.setattr(compat, "PathFinder", SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.delitem(sys.modules, "recbole")
    with pytest.raises(UserError, match=f"RecBole {said}.*; run: pip install .*recbole==1.2.1$") as caught:
        importlib.import_module("recbole")
    assert isinstance(caught.value, ImportError)  # for programs that do without it
    assert compat.status()["numpy names"] in ("applied", "not needed")


def test_without_recbole_a_command_ends_with_the_sentence(tmp_path):
    code = """
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
import recbole_cadmr.compat as compat
def version(name):
    raise PackageNotFoundError(name)
compat.version, compat.PathFinder = version, SimpleNamespace(find_spec=lambda name: None)
from recbole_cadmr.cli.main import main
print(main(["train", "--epochs=1"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "2"
    assert done.stderr.startswith("error: RecBole is not installed; run: pip install ")
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_what_pandas_and_torch_say_of_recboles_modules_is_hidden_and_nothing_else():
    code = """
import warnings
import recbole_cadmr
for module in ("recbole.data.dataset.dataset", "own"):
    for message in ("A value is being set on a copy of a DataFrame or Series", "The given NumPy array is not writable"):
        warnings.warn_explicit(message, UserWarning, module, 1, module)
    warnings.warn_explicit("of another kind", UserWarning, module, 2, module)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=CHECKOUT)
    shown = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert [line.partition(":")[0] for line in shown] == ["recbole.data.dataset.dataset", "own", "own", "own"]
    assert "of another kind" in shown[0]
