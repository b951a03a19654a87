"""Workarounds for upstream bugs, and the hooks that RecBole lacks: nothing else patches foreign code.

Each workaround is for one bug, names its upstream thread, does nothing where the bug is absent (so that it becomes
dead, not wrong, once upstream is fixed), and returns whether it changed anything.
``recbole_cadmr/__init__.py`` calls :func:`apply` once. Importing RecBole takes seconds, so that a workaround waits
until the package that needs it is about to be imported.

One known bug has no workaround here on purpose: ``torch.load`` refuses RecBole's checkpoints since torch 2.6
(https://github.com/RUCAIBox/RecBole/issues/2212) because they are pickles, and a pickle can run code. This package
writes checkpoints that load with ``weights_only=True`` instead.

RecBole has no way to register models, data sets or trainers (https://github.com/RUCAIBox/RecBole/issues/489): its
functions look for them in its own modules. :func:`hook_into_recbole` lets them find this package's, too.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_cadmr.errors import MissingRecBole

if TYPE_CHECKING:
    import torch
    from torch.utils.tensorboard import SummaryWriter

RECBOLE = "1.2.1"  # as setup.py has it: its internals are overridden, so that another one has to be tried first

# A Library takes its declarations back when it is collected.
_libraries: list[torch.library.Library] = []
_changed: dict[str, bool] = {}  # by workaround that has been applied
_sought: set[str] = set()  # modules that the other finders are asked for: one of them may ask all finders, too


class _BeforeImport(MetaPathFinder):
    """Applies the workarounds for a module when it is looked for, which is before its first import, and finds none but
    those that RecBole's functions are to find, or that hooks are put into.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Leave the search for all others to the other finders."""
        if name == "recbole":
            require_recbole()
        _apply_for(name)
        if name in _HOOKED and _hooks and name not in _sought:
            others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
            _sought.add(name)
            try:
                found = next(filter(None, others), None)
            finally:
                _sought.discard(name)
            if found is not None:
                found.loader = _Hooked(found.loader)
            return found
        folder, _, model = name.rpartition(".")
        module = _hook("model_module", model) if folder == _MODELS and _hooks else None
        return None if module is None else ModuleSpec(name, _Elsewhere(module))


class _Hooked(Loader):
    """Loads a module of RecBole's as its own loader does, and puts the hooks into it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the module's own loader does."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then put the hooks into it."""
        self._loader.exec_module(module)
        _HOOKED[module.__name__](module)


