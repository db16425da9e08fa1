"""The matrix's cells of uploads."""

from dataclasses import replace

from tests.matrix.broken import broken
from tests.matrix.faults import UPLOADED as TAKEN
from tests.matrix.faults import (
    Early,
    Fault,
    Raw,
    data,
    encoded,
    envelope,
    gzipped,
    http,
    literally,
    says,
)
from tests.matrix.table import Cell, Group

TRIES = 2
"""`INGEST_MAX_UPLOAD_ATTEMPTS` of these groups."""
LIMITS = {"INGEST_MAX_UPLOAD_ATTEMPTS": str(TRIES)}

# --- refused for good -----------------------------------------------------------------------------


def _refused(does: str, fault: Fault, code: str, says: str = "") -> Cell:
    return Cell(does, fault, "failed", code, uploads=1, again=False, says=says)


_FINAL = (300, 304, 400, 402, *range(404, 408), *range(409, 418), *range(421, 425))
_FINAL += (426, 428, 431, 451, 499)

FOR_GOOD = Group(
    "The upload is refused for good",
    "upload",
    None,
    (
        *(
            _refused(f"HTTP {status}", http(status, b""), f"http_{status}", f"HTTP {status}")
            for status in _FINAL
        ),
        _refused(
            "HTTP 400 with an envelope of its own code",
            envelope("400123", "no such flow", status=400),
            "400123",
            "no such flow",
        ),
        _refused(
            "HTTP 413 as a web page",
            http(413, b"<html>Too Large</html>"),
            "http_413",
            "HTTP 413: Too Large",
        ),
        _refused(
            "HTTP 404 whose body breaks off", http(404, b"gone", claims=100, then="fin"), "http_404"
        ),
        _refused("HTTP 422, compressed twice", encoded(http(422), "gzip, gzip"), "http_422"),
        _refused(
            "HTTP 400 with a successful envelope",
            envelope("000000", "success", {"id": 1, "status": 1}, status=400),
            "http_400",
        ),
        _refused(
            "HTTP 400 with an error code of 100 digits",
            envelope("4" * 100, status=400),
            "4" * 64,
        ),
    ),
    LIMITS,
)

# --- refused, and tried again ---------------------------------------------------------------------

_NOT_NOW: dict[str, tuple[Fault, str, str]] = {
    "HTTP 401 for this file": (http(401), "http_401", "HTTP 401"),
    "HTTP 403 for this file": (
        http(403, b"blocked by the firewall"),
        "http_403",
        "HTTP 403: blocked by the firewall",
    ),
    "HTTP 403 with an envelope about a token": (
        envelope("400403", "invalid token", status=403),
        "400403",
        "invalid token",
    ),
    "HTTP 408": (http(408), "http_408", "HTTP 408"),
    "HTTP 425": (http(425), "http_425", "HTTP 425"),
    "error code 400001": (envelope("400001"), "400001", "not this one"),
    "error code 400500": (envelope("400500"), "400500", "not this one"),
    "error code 999999": (envelope("999999"), "999999", "not this one"),
    "error code 1, a number": (envelope(1), "1", "not this one"),
    "error code -1, a number": (envelope(-1), "-1", "not this one"),
    "error code of 30 digits": (envelope(10**29 + 1), str(10**29 + 1), "not this one"),
    "error code in words": (envelope("E_QUOTA"), "E_QUOTA", "not this one"),
    "error code with blanks around it": (envelope(" 400007 "), "400007", "not this one"),
    "error that speaks of the token limit": (
        envelope("400001", "file exceeds the token limit"),
        "400001",
        "token limit",
    ),
    "error code 401001 for this file": (envelope("401001", "who?"), "401001", "who?"),
    "error without a message": (says({"code": "400009"}), "400009", "400009"),
    "error with a message of null": (envelope("400009", None), "400009", "400009"),
    "error whose message is a list": (envelope("400009", ["a"]), "400009", "400009"),
    "error whose message is called msg": (
        says({"code": "400009", "msg": "called msg"}),
        "400009",
        "called msg",
    ),
    "error that brings an id": (envelope("400010", "odd", {"id": 77}), "400010", "odd"),
    "error about risk control": (envelope("400011", "内容涉及到风险"), "400011", "涉及到风险"),
    "error about a system error": (envelope("400012", "系统异常(1)"), "400012", "系统异常("),
    "error with NUL, escape and right-to-left marks in its words": (
        envelope("400013", "a\x00b\x1b[31mc\u202e"),
        "400013",
        "a",
    ),
    "error in gzip": (gzipped(envelope("400014")), "400014", "not this one"),
}

REFUSED_ONCE = Group(
    "The upload is refused once",
    "upload",
    1,
    tuple(
        Cell(does, fault, "succeeded", None, uploads=2, again=True)
        for does, (fault, *_) in _NOT_NOW.items()
    ),
    LIMITS,
)
REFUSED_ALWAYS = Group(
    "The upload is refused every time",
    "upload",
    None,
    tuple(
        Cell(does, fault, "failed", code, uploads=TRIES, again=True, says=words)
        for does, (fault, code, words) in _NOT_NOW.items()
    ),
    LIMITS,
)

# --- nobody knows ---------------------------------------------------------------------------------

