"""The matrix's cells of dialogs.

A dialog does not say for which file it is opened. Where the file goes on to be uploaded, its flow
tells which dialog it was given; where it ends, the words of its error do.
"""

from websockets.frames import Opcode

from tests.matrix.faults import (
    CATEGORY,
    NODE,
    Again,
    Bytes,
    End,
    Fault,
    Raw,
    Step,
    Talk,
    Text,
    Wait,
    binary,
    category,
    close,
    envelope,
    flow,
    frame,
    http,
    node,
    redirect,
    spoken,
    talk,
    text,
)
from tests.matrix.table import Cell, Group

SECONDS = {"CHATFLOW_DIALOG_TIMEOUT": "3"}
GOING = End("fin")
"""The connection ends behind the node, so that no other dialog is held on it."""


def closes(code: int | None, reason: bytes = b"") -> Talk:
    """A dialog that the service closes as soon as it is entered."""
    return talk(close(code, reason), GOING)


def _unframed(head: bytes, payload: bytes = b"") -> Bytes:
    return Bytes(head + payload)


# --- another dialog is opened ---------------------------------------------------------------------

_CLOSES = (1000, 1001, 1002, 1003, 1007, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999)
_NOT_ON_THE_WIRE = (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)

_AGAIN: dict[str, Fault] = {
    **{f"HTTP {status}": http(status) for status in (200, 400, 404, 408, 425, 500, 502, 504, 599)},
    "HTTP 429": http(429),
    "HTTP 429 with Retry-After: 1": http(429, b"slow", ("Retry-After", "1")),
    "HTTP 429 with a Retry-After in words": http(429, b"slow", ("Retry-After", "soon")),
    "HTTP 503": http(503),
    "HTTP 503 with Retry-After: 1": http(503, b"rest", ("Retry-After", "1")),
    "HTTP 500 with an envelope": envelope("400500", "failed inside", status=500),
    "a web page instead of the handshake": http(200, b"<html>Welcome</html>"),
    "reset before the handshake's answer": Raw(b"", "reset"),
    "end of the connection before the handshake's answer": Raw(b"", "fin"),
    "a handshake that breaks off": Raw(b"HTTP/1.1 101 Switching Pro"),
    "a handshake that is not HTTP": Raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a handshake without the upgrade": Raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "a handshake with a wrong key": talk(NODE, accept=lambda _: "bm90IHRoaXMga2V5IGF0IGFsbCE="),
    "a handshake with a header of 100 KB": talk(NODE, headers=(("X-Much", "x" * 100_000),)),
    "a subprotocol that nobody asked for": talk(
        NODE, headers=(("Sec-WebSocket-Protocol", "chat"),)
    ),
    "an extension that nobody asked for": talk(
        NODE, headers=(("Sec-WebSocket-Extensions", "x-odd"),)
    ),
    "hangs up without hearing the question": talk(End("fin"), hears=False),
    "resets before the node": talk(End("reset")),
    "ends without a close frame before the node": talk(End("fin")),
    **{f"close code {code} before the node": closes(code) for code in _CLOSES if code != 1000},
    "a close frame without a code": closes(None),
    **{f"close code {code}, which must not be sent": closes(code) for code in _NOT_ON_THE_WIRE},
    "a close frame of one byte": talk(_unframed(b"\x88\x01\x03")),
    "a close frame whose reason is no UTF-8": closes(1011, b"\xff\xfe"),
    "silence": talk(),
    "silence from the handshake on": talk(Wait(4), hears=False),
    "a text frame that is no UTF-8": talk(Text(b"\xff\xfe")),
    "a text frame with a reserved bit": talk(_unframed(b"\xc1\x02", b"{}")),
    "a masked frame": talk(_unframed(b"\x81\x82\x00\x00\x00\x00", b"{}")),
    "an unknown opcode": talk(_unframed(b"\x83\x00")),
    "an unknown control opcode": talk(_unframed(b"\x8b\x00")),
    "a ping of 126 bytes": talk(_unframed(b"\x89\x7e\x00\x7e", bytes(126))),
    "a ping in fragments": talk(_unframed(b"\x09\x00")),
    "a continuation of nothing": talk(Text(b"{}", Opcode.CONT)),
    "a message begun within another": talk(Text(b"{", fin=False), Text(b"{}")),
    "a frame of 2^63 bytes": talk(_unframed(b"\x81\x7f" + b"\x80" + bytes(7))),
    "a frame of 2^40 bytes": talk(_unframed(b"\x81\x7f" + (2**40).to_bytes(8))),
    "a frame that breaks off": talk(_unframed(b"\x81\x7e\x01\x00", b"{"), End("fin")),
    "a message whose end never comes": talk(Text(b"{", fin=False), Wait(4)),
    "endless small fragments": talk(
        Text(b"{", fin=False), Again(Text(b" ", Opcode.CONT, fin=False), 350, 0.01)
    ),
    "nothing but pings": talk(Again(_unframed(b"\x89\x00"), 350, 0.01)),
    "nothing but heartbeats": talk(Again(text({"type": "heartbeat"}), 350, 0.01)),
    "nothing but noise": talk(Again(text(b"noise"), 350, 0.01)),
    "nothing but binary messages": talk(Again(binary(b"\x00\x01"), 350, 0.01)),
    "a word now and then, and no node": talk(Again(spoken("wait "), 350, 0.01)),
}

