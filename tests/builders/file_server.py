"""A local HTTP server that misbehaves on demand, for the tests of downloads."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

from iou_aware.data import download


@dataclass
class Served:
    """One file and how it is served.

    Attributes:
        content: Its bytes.
        ranges: Whether requests for a part are honoured.
        cuts: Connections to close early, by how many bytes each still sends; a negative number answers that status.
        length: Whether the size is announced.
        wrong_range: Answer requests for a part with another part.
        redirect: A status and where it leads, answered instead of the content.
        asked: The Range header of each request so far.
    """

    content: bytes
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    length: bool = True
    wrong_range: bool = False
    redirect: tuple[int, str] | None = None
    asked: list[str | None] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    files: dict[str, Served]

    def do_GET(self) -> None:
        served = self.files.get(self.path, Served(b"", cuts=[-404]))
        wanted = self.headers.get("Range")
        served.asked.append(wanted)
        cut = served.cuts.pop(0) if served.cuts else None
        size, asks = len(served.content), wanted and served.ranges
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if asks else 0
        status, headers, body = 200, {}, served.content[start:]
        if served.redirect:
            status, headers["Location"] = served.redirect
        elif cut is not None and cut < 0:
            status = -cut
        elif start >= size > 0:
            status, headers["Content-Range"] = 416, f"bytes */{size}"
        elif asks:
            start -= served.wrong_range
            status, headers["Content-Range"], body = 206, f"bytes {start}-{size - 1}/{size}", served.content[start:]
        if status > 206:
            body = b""
        if served.length:
            headers["Content-Length"] = str(len(body))
        self.send_response(status)
        for header in headers.items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def serving(files: dict[str, Served]) -> Iterator[str]:
    """Serve files by path, such as ``/a.zip``, and yield the server's address.

    No proxy stands before it. Downloads give up after three attempts without progress, and do not pause between them.
    """
    handler = type("Handler", (_Handler,), {"files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with patch.dict(os.environ, no_proxy="127.0.0.1"), patch.multiple(download, TRIES=3, PAUSE=0.0):
            yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
