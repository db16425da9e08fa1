import asyncio
import contextlib
import json
import logging

import pytest
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from worker.adapters.chatflow import websocket
from worker.adapters.chatflow.kept_lines import Keeping
from worker.adapters.chatflow.websocket import Opening, WebsocketDialogs
from worker.core.model.wire import Credentials
from worker.errors import (
    ConfigurationError,
    CredentialsRefused,
    IngestError,
    NoUploadNode,
    Redirected,
    ServiceBusy,
    ServiceFault,
    ServiceUnreachable,
)

pytestmark = pytest.mark.anyio

CREDENTIALS = Credentials("key%3Dsecret", "token-secret", "someone@example.org")
CATEGORY = {
    "id": 77,
    "name": "Audio",
    "support_formats": "wav",
    "upload_max_num": 5,
    "variable_assign": "v",
}
NODE = {
    "flow_uuid": "flow-1",
    "session_id": "s-1",
    "node_id": "n-1",
    "upload_file_categories": [CATEGORY],
}


def flow(code, dialog_id, **data):
    return {
        "code": "000000",
        "type": "flow",
        "dialog_id": dialog_id,
        "finish": "y",
        "data": {"code": code} | data,
    }


def accepted(dialog_id):
    return [
        {"code": "000000", "type": "json", "index": -2, "data": {"task_id": "t"}},
        {"code": "000000", "type": "json", "index": -1, "data": {"dialog_id": dialog_id}},
        flow("002000", dialog_id),
    ]


def upload_node(dialog_id):
    return [*accepted(dialog_id), flow("002010", dialog_id, file_upload=NODE)]


class Service:
    """A loopback service whose answers a test scripts: one callable per question."""

    def __init__(self):
        self.questions = []
        self.connections = 0
        self.heartbeats = 0
        self.headers = []
        self.reject = None
        self.closed = asyncio.Event()

    async def answer(self, socket, number):
        """What the service does on the question with this number (from 1); tests replace it."""
        for frame in [*upload_node(10**18 + number), flow("002005", 10**18 + number)]:
            await socket.send(json.dumps(frame))

    async def handle(self, socket):
        self.connections += 1
        self.headers.append(socket.request.headers)
        with contextlib.suppress(Exception):
            async for raw in socket:
                frame = json.loads(raw)
                if frame.get("type") == "heartbeat":
                    self.heartbeats += 1
                    await socket.send('{"type": "heartbeat", "data": "pong"}')
                    await self.on_heartbeat(socket)
                    continue
                self.questions.append(frame)
                await self.answer(socket, len(self.questions))
        await socket.wait_closed()
        self.closed.set()

    async def on_heartbeat(self, socket):
        pass

    def process_request(self, connection, request):
        self.path = request.path
        return self.reject


@pytest.fixture
async def service():
    service = Service()
    server = await serve(
        service.handle,
        "127.0.0.1",
        0,
        process_request=service.process_request,
        logger=logging.getLogger("test.server"),
        close_timeout=1,
    )
    service.port = server.sockets[0].getsockname()[1]
    yield service
    server.close()
    await server.wait_closed()


@pytest.fixture
async def dialogs(service):
    made = []

    def make(**changes):
        made.append(
            WebsocketDialogs(
                **{
                    "base_url": f"http://127.0.0.1:{service.port}/",
                    "credentials": CREDENTIALS,
                    "opening": Opening("File upload", "WS"),
                    "timeout": 20.0,
                }
                | changes
            )
        )
        return made[-1]

    yield make
    for dialogs in made:
        await dialogs.aclose()


def says(*frames):
    async def answer(socket, number):
        for frame in frames:
            await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    return answer


def closes(code, reason="", *frames):
    async def answer(socket, number):
        await says(*frames)(socket, number)
        await socket.close(code, reason)

    return answer


async def resets(socket, number):
    socket.transport.abort()


async def stays_silent(socket, number):
    pass


async def test_a_dialog_reaches_its_upload_node(service, dialogs):
    session = await dialogs(opening=Opening("File upload", "WS", "flow-9")).open()
    assert session.chatflow_dialog_id == "1000000000000000001"
    assert session.node.flow_uuid == "flow-1"
    assert session.node.categories[0].formats == ("wav",)
    (question,) = service.questions
    assert question["cybertron_robot_key"] == "key%3Dsecret"
    assert question["open_flow_uuid"] == "flow-9"
    assert len(question["segment_code"]) == 22
    assert service.path == "/openapi/v2/ws/dialog/"
    headers = service.headers[0]
    assert headers["cybertron-robot-key"] == "key%3Dsecret"
    assert headers["cybertron-robot-token"] == "token-secret"
    assert headers["username"] == "someone@example.org"


