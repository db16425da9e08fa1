import asyncio
import contextlib
import gzip
import hashlib
import json
import logging
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from email.utils import formatdate

import aiohttp
import httpx2 as httpx
import pytest
from aiohttp import web

from worker.adapters.chatflow import http, http_body, http_reply
from worker.adapters.chatflow.http import HttpService
from worker.adapters.chatflow.http_failures import FAILURES, FATES, Fate, fate
from worker.adapters.chatflow.http_request import (
    Forms,
    ReadyHeaders,
    status_request,
    upload_request,
)
from worker.core.model.wire import Credentials, UploadForm, UploadReply
from worker.errors import (
    ConfigurationError,
    IngestError,
    Redirected,
    ServiceBusy,
    ServiceFault,
    ServiceUnreachable,
    SourceRejected,
    UploadRefused,
    UploadUnknown,
)

pytestmark = pytest.mark.anyio

CREDENTIALS = Credentials("key%3Dsecret", "token-secret", "someone@example.org")
FORM = UploadForm("flow-1", "variable", "talk.wav", "wav", "text", "line one\r\nline two")
UPLOAD = "/openapi/v1/chatflow/offline_upload_file/"
STATUS = "/openapi/v1/chatflow/get_offline_file_status/"


class Content:
    """A file in memory, or one that pretends to have so many bytes."""

    def __init__(self, *chunks, size=None, name="talk.wav", failure=None):
        self.pieces = chunks
        self.size = sum(map(len, chunks)) if size is None else size
        self.name = name
        self.failure = failure
        self.sha256 = ""

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.failure is not None:
            raise self.failure


class Huge(Content):
    """Many times the same chunk."""

    def __init__(self, chunk, times):
        super().__init__(size=len(chunk) * times)
        self.chunk, self.times = chunk, times

    async def chunks(self):
        for _ in range(self.times):
            yield self.chunk


@contextlib.asynccontextmanager
async def opened(base_url, **changes):
    service = HttpService(
        **{"base_url": base_url, "credentials": CREDENTIALS, "tenant_name": "AiopsTest"} | changes
    )
    try:
        yield service
    finally:
        await service.aclose()


class Service:
    """A loopback service that keeps what it was sent and answers what a test says."""

    def __init__(self):
        self.reply = (
            web.json_response,
            ({"code": "000000", "data": {"id": 2**60 + 1, "status": 1}},),
            {},
        )
        self.forms = []
        self.requests = []

    def answer(self, *args, **kwargs):
        self.reply = web.Response, args, kwargs

    def answer_json(self, payload, **kwargs):
        self.reply = web.json_response, (payload,), kwargs

    async def upload(self, request):
        self.requests.append(request)
        form = {}
        async for part in await request.multipart():
            if part.name == "file":
                form["file name"] = part.filename
                form["file size"], form["file hash"] = await digest(part)
            else:
                form[part.name] = (await part.read()).decode()
        self.forms.append(form)
        return self.respond()

    async def status(self, request):
        self.requests.append(request)
        return self.respond()

    def respond(self):
        build, args, kwargs = self.reply
        return build(*args, **kwargs)


async def digest(part):
    size, sha = 0, hashlib.sha256()
    while chunk := await part.read_chunk(1 << 18):
        size += len(chunk)
        sha.update(chunk)
    return size, sha.hexdigest()


@contextlib.asynccontextmanager
async def serving(service):
    app = web.Application()
    app.router.add_post(UPLOAD, service.upload)
    app.router.add_get(STATUS, service.status)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


@pytest.fixture
async def service():
    async with serving(Service()) as service:
        yield service


@pytest.fixture
async def client(service):
    async with opened(service.base_url + "/") as client:
        yield client


