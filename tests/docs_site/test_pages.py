"""The pages that the site has beside ``docs/``: what stands in them is what the package declares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.declarations import Setting
from recbole_cadmr.config.model_yaml import preset_names
from recbole_cadmr.models.registry import MODELS, model_names
from tools.docs_site import api_pages, models_page, settings_pages
from tools.docs_site.result_tables import measured

ROOT = Path(__file__).parents[2]
RESULTS = """
| baby | seeds | recall@20 | ndcg@20 | training |
|---|---|---|---|---|
| CADMR (best) | 5 | **0.1146 ± 0.0004**\\* | <u>0.0534</u> | 6 min |
| BPR learning_rate=0.0005 | 1 | 0.0837 | 0.0363 | 2 min |

| synthetic | preset | recall@20 |
|---|---|---|
| BPR |  | 0.1338 |
| CADMR | paper | 0.1743 |

| model | cold items |
|---|---|
| VBPR | 0.0045 |

| data set | recall@20 |
|---|---|
| Baby | .1096 |
"""


def rows_of(page: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading, by their first cell."""
    lines = page[page.index(f"# {heading}\n") :].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| "))
    rows = {}
    for line in lines[first + 2 :]:
        if not line.startswith("| "):
            break
        name, *cells = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        rows[re.sub(r"[`\[\]]|\(.*\)", "", name)] = cells
    return rows


def test_measured_figures_are_those_of_tables_of_a_data_set():
    assert measured(RESULTS) == {
        ("CADMR", "best"): {"baby": {"recall@20": "0.1146 ± 0.0004", "ndcg@20": "0.0534"}},
        ("BPR", None): {"synthetic": {"recall@20": "0.1338"}},
        ("CADMR", "paper"): {"synthetic": {"recall@20": "0.1743"}},
    }


def test_models_stand_with_traits_papers_and_both_kinds_of_figures():
    page = models_page.pages(ROOT)[models_page.PAGE]
    traits, papers, figures = rows_of(page, "Of this package"), rows_of(page, "Papers"), rows_of(page, "On baby")
    assert {*traits} == {*MODELS, "CADMR@best"} and {*rows_of(page, "Of RecBole")} == {*model_names()} - {*MODELS}
    assert traits["CADMR"][:2] == ["interactions, content, item graphs", "no"]
    assert traits["CADMR@best"][:2] == ["interactions, content, item graphs", "yes"]
    assert traits["RP3beta"][0] == "interactions" and traits["TwoDomainSASRec"][0] == "sequences"
    assert papers["VBPR"] == [
        "He and McAuley, *VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback*, AAAI 2016"
    ]
    assert "[arXiv 2412.02295](https://arxiv.org/abs/2412.02295)" in papers["CADMR"][0]
    assert "<https://doi.org/" in rows_of(page, "RecBole's papers")["ADMMSLIM"][0]
    # Recall@20, NDCG@10 and NDCG@20, published and measured; the number of the source.
    assert figures["FREEDOM"][:3] == ["0.0992", "0.0330", "0.0424"] and figures["FREEDOM"][6]
    assert figures["FREEDOM"][3].startswith("0.0968 ±") and figures["GRCN@published"][3] == "0.0829"
    assert figures["CADMR@best"][:3] == ["", "", ""] and figures["CADMR@best"][3].startswith("0.1157 ±")


def test_every_setting_stands_on_one_of_the_pages():
    pages = settings_pages.pages(ROOT)
    general, of_models = pages[settings_pages.GENERAL], pages[settings_pages.OF_MODELS]
    assert rows_of(general, "What is run")["resume_step"] == [
        "`1`", "a whole number, at least 0", "Epochs between two writes of resume.pt; 0 writes none."
    ]  # fmt: skip
    assert rows_of(general, "Machine and log")["save_dataset"][2].startswith("Refused: it stores pickles")
    vbpr = rows_of(of_models, "VBPR")
    assert vbpr["reg_weight"][:2] == ["`0.01`", "a number, at least 0"] and vbpr["reg_weight"][3].startswith("`2.0`, ")
    assert vbpr["learning_rate"][3] == "`0.0005`, `0.001`, `0.002`"  # which VBPR has as every model has it
    assert rows_of(of_models, "LightGCN")["n_layers"][0] == "`2`"  # RecBole's own default
    for model in ("CADMR", "SMORE", "SASRec", "Pop"):
        section = rows_of(of_models, model) if model != "Pop" else {}
        named = {*section, *re.findall(r"^\| `([^`]+)`", general, re.MULTILINE)}
        assert not {*Config(model, "synthetic").declarations} - settings_pages.NOT_SETTINGS - named
    assert of_models.count("Preset **") == sum(len(preset_names(model)) for model in MODELS)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (Setting(default=3, minimum=2), "a whole number, at least 2"),
        (Setting(default=0.5, minimum=0.02, maximum=2**32), "a number, at least 0.02, at most 4,294,967,296"),
        (Setting(default="a", choices=("a", "b")), "`a` or `b`"),
        (Setting(default=None, types="list", items="float", maximum=1), "a list, each a number, at most 1, or none"),
        (Setting(default=5, types=["list", "int"], items="int"), "a whole number or a list of such"),
        (Setting(types="dict", fields={"rate": Setting(default=0.1)}), "a mapping, of `rate`: a number"),
        (Setting(settings_of="LinearCADMR", types="dict"), "settings of LinearCADMR"),
        (Setting(default=1, refused="it is not for use"), ""),
    ],
)
def test_what_is_allowed_is_said_in_words(setting, words):
    assert settings_pages.allowed(setting) == words


def test_sections_are_those_of_the_comments(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("# Settings. All of them\n# name: {help}\n\n# Data\na:\n  help: x\nb: {help: y}\n# Rest\nc: {}\n")
    assert settings_pages.sections(file) == {"Data": ["a", "b"], "Rest": ["c"]}


def test_the_reference_has_what_the_package_exports_and_all_models():
    import recbole_cadmr

    pages = api_pages.pages(ROOT)
    exported = {f"::: recbole_cadmr.{name}" for name in recbole_cadmr.__all__} - {"::: recbole_cadmr.__version__"}
    assert exported <= {*pages["api/index.md"].splitlines()}
    assert all(f"::: recbole_cadmr.models.{name.lower()}.{name}\n" in pages["api/models.md"] for name in MODELS)
