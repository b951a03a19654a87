"""RecBole: which one is needed, and what it does to the process, the log and the screen of whoever uses it."""

from __future__ import annotations

import functools
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cadmr.errors import MissingRecBole

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RECBOLE = "1.2.1"  # as setup.py has it: its internals are overridden, so that another one has to be tried first


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
    # Of tqdm, which transformers imports, in a notebook without widgets: bars are text there.
    warnings.filterwarnings("ignore", message="IProgress not found")
    return True


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
