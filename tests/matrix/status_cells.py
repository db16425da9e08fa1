"""The matrix's cells of status calls."""

from dataclasses import replace
from typing import Any

from tests.matrix.broken import broken
from tests.matrix.faults import (
    PARSED,
    PARSED_BODY,
    Fault,
    Raw,
    data,
    envelope,
    gzipped,
    http,
    literally,
    says,
)
from tests.matrix.table import Cell, Group

DEADLINE = {"INGEST_POLL_DEADLINE": "6"}
TRIES = 2
LIMITS = {"INGEST_MAX_UPLOAD_ATTEMPTS": str(TRIES)}


def reply(**fields: Any) -> Fault:
    """A status reply that is good but for these fields."""
    return data(PARSED_BODY | fields)


def without(name: str) -> Fault:
    return data({key: value for key, value in PARSED_BODY.items() if key != name})


def number(text: bytes) -> Fault:
    """A status reply with this text as the status, whatever JSON libraries make of it."""
    return literally(PARSED.body.replace(b'"status": 5', b'"status": ' + text))


# --- no answer that counts ------------------------------------------------------------------------

_STATUSES = (300, 304, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 418, 421, 422, 425)
_STATUSES += (451, 500, 501, 502, 504, 505, 520, 599)

_NO_ANSWER: dict[str, Fault] = {
    **{f"HTTP {status}": http(status, b"") for status in _STATUSES},
    "HTTP 500 with a good reply": replace(PARSED, status=500),
    "error code 400001": envelope("400001"),
    "error code 999999 with a good reply": envelope("999999", "no", PARSED_BODY),
    "error code 401001": envelope("401001", "who?"),
    "error about a token": envelope("400001", "token limit exceeded"),
    "error without a message": says({"code": "400009"}),
    "error about risk control": envelope("400011", "内容涉及到风险"),
    "error about a system error": envelope("400012", "系统异常(1)"),
    **broken(PARSED),
    "the id of another file": reply(file_id=999_999),
    "the id of another file, as a text": reply(file_id="999999"),
    "an id of 30 digits": reply(file_id=10**29),
    "an id that is a list": reply(file_id=["@ID@"]),
    "an id that is true": reply(file_id=True),
}

_NO_END: dict[str, Fault] = {
    "status 1": reply(status=1, parse_content=None),
    "status 2": reply(status=2, parse_content=""),
    "status 4 with half of a content": reply(status=4, parse_content='[{"text": "hal'),
    "status 0": reply(status=0),
    "status 9": reply(status=9),
    "status 99": reply(status=99),
    "status -1": reply(status=-1),
    "status of 30 digits": reply(status=10**29),
    "status of 5,000 digits": number(b"5" * 5000),
    "status 5e400": number(b"5e400"),
    "status NaN": number(b"NaN"),
    "status 5.5": reply(status=5.5),
    "status null": reply(status=None),
    "status empty": reply(status=""),
    "status in words": reply(status="parse finish"),
    "status true": reply(status=True),
    "status a list": reply(status=[5]),
    "status an object": reply(status={"status": 5}),
    "no status": without("status"),
    "no field at all": data({}),
}

NO_ANSWER_ONCE = Group(
    "One status call brings nothing that counts",
    "status",
    1,
    tuple(
        Cell(does, fault, "succeeded", None, uploads=1, again=True)
        for does, fault in (_NO_ANSWER | _NO_END).items()
    ),
)
NO_ANSWER_ALWAYS = Group(
    "No status call brings anything that counts",
    "status",
    None,
    tuple(
        Cell(does, fault, "timed_out", "deadline", uploads=1, again=True)
        for does, fault in (_NO_ANSWER | _NO_END).items()
        if "MiB" not in does
    ),
    DEADLINE,
)

# --- odd, and good enough -------------------------------------------------------------------------

