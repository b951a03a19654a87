"""Requests that are not answered: a status, and one sentence that says what is wrong and what to do."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from recbole_cadmr.errors import UserError, did_you_mean, is_out_of_memory

_log = logging.getLogger(__name__)
_NUMBER = ",.15g"  # whole ones in full
_NOT_FIELDS = ("body", "query", "path", "header")


class Refused(Exception):
    """A request that is answered with a status, one sentence and headers."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}


def of_user_error(error: UserError) -> Refused:
    """The refusal of what the recommender refuses, whose sentence may begin with an argument of a Python function."""
    return Refused(400, " ".join(re.sub(r"^topk\b", "`k`", str(error)).splitlines()))


def of_invalid(error: Mapping[str, Any], known: Iterable[str]) -> Refused:
    """The refusal of a request that is not as it is declared.

    Args:
        error: the first of pydantic's.
        known: names of fields, for what is mistyped.
    """
    place, kind, context = error["loc"], error["type"], error.get("ctx", {})
    if kind in ("json_invalid", "value_error.jsondecode"):
        return Refused(400, f"the body is no JSON: {context.get('error', '')}")
    field = _field(place)
    value = repr(error.get("input"))
    value = value if len(value) <= 40 else f"{value[:40]}..."
    says = {
        "missing": "is missing",
        "extra_forbidden": f"is not known here{did_you_mean(str(place[-1]), known)}",
        "string_type": f"must be a text, not {value}",
        "list_type": f"must be a list, not {value}",
        "bool_type": f"must be true or false, not {value}",
        "finite_number": f"must be a number, not {value}",
        "greater_than_equal": f"must be at least {context.get('ge', 0):{_NUMBER}}, not {value}",
        "less_than_equal": f"must be at most {context.get('le', 0):{_NUMBER}}, not {value}",
        "less_than": f"must be below {context.get('lt', 0):{_NUMBER}}, not {value}",
        "too_short": f"must hold at least {context.get('min_length')}, not {context.get('actual_length')}",
        "too_long": f"must hold at most {context.get('max_length')}, not {context.get('actual_length')}",
        "string_too_long": f"must have at most {context.get('max_length')} characters",
        "string_too_short": "must not be empty",
    }
    said = says.get(kind)
    if kind == "value_error":
        said = str(context.get("error", error["msg"]))
        if not said.startswith("must"):
            return Refused(422, said)
    elif kind.startswith(("int_", "float_")):
        said = f"must be a {'whole ' if kind.startswith('int') else ''}number, not {value}"
    elif kind.endswith(("model_type", "model_attributes_type", "dict_type")):
        said = f"must be an object of JSON, not {value}"
    elif said is None:
        message = error["msg"].removeprefix("Input ").removeprefix("should ")
        said = f"must {message[:1].lower()}{message[1:]}, not {value}"
    return Refused(422, f"{field} {said}")


def _field(place: tuple[Any, ...]) -> str:
    """A place in a request as its writer knows it: ``items[2].id``."""
    inner = place[1:] if place and place[0] in _NOT_FIELDS else place
    path = ""
    for step in inner:
        path += f"[{step}]" if isinstance(step, int) else f"{'.' if path else ''}{step}"
    return f"`{path}`" if path else "the body"


def failure(error: Exception) -> Refused:
    """The answer to a request that failed by no fault of its sender's, which is logged."""
    if is_out_of_memory(error):
        _log.error("a request needed more memory than there is: %s", error)
        return Refused(503, "there is not enough memory for this request", retry_after="10")
    number = secrets.token_hex(4)
    _log.error("failure %s", number, exc_info=error)
    return Refused(500, f"a defect of this program, {type(error).__name__}; its log has it as failure {number}")
