"""The matrix's cells of uploads and status calls that the service turns away, or sends elsewhere."""

from typing import Literal

from tests.matrix.faults import Fault, http, redirect
from tests.matrix.table import Cell, Group

_BUSY: dict[str, Fault] = {
    "HTTP 429": http(429),
    "HTTP 429 with Retry-After: 1": http(429, b"slow", ("Retry-After", "1")),
    "HTTP 429 with Retry-After: 0": http(429, b"slow", ("Retry-After", "0")),
    "HTTP 429 with a Retry-After below zero": http(429, b"slow", ("Retry-After", "-5")),
    "HTTP 429 with a Retry-After in words": http(429, b"slow", ("Retry-After", "soon")),
    "HTTP 429 with a Retry-After that is over": http(
        429, b"slow", ("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")
    ),
    "HTTP 503": http(503),
    "HTTP 503 with Retry-After: 1": http(503, b"rest", ("Retry-After", "1")),
    "HTTP 503 as a web page": http(503, b"<html>Maintenance</html>"),
}

_ELSEWHERE: dict[str, Fault] = {
    "HTTP 301 to another path": redirect(301, "/elsewhere"),
    "HTTP 302 to another host": redirect(302, "http://127.0.0.2:9/"),
    "HTTP 303 to another path": redirect(303, "/elsewhere"),
    "HTTP 307 to another host": redirect(307, "https://example.invalid/"),
    "HTTP 308 to another path": redirect(308, "/login"),
}


def _busy(endpoint: Literal["upload", "status"], title: str) -> Group:
    uploads = 2 if endpoint == "upload" else 1
    cells = (
        Cell(does, fault, "succeeded", None, uploads=uploads, again=True)
        for does, fault in _BUSY.items()
    )
    return Group(title, endpoint, 1, tuple(cells))


def _elsewhere(endpoint: Literal["upload", "status"], title: str) -> Group:
    cells = (
        Cell(does, fault, "failed", "redirected", uploads=1, again=False)
        for does, fault in _ELSEWHERE.items()
    )
    return Group(title, endpoint, None, tuple(cells), alone=True)


GROUPS = (
    _busy("upload", "An upload is turned away for the moment"),
    _busy("status", "A status call is turned away for the moment"),
    _elsewhere("upload", "Uploads are sent elsewhere"),
    _elsewhere("status", "Status calls are sent elsewhere"),
)
