"""What fuzz tests draw: awkward values, and files that were edited or damaged."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

_BRIEF = 50  # examples of the default profile, see tests/conftest.py


def effort(n: int) -> settings:
    """``n`` examples, the same ones in every run; by the profile of ``-m fuzz`` more, other ones every time."""
    more = settings.default.max_examples // _BRIEF
    brief = {"derandomize": True, "phases": [Phase.generate]}  # shrinking takes minutes where an example is a training
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=n * more, database=None, suppress_health_check=quiet, **({} if more > 1 else brief))


# Texts that yaml, numpy, pandas, a terminal or a file system treats in a way of its own.
_AWKWARD = ["", "None", "~", "null", "nan", "-inf", "1e400", "0x10", "1_000", "2020-13-45", "[5,inf)", "*a", "&a [*a]",
            "!!python/object:os.system", "{", "\0", "\ud800", "\u2028", "../..", "/", "<img src=x>", "'", "9" * 5000,
            "full", "RS", "LS", "TO", "user", "valid_and_test", "Recall@5"]  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.integers()
    | st.floats()
    | st.sampled_from(_AWKWARD)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | scalars, inner, max_size=3),
    max_leaves=6,
)
json_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
json_values = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def edited(draw: st.DrawFn, content: Any, replacements: st.SearchStrategy[Any] = json_values) -> Any:
    """``content`` (mappings and lists, nested) with one of its entries removed or replaced by something else."""
    changed = copy.deepcopy(content)
    place = changed
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        inner = place[key]
        if isinstance(inner, (dict, list)) and len(inner) and draw(st.booleans()):
            place = inner
            continue
        if draw(st.booleans()):
            place[key] = draw(replacements)
        else:
            del place[key]
        return changed


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` cut short, with a piece of it repeated, or with some bytes replaced or inserted."""
    at = draw(st.integers(0, max(len(content) - 1, 0)))
    kind = draw(st.sampled_from(["cut", "replace", "insert", "repeat"]))
    if kind == "cut":
        return content[:at]
    size = draw(st.integers(1, 16))
    if kind == "repeat":
        return content[: at + size] + content[at:]
    awkward = st.sampled_from([b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"\r"])
    piece = draw(st.binary(min_size=1, max_size=size) | awkward)
    return content[:at] + piece + content[at + (len(piece) if kind == "replace" else 0) :]