async def test_a_user_name_in_any_script_reaches_the_service(service, dialogs):
    await dialogs(credentials=Credentials("k" * 5, "t" * 5, "用户甲")).open()
    assert service.headers[0]["username"].encode("latin-1").decode() == "用户甲"
    assert service.questions[0]["username"] == "用户甲"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\x00b", "a\ud800"])
async def test_credentials_that_no_header_carries_are_named_but_not_quoted(dialogs, bad):
    with pytest.raises(ConfigurationError, match="CHATFLOW_ROBOT_TOKEN") as caught:
        dialogs(credentials=Credentials("k", bad, "u"))
    assert bad not in str(caught.value)


async def test_a_connection_carries_several_dialogs_with_fresh_segments(service, dialogs):
    opener = dialogs()
    sessions = [await opener.open() for _ in range(4)]
    assert service.connections == 1
    assert len({question["segment_code"] for question in service.questions}) == 4
    assert len({session.chatflow_dialog_id for session in sessions}) == 4
    assert len({session.id for session in sessions}) == 4


async def test_dialogs_are_opened_at_the_same_time(service, dialogs):
    opener = dialogs()
    everybody = asyncio.Barrier(5)

    async def answer(socket, number):
        await everybody.wait()
        await says(*upload_node(number))(socket, number)

    service.answer = answer
    sessions = await asyncio.gather(*(opener.open() for _ in range(5)))
    assert {session.chatflow_dialog_id for session in sessions} == {"1", "2", "3", "4", "5"}
    assert service.connections == 5


async def test_only_so_many_connections_are_kept(service, dialogs):
    opener = dialogs(keeping=Keeping(most=1))
    everybody = asyncio.Barrier(2)

    async def answer(socket, number):
        if number <= 2:
            await everybody.wait()
        await says(*upload_node(number))(socket, number)

    service.answer = answer
    await asyncio.gather(opener.open(), opener.open())
    await service.closed.wait()
    await asyncio.gather(opener.open(), opener.open())
    assert service.connections == 3


async def test_an_idle_connection_is_closed_after_a_while(service, dialogs):
    opener = dialogs(keeping=Keeping(idle=0.01))
    await opener.open()
    await service.closed.wait()
    await opener.open()
    assert service.connections == 2


@pytest.mark.parametrize("code", [1000, 1008, 1011])
async def test_a_kept_connection_that_closes_is_replaced_within_the_call(service, dialogs, code):
    async def answer(socket, number):
        if number == 2:
            await socket.close(code)
        else:
            await says(*upload_node(number))(socket, number)

    service.answer = answer
    opener = dialogs()
    await opener.open()
    assert (await opener.open()).chatflow_dialog_id == "3"
    assert service.connections == 2


async def test_after_two_silent_connections_none_is_kept_any_more(service, dialogs):
    talked = set()

    async def answer(socket, number):
        if socket not in talked:
            talked.add(socket)
            await says(*upload_node(number))(socket, number)

    service.answer = answer
    opener = dialogs(keeping=Keeping(patience=0.05))
    for _ in range(5):
        await opener.open()
    assert len(service.questions) == 7
    assert service.connections == 5


async def test_an_error_on_a_kept_connection_is_an_error(service, dialogs):
    async def answer(socket, number):
        frames = upload_node(number) if number == 1 else [*accepted(number), flow("002001", number)]
        await says(*frames)(socket, number)

    service.answer = answer
    opener = dialogs()
    await opener.open()
    with pytest.raises(NoUploadNode):
        await opener.open()
    assert service.connections == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (says(*accepted(1), flow("002001", 1)), NoUploadNode),
        (says(*accepted(1), flow("002005", 1)), NoUploadNode),
        (says(*accepted(1), flow("400000", 1, message="broken")), NoUploadNode),
        (says({"code": "400000", "message": "broken"}), NoUploadNode),
        (says({"type": "string", "data": "系统异常(500)", "code": "000000"}), NoUploadNode),
        (says({"code": "400000", "message": "invalid token"}), CredentialsRefused),
        (closes(1011), ServiceFault),
        (closes(1012), ServiceFault),
        (closes(1013), ServiceFault),
        (closes(1000, "", *accepted(1)), NoUploadNode),
        (closes(1008, "policy"), CredentialsRefused),
        (closes(4401), CredentialsRefused),
        (closes(4403), CredentialsRefused),
        (resets, ServiceFault),
    ],
)
async def test_what_ends_a_dialog(service, dialogs, answer, error):
    service.answer = answer
    with pytest.raises(error) as caught:
        await dialogs().open()
    assert type(caught.value) is error


