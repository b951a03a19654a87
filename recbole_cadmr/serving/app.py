"""The routes of the service, each a question to a served model, asked in a thread."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException

from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.serving import answers, bodies, page
from recbole_cadmr.serving.additions import Additions
from recbole_cadmr.serving.gate import API, Application, Gate
from recbole_cadmr.serving.limits import Limits
from recbole_cadmr.serving.metrics import TYPE, Metrics
from recbole_cadmr.serving.models import Models, ServedModel
from recbole_cadmr.serving.refusal import Refused, failure, of_invalid, of_user_error

_Answer = TypeVar("_Answer")
_SILENT: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
_MODEL = "name of one of the models that are served; the first one if not given"
ModelName = Annotated[str | None, Query(description=_MODEL)]
SomeItems = Annotated[int, Query(ge=1, le=1000, description="items of the answer")]
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": bodies.Error, "description": what}
    for status, what in {
        400: "what the model refuses, or no JSON",
        401: "no key, or another one",
        404: "no such model, item or address",
        422: "not as declared",
        429: "too many requests; ask again after the seconds in Retry-After",
    }.items()
}
_ABOUT = """Recommendations of trained models. Ids are texts; a whole number stands for its digits. Every error is an
object with the field `error`, a sentence. If the service has a key, it is sent as `X-API-Key` or as a bearer token."""


class _StrictJson(Request):
    """A request whose body is strict JSON: without NaN, and without what is no Unicode."""

    async def json(self) -> Any:
        try:
            return msgspec.json.decode(await self.body())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictJson(request.scope, request.receive))

        return strict


def make_app(
    models: Models,
    metrics: Metrics,
    pool: ThreadPoolExecutor,
    limits: Limits | None = None,
    key: str | None = None,
    only_here: bool = False,
) -> Application:
    """The service of some models.

    Args:
        pool: does the work of the models.
        key: what clients have to send; None if nothing, and then nothing can be changed.
        only_here: as of :class:`~recbole_cadmr.serving.gate.Gate`.
    """
    limits = limits or Limits()
    app = FastAPI(
        title="recbole_cadmr", version=_version(), description=_ABOUT, docs_url=None, redoc_url=None,
        responses=_REFUSALS, redirect_slashes=False, telemetry=_SILENT,
    )  # fmt: skip
    app.router.route_class = _Route
    _answer_errors(app)
    _add_questions(app, models, pool, limits)
    _add_changes(app, models, key)
    _add_state(app, models, metrics)
    page.add_to(app, models)
    paths = frozenset(path for route in app.routes if (path := getattr(route, "path", "")) and "{" not in path)
    return Gate(app, limits, metrics, paths | set(page.FOLDERS), key, only_here)


async def _in(pool: ThreadPoolExecutor | None, act: Callable[..., _Answer], *arguments: Any) -> _Answer:
    return await asyncio.get_running_loop().run_in_executor(pool, act, *arguments)


def _json(content: Any, status: int = 200, **headers: str) -> Response:
    headers = {"cache-control": "no-store", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Response(msgspec.json.encode(content), status, headers, "application/json")


def _add_questions(app: FastAPI, models: Models, pool: ThreadPoolExecutor, limits: Limits) -> None:
    def ask(act: Callable[..., dict[str, Any]], model: ServedModel, *arguments: Any) -> Response:
        return _json(act(model, *arguments))

    @app.post(f"{API}recommend", summary="Lists for people", responses={200: {"model": bodies.Recommended}})
    async def recommend(body: bodies.RecommendBody) -> Response:
        """The best items for a user, for several, or for somebody unknown who has a history."""
        return await _in(pool, ask, answers.recommend, models.get(body.model), body, limits)

    @app.post(f"{API}explain", summary="Why", responses={200: {"model": bodies.Explanations}})
    async def explain(body: bodies.ExplainBody) -> Response:
        """What scores are made of: the items a person has, and the paths of the model."""
        return await _in(pool, ask, answers.explain, models.get(body.model), body)

    @app.get(f"{API}similar", summary="Items like one", responses={200: {"model": bodies.Items}})
    async def similar(
        item: Annotated[str, Query(min_length=1, examples=["i0003"])],
        k: SomeItems = 10,
        by: Literal["model", "behaviour", "content"] = "model",
        model: ModelName = None,
    ) -> Response:
        """The items most like one, to the model, by who has them, or by content."""
        return await _in(pool, ask, answers.similar, models.get(model), item, k, by)

    @app.get(f"{API}search", summary="Items by title", responses={200: {"model": bodies.Items}})
    async def search(
        q: Annotated[str, Query(max_length=200, examples=["oak mir"])], k: SomeItems = 10, model: ModelName = None
    ) -> Response:
        """Items by the beginnings of the words of their titles, whatever case and accents, or by id."""
        return await _in(pool, ask, answers.search, models.get(model), q, k)

    @app.get(f"{API}items", summary="Items by id", responses={200: {"model": bodies.Items}})
    async def items(id: Annotated[list[str], Query(max_length=1000)], model: ModelName = None) -> Response:
        """Titles and pictures of items; ids that the model does not know are left out."""
        return await _in(pool, ask, answers.items, models.get(model), id)

    @app.get(f"{API}users", summary="People by id", responses={200: {"model": bodies.Users}})
    async def users(
        q: Annotated[str, Query(max_length=200, description="the beginning of ids, whatever the case")] = "",
        k: SomeItems = 10,
        model: ModelName = None,
    ) -> Response:
        """Ids of people the model knows, in their order."""
        return await _in(pool, ask, answers.users, models.get(model), q, k)

    @app.get(f"{API}history", summary="What a person has", responses={200: {"model": bodies.Items}})
    async def history(user: str, k: SomeItems = 100, model: ModelName = None) -> Response:
        """The items of a person the model knows."""
        return await _in(pool, ask, answers.history, models.get(model), user, k)


def _add_changes(app: FastAPI, models: Models, key: str | None) -> None:
    def check_key() -> None:
        if key is None:
            raise Refused(403, "this service was started without a key, so that nothing can be changed; see --key_file")

    @app.post(f"{API}interactions", summary="New interactions", responses={200: {"model": bodies.Changed}})
    async def interactions(body: bodies.InteractionsBody) -> Response:
        """Take in what people have chosen since; new people are known from then on. Needs a key."""
        check_key()
        pairs = [(row.user, row.item) for row in body.interactions]

        def add(kept: Additions, asked: Recommender) -> dict[str, int]:
            return kept.add_interactions(asked, pairs, body.refit)

        counts = await _in(None, models.change, body.model, add, (), pairs)
        return _json({"models": counts})

    @app.post(f"{API}items", summary="New items", responses={200: {"model": bodies.Changed}})
    async def new_items(body: bodies.NewItemsBody) -> Response:
        """Take in items that came after training, by their texts, pictures or vectors. Needs a key."""
        check_key()

        def add(kept: Additions, asked: Recommender) -> dict[str, int]:
            return kept.add_items(asked, body.items)

        counts = await _in(None, models.change, body.model, add, [item.id for item in body.items])
        return _json({"models": counts})

    @app.post(f"{API}reload", summary="Newest exports", responses={200: {"model": bodies.Reloaded}})
    async def reload(body: bodies.ReloadBody | None = None) -> Response:
        """Load what lies at the places of the models now; what is served meanwhile is the old one. Needs a key."""
        check_key()
        outcome = await _in(None, models.reload, models.named(body.model if body else None))
        return _json({"models": outcome}, 200 if set(outcome.values()) == {"loaded"} else 409)


def _add_state(app: FastAPI, models: Models, metrics: Metrics) -> None:
    @app.get("/health", summary="Whether it works", responses={200: {"model": bodies.Health}})
    async def health() -> Response:
        """What is served; `error` of a model says why its newest export is not."""
        return _json({"status": "ok", "models": [_card(*served) for served in models.all()]})

    @app.get("/ready", summary="Whether it may be asked", responses={200: {"model": bodies.Ready}})
    async def ready() -> Response:
        """200 from when all models are loaded until the service is told to stop."""
        return _json({"ready": True})

    @app.get("/metrics", summary="Counts, for Prometheus", response_class=Response)
    async def counts() -> Response:
        """Requests, seconds, errors and versions, in Prometheus' text format."""
        return Response(metrics.text(), headers={"content-type": TYPE})


