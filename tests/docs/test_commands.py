"""Every command that the documentation shows is read by the real parser, and its settings by the real ``Config``."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from recbole_cadmr.benchmark.plan import model_specs, seeds_of
from recbole_cadmr.cli.parser import build_parser
from recbole_cadmr.config.config import Config
from recbole_cadmr.config.deprecated import current_name
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.own import is_reference
from recbole_cadmr.study.plan import read_plan
from recbole_cadmr.tuning.plan import make_plan
from tests.docs.blocks import (
    PAGES,
    ROOT,
    RUN,
    SHOWN,
    Block,
    arguments_of,
    blocks_of,
    commands,
    inline_commands,
    shown_commands,
)

# What a mark may say for itself, and what the block must show of it.
REASONS = {
    "download": r"--download|prepare (amazon|movielens|microlens)|curl .*https|git clone|wget",
    "install": r"\bpip install|apt(-get)? install|conda ",
    "container": r"\b(podman|docker)\b",
    "cluster": r"--ray-address|ray start",
    "database": r"--url|--to_sql",
    "GPU": r"--device|--gpus|cuda",
    "hours": r"tests/benchmarks/|-m (slow|fuzz)|newer_python",
    "release": r"twine|git (tag|push)",
}  # fmt: skip

# In the text: what stands for something else, and what may be left out.
PLACEHOLDER = re.compile(r"\.\.\.|\[.+|[A-Z](,[A-Z])*|COMMAND|NAME|SOURCE|--help")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def check(arguments: list[str]) -> None:
    """Raise :class:`UserError` unless the command line is one: its options, and the settings that it gives."""
    known = build_parser().parse_args(arguments)
    settings = getattr(known, "settings", {})
    models = known.models if known.command == "benchmark" else [getattr(known, "model", None) or "CADMR"]
    if known.command in ("evaluate", "recommend", "serve") or any(map(is_reference, models or ())):
        return  # without settings, or with those of a class that only its reader has
    if known.command == "benchmark" and models:
        model_specs(models, ["synthetic"], settings)
    if known.command in ("benchmark", "study") and known.seeds:
        seeds_of(known.seeds)
    if known.command == "study" and known.study and not known.study.endswith(".yaml"):
        read_plan(known.study)
    if known.command in ("train", "tune"):
        if known.mmrec_config and not known.model:
            models = [Path(known.mmrec_config[-1]).stem]
        if known.command == "train":
            Config(models[0], settings={"preset": known.preset, **settings})
        elif not known.resume:
            options = {name: getattr(known, name) for name in ("preset", "trials", "grace")}
            options |= {"sampler": known.sampler or "random", "scheduler": known.scheduler or "asha"}
            make_plan(models[0], None, settings=settings, **options)
    for name in settings:
        model, _, own = name.rpartition(".")
        now = current_name(model.partition("@")[0] or models[0].partition("@")[0], own)
        assert now == own, f"--{name} is called {now} now"


def check_names(arguments: list[str]) -> None:
    """Raise :class:`UserError` unless the command is there, and has the options that it is shown with."""
    parser = build_parser()
    for word in arguments:
        declare, parser.declare = parser.declare, None
        if declare is not None:
            declare(parser)
        if parser._subparsers is not None and word.isidentifier() and not word.isupper():
            (commands_of,) = parser._subparsers._group_actions
            if word not in commands_of.choices:
                raise UserError(f"there is no command '{word}'")
            parser = commands_of.choices[word]
        option = word.strip("[]").partition("=")[0]
        if option.startswith("--") and option not in parser._option_string_actions and not parser.takes_settings:
            raise UserError(f"there is no option '{option}'")


def wrong(command: list[str], is_inline: bool = False) -> str | None:
    """What is wrong with a command line, if anything; one in the text may be a sketch."""
    arguments = arguments_of(command)
    if arguments is None:
        if Path(command[0]).name == "pytest" or command[0] == "python":
            named = [word for word in command[1:] if re.fullmatch(r"(tests|docs|tools)/\S+", word)]
            if missing := [word for word in named if not (ROOT / word).exists()]:
                return f"there is no {missing[0]}"
        is_ours = re.search(r"-m recbole_cadmr|run_recbole_cadmr\.py", " ".join(command))
        return "cannot be read as a command of the package" if is_ours else None
    try:
        (check_names if is_inline and any(map(PLACEHOLDER.fullmatch, arguments)) else check)(arguments)
    except (UserError, AssertionError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one(page):
    found = [(block.line, command, False) for block in blocks_of(page) for command in shown_commands(block)]
    found += [(line, command, True) for line, command in inline_commands(page)]
    faults = [
        f"{page}:{line}: {shlex.join(command)}\n    {fault}"
        for line, command, is_inline in found
        if (fault := wrong(command, is_inline))
    ]
    assert not faults, "\n" + "\n".join(faults)


def escaped(block: Block) -> str | None:
    """Why a block is neither run, nor marked with a reason that can be seen to be one; None if it is."""
    if block.language not in (*RUN, *SHOWN):
        return f"say what it is: ```{' ```'.join(RUN)} if a reader runs it, else ```{' ```'.join(SHOWN)}"
    if block.mark is None:
        return None
    if block.language in SHOWN:
        return "it is not run by a reader, and needs no mark"
    if block.mark == "slow":
        return None if block.reason else "say behind 'slow:' how long it takes"
    kinds = [kind for kind in REASONS if re.search(rf"\b{kind}", block.reason)]
    if not kinds:
        return f"the reason must name one of {', '.join(REASONS)}, not {block.reason!r}"
    if not any(re.search(REASONS[kind], block.text) for kind in kinds):
        return f"nothing in it is of that reason ({block.reason}), so that it can be run"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_no_block_escapes(page):
    faults = [f"{block.place}: {fault}" for block in blocks_of(page) if (fault := escaped(block))]
    assert not faults, "\n" + "\n".join(faults)


# What the two tests above stand on


def test_blocks_and_their_marks_are_found():
    page = """text