_ODD: dict[str, tuple[Fault, str]] = {
    "status 5 as a text": (reply(status="5"), "the text"),
    "status 5.0": (reply(status=5.0), "the text"),
    "status 7": (reply(status=7), "the text"),
    "an id as a text": (reply(file_id="@ID@"), "the text"),
    "no id": (without("file_id"), "the text"),
    "id null": (reply(file_id=None), "the text"),
    "code 0, a number": (says({"code": 0, "data": PARSED_BODY}), "the text"),
    "further fields": (reply(trace=[{}], x=None, status_text="fine"), "the text"),
    "no file name": (without("file_name"), "the text"),
    "the name of another file": (reply(file_name="other.pdf"), "the text"),
    "an error message with status 5": (reply(error_msg="flow failed"), "the text"),
    "an error message that is a list": (reply(error_msg=["x"]), "the text"),
    "an error message of 30 digits, a number": (reply(error_msg=10**29), "the text"),
    "text/html around good JSON": (
        replace(PARSED, headers=(("Content-Type", "text/html"),)),
        "the",
    ),
    "no content type": (replace(PARSED, headers=()), "the text"),
    "good JSON in gzip": (gzipped(PARSED), "the text"),
    "a byte order mark": (replace(PARSED, body=b"\xef\xbb\xbf" + PARSED.body), "the text"),
    "HTTP 202": (replace(PARSED, status=202), "the text"),
    "bytes behind its end": (replace(PARSED, surplus=b"HTTP/1.1 500 Oh\r\n\r\n"), "the text"),
    "a body byte by byte": (replace(PARSED, pause=0.002), "the text"),
    "no length, but the end of the connection": (
        Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PARSED.body),
        "the text",
    ),
    "the same field twice": (
        literally(b'{"code":"400001","code":"000000","data":{"status":1,"status":5}}'),
        "",
    ),
    "risk control in the message of success": (
        envelope("000000", "涉及到风险", PARSED_BODY),
        "the",
    ),
    "risk control in the contents": (reply(parse_content="涉及到风险 is a phrase"), "涉及到风险"),
    "a system error in the contents": (reply(parse_content="系统异常(1)"), "系统异常("),
    "contents null": (reply(parse_content=None), ""),
    "contents empty": (reply(parse_content=""), ""),
    "no contents": (without("parse_content"), ""),
    "contents a list": (reply(parse_content=[{"text": "a list"}]), "a list"),
    "contents an object": (reply(parse_content={"text": "an object"}), "an object"),
    "contents a number": (reply(parse_content=5), "5"),
    "contents false": (reply(parse_content=False), "false"),
    "contents of 30 digits": (reply(parse_content=10**29), "1000000000"),
    "contents in half a JSON": (reply(parse_content='[{"text": "hal'), "hal"),
    "contents in a fence": (reply(parse_content='```json\n[{"text": "fenced"}]\n```'), "fenced"),
    "contents with NUL": (reply(parse_content="a\x00b"), "a\ufffdb"),
    "contents with a lone surrogate": (
        literally(PARSED.body.replace(b"the text of @FILE@", b"c\\ud800d")),
        "c\ufffdd",
    ),
    "contents that nest 500 deep": (
        reply(parse_content="[" * 500 + '"deep"' + "]" * 500),
        "deep",
    ),
    "contents that are 900 lists in one another": (
        literally(PARSED.body.replace(b'"the text of @FILE@"', b"[" * 900 + b"]" * 900)),
        "nested too deeply",
    ),
    "contents of 8 MiB": (reply(parse_content="long " * 1_700_000), "long long"),
    "llm contents an object": (reply(llm_content={"a": [1]}), "the text"),
    "llm contents a number beyond 64 bits": (reply(llm_content=10**29), "the text"),
}

ODD = Group(
    "The status reply is odd, and good enough",
    "status",
    None,
    tuple(
        Cell(does, fault, "succeeded", None, uploads=1, again=False, keeps=kept)
        for does, (fault, kept) in _ODD.items()
    ),
)

# --- the service's own word -----------------------------------------------------------------------


def _failed(does: str, fault: Fault, code: str, says: str = "") -> Cell:
    return Cell(does, fault, "failed", code, uploads=1, again=False, says=says)


def _partial(does: str, fault: Fault, keeps: str) -> Cell:
    return Cell(does, fault, "partial", "flow_failed", uploads=1, again=False, keeps=keeps)


