"""Every block of bash and Python of the documentation is run, page by page, by a reader who has what pages speak of.

``pytest tests/docs -k PAGE`` runs one page. ``-m slow`` runs all of them with Ray's searches, and what is marked slow.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, RUN, Block, blocks_of
from tests.docs.interpreter import BASH, Interpreter
from tests.docs.shell import WARM, environment, free_port, warm_python, write_tool
from tests.docs.world import make_world

NEEDED = ("bash", "curl", "base64")
ELSEWHERE = {"docs/shop.md": "tests/test_shop.py"}  # run by a test of its own
# What a reader has defined, or has to know, before the blocks of a page.
BEFORE = {
    "docs/python.md": "import pandas as pd\nin_stock = ['B00A2', 'i0003', 'i0004']\n"
    "today = pd.DataFrame({'user_id': ['17', 'new'], 'item_id': ['i0003', 'B00A2']})",
}
# What has to be true after the blocks of Python of a page.
AFTER = {
    "docs/recbole_tools.md": "assert 0 < result['test_result']['recall@20'] < 1\n"
    "assert test_result == recbole_cadmr.evaluate(trainer.saved_model_file)['result']\n"
    "assert best.shape == (2, 10) and text.shape[1] > 1",
}
# A service in the foreground is one in the background here, which answers before the next line; its port is free.
SERVE = re.compile(r"^python -m recbole_cadmr serve (?:[^\n]*\\\n)*[^\n&]*$", re.MULTILINE)
READY = (
    " > serve-{0}.log 2>&1 & curl -s --retry 200 --retry-delay 1 --retry-connrefused 127.0.0.1:{0}/ready > /dev/null"
)
PORT, URL = re.compile(r" --port 80(\d\d)"), re.compile(r"127\.0\.0\.1:80(\d\d)")
# Runs as pages name them: ``saved/CADMR-baby-...``, ``saved/RUN``, ``saved/BPR-Nov-30-2026_07-39-50.pth``.
SAVED = re.compile(r"saved/(?:RUN|([\w-]+-)\.\.\.|(\w+)-[A-Z][a-z]{2}-\d\d-\d{4}_[\d-]+(\.pth))")

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in NEEDED), reason=f"needs the commands {', '.join(NEEDED)}"
)


@contextmanager
def a_reader(folder: Path, *modules: str) -> Iterator[dict[str, str]]:
    """A reader's world and shell, whose variables are given; ``python`` is one with ``modules`` imported."""
    stand_in = Path(__file__).with_name("stand_in.py")
    variables = environment(folder, f'exec "{sys.executable}" -IS "{stand_in}" "$@"')
    variables["WARM_EXECUTABLE"] = str(folder / "bin" / "python")
    write_tool(folder, "curl", f'exec {shutil.which("curl")} --fail-with-body "$@"')
    for tool in ("pip", "pytest", "ruff", "mypy"):  # done by whoever runs this test
        write_tool(folder, tool, "exit 0")
    with warm_python(variables, *modules):
        (folder / "world").mkdir()
        make_world(folder / "world", variables)
        yield variables


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A reader for whom trials of a search take seconds."""
    folder = tmp_path_factory.mktemp("reader")
    with a_reader(folder, "tests.docs.trials_in_process") as variables:
        yield folder, variables


@pytest.fixture(scope="module")
def patient_reader(tmp_path_factory):
    """A reader who waits for Ray, and for what is marked slow."""
    folder = tmp_path_factory.mktemp("patient")
    with a_reader(folder) as variables:
        yield folder, variables


def newest(folder: Path, match: re.Match[str], line: str) -> str:
    """The path of the newest run that a page can mean, one that is finished or, to be resumed, one that is not."""
    name, model, suffix = match[1] or "*", match[2], match[3]
    found = [
        path
        for path in (folder / "saved").glob(f"{model}-*{suffix}" if model else f"{name}*")
        if path.is_file() or (path / "result.json").exists() != ("--resume" in line)
    ]
    assert found, f"no command of the page before this one has made {match[0]}"
    return f"saved/{max(found, key=lambda path: path.stat().st_mtime).name}"


def in_background(serve: str, port: int) -> str:
    """A line that serves at ``--port`` 80XX, as one that serves at ``port`` + XX and goes on."""
    given = PORT.search(serve)
    place = port + (int(given[1]) if given else 0)
    return f"{PORT.sub('', serve.rstrip())} --port {place}{READY.format(place)}"


def as_it_is_here(block: Block, folder: Path, port: int) -> str:
    """The text of a block, in the lines that it has on its page."""
    text = SERVE.sub(lambda match: in_background(match[0], port), block.text)
    text = URL.sub(lambda match: f"127.0.0.1:{port + int(match[1])}", text)
    lines = [SAVED.sub(lambda match, line=line: newest(folder, match, line), line) for line in text.split("\n")]
    return "\n" * (block.line - 1) + "\n".join(lines)


def read_page(page: str, is_slow: bool, folder: Path, variables: dict[str, str]) -> None:
    """Run the blocks of a page in order, in ``folder``; fails with place and output of the first that fails."""
    socket = variables["WARM_SOCKET"]
    ask = f"import sys; sys.path.insert(0, {str(WARM.parent)!r}); import warm_python; sys.exit(warm_python.ask("
    commands = {
        "bash": ["bash", "-c", BASH],
        "python": [sys.executable, "-IS", "-c", f"{ask}{socket!r}, [], 'tests.docs.python_blocks'))"],
    }
    blocks = [block for block in blocks_of(page) if block.mark != "not run" and (is_slow or block.mark != "slow")]
    first = [Block(page, 1, "python", BEFORE[page])] if page in BEFORE else []
    last = [Block(page, blocks[-1].line, "python", AFTER[page])] if page in AFTER else []
    interpreters: dict[str, Interpreter] = {}
    try:
        for number, block in enumerate([*first, *blocks, *last]):
            if named := re.match(r"# ([\w-]+\.(?:py|yaml|json|hyper))\b", block.text):
                (folder / named[1]).write_text(block.text)
            if block.language not in RUN:
                continue
            file = folder.with_name(f"{folder.name}-blocks") / f"{number}-{Path(page).name}"
            file.parent.mkdir(exist_ok=True)
            file.write_text(as_it_is_here(block, folder, int(variables["PORT"])))
            if block.language not in interpreters:
                interpreters[block.language] = Interpreter(commands[block.language], folder, variables)
            begun = time.monotonic()
            is_done = interpreters[block.language].run(file)
            output = interpreters[block.language].output
            print(f"{block.place}: {time.monotonic() - begun:.1f} s\n{output}")
            assert is_done, f"{block.place}: this block fails\n{block.text}\n{output[-3000:]}"
    finally:
        for interpreter in interpreters.values():
            interpreter.close()


def has_work(page: str) -> bool:
    return page not in ELSEWHERE and any(block.language in RUN and block.mark != "not run" for block in blocks_of(page))


RUN_HERE = pytest.mark.parametrize("page", [page for page in PAGES if has_work(page)])


def read_anew(page: str, is_slow: bool, reader: tuple[Path, dict[str, str]], place: Path) -> None:
    """Read a page in a copy of the reader's world."""
    folder, variables = reader
    shutil.copytree(folder / "world", place)
    read_page(page, is_slow, place, {**variables, "PORT": str(free_port(and_next=1))})


@RUN_HERE
def test_the_blocks_of_a_page_run(page, reader, tmp_path):
    read_anew(page, False, reader, tmp_path / "page")


@pytest.mark.slow
@RUN_HERE
def test_all_blocks_of_a_page_run_with_real_searches(page, patient_reader, tmp_path):
    read_anew(page, True, patient_reader, tmp_path / "page")


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_what_is_run_elsewhere_is(page, test):
    assert page in (ROOT / test).read_text(encoding="utf-8")
