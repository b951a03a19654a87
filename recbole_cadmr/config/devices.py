"""``CUDA_VISIBLE_DEVICES``, which RecBole's ``Config`` overwrites: what the process was given is kept."""

from __future__ import annotations

import os

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_devices: dict[
    str, str | None
] = {}  # what the variable was before a run of this process chose among them, and is since


def given_devices() -> str | None:
    """``CUDA_VISIBLE_DEVICES`` as the process was given it, whatever a run has chosen of them since."""
    now = os.environ.get(_VISIBLE)
    return _devices["given"] if _devices and now == _devices["chosen"] else now


def set_devices(value: str | None) -> None:
    """Set ``CUDA_VISIBLE_DEVICES``, or remove it."""
    if value is None:
        os.environ.pop(_VISIBLE, None)
    else:
        os.environ[_VISIBLE] = value


def note_chosen(given: str | None) -> None:
    """Note that a run has chosen among the ``given`` devices those which are visible now."""
    _devices.update(given=given, chosen=os.environ[_VISIBLE])
