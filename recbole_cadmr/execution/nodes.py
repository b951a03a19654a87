"""Questions that every node of a cluster answers before work begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.session import versions


def ask(ray: Any, question: Callable[..., Any], *arguments: Any) -> Iterator[tuple[str, Any]]:
    """Each living node, by a name for messages, with its answer.

    Raises:
        UserError: if a node cannot answer, since this package is not installed there.
    """
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    answers = {}
    for node in (node for node in ray.nodes() if node["Alive"]):
        place = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        task = ray.remote(question).options(num_cpus=0, scheduling_strategy=place)
        answers[task.remote(*arguments)] = f"{node['NodeManagerAddress']} of the Ray cluster"
    for answer, node in answers.items():
        try:
            yield node, ray.get(answer)
        except RayTaskError as error:
            raise UserError(f"{node} cannot run recbole_cadmr: {str(error).splitlines()[-1]}") from error
        except RayError:
            continue  # the node has died meanwhile


def check_versions(ray: Any) -> None:
    """Raise :class:`UserError` unless all nodes have this package and what results depend on, as they are here."""
    own = versions()
    for node, theirs in ask(ray, versions):
        for name, version in own.items():
            if theirs[name] != version:
                raise UserError(
                    f"{node} has {name} {theirs[name]}, and this machine {version}: results would differ; install the "
                    f"same on all nodes"
                )
