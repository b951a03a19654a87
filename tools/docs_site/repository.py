"""Files of the repository outside ``docs/``: where they stand in the site, and links to them."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path

# Pages of the site that are written at the top of the repository.
ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".cff": "yaml", ".py": "python", ".sh": "bash", ".toml": "toml"}
_FENCE = re.compile(r"^ *(`{3,}|~{3,})")
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#|/")


@dataclass
class Rewritten:
    """A page with links of the site; ``sources`` are the files that it shows, ``missing`` those that are not there."""

    text: str
    sources: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Rewriter:
    """Rewrites the links of one page.

    Attributes:
        place: where the page is written, from the ``root`` of the repository.
        uri: where it stands in the site.
    """

    root: Path
    place: str
    uri: str

    def rewritten(self, markdown: str) -> Rewritten:
        """The page with links that lead to pages of the site; what stands in fenced blocks is left as it is."""
        result = Rewritten("")
        lines, fence = [], ""
        for line in markdown.splitlines(keepends=True):
            mark = _FENCE.match(line)
            if fence:
                fence = "" if mark and mark[1].startswith(fence) else fence
            elif mark:
                fence = mark[1]
            else:
                line = _LINK.sub(lambda link: self._target(link[0], result), line)
            lines.append(line)
        result.text = "".join(lines)
        return result

    def _target(self, target: str, result: Rewritten) -> str:
        if _ELSEWHERE.match(target):
            return target
        path, mark, anchor = target.partition("#")
        name = posixpath.normpath(posixpath.join(posixpath.dirname(self.place), path))
        if not (self.root / name).is_file():
            result.missing.append(target)
            return target
        return posixpath.relpath(self._uri(name, result), posixpath.dirname(self.uri) or ".") + mark + anchor

    def _uri(self, name: str, result: Rewritten) -> str:
        if name in ROOT_PAGES:
            return ROOT_PAGES[name]
        if name.startswith("docs/") and not name.endswith(".py"):
            notebook = name.endswith(".ipynb") and name != self.place  # whose own link is to the file
            return name.removeprefix("docs/").replace(".ipynb", ".md") if notebook else name.removeprefix("docs/")
        result.sources.add(name)
        return _source_uri(name)


def _source_uri(name: str) -> str:
    return f"source/{name}.md"


def source_page(root: Path, name: str) -> tuple[str, str]:
    """Where a page that shows a file of the repository stands in the site, and its text."""
    text = (root / name).read_text(encoding="utf-8")
    language = _LANGUAGES.get(posixpath.splitext(name)[1], "text")
    return (
        _source_uri(name),
        f"---\nsearch:\n  exclude: true\n---\n\n# {name}\n\n````{language}\n{text.rstrip()}\n````\n",
    )