RETRIED = Group(
    "A dialog brings no upload node for the moment",
    "dialog",
    1,
    tuple(
        Cell(does, fault, "succeeded", None, uploads=1, again=True)
        for does, fault in _AGAIN.items()
    ),
    SECONDS,
)

# --- no dialog would help -------------------------------------------------------------------------

_ENDS: dict[str, tuple[tuple[Step, ...], str]] = {
    "the flow is left": ((spoken("left early"), flow("002001")), "left early"),
    "the round is over": ((spoken("that was it"), flow("002005")), "that was it"),
    "a close with code 1000 after words": ((spoken("good bye"), close(1000), GOING), "good bye"),
    "a flow's error code": ((flow("400000", message="flow broken"),), "400000"),
    "a flow's error code of the 500s": ((flow("500001", message="flow ill"),), "500001"),
    "an envelope with an error code": ((text({"code": "400012", "message": "shut"}),), "400012"),
    "an envelope with a code in words": ((text({"code": "E_SHUT", "message": "x"}),), "E_SHUT"),
    "a system error inside success": ((spoken("系统异常(502)"),), "502"),
    "a system error in two pieces": ((spoken("系统"), spoken("异常(503)")), "503"),
    "risk control inside success": ((spoken("您的问题涉及到风险内容一"),), "risk control"),
    "a flow that waits for input": ((flow("002004"), Wait(4)), "waits for input"),
}

ENDED = Group(
    "A dialog ends without an upload node",
    "dialog",
    1,
    tuple(
        Cell(does, talk(*steps), "failed", "no_upload_node", uploads=0, again=False, says=words)
        for does, (steps, words) in _ENDS.items()
    ),
    SECONDS,
)

# --- odd, and good enough -------------------------------------------------------------------------

_NODE_TEXT = NODE.payload
_ODD: dict[str, tuple[Step, ...]] = {
    "text that is no JSON before the node": (text(b"hello?"), NODE),
    "JSON that breaks off before the node": (text(b'{"code": "0000'), NODE),
    "null": (text(None), NODE),
    "a list": (text([1]), NODE),
    "a number": (text(7), NODE),
    "an empty message": (text(b""), NODE),
    "an empty object": (text({}), NODE),
    "2,000 nested lists": (text(b"[" * 2000 + b"]" * 2000), NODE),
    "a million nested lists": (text(b"[" * 10**6), NODE),
    "a number of 5,000 digits": (text(b"5" * 5000), NODE),
    "a binary message": (binary(b"\x00\x01\x02"), NODE),
    "an empty binary message": (binary(b""), NODE),
    "a hundred messages of noise": (Again(text(b"noise"), 100), NODE),
    "a ping": (_unframed(b"\x89\x02hi"), NODE),
    "a thousand pings": (Again(_unframed(b"\x89\x00"), 1000), NODE, Wait(0.5)),
    "a pong that nobody asked for": (_unframed(b"\x8a\x00"), NODE),
    "a heartbeat": (text({"type": "heartbeat"}), NODE),
    "a type that nobody knows": (frame("hologram", data={"x": 1}), NODE),
    "a frame without a type": (text({"code": "000000", "data": {}}), NODE),
    "a type of null": (frame("string", data=None), NODE),
    "data of a wrong type": (frame("flow", data=[1, 2]), NODE),
    "data null": (frame("flow", data=None), NODE),
    "a flow code of null": (flow(None), NODE),
    "a flow code that nobody knows": (flow("002999"), NODE),
    "a flow code of a wrong type": (flow(["002000"]), NODE),
    "an upload node without content": (flow("002010"), NODE),
    "a megabyte of words": (spoken("x" * 1_000_000), NODE),
    "words with NUL, escape and right-to-left marks": (spoken("a\x00b\x1b[31mc\u202e"), NODE),
    "a lone surrogate in the words": (text(b'{"type":"string","data":"\\ud800"}'), NODE),
    "the node in fragments": (
        Text(_NODE_TEXT[:40], fin=False),
        Text(_NODE_TEXT[40:], Opcode.CONT),
    ),
    "a ping within a message": (
        Text(_NODE_TEXT[:40], fin=False),
        _unframed(b"\x89\x00"),
        Text(_NODE_TEXT[40:], Opcode.CONT),
    ),
    "the node after a pause": (Wait(1), NODE),
    "words before the node": (spoken("Hello, "), spoken("you"), NODE),
    "the node twice": (NODE, NODE),
    "an error after the node": (NODE, text({"code": "400012", "message": "late"})),
    "close code 1011 after the node": (NODE, close(1011)),
    "further fields in the node": (node(trace={"a": [1]}, x=None),),
    "no instruction": (node(instruction=None),),
    "numbers as texts in a category": (node([category(id="1", upload_max_num="1")]),),
    "formats with blanks, dots and capitals": (node([category(support_formats=" .TXT , wav ")]),),
    "a category twice": (node([CATEGORY, CATEGORY]),),
    "a broken category beside a good one": (node([None, 7, {}, CATEGORY]),),
    "an absurd number of places": (node([category(upload_max_num=10**9)]),),
    "a place for everything": (node([category(upload_max_num=10**30)]), NODE),
    "places of a wrong type": (node([category(upload_max_num="many")]),),
    "parse methods of null": (node([category(customized_parse_methods=None)]),),
    "parse methods of a wrong type": (node([category(customized_parse_methods="none")]),),
    "no variable": (node([category(variable_assign=None)]),),
    "a category's name of 1,000 characters": (node([category(name="n" * 1000)]),),
    "1,000 categories": (node([*(category(id=n, name=f"c{n}") for n in range(1000))]),),
}

