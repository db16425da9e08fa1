"""Services that keep to the protocol in other ways than the bundled simulator does."""

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web
from anyio.from_thread import start_blocking_portal

from tests.e2e.shells import together

CATEGORY = {
    "id": "12",
    "name": "Contract",
    "support_formats": "wav, TXT",
    "upload_max_num": "2",
    "variable_assign_enable": True,
    "variable_assign": "contract",
}


class Minimal:
    """One conversation a connection, which it closes; numbers are texts; ids are huge."""

    first_id = 9_007_199_254_740_993_000
    delay = 0.0

    def __init__(self):
        self.seen = Counter()
        self.names = {}
        self.asked = Counter()
        self.problems = []

    # --- the dialog ---

    async def dialog(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.seen["connections"] += 1
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            frame = json.loads(message.data)
            if frame.get("type") == "heartbeat":
                continue
            self.seen["questions"] += 1
            if not await self.converse(socket, frame):
                break
        return socket

    async def converse(self, socket, question):
        """Answer one question; returns whether the connection stays."""
        missing = {
            "cybertron_robot_key", "cybertron_robot_token", "username", "question",
            "segment_code", "message_source",
        } - set(question)  # fmt: skip
        if missing or len(question["segment_code"]) != 22:
            self.problems.append(question)
        await socket.send_json(self.node())
        return False

    def node(self):
        return {
            "code": "000000",
            "message": "success",
            "type": "flow",
            "index": 1,
            "finish": "y",
            "data": {
                "code": "002010",
                "answer": {"type": "upload", "data": self.offer()},
            },
        }

    def offer(self):
        return {
            "instruction": "please",
            "flow_uuid": "flow-1",
            "session_id": "s",
            "node_id": "n",
            "upload_file_categories": [CATEGORY],
        }

    # --- files ---

    async def upload(self, request):
        form = await request.post()
        await asyncio.sleep(self.delay)
        for name in ("cybertron-robot-key", "cybertron-robot-token", "username"):
            if name not in request.headers:
                self.problems.append(name)
        if form["flow_uuid"] != "flow-1" or form["extra_params"] != "contract":
            self.problems.append(dict(form))
        number = str(self.first_id + len(self.names))
        self.names[number] = form["file"].filename
        return web.json_response(
            {"code": "000000", "message": "ok", "data": {"id": number, "status": "1"}}
        )

    async def status(self, request):
        await asyncio.sleep(self.delay)
        number = request.query["file_id"]
        if number not in self.names:
            self.problems.append(number)
        self.asked[number] += 1
        return web.Response(text=json.dumps(self.answer(number)))

    def answer(self, number):
        if self.asked[number] == 1:
            data = {"file_id": number, "status": "4", "error_msg": None, "parse_content": "[]"}
        else:
            content = f'```json\n[{{"text": "{self.names[number]}"}}]\n```'
            data = {"file_id": number, "status": "5", "error_msg": "", "parse_content": content}
        return {"code": "000000", "message": None, "data": data}


class Deaf(Minimal):
    """Keeps the connection open, and hears no second question on it."""

    async def converse(self, socket, question):
        await super().converse(socket, question)
        await asyncio.sleep(3600)
        return False


class Abrupt(Minimal):
    """Breaks the connection off right behind the upload node."""

    async def converse(self, socket, question):
        await super().converse(socket, question)
        socket._writer.transport.abort()
        return False


class Talkative(Minimal):
    """Sends what nobody asked for, slowly, and repeats itself."""

    delay = 0.8

    async def converse(self, socket, question):
        node = self.node()
        node["data"]["file_upload"] = node["data"].pop("answer")["data"]
        for frame in (
            {"type": "json", "index": -2, "data": {"task_id": "t"}, "finish": "y"},
            {"type": "json", "index": "-1", "data": {"dialog_id": 1017340986451495206}},
            {"type": "advert", "data": [1, 2, 3]},
            {"type": "string", "data": None, "finish": "n"},
            {"type": "string", "data": "Please upload", "finish": "y"},
            {"type": "flow", "data": {"code": "002000"}, "finish": "y"},
            {"type": "flow", "data": {"code": "002000"}, "finish": "y"},
            {"type": "flow", "data": {"code": "002002", "answer": None}, "finish": "y"},
            node,
            node,
            {"type": "flow", "data": {"code": "002004"}, "finish": "y"},
            {"type": "flow", "data": {"code": "002005"}, "finish": "y"},
        ):
            await asyncio.sleep(0.02)
            await socket.send_json({"code": "000000", "message": "success"} | frame)
        return True


class Moved(Minimal):
    """Sends uploads to another address, which takes them."""

    moves = "upload"

    async def dialog(self, request):
        return await (self.moved() if self.moves == "dialog" else super().dialog(request))

    async def upload(self, request):
        return await (self.moved() if self.moves == "upload" else super().upload(request))

    async def status(self, request):
        return await (self.moved() if self.moves == "status" else super().status(request))

    async def moved(self):
        self.seen["redirects"] += 1
        raise web.HTTPTemporaryRedirect(f"{self.elsewhere}/new/?ticket=5ecret")


class MovedStatus(Moved):
    """Sends status calls to another address."""

    moves = "status"


class MovedDialog(Moved):
    """Sends dialogs to another address."""

    moves = "dialog"


class Ocr(Minimal):
    """Ends every file with "flow failed", and the contents come after that."""

    def answer(self, number):
        reply = super().answer(number)
        early = self.asked[number] <= 2
        data = {"status": "8", "error_msg": "flow failed"} | (
            {"parse_content": []} if early else {}
        )
        return reply | {"data": reply["data"] | data}


class Choosy(Minimal):
    """Refuses the upload of one file, for reasons of its own."""

    refused = "3.wav"

    async def upload(self, request):
        form = await request.post()
        if form["file"].filename == self.refused:
            self.seen["refusals"] += 1
            return self.refusal()
        return await super().upload(request)

    def refusal(self):
        return web.Response(status=403, text="blocked by the firewall")


class ChoosyOfWords(Choosy):
    """The same in words that speak of tokens, but of others."""

    def refusal(self):
        return web.json_response({"code": "400001", "message": "file exceeds the token limit"})


class Revoking(Minimal):
    """Takes some files, then refuses the credentials wherever they are shown."""

    def revoked(self):
        return len(self.names) >= 2

    async def dialog(self, request):
        if self.revoked():
            self.seen["refused dialogs"] += 1
            raise web.HTTPUnauthorized
        return await super().dialog(request)

    async def upload(self, request):
        if self.revoked():
            raise web.HTTPUnauthorized
        return await super().upload(request)

    async def status(self, request):
        raise web.HTTPUnauthorized


@asynccontextmanager
async def served(kind):
    stand_in = kind()
    app = web.Application()
    app.router.add_get("/openapi/v2/ws/dialog/", stand_in.dialog)
    app.router.add_post("/openapi/v1/chatflow/offline_upload_file/", stand_in.upload)
    app.router.add_get("/openapi/v1/chatflow/get_offline_file_status/", stand_in.status)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield stand_in, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def it_gets_its_files(shell, kind):
    names = [f"{number}.wav" for number in range(7)]
    paths = [shell.put(name) for name in names]
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(served(kind)) as (stand_in, url),
    ):
        ran = shell.type("run", *paths, "--json", CHATFLOW_BASE_URL=f"{url}/")
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 7}), ran.stderr
    assert stand_in.problems == []
    assert sorted(stand_in.names.values()) == names
    lines = shell.results(ran.batch)
    assert {line["chatflow_file_id"] for line in lines.values()} == set(stand_in.names)
    assert all(line["parse_segments"] == [{"text": name}] for name, line in lines.items())
    assert stand_in.seen["questions"] >= 4  # two places in each dialog


