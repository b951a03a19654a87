"""The fenced blocks of README, CONTRIBUTING and docs, and the commands that they and the text between them show."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = ("bash", "python")  # languages of what a reader runs
SHOWN = ("csv", "html", "ini", "json", "nginx", "sql", "text", "yaml")  # of what is read or copied
PAGES = [
    file.relative_to(ROOT).as_posix()
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md")))
]

_FENCE = re.compile(r"( *)(`{3,}|~{3,})\s*([^\s`]*)")
_MARK = re.compile(r"\s*<!-- (not run|slow)(?:: (.*?))? *-->\s*")
_INLINE = re.compile(r"(?<!`)`((?:python (?:-m recbole_cadmr|run_recbole_cadmr\.py)|recbole-cadmr) [^`]+)`(?!`)")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n(.*?)\n\2\n", re.DOTALL)
# A quoted text, or a redirection, as ``declare -f`` writes them.
_REDIRECTED = re.compile(r"""('[^']*'|"(?:\\.|[^"\\])*")|\s\d?(?:>>?|<)\s*(?:&\d|\S+)""", re.DOTALL)
_DEFAULT = re.compile(r"\$\{\w+:[=-]([^}]*)\}")
_PYTHON = re.compile(r"(?:\S*/)?python3?(?:\.\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: of the page, the first one of its content.
        mark, reason: what the comment above it says, if there is one: ``<!-- not run: reason -->``, or ``slow``.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str | None = None
    reason: str = ""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str | None = None) -> list[Block]:
    """All fenced blocks of a page, in order, without the indentation of a list that they are in."""
    lines = ((ROOT / page).read_text(encoding="utf-8") if text is None else text).splitlines()
    found: list[Block] = []
    opened: tuple[int, str, str, str] | None = None
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened = (number, fence[1], fence[2], fence[3])
        elif opened and fence and fence[2].startswith(opened[2]) and not fence[3]:
            first, indent, _, language = opened
            content = "\n".join(line.removeprefix(indent) for line in lines[first + 1 : number])
            above = next((above for above in reversed(lines[:first]) if above.strip()), "")
            mark = _MARK.fullmatch(above)
            said = (mark[1], mark[2] or "") if mark else (None, "")
            found.append(Block(page, first + 2, language, content + "\n", *said))
            opened = None
    assert opened is None, f"{page}:{opened[0] + 1}: this block does not end"
    return found


def commands(script: str) -> list[list[str]]:
    """The words of all commands of a shell script, those of files that it writes (``<<END``) among them.

    Bash itself takes out comments and joins lines; words are not expanded, but for ``${NAME:=default}``.

    Raises:
        ValueError: if bash cannot read it.
    """
    found = []
    while match := _HEREDOC.search(script):
        if re.search("recbole.cadmr", match[4]):
            found += commands(match[4] + "\n")
        script = script[: match.start()] + match[3] + "\n" + script[match.end() :]
    done = subprocess.run(
        ["bash", "-c", f"f() {{\n{script}\n}}\ndeclare -f f"], capture_output=True, text=True, check=False
    )
    if done.returncode or done.stderr:
        raise ValueError(done.stderr.strip())
    body = done.stdout.removeprefix("f () \n{ \n").rstrip().removesuffix("}")
    words = shlex.shlex(_REDIRECTED.sub(r"\1", body) + "\n", posix=True, punctuation_chars="();|&\n")
    words.whitespace, words.whitespace_split, words.commenters = " \t\r", True, ""
    command: list[str] = []
    for word in words:
        if word.strip("();|&\n"):
            command.append(_DEFAULT.sub(r"\1", word))
        elif command:
            found.append(command)
            command = []
    return found


def shown_commands(block: Block) -> list[list[str]]:
    """The commands of a block of bash, or the lines of another one that show one of the package."""
    if block.language == "bash":
        return commands(block.text)
    if block.language in SHOWN:
        lines = [line for line in block.text.splitlines() if "-m recbole_cadmr" in line]
        return [shlex.split(line[re.search(r"\S*python", line).start() :]) for line in lines]  # type: ignore[union-attr]
    return []


def inline_commands(page: str) -> list[tuple[int, list[str]]]:
    """Whole commands of the package that stand in the text of a page, with their lines."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    return [(number, shlex.split(match[1])) for number, line in enumerate(lines, 1) for match in _INLINE.finditer(line)]


def arguments_of(command: list[str]) -> list[str] | None:
    """The arguments of the package's command line, whatever runs it (``podman run ... python -m ...``); else None."""
    for place, word in enumerate(command):
        if Path(word).name == "recbole-cadmr":
            return command[place + 1 :]
        if not _PYTHON.fullmatch(word):
            continue
        rest = command[place + 1 :]
        if rest[:2] == ["-m", "recbole_cadmr"]:
            return rest[2:]
        if rest[:1] == ["run_recbole_cadmr.py"]:
            return ["train", *rest[1:]]
    return None