@contextlib.asynccontextmanager
async def raw_service(behave):
    """A server that does as it is told with each connection, below HTTP."""
    tasks, writers = set(), []

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await behave(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for writer in writers:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


# --- what is sent --------------------------------------------------------------------------------


async def test_an_upload_carries_every_field(service, client):
    reply = await client.upload(FORM, Content(b"abc", b"def"))
    assert reply == UploadReply(str(2**60 + 1), 1)
    (form,) = service.forms
    assert form == {
        "mode": "1",
        "username": "someone@example.org",
        "tenant_name": "AiopsTest",
        "flow_uuid": "flow-1",
        "extra_params": "variable",
        "file_format": "wav",
        "parse_model": "text",
        "parse_prompt": "line one\r\nline two",
        "file_name": "talk.wav",
        "file name": "talk.wav",
        "file size": 6,
        "file hash": hashlib.sha256(b"abcdef").hexdigest(),
    }
    headers = service.requests[0].headers
    assert headers["cybertron-robot-key"] == "key%3Dsecret"
    assert headers["cybertron-robot-token"] == "token-secret"
    assert headers["username"] == "someone@example.org"
    assert int(headers["Content-Length"]) > 6
    assert "Transfer-Encoding" not in headers


async def test_inputs_travel_when_given(service, client):
    form = UploadForm("f", "v", "a.wav", "", "", "", inputs='{"a": "ü"}')
    await client.upload(form, Content(b"x"))
    assert service.forms[0]["inputs"] == '{"a": "ü"}'


async def test_forms_of_different_dialogs_are_not_mixed_up(service, client):
    for flow in ("f1", "f2", "f1"):
        for name in ("a.wav", "b.wav"):
            await client.upload(UploadForm(flow, "v", name, "", "", ""), Content(b"x"))
    assert [(form["flow_uuid"], form["file_name"]) for form in service.forms] == [
        ("f1", "a.wav"),
        ("f1", "b.wav"),
        ("f2", "a.wav"),
        ("f2", "b.wav"),
        ("f1", "a.wav"),
        ("f1", "b.wav"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "合同 (终稿).pdf",
        'with "quotes".wav',
        "it's.wav",
        "semi;colon=.wav",
        "emoji 😀.txt",
        "line\r\nbreak.wav",
        "back\\slash.wav",
        "percent%22.wav",
        "ünï.wav",
        "no-extension",
    ],
)
async def test_any_file_name_survives(service, client, name):
    await client.upload(UploadForm("f", "v", name, "", "", ""), Content(b"x", name=name))
    assert service.forms[0]["file_name"] == name
    assert service.forms[0]["file size"] == 1


async def test_a_file_name_that_is_no_unicode_is_mended(service, client):
    await client.upload(UploadForm("f", "v", "a\udcff.wav", "", "", ""), Content(b"x"))
    assert service.forms[0]["file_name"] == "a\ufffd.wav"


@pytest.mark.parametrize(
    "size", [1, http.SMALL_BODY - 2000, http.SMALL_BODY, http.SMALL_BODY + 1, 3 * 2**20]
)
async def test_files_of_every_size_arrive_whole(service, client, size):
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    await client.upload(FORM, Content(*(data[i : i + 65536] for i in range(0, size, 65536))))
    assert service.forms[0]["file size"] == size
    assert service.forms[0]["file hash"] == hashlib.sha256(data).hexdigest()


async def test_a_large_file_never_sits_in_memory(service, client):
    content = Huge(b"x" * 2**20, 100)
    tracemalloc.start()
    try:
        await client.upload(FORM, content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert service.forms[0]["file size"] == content.size
    assert peak < 30 * 2**20


async def test_a_status_call_is_a_get_with_the_three_headers(service, client):
    service.answer_json(
        {
            "code": "000000",
            "data": {
                "status": 5,
                "error_msg": "",
                "parse_content": "['[]']",
                "llm_content": None,
            },
        }
    )
    reply = await client.ask("12 3&x=1")
    assert (reply.status, reply.parse_content, reply.llm_content) == (5, "['[]']", None)
    (request,) = service.requests
    assert dict(request.query) == {"file_id": "12 3&x=1"}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["cybertron-robot-key"] == "key%3Dsecret"
    assert request.headers["cybertron-robot-token"] == "token-secret"
    assert request.headers["username"] == "someone@example.org"


async def test_credentials_travel_as_given_and_names_are_utf8(service):
    credentials = Credentials("key%3Dsecret", "t%2Bx", "用户甲")
    async with opened(service.base_url, credentials=credentials) as client:
        await client.upload(FORM, Content(b"x"))
    headers = service.requests[0].headers
    assert headers["cybertron-robot-key"] == "key%3Dsecret"
    assert headers["cybertron-robot-token"] == "t%2Bx"
    assert dict(service.requests[0].raw_headers)[b"username"].decode() == "用户甲"
    assert service.forms[0]["username"] == "用户甲"


async def test_cookies_are_not_kept(service, client):
    service.reply = (
        web.json_response,
        ({"code": "000000", "data": {"status": 1}},),
        {"headers": {"Set-Cookie": "a=b"}},
    )
    await client.ask("1")
    await client.ask("2")
    assert "Cookie" not in service.requests[1].headers


async def test_compressed_and_large_replies_are_read(service, client):
    payload = {"code": "000000", "data": {"status": 5, "parse_content": "x" * 5_000_000}}
    body = gzip.compress(json.dumps(payload).encode())
    service.answer(
        body=body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}
    )
    reply = await client.ask("1")
    assert len(reply.parse_content) == 5_000_000


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "deflate", "gzip,identity", "x" * 200])
async def test_an_encoding_that_was_not_asked_for_is_not_decoded(service, client, encoding):
    payload = {"code": "000000", "data": {"id": 1, "status": 5}}
    body = gzip.compress(gzip.compress(json.dumps(payload).encode()))
    service.answer(body=body, headers={"Content-Encoding": encoding})
    with pytest.raises(ServiceFault, match="encoded as"):
        await client.ask("1")
    with pytest.raises(UploadUnknown, match="encoded as"):
        await client.upload(FORM, Content(b"x"))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "identity"])