NOISE = ["{ this is no frame", "[1, 2]", "7", b"\x00\xff", b'{"code": "400000"}']


async def test_noise_is_skipped_and_told_with_its_count(service, dialogs):
    told = []
    service.answer = says(*NOISE, *upload_node(7))
    session = await dialogs(noise=lambda reason, count: told.append((reason, count))).open()
    assert session.chatflow_dialog_id == "7"
    assert [count for _, count in told] == [5]
    assert "not JSON" in told[0][0]
    assert not [reason for reason, _ in told if "400000" in reason or "this is" in reason]


async def test_noise_without_end_is_bounded_by_the_deadline(service, dialogs):
    async def answer(socket, number):
        while True:
            await socket.send(b"\x00" * 1000)
            await asyncio.sleep(0)  # for sending alone lets nobody else run

    told = []
    service.answer = answer
    with pytest.raises(ServiceFault, match=r"\d+ messages were no frames") as caught:
        await dialogs(timeout=0.2, noise=lambda _, count: told.append(count)).open()
    assert f"({told[0]} messages" in caught.value.message
    assert len(told) == 1


@pytest.mark.parametrize(
    ("words", "opens", "asks"),
    [("flow_jump", None, ""), ("flow_jump::x,jump_flow_uuid:flow-2", "flow-2", "File upload")],
)
async def test_a_jump_is_followed_on_the_same_connection(service, dialogs, words, opens, asks):
    async def answer(socket, number):
        if number == 1:
            jump = [flow("002007", 1, answer=words), flow("002005", 1)]
            await says(*accepted(1), *jump)(socket, number)
        else:
            late = [flow("002001", 1)] if number == 2 else []
            await says(*late, *upload_node(number))(socket, number)

    service.answer = answer
    opener = dialogs()
    assert (await opener.open()).chatflow_dialog_id == "2"
    first, second = service.questions
    assert service.connections == 1
    assert second["segment_code"] == first["segment_code"]
    assert second["question"] == asks
    assert second.get("open_flow_uuid") == opens
    assert second.get("open_flow_trigger") == ("direct" if opens else None)
    await opener.open()
    assert service.connections == 2  # frames of two rounds may be on their way on the first


async def test_a_jump_is_followed_when_the_service_waits_for_it_in_silence(service, dialogs):
    async def answer(socket, number):
        frames = [*accepted(1), flow("002007", 1)] if number == 1 else upload_node(2)
        await says(*frames)(socket, number)

    service.answer = answer
    assert (await dialogs().open()).chatflow_dialog_id == "2"


async def test_a_robot_that_chats_and_falls_silent_opens_no_upload_flow(service, dialogs):
    service.answer = says({"type": "string", "data": "Hello!", "finish": "y"})
    with pytest.raises(NoUploadNode, match=r"CHATFLOW_FLOW_UUID.*Hello!"):
        await dialogs().open()


async def test_a_service_that_pings_and_never_reads_is_cut_off(service, dialogs):
    many = b"\x89\x7d" + b"p" * 125

    async def answer(socket, number):
        socket.transport.pause_reading()
        while not socket.transport.is_closing():
            socket.transport.write(many * 500)
            await socket.drain()

    service.answer = answer
    opener = dialogs(timeout=60.0)
    with pytest.raises(ServiceFault, match="broke"):
        await opener.open()
    await opener.aclose()


async def test_the_deadline_holds_where_nothing_of_ours_is_read(service, dialogs):
    async def answer(socket, number):
        socket.transport.pause_reading()

    service.answer = answer
    opener = dialogs(timeout=0.1)
    with pytest.raises(ServiceFault, match="deadline"):
        await opener.open()
    await opener.aclose()


