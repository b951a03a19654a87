"""What the runs of a study say of the claims of a paper: how many of the tests of each speak for it, or against it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from recbole_cadmr.formatting import plain
from recbole_cadmr.study.effects import LEVEL
from recbole_cadmr.study.plan import Claim


def verdicts(claims: Sequence[Claim], correlations: pd.DataFrame, effects: pd.DataFrame, figure: str) -> dict[str, str]:
    """A sentence about each claim.

    A correlation within cells speaks for a claim if it is negative, a variant if it is better than the other one, with
    p < .05 as corrected over all tests of the study; against it, if it is the other way round.

    Args:
        correlations, effects: of all figures, see ``Findings``.
        figure: by which variants are compared.
    """
    return {claim.says: _verdict(list(_tests(claim, correlations, effects, figure))) for claim in claims}


def _tests(claim: Claim, correlations: pd.DataFrame, effects: pd.DataFrame, figure: str) -> Iterator[tuple[str, int]]:
    """Name of each test that could be made, and 1, -1 or 0."""
    by_pair = correlations.set_index(["x", "y"])
    for pair in claim.negative:
        row = by_pair.loc[pair]
        if not math.isnan(row["p"]):
            yield f"{pair[0]} with {pair[1]}", (1 if row["within"] < 0 else -1) if row["p"] < LEVEL else 0
    tested = effects[(effects["figure"] == figure) & effects["p"].notna() & (effects["departure"] == "")]
    for better, worse in claim.better:
        both = {better, worse}
        for row in tested[tested["variant"].isin(both) & tested["base"].isin(both)].to_dict("records"):
            sign = 1 if (row["difference"] > 0) == (row["variant"] == better) else -1
            name = f"{plain(better)} against {plain(worse)} on {plain(row['dataset'])}"
            yield name, sign if row["p"] < LEVEL else 0


def _verdict(tests: Sequence[tuple[str, int]]) -> str:
    if not tests:
        return "nothing could be tested."
    speaking = {sign: [name for name, own in tests if own == sign] for sign in (1, -1)}
    word = {
        (True, False): "partly borne out",
        (False, True): "contradicted",
        (True, True): "contradictory evidence",
        (False, False): "not shown",
    }[bool(speaking[1]), bool(speaking[-1])]
    if len(speaking[1]) == len(tests):
        word = "borne out"
    listed = "".join(
        f"; {what}: {', '.join(names)}"
        for what, names in (("for it", speaking[1]), ("against it", speaking[-1]))
        if names
    )
    return f"{word} ({len(speaking[1])} of {len(tests)} tests speak for it, {len(speaking[-1])} against it{listed})."