async def test_one_layer_of_gzip_is_read(service, client, encoding):
    body = json.dumps({"code": "000000", "data": {"id": 1, "status": 5}}).encode()
    body = body if encoding == "identity" else gzip.compress(body)
    service.answer(body=body, headers={"Content-Encoding": encoding})
    assert (await client.ask("1")).status == 5


async def test_a_small_reply_that_inflates_without_end_takes_little_memory(service, client):
    squeeze = zlib.compressobj(9, wbits=31)
    zeros = bytes(2**20)
    bomb = b"".join([squeeze.compress(zeros) for _ in range(200)]) + squeeze.flush()
    service.answer(body=bomb, headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        with pytest.raises(ServiceFault, match="more than"):
            await client.ask("1")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * http_reply.LARGEST_REPLY


@pytest.mark.parametrize("cut", [3, 20])
async def test_a_gzip_that_breaks_off_is_no_reply(service, client, cut):
    body = gzip.compress(json.dumps({"code": "000000", "data": {"status": 5}}).encode())
    service.answer(body=body[:-cut], headers={"Content-Encoding": "gzip"})
    with pytest.raises(ServiceFault, match="breaks off"):
        await client.ask("1")


async def test_endless_replies_are_not_read_to_their_end(service, client, monkeypatch):
    monkeypatch.setattr(http_reply, "LARGEST_REPLY", 1000)
    service.answer_json(
        {"code": "000000", "data": {"id": 1, "status": 5, "parse_content": "x" * 2000}}
    )
    with pytest.raises(ServiceFault):
        await client.ask("1")
    with pytest.raises(UploadUnknown):
        await client.upload(FORM, Content(b"x"))


async def test_quick_requests_are_on_the_wire_what_httpx_would_write(service):
    """What the transport reads of a request is what our shortcuts give it."""
    transport = http._transport(None, 8)
    headers = {"username": "用户甲", "X-Key": "a%3D", "Content-Type": "application/json"}
    proper = httpx.Headers(headers, encoding="utf-8")
    address = httpx.URL(service.base_url + STATUS)
    quick = status_request(address, "1 2&x=ü", ReadyHeaders(headers), http._STATUS_LIMITS)
    plain = httpx.Request("GET", address, params={"file_id": "1 2&x=ü"}, headers=proper)
    for request in (quick, plain):
        response = await transport.handle_async_request(request)
        await response.aclose()
    assert dict(service.requests[0].query) == dict(service.requests[1].query)
    sent = [{k.lower(): v for k, v in each.raw_headers} for each in service.requests]
    assert sent[0] == sent[1]
    assert sent[0][b"username"].decode() == "用户甲"

    forms = Forms(username="someone", tenant_name="AiopsTest")
    body = forms.head(FORM) + b"abc" + forms.tail
    headers |= {"Content-Type": forms.content_type, "Content-Length": str(len(body))}
    proper = httpx.Headers(headers, encoding="utf-8")
    address = httpx.URL(service.base_url + UPLOAD)
    quick = upload_request(address, body, ReadyHeaders(headers), http._UPLOAD_LIMITS)
    plain = httpx.Request(
        "POST",
        address,
        headers=proper,
        data=service_fields(),
        files={"file": (FORM.file_name, b"abc")},
    )
    for request in (quick, plain):
        await (await transport.handle_async_request(request)).aclose()
    assert service.forms[0] == service.forms[1]
    await transport.aclose()


def service_fields():
    return {
        "mode": "1",
        "username": "someone",
        "tenant_name": "AiopsTest",
        "flow_uuid": FORM.flow_uuid,
        "extra_params": FORM.extra_params,
        "file_format": FORM.file_format,
        "parse_model": FORM.parse_model,
        "parse_prompt": FORM.parse_prompt,
        "file_name": FORM.file_name,
    }


# --- what an answer means ------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
async def test_401_and_403_are_a_refusal_that_blames_the_credentials(service, client, status):
    service.answer(status=status)
    with pytest.raises(UploadRefused) as caught:
        await client.upload(FORM, Content(b"x"))
    error = caught.value
    assert (error.code, error.permanent, error.blames_credentials) == (
        f"http_{status}",
        False,
        True,
    )
    with pytest.raises(ServiceFault) as asked:
        await client.ask("1")
    assert (asked.value.code, asked.value.blames_credentials) == (f"http_{status}", True)


@pytest.mark.parametrize("status", [400, 403, 413, 429, 500, 503])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"code": "400999", "message": "no room for token-secret"}', "400999 no room for"),
        ("<html><title>Request blocked</title></html>", "Request blocked"),
        ("your token token-secret is over its quota", "your token [redacted] is over its quota"),
    ],
)
async def test_an_http_error_keeps_the_words_that_came_with_it(service, client, status, body, said):
    service.answer(status=status, text=body)
    for call in (client.ask("1"), client.upload(FORM, Content(b"x"))):
        with pytest.raises(IngestError) as caught:
            await call
        assert f"HTTP {status}: {said}" in caught.value.message
        assert "token-secret" not in caught.value.message