def test_services_with_manners_of_their_own(new_shell):
    together(it_gets_its_files, [Minimal, Deaf, Abrupt, Talkative], new_shell)


def a_redirect_ends_a_run(shell, kind):
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(served(Minimal)) as (elsewhere, there),
        portal.wrap_async_context_manager(served(kind)) as (stand_in, url),
    ):
        stand_in.elsewhere = there
        paths = [shell.put(f"{number}.wav") for number in range(7)]
        ran = shell.type("run", *paths, "--json", CHATFLOW_BASE_URL=url)
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 7}), ran.stderr
    lines = shell.results(ran.batch).values()
    assert {line["error_code"] for line in lines} == {"redirected"}
    assert all(f"{there}/new/" in line["error_message"] for line in lines)
    assert "5ecret" not in ran.stderr + str(list(lines))
    assert stand_in.seen["redirects"] <= 7  # what was in flight together
    assert (elsewhere.seen, elsewhere.names, elsewhere.asked) == ({}, {}, {})


def test_a_redirect_ends_a_run_and_nothing_is_sent_elsewhere(new_shell):
    together(a_redirect_ends_a_run, [Moved, MovedStatus, MovedDialog], new_shell)


REFUSALS = {
    Choosy: ("http_403", "HTTP 403: blocked by the firewall"),
    ChoosyOfWords: ("400001", "400001 file exceeds the token limit"),
}


def one_file_is_refused(shell, kind):
    names = [f"{number}.wav" for number in range(7)]
    paths = [shell.put(name) for name in names]
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(served(kind)) as (stand_in, url),
    ):
        ran = shell.type(
            "run", *paths, "--json", CHATFLOW_BASE_URL=url, INGEST_MAX_UPLOAD_ATTEMPTS="3"
        )
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 1, "succeeded": 6}), ran.stderr
    line = shell.results(ran.batch)[stand_in.refused]
    assert (line["error_code"], line["error_message"]) == REFUSALS[kind]
    assert line["upload_attempts"] == stand_in.seen["refusals"] == 3
    assert stand_in.seen["questions"] <= 4 + 2 + 1  # loads of two, two more attempts, one trial


def test_one_file_that_is_refused_stops_no_other(new_shell):
    together(one_file_is_refused, REFUSALS, new_shell)


def test_credentials_that_are_revoked_midway_end_a_run(shell):
    paths = [shell.put(f"{number}.wav") for number in range(7)]
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(served(Revoking)) as (_, url),
    ):
        ran = shell.type("run", *paths, "--json", CHATFLOW_BASE_URL=url)
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 7}), ran.stderr
    lines = shell.results(ran.batch).values()
    assert {line["error_code"] for line in lines} == {"credentials_refused"}
    assert ran.seconds < 30


def test_contents_that_come_after_a_flow_has_failed_are_waited_for_when_told_so(shell):
    shell.environment["CHATFLOW_SUCCESS_STATUSES"] = "5,7,8"
    it_gets_its_files(shell, Ocr)
