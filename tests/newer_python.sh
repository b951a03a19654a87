#!/usr/bin/env bash
# Run the tests on another Python, in an environment of its own: tests/newer_python.sh PYTHON [--fast | ARGUMENT OF PYTEST ...]
#
# Each Python gets what the README's command installs, but for 3.11, where RecBole's own choice is the default: it gets what
# setup.py asks for from 3.12 on, so that numpy 2, pandas 3 and today's Ray are tried on it, too. (pandas 3 needs 3.11.)
# --fast runs what depends most on other packages' versions.
set -euo pipefail
[[ $# -ge 1 ]] || { sed -n '2s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$1
shift

environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
"$python" -m venv "$environment"
PATH="$environment/bin:$PATH"
export PIP_NO_COMPILE=1 # the tests import a part of it

if python -c 'import sys; sys.exit(sys.version_info[:2] == (3, 11))'; then
    pip install --quiet -e ".[test]"
else
    pip install --quiet packaging "setuptools>=80"
    pip install --quiet --no-deps --no-build-isolation -e .
    python - >"$environment/requirements" <<'PYTHON'
from importlib.metadata import requires

from packaging.requirements import Requirement

there = [{"python_version": "3.12", "extra": extra} for extra in ("", "test")]
for needed in map(Requirement, requires("recbole_cadmr")):
    # torch within both bounds: most of what is downloaded, and found in pip's cache after RecBole's stack.
    if not needed.marker or needed.name == "torch" or any(map(needed.marker.evaluate, there)):
        needed.marker = None
        print(needed)
PYTHON
    pip install --quiet --requirement "$environment/requirements"
fi
pip install --quiet --no-deps "recbole==$(python -c 'from recbole_cadmr.compat.recbole import RECBOLE; print(RECBOLE)')"
pip list 2>/dev/null | grep -E '^(numpy|pandas|ray|recbole|scipy|torch) ' || true

if [[ ${1-} == --fast ]]; then
    set -- tests/compat tests/layers \
        tests/data/test_{archive,bad_files,controls,database}.py \
        tests/models/test_conformance.py::Test{VBPR,LinearCADMR,AddEASE} \
        tests/reports/test_benchmark_page.py tests/runs/test_evaluation.py tests/recommender/test_recommend.py \
        tests/tuning/test_tune.py::test_a_grid_tries_every_point_and_the_defaults
fi
pytest "$@"