@pytest.mark.parametrize(("status", "everything"), [(429, False), (503, True)])
@pytest.mark.parametrize(
    ("header", "wait"), [({}, None), ({"Retry-After": "9"}, 9.0), ({"Retry-After": "x"}, None)]
)
async def test_429_and_503_say_how_long_to_wait(service, client, status, everything, header, wait):
    service.answer(status=status, headers=header)
    for call in (client.ask("1"), client.upload(FORM, Content(b"x"))):
        with pytest.raises(ServiceBusy) as caught:
            await call
        assert (caught.value.retry_after, caught.value.everything) == (wait, everything)


async def test_retry_after_may_be_a_date(service, client):
    service.answer(status=429, headers={"Retry-After": formatdate(4_000_000_000, usegmt=True)})
    with pytest.raises(ServiceBusy) as caught:
        await client.ask("1")
    assert caught.value.retry_after == 3600.0


@pytest.mark.parametrize(
    ("status", "body", "code", "permanent"),
    [
        (400, "", "http_400", True),
        (400, '{"code": "400123", "message": "bad form"}', "400123", True),
        (413, "<html>too large</html>", "http_413", True),
        (404, '{"code": "000000"}', "http_404", True),
        (304, "", "http_304", True),
        (408, "", "http_408", False),
        (425, "", "http_425", False),
        (200, '{"code": "400123", "message": "bad form"}', "400123", False),
    ],
)
async def test_a_refused_upload(service, client, status, body, code, permanent):
    service.answer(status=status, text=body, headers={"Location": "http://127.0.0.1:9/"})
    with pytest.raises(UploadRefused) as caught:
        await client.upload(FORM, Content(b"x"))
    assert (caught.value.code, caught.value.permanent) == (code, permanent)
    if code == "400123":
        assert "bad form" in caught.value.message