async def test_silence_until_the_deadline(service, dialogs):
    service.answer = stays_silent
    with pytest.raises(ServiceFault, match="deadline"):
        await dialogs(timeout=0.1).open()


async def test_heartbeats_while_waiting(service, dialogs):
    service.answer = stays_silent

    async def on_heartbeat(socket):
        if service.heartbeats == 3:
            await says(*upload_node(5))(socket, 1)

    service.on_heartbeat = on_heartbeat
    opener = dialogs(keeping=Keeping(heartbeat=0.01))
    assert (await opener.open()).chatflow_dialog_id == "5"


async def test_frames_of_megabytes_are_read_and_larger_ones_refused(service, dialogs):
    history = "x" * (2 * 2**20)
    service.answer = says(flow("002010", 1, history=history, file_upload=NODE))
    assert (await dialogs().open()).chatflow_dialog_id == "1"
    service.answer = says(
        flow("002010", 1, history="y" * websocket.LARGEST_FRAME, file_upload=NODE)
    )
    with pytest.raises(ServiceFault, match="1009"):
        await dialogs().open()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, CredentialsRefused),
        (403, CredentialsRefused),
        (404, ServiceFault),
        (500, ServiceFault),
    ],
)
async def test_a_rejected_handshake(service, dialogs, status, error):
    page = b"<html><title>Blocked</title><p>ask token-secret's owner</p></html>"
    service.reject = Response(status, "No", Headers(), page)
    with pytest.raises(error, match=rf"HTTP {status}: Blocked ask \[redacted\]'s owner$"):
        await dialogs().open()


@pytest.mark.parametrize(("status", "everything"), [(429, False), (503, True)])
async def test_a_busy_handshake(service, dialogs, status, everything):
    service.reject = Response(status, "Busy", Headers({"Retry-After": "17"}), b"in an hour")
    with pytest.raises(ServiceBusy, match="in an hour") as caught:
        await dialogs().open()
    assert (caught.value.retry_after, caught.value.everything) == (17.0, everything)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_carries_our_headers_nowhere(service, dialogs, status):
    other = Service()
    async with serve(other.handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = f"ws://127.0.0.1:{port}/dialog"
        service.reject = Response(status, "Moved", Headers({"Location": address}))
        with pytest.raises(Redirected, match=address):
            await dialogs().open()
    assert other.connections == 0


async def test_nobody_listens(dialogs, free_tcp_port):
    with pytest.raises(ServiceUnreachable):
        await dialogs(base_url=f"http://127.0.0.1:{free_tcp_port}").open()


async def test_tls_is_verified(dialogs, tls_server):
    with pytest.raises(ServiceUnreachable):
        await dialogs(base_url=f"https://localhost:{tls_server.port}").open()


async def test_a_server_that_never_shakes_hands(dialogs):
    async def swallow(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ServiceUnreachable):
            await dialogs(base_url=f"http://127.0.0.1:{port}", timeout=0.1).open()


async def test_a_bundle_that_is_not_there(dialogs):
    with pytest.raises(ConfigurationError, match="CHATFLOW_CA_BUNDLE"):
        dialogs(base_url="https://localhost:1", ca_bundle="/nowhere/bundle.pem")


def told(error):
    """Everything that a traceback with its whole chain would show of an error."""
    seen = []
    while error is not None:
        seen += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(seen)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: setattr(
            s, "reject", Response(401, "No", Headers({"X-Echo": "token-secret"}), b"token-secret")
        ),
        lambda s: setattr(s, "answer", says({"code": "400000", "message": "token-secret is bad"})),
        lambda s: setattr(s, "answer", closes(4000, "key%3Dsecret")),
        lambda s: setattr(s, "answer", resets),
        lambda s: setattr(s, "answer", says("not json token-secret")),
        lambda _: None,
    ],
)
async def test_no_log_and_no_error_tells_a_credential(service, dialogs, caplog, spoil):
    for name in ("", "websockets", "websockets.client", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    logging.getLogger("test.server").setLevel(logging.CRITICAL)
    spoil(service)
    error = None
    try:
        await dialogs(timeout=0.5).open()
    except IngestError as caught:
        error = caught
    said = caplog.text + told(error)
    for secret in ("key%3Dsecret", "key=secret", "token-secret", "someone@example.org"):
        assert secret not in said
