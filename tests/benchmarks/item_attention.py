"""A training step of the attention between items against its floor and against plain torch: side by side in one run.

    python tests/benchmarks/item_attention.py [--items 7050] [--asking 1000] [--size 128] [--repeats 5]

Entries of a softmax over all items, with their gradient: ours, torch's ``log_softmax`` of the whole matrix, and the
floor, which is the three matrix products that nobody gets around. Also a sample of the items in place of all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from recbole_cadmr.layers.item_attention import attention_entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=7050)
    parser.add_argument("--asking", type=int, default=1000, help="items whose attention a step needs")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    query = F.normalize(torch.randn(arguments.asking, arguments.size), dim=1) / 0.15
    key = F.normalize(torch.randn(arguments.items, arguments.size), dim=1)
    row = torch.randint(arguments.asking, (8 * arguments.asking,))
    column = torch.randint(arguments.items, (8 * arguments.asking,))
    sample = torch.randperm(arguments.items)[: arguments.items // 4].sort().values
    in_sample = torch.randint(len(sample), column.shape)
    log_weight = torch.zeros(len(sample))

    def ours() -> None:
        q, k = query.clone().requires_grad_(), key.clone().requires_grad_()
        attention_entries(q, k, row, column).clamp(min=1e-30).log().mean().backward()

    def sampled() -> None:
        q, k = query.clone().requires_grad_(), key.clone().requires_grad_()
        entries = attention_entries(q, k.index_select(0, sample), row, in_sample, log_weight)
        entries.clamp(min=1e-30).log().mean().backward()

    def plain() -> None:
        q, k = query.clone().requires_grad_(), key.clone().requires_grad_()
        (q @ k.T).log_softmax(1)[row, column].mean().backward()

    def floor() -> None:
        logits = query @ key.T
        logits @ key
        logits.T @ query

    steps: dict[str, Callable[[], None]] = {
        "ours": ours,
        "log_softmax": plain,
        "three products": floor,
        "a quarter sampled": sampled,
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(arguments.repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:  # the first round warms up
                taken[name].append(time.perf_counter() - start)
    base = statistics.median(taken["ours"])
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:<18} {median * 1000:7.0f} ms   {median / base:.2f} of ours")


if __name__ == "__main__":
    main()
