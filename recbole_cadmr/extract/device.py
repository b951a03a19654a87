"""Where a network computes."""

from __future__ import annotations

import torch

from recbole_cadmr.errors import UserError


def place_of(device: str | None) -> torch.device:
    """The device of a name such as ``cuda:0``; a GPU if there is one, where no name is given.

    Raises:
        UserError: if this machine has no such device.
    """
    try:
        return torch.empty(0, device=device or ("cuda" if torch.cuda.is_available() else "cpu")).device
    except (RuntimeError, AssertionError) as error:  # the latter: a torch that was built without CUDA
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"cannot compute on --device {device}: {reason}") from error
