"""Sentences and pictures of made-up data, whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from recbole_cadmr.formatting import unmarked
from recbole_cadmr.study.answer import Findings
from recbole_cadmr.study.correlations import correlations_of
from recbole_cadmr.study.effects import correct, effects_of, orders_of
from recbole_cadmr.study.page import write_study_page
from recbole_cadmr.study.plan import Plan, Variant
from tests.study.test_effects import data_of

PUBLISHED = ["dataset", "variant", "figure", "value", "source"]


def found(values, pairs=(), published=(), orders=False, **plan):
    data = data_of(values)
    variants = [Variant(name) for name in dict.fromkeys(variant for variant, _ in values)]
    asked = Plan("What is it worth?", ["set"], ["ndcg@10"], variants, orders=orders, **plan)
    effects = effects_of(data, asked.figures, list(pairs), {})
    correlations = correlations_of(data, [], {})
    correct(effects, "ndcg@10", correlations)
    ordered = orders_of(data, "ndcg@10", {}) if orders else pd.DataFrame(columns=["dataset"])
    references = pd.DataFrame(published, columns=PUBLISHED)
    return Findings(asked, data, effects, correlations, ordered, references, {}, {}, False)


CLAIM = {
    ("paper", ""): [0.025, 0.026, 0.024],
    ("paper", "leak"): [0.31, 0.3, 0.32],
    ("paper", "other users"): [0.03] * 3,
}


@pytest.mark.parametrize(
    ("claimed", "said"),
    [(0.1693, "is reached by leak."), (0.5, "nothing that was tried: the highest is 0.3100 (leak).")],
)
def test_what_reaches_a_published_value_is_named(claimed, said):
    answer = found(CLAIM, published=[("set", "paper", "ndcg@10", claimed, "a paper")]).answer()
    assert f"The published {claimed:.4f} of *paper* (a paper)" in answer and said in answer
    assert "ndcg@10 of *paper* is 0.0250 ± 0.0010 (3 seeds). Higher: *leak* by +0.2850" in answer


def test_published_values_are_a_line_of_the_picture(tmp_path):
    write_study_page(
        found(CLAIM, published=[("set", "paper", "ndcg@10", 0.1693, "a paper")]), "claim", tmp_path / "claim.html"
    )
    page = (tmp_path / "claim.html").read_text()
    assert "published: 0.1693" in page and "<i>leak</i> by +0.2850" in page


def test_what_cannot_be_told_apart_is_not_called_higher():
    values = {("base", ""): [0.1, 0.2, 0.3], ("same", ""): [0.12, 0.18, 0.31], ("worse", ""): [0.05, 0.15, 0.251]}
    answer = found(values, [("same", "base"), ("worse", "base")]).answer()
    assert "Lower: *worse* by −0.0497 [" in answer and "Not told apart from it: *same* by +0.0033 [" in answer
    assert "Higher" not in answer and "over the 2 tests of the study" in answer


def test_orders_are_told():
    values = {
        ("a", ""): [0.1],
        ("b", ""): [0.2],
        ("c", ""): [0.4],
        ("a", "x"): [0.3],
        ("b", "x"): [0.2],
        ("c", "x"): [0.4],
    }
    answer = found(values, orders=True).answer()
    assert "3 models by ndcg@10 under the protocol and under each departure: x 0.33." in answer
    assert "1 of 3 pairs of models change their order" in answer and "differ by 50% under the protocol" in answer


def test_names_are_shown_as_they_stand(tmp_path):
    base, odd = 'a "quoted" & b', "<b>'it'</b> *&lt;*"
    what = found({(base, ""): [0.1, 0.2, 0.3], (odd, ""): [0.2, 0.3, 0.5]}, pairs=[(odd, base)])
    write_study_page(what, "own", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    shown = "&lt;b&gt;&#39;it&#39;&lt;/b&gt; *&amp;lt;*"
    assert f"<td>{shown}</td><td>a &#34;quoted&#34; &amp; b</td>" in text  # the table
    assert f"<i>{shown}</i> by +" in text and "<i>a &#34;quoted&#34; &amp; b</i>" in text  # the answer
    assert "<b>'it'" not in text
    on_screen = unmarked(what.answer())
    assert f"*{odd}* by +" in on_screen and f"*{base}*" in on_screen and "&gt;" not in on_screen  # a terminal
    assert "| ndcg@10 | &lt;b&gt;'it'&lt;/b&gt; *&amp;lt;* | a \"quoted\" &amp; b |" in what.tables()


def test_the_axis_is_shown_as_it_stands(tmp_path):
    what = found({("a", ""): [0.1, 0.2], ("b", ""): [0.2, 0.3]}, axis="<b>width</b>")
    write_study_page(replace(what, x={"a": 1, "b": 2}), "own", tmp_path / "report.html")
    assert "&lt;b&gt;width&lt;\\u002fb&gt;" in (tmp_path / "report.html").read_text()
