"""Workarounds for upstream bugs: nothing else patches foreign code, but for the hooks of ``recbole_api/install.py``.

Each workaround is for one bug, names its upstream thread, and does nothing where the bug is absent, so that it becomes
dead, not wrong, once upstream is fixed. Those that nobody has to ask for are listed in :mod:`compat.workarounds`.

One known bug has no workaround here on purpose: ``torch.load`` refuses RecBole's checkpoints since torch 2.6
(https://github.com/RUCAIBox/RecBole/issues/2212) because they are pickles, and a pickle can run code. This package
writes checkpoints that load with ``weights_only=True`` instead.
"""
