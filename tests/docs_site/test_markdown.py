"""Links, notebooks and docstrings in the site, and what it tells of pages that GitHub would show otherwise."""

from __future__ import annotations

import json

import pytest

from tools.docs_site.markdown import code, table
from tools.docs_site.notebooks import notebook_page
from tools.docs_site.repository import Rewriter, source_page


@pytest.fixture
def repository(tmp_path):
    for name, text in {
        "README.md": "", "CONTRIBUTING.md": "", "properties/a.yaml": "size: 1\n", "docs/data.md": "", "docs/own.py": "",
        "docs/deep/page.md": "", "docs/notebooks/first.ipynb": "{}",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("place", "uri", "link", "becomes"),
    [
        ("docs/deep/page.md", "deep/page.md", "../data.md#x", "../data.md#x"),
        ("docs/deep/page.md", "deep/page.md", "../../README.md", "../index.md"),
        ("docs/data.md", "data.md", "../properties/a.yaml", "source/properties/a.yaml.md"),
        ("docs/data.md", "data.md", "own.py", "source/docs/own.py.md"),
        ("docs/data.md", "data.md", "notebooks/first.ipynb", "notebooks/first.md"),
        ("README.md", "index.md", "docs/data.md#y", "data.md#y"),
        ("README.md", "index.md", "CONTRIBUTING.md", "contributing.md"),
        ("README.md", "index.md", "https://github.com/docs/data.md", "https://github.com/docs/data.md"),
        ("README.md", "index.md", "#results", "#results"),
        # A notebook's page leads to the file itself.
        ("docs/notebooks/first.ipynb", "notebooks/first.md", "first.ipynb", "first.ipynb"),
    ],
)
def test_links_lead_to_where_a_file_stands_in_the_site(repository, place, uri, link, becomes):
    rewritten = Rewriter(repository, place, uri).rewritten(f"see [this]({link}).\n")
    assert rewritten.text == f"see [this]({becomes}).\n" and not rewritten.missing


def test_links_to_nothing_are_told_and_code_is_left_alone(repository):
    rewritten = Rewriter(repository, "README.md", "index.md").rewritten("[a](docs/no.md)\n```\n[b](docs/no.md)\n```\n")
    assert rewritten.missing == ["docs/no.md"] and rewritten.text.endswith("[b](docs/no.md)\n```\n")
    uri, page = source_page(repository, "properties/a.yaml")
    assert uri == "source/properties/a.yaml.md" and page.endswith("# properties/a.yaml\n\n````yaml\nsize: 1\n````\n")


def test_a_notebook_is_its_texts_and_its_code(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# First run\n", "\n", "[Text](#First-run)."]},
        {"cell_type": "code", "source": ["import x\n", "x.run()"], "outputs": []},
    ]
    file = tmp_path / "first.ipynb"
    file.write_text(json.dumps({"cells": cells}))
    assert notebook_page(file) == (
        "# First run\n\n[Text](#first-run).\n\n[This page as a notebook](first.ipynb)\n\n"
        "```python\nimport x\nx.run()\n```\n"
    )
    cells[1]["outputs"] = [{}]
    file.write_text(json.dumps({"cells": cells}))
    with pytest.raises(ValueError, match="holds outputs"):
        notebook_page(file)


def test_tables_and_values():
    assert table(["a", "b"], [["x|y", "1\n2"]]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 2 |\n"
    assert [code(value) for value in (True, [1, 2.0], "relu", {"a": None})] == [
        "`True`", "`[1, 2.0]`", "`relu`", "`{a: null}`"
    ]  # fmt: skip


def test_what_github_shows_otherwise_is_told():
    pytest.importorskip("markdown_it")
    from tools.docs_site.github import differences, for_site

    nested = "- a\n  - b\n"
    flat = "<ul><li>a</li><li>b</li></ul>"
    assert [text.partition(":")[0] for text in differences(nested, flat)] == ["GitHub shows 2 lists, the site 1"]
    linked = '<h2>A <a class="headerlink" href="#a">#</a></h2><p><a href="b">b</a></p>'
    assert differences("## A\n\n[b](b)\n", linked) == []
    assert differences("a *b\n", "<p>a b</p>") == ["GitHub shows 'a*b', the site 'ab' (blanks left out)"]
    assert for_site("| `a\\|b` | c\\|d |\n`a\\|b`\n") == "| `a|b` | c\\|d |\n`a\\|b`\n"


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")
    from tools.docs_site.docstrings import rewritten

    docstring = (
        "Of :class:`A`::\n\n    code\n\nArgs:\n    a, b: both,\n        more.\n    c: one.\n\nReturns:\n    a, b: x\n"
    )
    assert rewritten(docstring, lambda name: f"m.{name}") == (
        'Of <autoref identifier="m.A" optional><code>A</code></autoref>:\n\n    code\n\n'
        "Args:\n    a: both,\n        more.\n    b: both,\n        more.\n    c: one.\n\nReturns:\n    a, b: x\n"
    )