@pytest.mark.parametrize(
    ("code", "message", "blames"),
    [
        ("400001", "robot token is invalid", True),
        ("400001", "file exceeds the token limit", True),
        ("401000", "no", True),
        ("400001", "no such flow", False),
    ],
)
async def test_words_about_credentials_are_no_more_than_a_suspicion(
    service, client, code, message, blames
):
    service.answer_json({"code": code, "message": message})
    with pytest.raises(UploadRefused, match=message) as caught:
        await client.upload(FORM, Content(b"x"))
    assert (caught.value.code, caught.value.blames_credentials) == (code, blames)
    with pytest.raises(ServiceFault, match=message) as asked:
        await client.ask("1")
    assert (asked.value.code, asked.value.blames_credentials) == (code, blames)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, ""),
        (502, "{}"),
        (504, ""),
        (200, ""),
        (200, "<html>"),
        (200, '{"code": "000000"}'),
        (200, '{"code": "000000", "data": {"id": null}}'),
        (201, "[]"),
        (204, ""),
    ],
)
async def test_an_unknown_upload(service, client, status, body):
    service.answer(status=status, text=body)
    with pytest.raises(UploadUnknown):
        await client.upload(FORM, Content(b"x"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_told_without_its_secrets(service, client, status):
    elsewhere = Service()
    async with serving(elsewhere):
        there = f"{elsewhere.base_url}/login/token-secret"
        secret = there.replace("//", "//user:password@")
        service.answer(status=status, headers={"Location": f"{secret}?ticket=5#x"})
        for call in (client.ask("1"), client.upload(FORM, Content(b"x"))):
            with pytest.raises(Redirected) as caught:
                await call
            assert there.replace("token-secret", "[redacted]") in caught.value.message
            assert "password" not in caught.value.message
            assert "ticket" not in caught.value.message
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("location", "told"),
    [(None, "without saying"), ("/new/", "/new/;"), ("http://[/", "can't be read")],
)
async def test_a_redirect_says_where_to_as_far_as_it_is_known(service, client, location, told):
    service.answer(status=302, headers={} if location is None else {"Location": location})
    with pytest.raises(Redirected, match=f"{told}.*CHATFLOW_BASE_URL"):
        await client.ask("1")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (500, "", "http_500"),
        (404, "", "http_404"),
        (304, "", "http_304"),
        (200, "", "service_fault"),
        (200, '{"code": "000000"}', "service_fault"),
        (200, '{"code": "400777", "message": "not yet"}', "400777"),
        (200, '{"code": "400777", "message": "token bucket empty"}', "400777"),
    ],
)
async def test_everything_else_about_a_status_call_is_asked_again(
    service, client, status, body, code
):
    service.answer(status=status, text=body)
    with pytest.raises(ServiceFault) as caught:
        await client.ask("1")
    assert caught.value.code == code


@pytest.mark.parametrize("about", [1001, "1001", 10**30])
async def test_another_files_status_is_never_a_result(service, client, about):
    secret = {"file_id": about, "status": 5, "parse_content": "of another file"}
    service.answer_json({"code": "000000", "data": secret})
    with pytest.raises(ServiceFault, match=f"another file.*{about}"):
        await client.ask("1")


async def test_numbers_beyond_64_bits_lose_no_upload(service, client):
    huge = 10**30 - 1
    service.answer_json({"code": "000000", "data": {"id": 77, "status": huge}})
    assert await client.upload(FORM, Content(b"x")) == UploadReply("77", None)
    service.answer_json({"code": huge, "message": "no room"})
    with pytest.raises(UploadRefused, match="no room"):
        await client.upload(FORM, Content(b"x"))
    service.answer_json({"code": huge, "message": "no room"})
    with pytest.raises(ServiceFault, match="no room"):
        await client.ask("1")
    service.answer(text='{"code": "000000", "data": {"id": 1e30, "status": 1}}')
    with pytest.raises(UploadUnknown, match=r"no whole number: 1e\+30"):
        await client.upload(FORM, Content(b"x"))


