"""Whatever is given as a setting, in Python, in a file or on a command line, is taken or refused in one sentence."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.yaml_text import parse_value, read_yaml
from recbole_cadmr.errors import UserError
from tests.config.test_judgements import JUDGED

pytestmark = pytest.mark.fuzz

WORDS = sorted({word for setting in JUDGED.values() for word in (*(setting.fields or ()), *map(str, setting.choices))})
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=9), st.sampled_from(WORDS),
    st.sampled_from(["[3,inf)", "(0,5];[8,8]", "[", "2020-13-45", "Recall@2", "GAUC", "inter", 10**4000, float("inf")]),
)  # fmt: skip
KEYS = st.one_of(st.sampled_from(WORDS), st.text(max_size=5), st.integers(0, 30))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
NAMES = st.one_of(st.sampled_from(sorted(JUDGED.keys() - {"gpu_id", "use_gpu"})), st.text(max_size=8))


def taken_or_refused(act):
    """What ``act`` returns; None if it refuses in one short sentence."""
    try:
        return act()
    except UserError as error:
        assert 0 < len(str(error)) < 1500 and "\n" not in str(error)
        return None


@given(st.dictionaries(NAMES, VALUES, max_size=3), st.sampled_from(["BPR", "CADMR", "MultiVAE"]))
def test_settings_in_python(values, model):
    config = taken_or_refused(lambda: Config(model, settings=values))
    if config is not None:
        plain = config.plain_settings()
        assert Config(settings=plain).plain_settings() == plain


@given(
    st.one_of(
        st.text(), VALUES.map(lambda value: yaml.dump(value, allow_unicode=True)), st.text("[]{}(),:&*!#'\"\\ -ai0\n")
    )
)
def test_values_of_a_command_line(text):
    taken_or_refused(lambda: parse_value(text))


@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_files(content):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "c.yaml"
        file.write_bytes(content)
        taken_or_refused(lambda: read_yaml(file))