class _Elsewhere(Loader):
    """Gives a module by another name than its own."""

    def __init__(self, module: str) -> None:
        self._module = module

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that is meant in the place of the empty one that was made for it."""
        sys.modules[module.__name__] = importlib.import_module(self._module)


def apply() -> None:
    """Apply what needs no import now, the rest before that import; a second call changes nothing."""
    if not any(isinstance(finder, _BeforeImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeImport())
    if "recbole" in sys.modules:
        require_recbole()
    for module in {module for module, _ in _WORKAROUNDS.values()}:
        if module in sys.modules:
            _apply_for(module)


def require_recbole() -> None:
    """Raise :class:`MissingRecBole` unless the RecBole that this package was made for is installed."""
    try:
        found = version("recbole")
    except PackageNotFoundError:
        if PathFinder.find_spec("recbole") is not None:
            return  # somebody's checkout of it, which has no version
        problem = "is not installed"
    else:
        if found == RECBOLE:
            return
        problem = f"{found} is installed, and this package overrides what only {RECBOLE} has"
    # What it asks for keeps it from being installed on newer Pythons; this package asks for what it needs there.
    alone = "--no-deps " if sys.version_info >= (3, 12) else ""
    raise MissingRecBole(f"RecBole {problem}; run: pip install {alone}recbole=={RECBOLE}")


def status() -> dict[str, str]:
    """``applied`` or ``not needed`` by workaround; those that are still waiting are applied first."""
    for module, _ in _WORKAROUNDS.values():
        with suppress(MissingRecBole):
            _apply_for(module)
    return {name: "applied" if _changed[name] else "not needed" for name in _WORKAROUNDS}


def _apply_for(module: str) -> None:
    for name, (needed_by, workaround) in _WORKAROUNDS.items():
        if needed_by == module and name not in _changed:
            _changed[name] = False  # it may look for the module itself
            _changed[name] = workaround()


def restore_numpy_names() -> bool:
    """Give numpy back the names of types that RecBole uses.

    numpy 1.24 removed the first four. RecBole's ``Config`` sets these and others whenever one is made, out of the last
    three, which numpy 2 removed; ours does not. https://github.com/RUCAIBox/RecBole/pull/2203
    """
    names = {
        "float": np.float64, "bool": np.bool_, "long": np.int_, "str": np.str_,
        "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_,
    }  # fmt: skip
    missing = [name for name in names if name not in vars(np)]
    for name in missing:
        setattr(np, name, names[name])
    return bool(missing)


def restore_dok_update() -> bool:
    """Give scipy's ``dok_matrix`` back the ``_update`` that LightGCN, NGCF, GCMC, NCL, SpectralCF, KGIN, MCCLK call.

    scipy 1.13 removed it. https://github.com/RUCAIBox/RecBole/issues/2185
    """
    import scipy.sparse

    if hasattr(scipy.sparse.dok_matrix, "_update"):
        return False
    # From {(row, column): value} or pairs of these; like the one removed, it checks nothing.
    scipy.sparse.dok_matrix._update = lambda matrix, data: matrix._dict.update(data)
    return True


def fill_missing_values() -> bool:
    """Let RecBole's ``Dataset`` fill in what is missing where its chained ``fillna(inplace=True)`` changes a copy.

    It does from pandas 3 on: missing tokens and numbers would stay NaN without an error, and missing sequences end with
    one. https://github.com/RUCAIBox/RecBole/pull/2187
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = pd.DataFrame({"field": [np.nan]})
        frame["field"].fillna(0, inplace=True)
    if frame["field"].notna().all():
        return False
    from recbole.data.dataset import dataset as module
    from recbole.utils import FeatureType

    original = module.Dataset._fill_nan

    @functools.wraps(original)
    def fill_nan(dataset: Any) -> None:
        for name in dataset.feat_name_list:
            table = getattr(dataset, name)
            for field in table:
                if dataset.field2type[field] == FeatureType.TOKEN:
                    table[field] = table[field].fillna(0)
                elif dataset.field2type[field] == FeatureType.FLOAT:
                    table[field] = table[field].fillna(table[field].mean())
        original(dataset)  # sequences that a table lacks

    def read_csv(*arguments: Any, **options: Any) -> Any:
        table = pd.read_csv(*arguments, **options)
        sequences = [name for name in table if str(name).endswith("_seq")]
        table[sequences] = table[sequences].fillna("")
        return table

    module.Dataset._fill_nan = fill_nan
    module.pd = ModuleType("pandas")
    vars(module.pd).update(vars(pd), read_csv=read_csv)
    return True


