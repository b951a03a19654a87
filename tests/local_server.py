"""A real HTTP server on this machine, with the faults that real ones have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """What a server has and how it misbehaves.

    Attributes:
        files: content by path.
        fault: ``None``; ``no-range`` ignores Range; ``cut`` sends half of what is asked for, then hangs up; ``long``
            and ``short`` announce a length that is not the content's; ``busy`` answers 503.
        faults_left: how often the fault happens; -1 for ever.
        etag: validator of all files.
        sent: (path, first byte, bytes sent) of every answer.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fault: str | None = None
        self.faults_left = -1
        self.etag: str | None = '"one"'
        self.sent: list[tuple[str, int, int]] = []
        self.address = ""


@contextmanager
def serve() -> Iterator[Site]:
    """Serve a :class:`Site` on the loopback interface."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = site.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            fault = site.fault if site.faults_left else None
            site.faults_left -= 1 if fault and site.faults_left > 0 else 0
            if fault == "busy":
                self.send_error(503)
                return
            first = 0
            asked = self.headers.get("Range")
            if asked and fault != "no-range" and self.headers.get("If-Range") == site.etag:
                first = int(asked.removeprefix("bytes=").rstrip("-"))
                if first >= len(content):
                    self.send_error(416)
                    return
            body = content[first:]
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            if site.etag:
                self.send_header("ETag", site.etag)
            length = len(body) + {"long": 10, "short": -10}.get(fault or "", 0)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            body = body[: len(body) // 2] if fault == "cut" else body
            site.sent.append((self.path, first, len(body)))  # before who has all of it looks
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