ODD = Group(
    "A dialog brings its upload node in an odd way",
    "dialog",
    1,
    tuple(
        Cell(does, talk(*steps, GOING), "succeeded", None, uploads=1, again=False)
        for does, steps in _ODD.items()
    ),
    SECONDS,
)

# --- nothing fits ---------------------------------------------------------------------------------

_UNFIT: dict[str, object] = {
    "no categories": (),
    "categories of null": None,
    "categories of a wrong type": {"a": 1},
    "categories without a name": [{}],
    "only other formats": [category(support_formats="dwg")],
    "formats of null": [category(support_formats=None)],
    "formats of a wrong type": [category(support_formats=7)],
    "no places": [category(upload_max_num=0)],
    "fewer places than none": [category(upload_max_num=-5)],
}

# --- nothing of this profile works ----------------------------------------------------------------

_STOPPED: dict[str, tuple[Fault, str]] = {
    "HTTP 401": (http(401), "credentials_refused"),
    "HTTP 403": (http(403), "credentials_refused"),
    "HTTP 301 to another path": (redirect(301, "/elsewhere"), "redirected"),
    "HTTP 302 to another host": (redirect(302, "http://127.0.0.2:9/"), "redirected"),
    "HTTP 307": (redirect(307, "https://example.invalid/"), "redirected"),
    "HTTP 308": (redirect(308, "/login"), "redirected"),
    "close code 1008": (closes(1008), "credentials_refused"),
    "close code 4401": (closes(4401), "credentials_refused"),
    "close code 4403": (closes(4403), "credentials_refused"),
    "a close that speaks of a token": (closes(4000, b"invalid token"), "credentials_refused"),
    "error code 401000": (talk(text({"code": "401000", "message": "no"})), "credentials_refused"),
    "a flow's error about a token": (
        talk(flow("400000", message="invalid token")),
        "credentials_refused",
    ),
    "a system error about the robot key": (
        talk(spoken("系统异常(robot key 无效)")),
        "credentials_refused",
    ),
    "an error code every time": (talk(flow("400000", message="broken")), "no_upload_node"),
}

STOPPED = Group(
    "Every dialog is refused",
    "dialog",
    None,
    (
        *(
            Cell(does, fault, "failed", code, uploads=0, again=False)
            for does, (fault, code) in _STOPPED.items()
        ),
        *(
            Cell(
                f"an upload node with {does}",
                talk(node(categories)),
                "rejected",
                "unsupported_format",
                uploads=0,
                again=False,
            )
            for does, categories in _UNFIT.items()
        ),
    ),
    SECONDS,
    alone=True,
)

# --- it does not get better -----------------------------------------------------------------------

_STAYS: dict[str, Fault] = {
    "HTTP 404": http(404),
    "HTTP 500": http(500),
    "reset before the handshake's answer": Raw(b"", "reset"),
    "what is not HTTP": Raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "close code 1011": closes(1011),
    "silence": talk(),
    "an upload node without content": talk(flow("002010", file_upload=None)),
    "nothing but noise": talk(Again(text(b"noise"), 150, 0.01)),
}

AWAY = Group(
    "No dialog comes about, and the run gives up",
    "dialog",
    None,
    tuple(
        Cell(does, fault, "failed", "service_unavailable", uploads=0, again=True)
        for does, fault in _STAYS.items()
    ),
    {"CHATFLOW_DIALOG_TIMEOUT": "1", "INGEST_UNREACHABLE_AFTER": "1"},
    alone=True,
)

GROUPS = (RETRIED, ENDED, ODD, STOPPED, AWAY)