_SAID = (
    _failed("status 6", reply(status=6, error_msg="broken file"), "parse_failed", "broken file"),
    _failed("status 6 as a text", reply(status="6"), "parse_failed"),
    _failed(
        "status 6 with a message that is a list", reply(status=6, error_msg=[1]), "parse_failed"
    ),
    _failed("status 6 about risk control", reply(status=6, error_msg="涉及到风险"), "parse_failed"),
    *(
        _failed(
            f"status 8 with contents of {shown}",
            reply(status=8, parse_content=value),
            "flow_failed",
        )
        for shown, value in {"null": None, "nothing": "", "[]": [], "{}": {}, "'[]'": "[]"}.items()
    ),
    _failed("status 8 without the field", data({"file_id": "@ID@", "status": 8}), "flow_failed"),
    _partial("status 8 with contents", reply(status=8, error_msg="flow failed"), "the text"),
    _partial("status 8 with a list", reply(status=8, parse_content=[{"text": "x1"}]), "x1"),
    Cell("status 3", reply(status=3), "failed", "upload_failed", uploads=TRIES, again=True),
    Cell(
        "status 3, then a second upload",
        (reply(status=3),),
        "succeeded",
        None,
        uploads=2,
        again=True,
    ),
    *(
        Cell(
            f"status {', '.join(map(str, way))}, then 5",
            tuple(reply(status=each, parse_content=None) for each in way),
            "succeeded",
            None,
            uploads=1,
            again=True,
            keeps="the text",
        )
        for way in ((4, 1), (2, 99, 2), (4, 4, 0))
    ),
)

SAID = Group("The service settles a file, or moves it back", "status", None, _SAID, LIMITS)

# --- settling at the flow's end -------------------------------------------------------------------

_FIVE = reply(status=5)


def _then(does: str, *faults: Fault, state: Any, code: str | None, **more: Any) -> Cell:
    fields = {"uploads": 1, "again": True, "keeps": "the text"} | more
    return Cell(does, (_FIVE, *faults), state, code, **fields)


_FOR_EVER = 40

AT_FLOW = Group(
    "Settling at the flow's end, after status 5",
    "status",
    None,
    (
        Cell("status 5 for ever", _FIVE, "partial", "deadline", 1, again=True, keeps="the text"),
        _then("status 7", reply(status=7), state="succeeded", code=None),
        _then(
            "status 7 without contents",
            reply(status=7, parse_content=None),
            state="succeeded",
            code=None,
        ),
        _then(
            "status 8 without contents",
            reply(status=8, parse_content=None),
            state="partial",
            code="flow_failed",
        ),
        _then("status 1, then 7", reply(status=1), reply(status=7), state="succeeded", code=None),
        *(
            _then(f"{does} for ever", *([fault] * _FOR_EVER), state="partial", code="deadline")
            for does, fault in {
                "HTTP 500": http(500),
                "an error code": envelope("400001"),
                "another file's id": reply(file_id=999_999),
                "an unknown status": reply(status=77),
                "status 1 without contents": reply(status=1, parse_content=None),
                "resets": Raw(b"", "reset"),
            }.items()
        ),
    ),
    DEADLINE | {"CHATFLOW_SETTLE_AT": "flow"},
)

OCR = Group(
    "Status 8 counts as a success",
    "status",
    None,
    (
        Cell(
            "status 8 with contents",
            reply(status=8, error_msg="flow failed"),
            "succeeded",
            None,
            uploads=1,
            again=False,
            keeps="the text",
        ),
        Cell(
            "status 8 without contents, then with",
            (reply(status=8, parse_content=[]), reply(status=8)),
            "succeeded",
            None,
            uploads=1,
            again=True,
            keeps="the text",
        ),
        Cell(
            "status 8 without contents for ever",
            reply(status=8, parse_content=[]),
            "timed_out",
            "deadline",
            uploads=1,
            again=True,
        ),
        Cell("status 6", reply(status=6), "failed", "parse_failed", uploads=1, again=False),
    ),
    DEADLINE | {"CHATFLOW_SUCCESS_STATUSES": "5,7,8"},
)

GROUPS = (NO_ANSWER_ONCE, NO_ANSWER_ALWAYS, ODD, SAID, AT_FLOW, OCR)