# --- the source ----------------------------------------------------------------------------------

REJECTED = SourceRejected("disk on fire", code="unreadable")


@pytest.mark.parametrize("chunk", [b"x" * 1000, b"x" * 2**20])
async def test_a_source_that_breaks_off_is_told_as_it_is(service, client, chunk):
    content = Content(chunk, size=len(chunk) + 10, failure=REJECTED)
    with pytest.raises(SourceRejected) as caught:
        await client.upload(FORM, content)
    assert caught.value is REJECTED


@pytest.mark.parametrize("chunk", [b"x" * 1000, b"x" * 2**20])
@pytest.mark.parametrize("wrong", [-10, 10])
async def test_a_file_that_changes_while_it_is_read(service, client, chunk, wrong):
    with pytest.raises(SourceRejected, match="changed"):
        await client.upload(FORM, Content(chunk, size=len(chunk) + wrong))
    assert service.forms == []
    await client.upload(FORM, Content(b"x"))
    assert len(service.forms) == 1


# --- below HTTP ----------------------------------------------------------------------------------


async def head_of(reader):
    return await reader.readuntil(b"\r\n\r\n")


async def closes_at_once(reader, writer):
    return


async def closes_after_the_head(reader, writer):
    await head_of(reader)


async def resets_after_the_head(reader, writer):
    await head_of(reader)
    writer.transport.abort()


async def says_nonsense(reader, writer):
    await head_of(reader)
    writer.write(b"\x00\x01 nonsense\r\n\r\n")
    await writer.drain()


async def breaks_off_its_reply(reader, writer):
    await head_of(reader)
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"code": ')
    await writer.drain()


async def breaks_off_its_chunks(reader, writer):
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}")
    await writer.drain()


async def lies_about_gzip(reader, writer):
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd")
    await writer.drain()


BROKEN = [
    closes_at_once,
    closes_after_the_head,
    resets_after_the_head,
    says_nonsense,
    breaks_off_its_reply,
    breaks_off_its_chunks,
    lies_about_gzip,
]


@pytest.mark.parametrize("behave", BROKEN)
@pytest.mark.parametrize("content", [Content(b"x"), Huge(b"x" * 2**20, 20)])
async def test_a_lost_reply_leaves_the_upload_unknown(behave, content):
    async with raw_service(behave) as base_url, opened(base_url) as client:
        with pytest.raises(UploadUnknown):
            await client.upload(FORM, content)


@pytest.mark.parametrize("behave", BROKEN)
async def test_a_lost_status_reply_is_asked_again(behave):
    async with raw_service(behave) as base_url, opened(base_url) as client:
        with pytest.raises(ServiceFault):
            await client.ask("1")


async def never_answers(reader, writer):
    await reader.read()


async def test_a_slow_reply(monkeypatch):
    for limits in ("_UPLOAD_LIMITS", "_STATUS_LIMITS"):
        monkeypatch.setattr(http, limits, {"timeout": {"connect": 5, "pool": 5, "read": 0.05}})
    async with raw_service(never_answers) as base_url, opened(base_url) as client:
        with pytest.raises(UploadUnknown):
            await client.upload(FORM, Content(b"x"))
        with pytest.raises(ServiceFault):
            await client.ask("1")


async def test_a_service_that_stops_reading(monkeypatch):
    monkeypatch.setattr(http_body, "STALLED_AFTER", 0.2)
    over = asyncio.Event()

    async def stops_reading(reader, writer):
        await over.wait()

    async with raw_service(stops_reading) as base_url, opened(base_url) as client:
        with pytest.raises(UploadUnknown):
            await client.upload(FORM, Huge(b"x" * 2**20, 50))
        over.set()


async def test_an_upload_in_which_nothing_moves_is_given_up(monkeypatch):
    monkeypatch.setattr(http_body, "STALLED_AFTER", 0.1)
    async with raw_service(never_answers) as base_url, opened(base_url) as client:
        with pytest.raises(UploadUnknown):
            await client.upload(FORM, Content(b"x"))