def restore_elementwise_agg() -> bool:
    """Let ``agg(len)`` of RecBole's ``Dataset`` count what is in each sequence of a column.

    From pandas 3 on it counts the sequences. https://github.com/RUCAIBox/RecBole/pull/2187
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts_each = isinstance(pd.Series([[1, 2], [3]]).agg(len), pd.Series)
    if counts_each:
        return False
    from recbole.data.dataset import dataset as module

    def length(values: Any) -> Any:
        return values.map(len) if isinstance(values, pd.Series) and values.dtype == object else len(values)

    vars(module)["len"] = length
    return True


def declare_torchvision_operators() -> bool:
    """Declare ``torchvision::nms`` and ``qnms`` where a CPU build of torch cannot load torchvision's own.

    The published Linux wheel links CUDA libraries. Without its operators ``import torchvision`` fails, and with it
    ``import sentence_transformers``: https://github.com/pytorch/vision/issues/9085. Models and transforms do not
    need the operators; calling one still fails, as it must.
    """
    import torch

    if torch.version.cuda is not None or _has_torchvision_operators():
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
    return True


def _has_torchvision_operators() -> bool:
    """Whether the operators are there, can be loaded, or torchvision is not installed.

    Loads the compiled library itself, as ``import torchvision`` would (and then finds it loaded): whoever declares
    an operator that torchvision registers later makes torchvision fail.
    """
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return True
    package = importlib.util.find_spec("torchvision")
    if package is None or not package.origin:
        return True
    for suffix in EXTENSION_SUFFIXES:
        with suppress(OSError):  # there is no such file, or it does not fit
            torch.ops.load_library(str(Path(package.origin).with_name(f"_C{suffix}")))
            return True
    return False


@contextmanager
def verified_inverses() -> Iterator[None]:
    """Let ``numpy.linalg.inv`` raise MemoryError where numpy leaves the inverse unwritten.

    It works in a buffer as large as the matrix; where that cannot be allocated (``ulimit -v``), it reports nothing
    and returns whatever the memory of the result held. EASE, ADMMSLIM and NCEPLRec invert in their constructors.
    https://github.com/numpy/numpy/issues/5898
    """
    from unittest import mock

    original = np.linalg.inv

    def inv(a: Any) -> Any:
        inverse = original(a)
        if np.ndim(a) == 2 and not _is_inverse(np.asarray(a), np.asarray(inverse)):
            raise MemoryError(f"numpy had no memory to invert a matrix of {len(a)} rows")
        return inverse

    with mock.patch.object(np.linalg, "inv", inv):
        yield


def _is_inverse(a: np.ndarray, inverse: np.ndarray) -> bool:
    """Whether ``a`` times ``inverse`` gives a vector back, but for the rounding of any matrix that has an inverse."""
    norm = np.linalg.norm(a)
    if not np.isfinite(norm):
        return True  # what is not finite has none
    x = np.random.RandomState(0).uniform(1, 2, len(a)).astype(inverse.dtype)
    y = inverse @ x
    error = np.linalg.norm(a @ y - x)
    return bool(error <= 1e-4 * (norm * np.linalg.norm(y) + np.linalg.norm(x)))  # never if NaN


def silence_warnings() -> bool:
    """Hide from the user the warnings of pandas and torch about calls of RecBole's that will change.

    https://github.com/RUCAIBox/RecBole/pull/2187
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    warnings.filterwarnings("ignore", message="torch.sparse.SparseTensor", module=r"recbole\.")
    # Of pandas 3: columns that are tensors from then on; fill_missing_values.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable", module=r"recbole\.")
    warnings.filterwarnings("ignore", message="A value is being set on a copy of a DataFrame", module=r"recbole\.")
    warnings.filterwarnings("ignore", message="Detected pickle protocol 4")  # of its checkpoints, before one is refused
    return True


def provide_home() -> bool:
    """Give a user unknown to the system (a container run with ``--user``) a home in the folder of temporary files.

    torch, huggingface_hub and Ray keep files in the home folder without checking that there is one: an error, or a
    folder called ``~`` in the current one.
    """
    if os.path.expanduser("~") != "~":
        return False
    home = Path(tempfile.gettempdir()) / f"recbole_cadmr-{os.getuid()}"
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        own = home.lstat()
        if not stat.S_ISDIR(own.st_mode) or own.st_uid != os.getuid() or own.st_mode & 0o022:
            raise FileExistsError(f"{home} is another's")
    except OSError:
        home = Path(tempfile.mkdtemp(prefix="recbole_cadmr-"))
    os.environ["HOME"] = str(home)
    os.environ.setdefault("USER", str(os.getuid()))
    return True


def keep_ray_on_loopback() -> None:
    """Let a Ray cluster that is started here listen on the loopback device only.

    Ray replaces 127.0.0.1 by the machine's address, except where this variable is off, which was made for two
    other systems and works on all. It is read when Ray is imported, which a user may have done before.
    https://github.com/ray-project/ray/issues/18730
    """
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    constants = sys.modules.get("ray._private.ray_constants")
    if constants is not None and os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0":
        constants.ENABLE_RAY_CLUSTER = False  # type: ignore[attr-defined]


