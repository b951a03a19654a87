"""Where a Ray cluster listens."""

from __future__ import annotations

import os
import sys


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
