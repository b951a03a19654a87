"""The folder that all nodes of a cluster have to see, checked before work begins."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside

MARK = ".mark"


@contextmanager
def marked(root: Path) -> Iterator[str]:
    """A mark that stands in ``root`` meanwhile, by which a node knows this folder from another of the same path."""
    mark = uuid.uuid4().hex
    with write_aside(root / MARK) as temporary:
        temporary.write_text(mark, encoding="utf-8")
    try:
        yield mark
    finally:
        (root / MARK).unlink(missing_ok=True)


def sees(root: Path, mark: str) -> bool:
    """Whether this node sees the folder that was marked."""
    file = root / MARK
    return file.is_file() and file.read_text(encoding="utf-8") == mark


def check_shared(ray: Any, root: Path, mark: str) -> None:
    """Raise :class:`UserError` unless all nodes of a cluster have this package and see the folder that was marked."""
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    answers = {}
    for node in (node for node in ray.nodes() if node["Alive"]):
        place = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        look = ray.remote(sees).options(num_cpus=0, scheduling_strategy=place)
        answers[look.remote(root, mark)] = f"{node['NodeManagerAddress']} of the Ray cluster"
    for answer, node in answers.items():
        try:
            if not ray.get(answer):
                raise UserError(f"{node} does not see {root}; choose an --output on storage that all nodes share")
        except RayTaskError as error:
            raise UserError(f"{node} cannot run recbole_cadmr: {str(error).splitlines()[-1]}") from error
        except RayError:
            continue  # the node has died meanwhile