class _LaterWriter:
    """A TensorBoard writer whose folder, file and thread there are once something is written; without a folder, one
    that writes nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @functools.cached_property
    def _writer(self) -> SummaryWriter | None:
        if self._folder is None:
            return None
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self._folder))

    def __getattr__(self, name: str) -> Any:
        return _nothing if self._writer is None else getattr(self._writer, name)

    def close(self) -> None:
        """Close it, if anything was written."""
        if (writer := vars(self).get("_writer")) is not None:
            writer.close()


def _nothing(*_: Any, **__: Any) -> None:
    pass


@contextmanager
def tensorboard_in(folder: Path | None) -> Iterator[None]:
    """Let a trainer of RecBole's that is made within write its TensorBoard events into ``folder``, if it writes any;
    None for nowhere.

    They would go to ``log_tensorboard/`` of the current folder, and every trainer would begin a file and a thread, also
    one that only evaluates. https://github.com/RUCAIBox/RecBole/issues/1681
    """
    from unittest import mock

    with mock.patch("recbole.trainer.trainer.get_tensorboard", lambda _: _LaterWriter(folder)):
        yield


@contextmanager
def anomaly_detection_kept() -> Iterator[None]:
    """Leave torch's anomaly detection as it is while models of RecBole's are imported.

    Its ``sine.py``, which comes with every model of sequences, turns it on for the whole process: each step of any
    training then looks for NaN in every gradient.
    """
    import torch

    before = torch.is_anomaly_enabled()
    try:
        yield
    finally:
        torch.autograd.set_detect_anomaly(before)


def keep_recbole_off_the_root_logger() -> None:
    """Let RecBole log through the logger ``recbole``: the root logger belongs to the program that imports it.

    Each of its modules holds ``logging.getLogger`` and calls it without a name. Those that have been imported are
    changed; what they log reaches the root logger from there as long as nobody keeps it from that.
    https://github.com/RUCAIBox/RecBole/pull/532
    """
    of_recbole = functools.partial(logging.getLogger, "recbole")
    for name, module in list(sys.modules.items()):
        if name.startswith("recbole.") and vars(module).get("getLogger") is logging.getLogger:
            module.getLogger = of_recbole  # type: ignore[attr-defined]


def let_recbole_draw(bar: Callable[..., Any]) -> None:
    """Let RecBole's trainers show their progress by ``bar``, called like tqdm.

    Theirs are 100 columns wide whatever the terminal is: in one of 80, every refresh begins a new line.
    """
    import recbole.trainer.trainer

    recbole.trainer.trainer.tqdm = bar


# By name, as ``doctor`` shows it: the module that needs it, and what does it.
_WORKAROUNDS: dict[str, tuple[str, Callable[[], bool]]] = {
    "home folder": ("sys", provide_home),  # at once, as are the warnings
    "warnings for RecBole": ("sys", silence_warnings),
    "numpy names": ("recbole", restore_numpy_names),
    "scipy dok_matrix": ("recbole", restore_dok_update),
    # The first that is imported after the module which is changed.
    "pandas fillna": ("recbole.data.dataset.sequential_dataset", fill_missing_values),
    "pandas agg": ("recbole.data.dataset.sequential_dataset", restore_elementwise_agg),
    "torchvision operators": ("torchvision", declare_torchvision_operators),
}


# Hooks: what RecBole's functions ask of this package.

_MODELS = "recbole.model.general_recommender"  # where RecBole looks for models, by the name in small letters
_hooks = ""  # the module that has them


def hook_into_recbole(hooks: str) -> None:
    """Let RecBole's own functions work with this package's models, and with settings that are its ``Config``.

    Args:
        hooks: name of a module, imported when it is first asked, with ``model_module`` (where a model is),
            ``config_class``, ``dataset_class`` and ``trainer_class`` (what RecBole's ``Config``, ``Dataset`` and
            ``Trainer`` are to make of their arguments; None for what they say), ``loaders`` (of the parts of a data
            set; None for RecBole's) and ``load_data_and_model`` (in place of RecBole's).
    """
    global _hooks
    _hooks = hooks
    for name, put_into in _HOOKED.items():
        if name in sys.modules:
            put_into(sys.modules[name])


def _hook(name: str, *arguments: Any, **named: Any) -> Any:
    return getattr(importlib.import_module(_hooks), name)(*arguments, **named)


def _hook_class(name: str, hook: str) -> Callable[[ModuleType], None]:
    """A hook into the making of instances of a class of RecBole's, or of what it derives from it."""

    def put_into(module: ModuleType) -> None:
        cls = getattr(module, name)

        def new(asked: type, *arguments: Any, **named: Any) -> Any:
            is_recboles = asked.__module__.partition(".")[0] == "recbole"
            chosen = _hook(hook, *arguments, **named) if is_recboles and (arguments or named) else None
            if chosen is None:
                return object.__new__(asked)
            # Of a subclass, Python itself calls __init__; without arguments an instance is copied, or read from a file.
            return object.__new__(chosen) if issubclass(chosen, asked) else chosen(*arguments, **named)

        if "__new__" not in vars(cls):
            cls.__new__ = staticmethod(new)

    return put_into