def _card(model: ServedModel, error: str | None) -> dict[str, Any]:
    asked = model.recommender
    since = datetime.datetime.fromtimestamp(model.loaded, datetime.timezone.utc)
    return {
        "name": model.name,
        "model": asked.model_name,
        "version": model.version,
        "users": asked.catalogue.n_users - 1,
        "items": asked.catalogue.n_items - 1,
        "takes_histories": asked.takes_histories,
        "takes_new_items": asked.takes_new_items,
        "explains": asked.explains,
        "weighs_content": asked.engine.weighs_content,
        "pictures": bool(model.pictures),
        "loaded": since.isoformat(timespec="seconds"),
        "error": error,
    }


def _answer_errors(app: FastAPI) -> None:
    def answer(refusal: Refused) -> Response:
        return _json({"error": str(refusal)}, refusal.status, **refusal.headers)

    @app.exception_handler(HTTPException)
    async def of_routing(request: Request, error: HTTPException) -> Response:
        method, path = request.method, f"{request.url.path:.100}"
        if error.status_code == 404:
            return answer(Refused(404, f"there is nothing at {path}; /openapi.json lists what there is"))
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            return answer(Refused(405, f"{path} takes {allowed or 'another method'}, not {method:.20}", allow=allowed))
        return answer(Refused(error.status_code, str(error.detail)))

    @app.exception_handler(RequestValidationError)
    async def of_declaration(_: Request, error: RequestValidationError) -> Response:
        return answer(of_invalid(error.errors()[0], bodies.FIELDS))

    @app.exception_handler(UserError)
    async def of_user(_: Request, error: UserError) -> Response:
        return answer(of_user_error(error))

    @app.exception_handler(Refused)
    async def of_refusal(_: Request, error: Refused) -> Response:
        return answer(error)

    @app.exception_handler(Exception)
    async def of_defect(_: Request, error: Exception) -> Response:
        return answer(failure(error))


def _version() -> str:
    try:
        return version("recbole_cadmr")
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"
