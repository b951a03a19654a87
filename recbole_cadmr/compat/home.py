"""A home folder for users unknown to the system."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


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
