"""What is measured on a trained model of a data set of two domains: figures to set beside the papers'."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from recbole_cadmr.config.domain_metrics import expected_ndcg
from recbole_cadmr.runs.session import Session

LAYERS = "parameters without embeddings"
SAMPLED = 999
_AT = 10
FIGURES = (LAYERS, *(f"ndcg{SAMPLED}_{name}@{_AT}" for name in "ab"))


def measure(session: Session) -> dict[str, dict[str, float | None]]:
    """Trained parameters that are in no embedding, and each domain's expected NDCG@10 among 999 drawn items of the
    domain; the latter on a data set of two domains whose users have one test item each.
    """
    embedded = {id(p) for m in session.model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    trained = (p for p in session.model.parameters() if p.requires_grad and id(p) not in embedded)
    figures: dict[str, float | None] = {LAYERS: float(sum(p.numel() for p in trained))}
    domains = session.dataset.domains()
    if domains is None:
        return {"": figures}
    better, others, domain = [], [], []

    def keep(batch: Any) -> None:
        _, scores, row, item = batch
        own = scores[row, item][:, None]
        ranked = torch.isfinite(scores[row])
        # Of equal scores, as many count as better as there are before it on average.
        equal = ((scores[row] == own) & ranked).sum(1) - 1
        better.append((scores[row] > own).sum(1) + equal // 2)
        others.append(ranked.sum(1) - 1)
        domain.append(domains[item])

    session.trainer.on_ranking = keep
    session.trainer.evaluate(session.test_data, load_best_model=False)
    session.trainer.on_ranking = None
    better_, others_, domain_ = (torch.cat(part).cpu().numpy() for part in (better, others, domain))
    values = expected_ndcg(better_, others_, SAMPLED, _AT)[:, -1]
    for number, name in enumerate(FIGURES[1:], start=1):
        of_domain = domain_ == number
        figures[name] = float(np.mean(values[of_domain])) if of_domain.any() else None
    return {"": figures}