async def test_a_reply_that_trickles_in_for_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(http, "STALLED_AFTER", 0.1)  # as long as an upload's reply may take
    monkeypatch.setattr(http, "LONGEST_ASK", 0.1)

    async def trickles(reader, writer):
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with raw_service(trickles) as base_url, opened(base_url) as client:
        with pytest.raises(ServiceFault, match="broke off"):
            await client.ask("1")
        with pytest.raises(UploadUnknown):
            await client.upload(FORM, Content(b"x"))


async def test_waiting_for_a_free_connection_has_sent_nothing(monkeypatch):
    monkeypatch.setattr(http, "_STATUS_LIMITS", {"timeout": {"connect": 5, "pool": 0.1, "read": 5}})
    asked = asyncio.Event()

    async def holds(reader, writer):
        asked.set()
        await reader.read()

    async with raw_service(holds) as base_url, opened(base_url, max_connections=1) as client:
        first = asyncio.create_task(client.upload(FORM, Content(b"x")))
        await asked.wait()
        with pytest.raises(ServiceUnreachable):
            await client.ask("1")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


def answers_early(status, then):
    async def behave(reader, writer):
        await head_of(reader)
        writer.write(
            b"HTTP/1.1 %d No\r\nRetry-After: 3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            % status
        )
        await writer.drain()
        await then(reader)

    return behave


async def test_an_answer_before_the_body_was_sent_counts():
    over = asyncio.Event()

    async def waits(reader):
        await over.wait()

    content = Huge(b"x" * 2**20, 50)
    async with raw_service(answers_early(429, waits)) as base_url, opened(base_url) as client:
        with pytest.raises(ServiceBusy) as caught:
            await client.upload(FORM, content)
        assert caught.value.retry_after == 3.0
        over.set()
    over.clear()
    async with raw_service(answers_early(401, waits)) as base_url, opened(base_url) as client:
        with pytest.raises(UploadRefused, match="401"):
            await client.upload(FORM, content)
        over.set()


async def test_a_status_that_came_counts_although_its_body_is_lost():
    async def behave(reader, writer):
        await head_of(reader)
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()

    async with raw_service(behave) as base_url, opened(base_url) as client:
        with pytest.raises(UploadRefused) as caught:
            await client.upload(FORM, Content(b"x"))
        assert caught.value.code == "http_413"


async def test_nobody_listens(free_tcp_port):
    async with opened(f"http://127.0.0.1:{free_tcp_port}") as client:
        for content in (Content(b"x"), Huge(b"x" * 2**20, 2)):
            with pytest.raises(ServiceUnreachable):
                await client.upload(FORM, content)
        with pytest.raises(ServiceUnreachable):
            await client.ask("1")


async def test_a_name_that_is_not_found(monkeypatch):
    async def getaddrinfo(*args, **kwargs):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with opened("http://service.invalid") as client:
        with pytest.raises(ServiceUnreachable):
            await client.upload(FORM, Content(b"x"))


async def test_tls_is_verified(tls_server):
    async with opened(f"https://localhost:{tls_server.port}") as client:
        with pytest.raises(ServiceUnreachable):
            await client.upload(FORM, Content(b"x"))
    assert tls_server.received == 0


async def test_the_ca_bundle_is_trusted(service, server_tls, certificate):
    app = web.Application()
    app.router.add_get(STATUS, service.status)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls).start()
    service.answer_json({"code": "000000", "data": {"status": 2}})
    port = runner.addresses[0][1]
    async with opened(f"https://localhost:{port}", ca_bundle=str(certificate)) as client:
        assert (await client.ask("1")).status == 2
    await runner.cleanup()


async def test_a_bundle_or_credential_that_cannot_be_used(tmp_path):
    (tmp_path / "empty.pem").write_text("")
    for wrong in (
        {"ca_bundle": str(tmp_path / "empty.pem")},
        {"ca_bundle": "/nowhere"},
        {"credentials": Credentials("a\nb", "t", "u")},
    ):
        with pytest.raises(ConfigurationError, match="CHATFLOW_"):
            HttpService(
                base_url="http://x", tenant_name="t", **{"credentials": CREDENTIALS} | wrong
            )