<!-- not run: needs a download of 2 GB -->

```bash
ls   # one's own
```
- in a list

    ~~~python title="a"
    if a:
        b
    ~~~
````text
```bash
````
<!-- not run -->
```bash
true
```
"""
    assert blocks_of("p.md", page) == [
        Block("p.md", 5, "bash", "ls   # one's own\n", "not run", "needs a download of 2 GB"),
        Block("p.md", 10, "python", "if a:\n    b\n"),
        Block("p.md", 14, "text", "```bash\n"),
        Block("p.md", 18, "bash", "true\n", "not run", ""),
    ]
    with pytest.raises(AssertionError, match=r"p.md:1: this block does not end"):
        blocks_of("p.md", "```bash\nls\n")


def test_commands_are_read_as_bash_reads_them():
    script = """cd a && python -m recbole_cadmr table "b c" \\
    d 2>&1 | tail -n 1 > x.txt   # somebody's "comment
for seed in 1 2; do python run_recbole_cadmr.py --seed=$seed --note 'a > 5 # no comment'; done
cat > f <<'END'
A=1 recbole-cadmr models; it's
END
python -m recbole_cadmr serve "${X:=8}" &
"""
    script = script.replace("; it's", "")
    found = [found for command in commands(script) if (found := arguments_of(command)) is not None]
    assert found == [
        ["models"],
        ["table", "b c", "d"],
        ["train", "--seed=$seed", "--note", "a > 5 # no comment"],
        ["serve", "8"],
    ]
    with pytest.raises(ValueError, match="unexpected EOF"):
        commands("ls 'a\n")


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("python -m recbole_cadmr evaluate --checkpoint a --top 5", "there is no option '--top'"),
        ("python -m recbole_cadmr evaluate --checkpoint a --topk five", "must be a whole number"),
        ("python -m recbole_cadmr similar --checkpoint a", "are required: --item"),
        ("python -m recbole_cadmr evaluated", "invalid choice"),
        ("python run_recbole_cadmr.py --epoch=3", "did you mean epochs"),
        ("python run_recbole_cadmr.py --model=LightGCN --n_layers=many", "n_layers"),
        ("python run_recbole_cadmr.py --preset=worst", "no preset"),
        ("python run_recbole_cadmr.py --model=LinearCADMR --regularisation=3", "is called reg_weight now"),
        ("python -m recbole_cadmr benchmark --models CADMR,EASE --CADMR.n_layers=2 --output D", "n_layers"),
        ("python -m recbole_cadmr benchmark --models CADMR@nice --output D", "nice"),
        ("python -m recbole_cadmr benchmark --models CADMR --seeds 1,a --output D", "--seeds must be"),
        ("python -m recbole_cadmr tune --model EASE --sampler best --output D", "no sampler 'best'"),
        ("python -m recbole_cadmr study head --output D", "no study 'head'"),
        ("python -m recbole_cadmr recommend ... --histories FILE", "there is no option '--histories'"),
        ("python -m recbole_cadmr recommends ...", "there is no command 'recommends'"),
        ("nohup python -m recbole_cadmr.cli.main train", "cannot be read as a command"),
        ("pytest tests/nothing.py", "there is no tests/nothing.py"),
    ],
)
def test_what_is_wrong_is_seen(command, fault):
    (words,) = commands(command)
    assert fault in (wrong(words, "..." in words) or "")


@pytest.mark.parametrize(
    ("language", "mark", "reason", "text", "fault"),
    [
        ("", None, "", "ls", "say what it is"),
        ("sh", None, "", "ls", "say what it is"),
        ("bash", "not run", "", "ls", "the reason must name one of"),
        ("bash", "not run", "too dull", "ls", "the reason must name one of"),
        ("bash", "not run", "a download of 2 GB", "python -m recbole_cadmr models", "so that it can be run"),
        ("bash", "not run", "a download of 2 GB", "python -m recbole_cadmr prepare amazon --download", None),
        ("bash", "slow", "", "ls", "how long it takes"),
        ("bash", "slow", "two minutes", "ls", None),
        ("yaml", "not run", "a download", "a: --download", "needs no mark"),
        ("yaml", None, "", "a: 1", None),
    ],
)
def test_who_escapes_is_seen(language, mark, reason, text, fault):
    found = escaped(Block("p.md", 1, language, text, mark, reason))
    assert found is None if fault is None else fault in str(found)
