"""``serve``: trained models as an HTTP service with a page."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_cadmr.arguments import not_negative, positive, whole_number
from recbole_cadmr.cli.options import OWN_MODEL
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text
from recbole_cadmr.serving.limits import Limits

if TYPE_CHECKING:
    from recbole_cadmr.serving.models import Models

_PORT, _MOST_PORT = 8000, 65535
_WATCH = 2.0
_KEY = "RECBOLE_CADMR_KEY"
_LEAST_KEY = 16  # characters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``serve``."""
    add = parser.add_argument
    add("models", nargs="+", metavar="[NAME=]EXPORT", help="folders of `export`, or checkpoints; several are compared")
    add("--data_path", metavar="DIR", help="folder of the data sets of checkpoints")
    add("--model", action="append", metavar="CLASS", help=f"of checkpoints, {OWN_MODEL}; once for each")
    add("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: this machine alone)")
    add("--port", type=whole_number(0, _MOST_PORT), default=_PORT, help=f"default {_PORT}; 0: any that is free")
    add("--key_file", metavar="FILE", help=f"file with the key that clients have to send (or the variable {_KEY})")
    add("--images", type=Path, metavar="DIR", help="pictures ITEM.jpg, or named by --image_column")
    add("--image_column", metavar="NAME", help="column of the table of items: names of pictures, or their addresses")
    add("--text_model", metavar="DIR", help="what encodes texts of new items, if it is not where the data set was made")
    add("--weights", metavar="FILE", help="weights of what encodes pictures of new items, likewise")
    add("--threads", type=whole_number(1, 256), help="requests answered at once (default: the number of cores)")
    add("--max_k", type=whole_number(1), default=Limits.k, help=f"items of a list (default {Limits.k})")
    add("--max_users", type=whole_number(1), default=Limits.users, help=f"people of a request (default {Limits.users})")
    added = f"new items and interactions that are kept until an export has them (default {Limits.added})"
    add("--max_added", type=whole_number(1), default=Limits.added, metavar="N", help=added)
    body = f"of a request (default {Limits.body})"
    add("--max_body", type=whole_number(1), default=Limits.body, metavar="BYTES", help=body)
    rate = f"requests a second of one client (default {Limits.rate:g}; 0: any number)"
    add("--rate", type=not_negative, default=Limits.rate, help=rate)
    patience = f"seconds a client has to send a request (default {Limits.patience:g})"
    add("--patience", type=positive, default=Limits.patience, metavar="S", help=patience)
    watch = f"seconds between looks for a new export (default {_WATCH:g}; 0: only on SIGHUP)"
    add("--watch", type=not_negative, default=_WATCH, metavar="S", help=watch)
    add("--proxies", default="", metavar="IPS", help="addresses whose X-Forwarded-For counts (default: none)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Load the models and serve them until the process is stopped."""
    sources = named(arguments.models)
    key = _key(arguments.key_file)
    try:
        import torch

        from recbole_cadmr.serving import server
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "httptools", "prometheus_client", "pydantic", "starlette"):
            raise
        raise UserError(f"serving needs the package {error.name}; install recbole_cadmr[serve]") from error
    from recbole_cadmr.serving.metrics import Metrics
    from recbole_cadmr.serving.models import Models
    from recbole_cadmr.serving.pictures import PictureSource

    limits = Limits(
        body=arguments.max_body,
        k=arguments.max_k,
        users=arguments.max_users,
        added=arguments.max_added,
        rate=arguments.rate,
        patience=arguments.patience,
    )
    _log_to_screen()
    with server.listen(arguments.host, arguments.port) as bound:  # before the models, which take longer
        metrics = Metrics()
        pictures = PictureSource(arguments.images, arguments.image_column)
        if arguments.model:
            from recbole_cadmr.models.own import take_in  # with RecBole, which an export does without

            for model in arguments.model:
                take_in(model)
        places = arguments.text_model, arguments.weights
        models = Models(sources, metrics, pictures, arguments.data_path, *places, limits.added)
        models.load()
        address, is_here = server.address_of(bound), server.is_loopback(bound)
        service = server.Service(
            models,
            metrics,
            lambda: _report(models, address, key is None and not is_here),
            limits,
            key,
            arguments.threads,
            arguments.watch,
            arguments.proxies,
            only_here=key is None and is_here and not arguments.proxies,
        )
        torch.set_num_threads(1)  # of one request; several are worked at at once
        service.run([bound])
    print("stopped")
    return 0


def named(models: Sequence[str]) -> dict[str, Path]:
    """Models by name: as given by ``NAME=PATH``, else the name of the folder.

    Raises:
        UserError: if two have the same name, or one has none.
    """
    sources: dict[str, Path] = {}
    for text in models:
        name, equals, path = text.partition("=")
        if not equals or os.path.exists(text):
            whole = Path(text).absolute()
            name, path = (whole.parent if whole.suffix == ".pt" else whole).name, text
        if not name.strip() or not path:
            raise UserError(f"cannot read '{text}'; a model is given as NAME=PATH")
        if name in sources:
            raise UserError(f"two models are called '{name}'; name them apart as NAME=PATH")
        sources[name] = Path(path)
    return sources


def _key(file: str | None) -> str | None:
    """The key that clients have to send; None if there is none.

    Raises:
        UserError: if it is too short to keep anybody out, or cannot be sent in a header.
    """
    where = f"--key_file {file}" if file else f"the variable {_KEY}"
    key = read_text(file).strip() if file else os.environ.get(_KEY)
    if key is None:
        return None
    if len(key) < _LEAST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(
            f"{where} must hold a key of at least {_LEAST_KEY} letters, digits and signs without blanks, as "
            f"'openssl rand -hex 32' makes one"
        )
    return key


def _log_to_screen() -> None:
    """Let the service say what happens to it: exports taken and refused, failures; no request is logged."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("recbole_cadmr.serving", logging.INFO), ("uvicorn", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def _report(models: Models, address: str, is_open: bool) -> None:
    for model, _ in models.all():
        catalogue = model.recommender.catalogue
        print(
            f"{model.name}: {model.recommender.model_name}, version {model.version}, {catalogue.n_items - 1:,} items, "
            f"{catalogue.n_users - 1:,} people"
        )
    print(f"serving at {address}, the page is at {address}/", flush=True)
    if is_open:
        print("without a key: whoever reaches this machine may ask; see --key_file", flush=True)