def _hook_loaders(module: ModuleType) -> None:
    """A hook into ``data_preparation``, which makes samplers of all parts, then a loader of each with its sampler."""
    if hasattr(module.create_samplers, "__wrapped__"):
        return
    samplers_of, loader_of, saved = module.create_samplers, module.get_dataloader, module.load_split_dataloaders

    @functools.wraps(samplers_of)
    def create_samplers(config: Any, dataset: Any, built_datasets: Any) -> Any:
        return _hook("loaders", config, built_datasets) or samplers_of(config, dataset, built_datasets)

    @functools.wraps(loader_of)
    def get_dataloader(config: Any, phase: Any) -> Any:
        def loader(config: Any, dataset: Any, sampler: Any, **named: Any) -> Any:
            # What the hook gave as a sampler is the loader itself.
            is_loader = isinstance(sampler, module.AbstractDataLoader)
            return sampler if is_loader else loader_of(config, phase)(config, dataset, sampler, **named)

        return loader if _hook("is_own", config) else loader_of(config, phase)

    @functools.wraps(saved)
    def load_split_dataloaders(config: Any) -> Any:
        return None if _hook("is_own", config) else saved(config)  # they are pickles

    module.create_samplers, module.get_dataloader = create_samplers, get_dataloader  # type: ignore[attr-defined]
    module.load_split_dataloaders = load_split_dataloaders  # type: ignore[attr-defined]


def _hook_quick_start(module: ModuleType) -> None:
    """Other code for a function that others may have imported by now; and no count of floating-point operations on a
    deep copy of the model: torch copies no sparse matrices in rows, and a closed form has nothing to count.
    """
    count = module.get_flops

    @functools.wraps(count)
    def get_flops(model: Any, dataset: Any, *arguments: Any, **named: Any) -> Any:
        return "not counted" if _hook("is_own", dataset.config) else count(model, dataset, *arguments, **named)

    def load_data_and_model(model_file: Any, trust_checkpoint: bool = False) -> Any:
        return recbole_cadmr_hook("load_data_and_model", model_file, trust_checkpoint)  # type: ignore[name-defined]  # noqa: F821

    module.get_flops, module.recbole_cadmr_hook = get_flops, _hook  # type: ignore[attr-defined]
    module.load_data_and_model.__code__ = load_data_and_model.__code__
    module.load_data_and_model.__defaults__ = load_data_and_model.__defaults__


_HOOKED: dict[str, Callable[[ModuleType], None]] = {
    "recbole.config.configurator": _hook_class("Config", "config_class"),
    "recbole.data.dataset.dataset": _hook_class("Dataset", "dataset_class"),
    "recbole.data.utils": _hook_loaders,
    "recbole.quick_start.quick_start": _hook_quick_start,
    "recbole.trainer.trainer": _hook_class("Trainer", "trainer_class"),
}
