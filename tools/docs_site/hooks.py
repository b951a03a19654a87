"""The hooks of mkdocs.yml: generated pages come in, links out of ``docs/`` stay in the site, GitHub shows the same."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # mkdocs loads this file by its path

from tools.docs_site import api_pages, models_page, settings_pages  # noqa: E402
from tools.docs_site.github import differences, for_site  # noqa: E402
from tools.docs_site.notebooks import notebook_page  # noqa: E402
from tools.docs_site.repository import ROOT_PAGES, Rewriter, source_page  # noqa: E402

_log = logging.getLogger("mkdocs.hooks.docs_site")  # whose warnings fail a strict build
# Links from pages that are written by hand to the generated ones, which GitHub does not have.
_SEE_ALSO = {
    "settings.md": "All of them: [of every model](reference/settings.md), [of each](reference/model_settings.md).",
    "models.md": "All of them, with papers, traits and figures: [all models](reference/models.md).",
}
# By address in the site: where in the repository a page is written by hand, and its text but for links.
_written: dict[str, str] = {}
_read_by_github: dict[str, str] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in ``docs/``."""
    from mkdocs.structure.files import File

    def add(uri: str, text: str) -> None:
        files.append(File.generated(config, uri, content=text))

    _written.clear()
    _written.update({file.src_uri: f"docs/{file.src_uri}" for file in files.documentation_pages()})
    for name, uri in ROOT_PAGES.items():
        _written[uri] = name
        add(uri, (ROOT / name).read_text(encoding="utf-8"))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        uri = notebook.src_uri.removesuffix(".ipynb") + ".md"
        _written[uri] = f"docs/{notebook.src_uri}"
        add(uri, notebook_page(ROOT / "docs" / notebook.src_uri))
    for pages in (settings_pages, models_page, api_pages):
        for uri, text in pages.pages(ROOT).items():
            add(uri, text)
    linked: set[str] = set()
    for uri, place in _written.items():
        file = files.get_file_from_path(uri)
        assert file is not None
        linked |= Rewriter(ROOT, place, uri).rewritten(file.content_string).sources
    for name in sorted(linked):
        add(*source_page(ROOT, name))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links to files of the repository into links of the site, and tables into what mkdocs reads."""
    place = _written.get(page.file.src_uri)
    if place is None:
        return for_site(markdown)
    rewritten = Rewriter(ROOT, place, page.file.src_uri).rewritten(markdown)
    for target in rewritten.missing:
        _log.warning("%s links to %s, which is no file of the repository", place, target)
    see_also = _SEE_ALSO.get(page.file.src_uri)
    _read_by_github[page.file.src_uri] = f"{rewritten.text}\n\n{see_also}\n" if see_also else rewritten.text
    return for_site(_read_by_github[page.file.src_uri])


def on_page_content(html: str, page: Page, **_: object) -> str:
    """Warn where a page that is written by hand would look otherwise on GitHub."""
    place = _written.get(page.file.src_uri)
    for difference in differences(_read_by_github[page.file.src_uri], html) if place else ():
        _log.warning("%s: %s", place, difference)
    return html