# --- the table -----------------------------------------------------------------------------------


def family(root):
    return {root}.union(*(family(kind) for kind in root.__subclasses__()))


def of_module(kinds, name):
    return {kind for kind in kinds if kind.__module__.split(".")[0] == name}


ABSTRACT = {
    httpx.HTTPError,
    httpx.RequestError,
    httpx.TransportError,
    httpx.NetworkError,
    httpx.ProtocolError,
}


def test_every_httpx_error_has_a_fate():
    public = {
        kind
        for kind in vars(httpx).values()
        if isinstance(kind, type)
        and issubclass(kind, Exception)
        and kind not in {httpx.CookieConflict, httpx.SSEError}  # of cookies and event streams
    }
    unknown = {kind for kind in public - ABSTRACT if not set(kind.__mro__) & set(FATES)}
    assert unknown == set()
    assert all(issubclass(kind, FAILURES) for kind in public)


# What aiohttp raises before there is a connection; everything else counts as begun.
BEFORE = {
    aiohttp.ClientConnectorError,
    aiohttp.ClientConnectorDNSError,
    aiohttp.ClientProxyConnectionError,
    aiohttp.client_exceptions.UnixClientConnectorError,
    aiohttp.ClientSSLError,
    aiohttp.ClientConnectorSSLError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
    aiohttp.InvalidUrlClientError,
    aiohttp.NonHttpUrlClientError,
    aiohttp.client_exceptions.InvalidUrlRedirectClientError,
    aiohttp.client_exceptions.NonHttpUrlRedirectClientError,
}


def test_the_fate_of_every_aiohttp_error_is_what_it_should_be():
    for kind in of_module(family(aiohttp.ClientError), "aiohttp"):
        error = httpx.ConnectTimeout("as the transport says it")
        error.__cause__ = kind.__new__(kind)
        assert fate(error) is (Fate.NOT_SENT if kind in BEFORE else Fate.BEGUN), kind


def test_without_a_cause_httpx_is_believed():
    assert fate(httpx.ConnectError("x")) is Fate.NOT_SENT
    assert fate(httpx.PoolTimeout("x")) is Fate.NOT_SENT
    assert fate(httpx.ReadTimeout("x")) is Fate.BEGUN
    assert fate(ConnectionResetError()) is Fate.BEGUN
    assert fate(TimeoutError()) is Fate.BEGUN


# --- secrets -------------------------------------------------------------------------------------


def told(error):
    """Everything that a traceback with its whole chain would show of an error."""
    seen = []
    while error is not None:
        seen += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(seen)


async def echoes_credentials(reader, writer):
    await head_of(reader)
    body = b'{"code": "400000", "message": "bad: token-secret key=secret someone@example.org"}'
    writer.write(
        b"HTTP/1.1 200 OK\r\nX-Echo: token-secret\r\nContent-Length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    await writer.drain()


async def echoes_nonsense(reader, writer):
    await head_of(reader)
    writer.write(b"token-secret key%3Dsecret\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("behave", [*BROKEN, echoes_credentials, echoes_nonsense])
async def test_no_log_and_no_error_tells_a_credential(caplog, behave):
    for name in ("", "httpx2", "httpcore2", "aiohttp", "aiohttp.client", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    errors = []
    async with raw_service(behave) as base_url, opened(base_url) as client:
        for call in (client.upload(FORM, Content(b"x")), client.ask("1")):
            try:
                await call
            except IngestError as error:
                errors.append(told(error))
    assert len(errors) == 2
    said = caplog.text + "\n".join(errors) + repr(client)
    for secret in ("key%3Dsecret", "key=secret", "token-secret", "someone@example.org"):
        assert secret not in said


async def test_error_messages_of_files_are_redacted(service, client):
    service.answer_json(
        {"code": "000000", "data": {"status": 6, "error_msg": "token-secret \x00bad"}}
    )
    reply = await client.ask("1")
    assert reply.error_message == "[redacted] \ufffdbad"
