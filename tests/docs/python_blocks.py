"""A Python that a page's blocks are typed into, one after the other: ``main`` is called in the warm Python."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import recbole_cadmr
from tests.docs.interpreter import END
from tests.docs.stand_in import quick_settings

_train = recbole_cadmr.train


def train(model: str | type | None = None, *others: Any, settings: dict[str, Any] | None = None, **more: Any) -> Any:
    """``recbole_cadmr.train``, quick where the page does not say how long."""
    label = f"{model or 'CADMR'}@{more.get('preset')}"
    unsaid = {name: value for name, value in quick_settings(label).items() if name not in more}
    return _train(model, *others, settings={**unsaid, **(settings or {})}, **more)


def main(arguments: list[str]) -> int:
    """Run the files whose paths are read from standard input; the status is 1 after an error."""
    names: dict[str, object] = {"__name__": "__main__"}
    sys.path.insert(0, "")
    recbole_cadmr.train = train
    for line in sys.stdin:
        file = Path(line.rstrip("\n"))
        try:
            exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), names)
        except BaseException:
            traceback.print_exc()
            return 1
        print(END, flush=True)
    return 0
