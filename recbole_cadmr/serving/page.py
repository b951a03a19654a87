"""The page on which a person looks at what is recommended: files of the package, and the pictures of items."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from starlette.responses import FileResponse

from recbole_cadmr.serving.models import Models
from recbole_cadmr.serving.pictures import PATH, TYPES
from recbole_cadmr.serving.refusal import Refused

FOLDERS = (PATH, "/page/")
# All is the package's own, and nothing is written into the page; pictures may be at addresses of the table of items.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'{elsewhere}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "index.html": ("serve/index.html", "text/html; charset=utf-8"),
    "style.css": ("style.css", "text/css; charset=utf-8"),
    "page.css": ("serve/page.css", "text/css; charset=utf-8"),
    "icon.svg": ("serve/icon.svg", "image/svg+xml"),
    "page.js": ("serve/page.js", "text/javascript; charset=utf-8"),
}


def add_to(app: FastAPI, models: Models) -> None:
    """Add the page and its pictures to a service."""

    @app.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        response = _file(request, "index.html")
        elsewhere = any(model.pictures.addresses for model, _ in models.all())
        policy = _POLICY.format(elsewhere=" https: http:" if elsewhere else "")
        response.headers["content-security-policy"] = policy
        return response

    @app.get("/page/{name}", include_in_schema=False)
    async def part(request: Request, name: str) -> Response:
        if name not in _FILES:
            raise Refused(404, f"the page has no part '{name:.100}'")
        return _file(request, name)

    @app.get(f"{PATH}{{item:path}}", include_in_schema=False)
    async def picture(item: str) -> Response:
        for model, _ in models.all():
            if item in model.pictures.files:
                file = model.pictures.files[item]
                if file.is_file():
                    headers = {"cache-control": "max-age=3600"}
                    return FileResponse(file, media_type=TYPES[file.suffix.lower()], headers=headers)
        raise Refused(404, f"there is no picture of '{item:.100}'")


def _file(request: Request, name: str) -> Response:
    content, kind, tag = _read(name)
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers={**headers, "content-type": kind})


@cache
def _read(name: str) -> tuple[bytes, str, str]:
    file, kind = _FILES[name]
    content = (files("recbole_cadmr") / "templates" / file).read_bytes()
    return content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"'
