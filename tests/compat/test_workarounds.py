"""Each workaround is applied once, and said."""

from __future__ import annotations

import scipy.sparse

from recbole_cadmr.compat import workarounds


def test_status_remembers_what_was_applied(monkeypatch):
    monkeypatch.setattr(workarounds, "_changed", {})
    monkeypatch.delattr(scipy.sparse.dok_matrix, "_update", raising=False)
    workarounds.apply()
    first = workarounds.status()
    workarounds.apply()
    assert workarounds.status() == first
    assert first["scipy dok_matrix"] == "applied"
