"""``import recbole_cadmr`` and ``--help`` import nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recbole_cadmr.data.change import CHANGES
from recbole_cadmr.data.prepare import SOURCES

# Each takes a tenth of a second or more; numpy, which the package cannot do without, is allowed.
HEAVY = [
    "jinja2", "matplotlib", "msgspec", "optuna", "pandas", "PIL", "plotly", "pyarrow", "ray", "recbole", "requests",
    "scipy", "sentence_transformers", "sklearn", "tensorboard", "torch", "torchvision", "transformers",
]  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "import recbole_cadmr",
        "import recbole_cadmr.cli.main as m; [m.main([*c.split(), '--help']) for c in ' train evaluate recommend"
        " serve benchmark tune table prepare generate doctor'.split(' ')]",
    ],
)
def test_nothing_heavy_is_imported(code):
    report = f"import sys; print(sorted({{*{HEAVY}}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    if "main" in code:
        assert done.stdout.count("usage: recbole-cadmr") == 11


def test_the_help_of_a_source_needs_neither_torch_nor_plotly():
    names = [*SOURCES, *CHANGES]
    code = f"import recbole_cadmr.cli.main as m; [m.main(['prepare', s, '--help']) for s in {names}]"
    report = "import sys; print(sorted({'plotly', 'recbole', 'sklearn', 'torch'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    assert done.stdout.count("usage: recbole-cadmr prepare") == len(names) and done.stdout.splitlines()[-1] == "[]"
