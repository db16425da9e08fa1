"""Answers that no caller can use, whatever it asked."""

import zlib
from dataclasses import replace

from tests.matrix.faults import (
    MIB,
    Fault,
    Raw,
    Reply,
    data,
    encoded,
    envelope,
    gzip,
    gzip_bomb,
    http,
    literally,
    says,
)

_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"


def broken(good: Reply) -> dict[str, Fault]:
    """All ways to spoil this answer, by what the service does."""
    return _transport(good) | _bodies(good) | _encodings(good)


def _transport(good: Reply) -> dict[str, Fault]:
    return {
        "reset before the headers": Raw(b"", "reset"),
        "end of the connection before the headers": Raw(b"", "fin"),
        "reset within the status line": Raw(b"HTTP/1.1 2", "reset"),
        "end within the headers": Raw(_OK + b"Content-Ty"),
        "reset after the headers": replace(good, body=b"", claims=60, then="reset"),
        "reset within the body": replace(good, claims=1000, then="reset"),
        "a body that breaks off": replace(good, claims=1000, then="fin"),
        "chunks that break off": Raw(_CHUNKED + b"ff\r\n{"),
        "chunks of impossible sizes": Raw(_CHUNKED + b"zz\r\n{}\r\n"),
        "what is not HTTP": Raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "a status that is no number": Raw(b"HTTP/1.1 OK 200\r\n\r\n"),
        "a Content-Length below zero": Raw(_OK + b"Content-Length: -5\r\n\r\n{}"),
        "two lengths": Raw(_OK + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
        "a header of 100 KB": literally(b"{}", ("X-Much", "x" * 100_000)),
        "20,000 headers": literally(b"{}", *(("X-More", str(n)) for n in range(20_000))),
    }


def _bodies(good: Reply) -> dict[str, Fault]:
    return {
        "an empty body": literally(b""),
        "HTTP 204": http(204, b""),
        "JSON that breaks off": replace(good, body=good.body[:-3]),
        "what is no JSON": literally(b"all right!"),
        "a web page with 200": literally(b"<html>Welcome</html>", ("Content-Type", "text/html")),
        "JSON in UTF-16": replace(good, body=good.body.decode().encode("utf-16")),
        "two JSON values": replace(good, body=good.body * 2),
        "a list": says([]),
        "null": says(None),
        "a number": says(7),
        "a string": says("000000"),
        "2,000 nested lists": literally(b"[" * 2000 + b"]" * 2000),
        "a million nested lists": literally(b"[" * 10**6),
        "no code": says({"data": {"id": "@ID@", "file_id": "@ID@", "status": 5}}),
        "code null": envelope(None),
        "success without data": says({"code": "000000"}),
        "data null": data(None),
        "data a list": data([{"id": 7}]),
        "data a text": data("7"),
        "data a number": data(7),
        "a system error instead of data": data("系统异常(500)"),
        "65 MiB": literally(b" " * MIB, times=65),
        "two million values": literally(b'{"code":0,"data":[' + b"0," * 2_000_000 + b"0]}"),
    }


def _encodings(good: Reply) -> dict[str, Fault]:
    return {
        "a gzip bomb of 200 MiB": encoded(replace(good, body=gzip_bomb(200)), "gzip"),
        "gzip in gzip": encoded(good, "gzip, gzip", lambda body: gzip(gzip(body))),
        "gzip that breaks off": encoded(good, "gzip", lambda body: gzip(body)[:-12]),
        "gzip whose checksum is wrong": encoded(
            good, "gzip", lambda body: gzip(body)[:-8] + bytes(8)
        ),
        "gzip that is none": encoded(good, "gzip"),
        "deflate, which nobody asked for": encoded(good, "deflate", zlib.compress),
        "br, which nobody asked for": encoded(good, "br"),
    }