_LOST: dict[str, Fault] = {
    **{f"HTTP {status}": http(status) for status in (500, 501, 502, 504, 505, 507, 520, 599)},
    "HTTP 500 with an envelope": envelope("400500", "failed inside", status=500),
    "reset before the body was read": Early("reset"),
    "end of the connection before the body was read": Early("fin"),
    **broken(TAKEN),
    "no id": data({"status": 1}),
    "id null": data({"id": None, "status": 1}),
    "id empty": data({"id": "", "status": 1}),
    "id blank": data({"id": "  ", "status": 1}),
    "id true": data({"id": True, "status": 1}),
    "id a list": data({"id": [7], "status": 1}),
    "id an object": data({"id": {"id": 7}, "status": 1}),
    "id 1.5": data({"id": 1.5, "status": 1}),
    "id 1e400": literally(b'{"code":"000000","data":{"id":1e400}}'),
    "id NaN": literally(b'{"code":"000000","data":{"id":NaN}}'),
    "id of 600 characters": data({"id": "7" * 600, "status": 1}),
}

LOST_ONCE = Group(
    "The upload's reply is lost once, and lost uploads are made again",
    "upload",
    1,
    tuple(
        Cell(does, fault, "succeeded", None, uploads=2, again=True) for does, fault in _LOST.items()
    ),
    LIMITS,
)
LOST_FAILS = Group(
    "The upload's reply is lost, and lost uploads fail",
    "upload",
    None,
    tuple(
        Cell(does, fault, "failed", "upload_unknown", uploads=1, again=False)
        for does, fault in _LOST.items()
    ),
    LIMITS | {"INGEST_ON_UNKNOWN_UPLOAD": "fail"},
)
LOST_ALWAYS = Group(
    "The upload's reply is lost every time",
    "upload",
    None,
    tuple(
        Cell(does, _LOST[does], "failed", "upload_unknown", uploads=TRIES, again=True)
        for does in ("HTTP 500", "reset before the headers", "what is no JSON", "no id")
    ),
    LIMITS,
)

# --- odd, and good enough -------------------------------------------------------------------------


_ODD: dict[str, Fault] = {
    "code 0, a number": envelope(0, "ok", {"id": "@ID@", "status": 1}),
    "code 0, a text": envelope("0", "ok", {"id": "@ID@", "status": 1}),
    "numbers as texts": data({"id": "@ID@", "status": "1"}),
    "the id called file_id": data({"file_id": "@ID@", "status": 1}),
    "no status": data({"id": "@ID@"}),
    "status null": data({"id": "@ID@", "status": None}),
    "status in words": data({"id": "@ID@", "status": "uploading"}),
    "status true": data({"id": "@ID@", "status": True}),
    "status a list": data({"id": "@ID@", "status": [1]}),
    "status of 30 digits": data({"id": "@ID@", "status": 10**29}),
    "status -1": data({"id": "@ID@", "status": -1}),
    "status 3 at once": data({"id": "@ID@", "status": 3}),
    "status 8 at once": data({"id": "@ID@", "status": 8}),
    "further fields": says(
        {"code": "000000", "trace": {"a": [1]}, "data": {"id": "@ID@", "status": 1, "x": None}}
    ),
    "HTTP 201": replace(TAKEN, status=201),
    "HTTP 202": replace(TAKEN, status=202),
    "no message": says({"code": "000000", "data": {"id": "@ID@"}}),
    "text/html around good JSON": replace(TAKEN, headers=(("Content-Type", "text/html"),)),
    "no content type": replace(TAKEN, headers=()),
    "good JSON in gzip": gzipped(TAKEN),
    "a byte order mark": replace(TAKEN, body=b"\xef\xbb\xbf" + TAKEN.body),
    "blanks and line breaks around": replace(TAKEN, body=b"\r\n \t" + TAKEN.body + b"\n\n"),
    "bytes that are no UTF-8 in the message": literally(
        b'{"code":"000000","message":"\xff\xfe","data":{"id":"@ID@"}}'
    ),
    "a lone surrogate in the message": literally(
        b'{"code":"000000","message":"\\ud800","data":{"id":"@ID@"}}'
    ),
    "the same field twice": literally(b'{"code":"400001","code":"000000","data":{"id":"@ID@"}}'),
    "risk control in the message of success": envelope("000000", "涉及到风险", {"id": "@ID@"}),
    "a body byte by byte": replace(TAKEN, pause=0.005),
    "chunks": Raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'13\r\n{"code":0,"data":{"\r\n'
        b'a\r\nid":"@ID@"\r\n2\r\n}}\r\n0\r\n\r\n'
    ),
    "no length, but the end of the connection": Raw(
        b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"code":0,"data":{"id":"@ID@"}}'
    ),
    "bytes behind its end": replace(TAKEN, surplus=b"HTTP/1.1 500 Oh\r\n\r\n"),
    "HTTP/1.0": Raw(b'HTTP/1.0 200 OK\r\n\r\n{"code":0,"data":{"id":"@ID@"}}'),
    "an interim answer before it": Raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        b'{"code":0,"data":{"id":"@ID@"}}'
    ),
}

ODD = Group(
    "The upload is taken, and said so in an odd way",
    "upload",
    None,
    tuple(
        Cell(does, fault, "succeeded", None, uploads=1, again=False) for does, fault in _ODD.items()
    ),
    LIMITS,
)

GROUPS = (FOR_GOOD, REFUSED_ONCE, REFUSED_ALWAYS, LOST_ONCE, LOST_FAILS, LOST_ALWAYS, ODD)
