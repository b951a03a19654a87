"""A model opened to be asked leaves the process as it was: what opening it for training sets is put back."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from recbole_cadmr.training.state import random_state, set_random_state

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_alone = threading.RLock()  # two at once would put back what the other has set


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put back, whatever happens within: random states, threads, deterministic modes, filters of warnings.

    Other threads see what is set meanwhile; one thread at a time is within.
    """
    with _alone, warnings.catch_warnings():
        threads, state = torch.get_num_threads(), random_state()
        debug, uninitialised = torch.get_deterministic_debug_mode(), _utilities().fill_uninitialized_memory
        cudnn, workspace = torch.backends.cudnn, os.environ.get(_CUBLAS)
        of_cudnn = cudnn.benchmark, cudnn.deterministic
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            set_random_state(state)
            torch.set_deterministic_debug_mode(debug)
            _utilities().fill_uninitialized_memory = uninitialised
            cudnn.benchmark, cudnn.deterministic = of_cudnn
            if workspace is None:
                os.environ.pop(_CUBLAS, None)


def _utilities() -> Any:
    return torch.utils.deterministic
