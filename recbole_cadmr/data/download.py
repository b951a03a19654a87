"""Downloads that survive an interruption: resumed where they stopped, checked, and complete or absent."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import requests

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import hash_of, write_text
from recbole_cadmr.progress import bar

_TRIES = 4
_WAIT = 1.0  # seconds before the second try, doubled for each one after it
_CONNECT = 4  # seconds to connect
_SILENCE = 8, 60  # seconds that a server may be silent before anything has arrived, and afterwards
_PATIENCE = 5  # seconds after which a server that has not sent anything is not asked again
_BLOCK = 1 << 14  # what is lost when a connection breaks
# Without the chain of objects in the messages of requests; the first kind that an error is of counts.
_REASONS = {
    requests.exceptions.SSLError: "its certificate is not trusted",
    requests.exceptions.Timeout: "the server does not answer",
    requests.exceptions.ChunkedEncodingError: "the connection broke",
    requests.exceptions.ConnectionError: "no connection to the server",
}


class UnreachableError(UserError):
    """A server that does not answer, or to which there is no connection."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        name: of the local file.
        url: http or https.
        size: in bytes, if its publisher states it.
        hash: ``sha256:...`` or ``md5:...``, if its publisher states it.
    """

    name: str
    url: str
    size: int | None = None
    hash: str | None = None


def download(file: RemoteFile, folder: Path, progress: bool = True) -> Path:
    """Fetch ``file`` into ``folder``, unless it is there, and return its path.

    What has arrived is in ``NAME.part``; the next call asks for the rest, provided that the server's file is still
    the same. A broken connection is retried a few times.

    Raises:
        UserError: if the file cannot be fetched or is not what was announced; then there is no file of its name. An
            :class:`UnreachableError` if the server has not answered.
    """
    target, part = folder / file.name, folder / f"{file.name}.part"
    if Path(file.name).name != file.name or "\0" in file.name:
        raise UserError(f"{file.name!r} cannot be the name of a file")
    try:
        if target.is_file():
            _check(file, target, f"{target} is not the file that {file.url} is known to have; remove it and try again")
            return target
        if not file.url.lower().startswith(("http://", "https://")):
            raise UserError(f"cannot fetch {file.url}; an address begins with http:// or https://")
        folder.mkdir(parents=True, exist_ok=True)
        with requests.Session() as session:
            _fetch_all(session, file, part, progress)
        try:
            _check(file, part, f"{file.url} did not send the file that it is known to have")
        except UserError:
            _forget(part)
            raise
        part.replace(target)
        _forget(part)
    except OSError as error:  # requests' own errors are caught before
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _fetch_all(session: requests.Session, file: RemoteFile, part: Path, progress: bool) -> None:
    """Fill ``part``, over several connections if need be."""
    reason, start = "", time.monotonic()
    for attempt in range(_TRIES):
        if attempt and time.monotonic() - start > _PATIENCE and not part.is_file():
            break
        if attempt:
            time.sleep(_WAIT * 2 ** (attempt - 1))
        try:
            reason = _fetch(session, file, part, progress)
        except ValueError as error:  # requests' InvalidURL, urllib3's LocationParseError
            raise UserError(f"cannot fetch {file.url}: it is not a valid address ({error})") from error
        except requests.RequestException as error:
            reason = next((said for kind, said in _REASONS.items() if isinstance(error, kind)), str(error))
        if not reason:
            return
    is_unreachable = reason in _REASONS.values() and not part.is_file()
    raise (UnreachableError if is_unreachable else UserError)(
        f"cannot fetch {file.url}: {reason}; try again, which resumes the download, or get it by hand and put it into "
        f"{part.parent.absolute()}"
    )


def _fetch(session: requests.Session, file: RemoteFile, part: Path, progress: bool) -> str:
    """Extend ``part`` over one connection; why that broke, or "" if the file is complete."""
    have, side = (part.stat().st_size if part.is_file() else 0), _side(part)
    mark = side.read_text(encoding="utf-8", errors="replace") if side.is_file() else ""
    # Without a validator the server's file might be another one by now.
    headers = {"Accept-Encoding": "identity"}
    if have and mark:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark}
    with session.get(file.url, headers=headers, stream=True, timeout=(_CONNECT, _SILENCE[have > 0])) as response:
        if response.status_code == 416:  # nothing beyond what is here: start again
            _forget(part)
            return "the server has less than has already arrived"
        if response.status_code in (429, 500, 502, 503, 504):
            return f"the server answered {response.status_code}"
        if response.status_code not in (200, 206):
            raise UserError(
                f"cannot fetch {file.url}: the server answered {response.status_code} {response.reason}; check the "
                f"address, name a mirror with --base_address, or get the file by hand and put it into "
                f"{part.parent.absolute()}"
            )
        resumes = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status_code == 206 and not resumes:
            _forget(part)
            return "the server sent another range than it was asked for"
        have = have if resumes else 0
        length = response.headers.get("Content-Length")
        whole = have + int(length) if length and length.isdigit() else None
        if file.size is not None and whole is not None and whole != file.size:
            raise UserError(f"{file.url} has {whole:,} bytes, but {file.size:,} are known; the file has changed")
        _remember(part, response.headers)
        with (
            open(part, "ab" if resumes else "wb") as out,
            bar(
                total=whole or file.size, initial=have, desc=file.name, unit="B", unit_scale=True, disable=not progress
            ) as shown,
        ):
            for block in response.iter_content(_BLOCK):
                out.write(block)
                shown.update(len(block))
        arrived = part.stat().st_size
    if whole is not None and arrived < whole:
        return f"the connection broke after {arrived:,} of {whole:,} bytes"
    return ""


def _check(file: RemoteFile, path: Path, refusal: str) -> None:
    """Raise :class:`UserError` unless ``path`` has the size and hash that are known."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise UserError(f"{refusal}: {size:,} bytes instead of {file.size:,}")
    kind, _, expected = (file.hash or "").partition(":")
    if kind and (digest := hash_of(path, kind)) != expected:
        raise UserError(f"{refusal}: its {kind} is {digest} instead of {expected}")


def _side(part: Path) -> Path:
    """Holds the validator of the server's file that ``part`` is a piece of, if there is one."""
    return part.with_name(f"{part.name}.validator")


def _remember(part: Path, headers: requests.structures.CaseInsensitiveDict[str]) -> None:
    etag = headers.get("ETag", "")  # If-Range takes no weak one
    mark = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    write_text(_side(part), mark)


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _side(part).unlink(missing_ok=True)
