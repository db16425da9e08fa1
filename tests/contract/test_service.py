"""The fake service and the real adapters against the stand-in: the same promises, the same errors."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.fakes import NO_SUCH_FILE, RETRY_AFTER, TROUBLES, FakeContent, FakeService
from worker.adapters.chatflow.http import HttpService
from worker.adapters.chatflow.websocket import Opening, WebsocketDialogs
from worker.core.lifecycle import ServiceStatus
from worker.core.model.ids import FileId
from worker.core.model.wire import Credentials, DialogSession, StatusReply, UploadForm
from worker.core.planning import Candidate, form_for, plan
from worker.errors import IngestError, ServiceFault, SourceRejected
from worker.ports.service import Dialogs, Statuses, Uploads
from worker.simulator import Simulator

pytestmark = pytest.mark.anyio

KNOWN = Credentials("demo-key", "demo-token", "demo")
WHERE = {"open": "handshake", "upload": "upload", "ask": "status"}
IN_A_DIALOG = {
    "broken": {"do": "reset"},
    "no node": {"do": "no_upload_node"},
}
BY_HTTP: dict[str, dict[str, Any]] = {
    "throttled": {"do": "http", "status": 429, "retry_after": RETRY_AFTER},
    "overloaded": {"do": "http", "status": 503, "retry_after": RETRY_AFTER},
    "unauthorized": {"do": "http", "status": 401},
    "moved": {"do": "redirect"},
    "refused": {"do": "code", "code": "400123", "message": "not now"},
    "rejected": {"do": "http", "status": 400},
    "lost": {"do": "reset", "taken": True},
    "broken": {"do": "http", "status": 500},
}
"""How the stand-in shows each of the fake's troubles."""


class World:
    """A service behind the ports, and what it has taken."""

    dialogs: Dialogs
    uploads: Uploads
    statuses: Statuses
    newest = ""  # the id of the last upload that was taken

    def taken(self) -> list[str]:
        """The names of what was taken, in its order."""
        raise NotImplementedError

    # --- the moves that every test makes ---

    async def upload(self, name: str = "a.wav", content: FakeContent | None = None) -> str:
        """Upload a file into a dialog of its own; the service's id for it."""
        form = _form(await self.dialogs.open(), name)
        content = content or FakeContent(name, b"RIFF")
        self.newest = (await self.uploads.upload(form, content)).chatflow_file_id
        return self.newest

    async def call(self, verb: str) -> object:
        """Make one call of this kind, by itself."""
        match verb:
            case "open":
                return await self.dialogs.open()
            case "upload":
                return await self.upload()
            case _:
                return await self.statuses.ask(self.newest)


class FakeWorld(World):
    """The fake, which meets its troubles when it is told to."""

    def __init__(self, troubles: dict[str, str]) -> None:
        self.fake = FakeService()
        for verb, trouble in troubles.items():
            self.fake.meet(verb, trouble)
        self.dialogs = self.uploads = self.statuses = self.fake

    def taken(self) -> list[str]:
        return [taken.form.file_name for taken in self.fake.taken]


class RealWorld(World):
    """The adapters, and the stand-in at the other end of their connections."""

    def __init__(
        self, simulator: Simulator, dialogs: Dialogs, uploads: Uploads, statuses: Statuses
    ) -> None:
        self.simulator = simulator
        self.dialogs, self.uploads, self.statuses = dialogs, uploads, statuses

    def taken(self) -> list[str]:
        uploads = self.simulator.ledger()["uploads"]
        return [each["file_name"] for each in uploads if each["id"] is not None]


@asynccontextmanager
async def _real(troubles: dict[str, str]) -> AsyncIterator[RealWorld]:
    faults = [_fault(verb, trouble) for verb, trouble in troubles.items()]
    shown = [each for each in faults if each is not None]
    path = [{"status": 4, "at": 0}, {"status": 7, "at": 1}]
    ready = {"kind": "fixed", "seconds": 0.05}
    scenario = {"faults": shown, "time_to_ready": ready, "path": path}
    closed = f"http://127.0.0.1:{_closed_port()}"
    async with Simulator(scenario) as simulator:
        address = {
            verb: closed if troubles.get(verb) == "unreachable" else simulator.url for verb in WHERE
        }
        dialogs = _dialogs(address["open"])
        uploads, statuses = _http(address["upload"]), _http(address["ask"])
        try:
            yield RealWorld(simulator, dialogs, uploads, statuses)
        finally:
            for each in (dialogs, uploads, statuses):
                await each.aclose()


def _dialogs(base_url: str) -> WebsocketDialogs:
    return WebsocketDialogs(
        base_url=base_url,
        credentials=KNOWN,
        opening=Opening("File upload", "WS"),
        timeout=5.0,
    )


def _http(base_url: str) -> HttpService:
    return HttpService(base_url=base_url, credentials=KNOWN, tenant_name="AiopsTest")


def _fault(verb: str, trouble: str) -> dict[str, Any] | None:
    if trouble == "unreachable":
        return None
    if verb == "open" and trouble in IN_A_DIALOG:
        return {"on": "dialog", "first": 1} | IN_A_DIALOG[trouble]
    return {"on": WHERE[verb], "first": 1} | BY_HTTP[trouble]


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(params=["fake", "real"])
def entering(request: pytest.FixtureRequest) -> Any:
    """Enters a world of each kind in which these verbs meet these troubles, once each."""

    @asynccontextmanager
    async def fake(**troubles: str) -> AsyncIterator[World]:
        yield FakeWorld(troubles)

    def real(**troubles: str) -> Any:
        return _real(troubles)

    return fake if request.param == "fake" else real


def _form(session: DialogSession, name: str) -> UploadForm:
    planned = plan([Candidate(FileId(session.id), name)], session.node.categories)
    return form_for(planned.loads[0].assignments[0], session.node, None)


def _told(error: IngestError) -> tuple[object, ...]:
    """All that the steps can learn from an error."""
    facts = ("retry_after", "everything", "permanent")
    more = {name: getattr(error, name) for name in facts if hasattr(error, name)}
    return type(error), error.code, error.blames_credentials, more


# --- each trouble ---


def _all_troubles() -> Iterator[tuple[str, str]]:
    for verb, troubles in TROUBLES.items():
        for trouble in troubles:
            yield verb, trouble


@pytest.mark.parametrize(("verb", "trouble"), list(_all_troubles()))
async def test_the_fake_says_what_the_adapters_say(verb: str, trouble: str) -> None:
    async with _real({verb: trouble}) as world:
        if verb == "ask":
            await world.upload()
        with pytest.raises(IngestError) as caught:
            await world.call(verb)
    assert _told(caught.value) == _told(TROUBLES[verb][trouble]())


@pytest.mark.parametrize("trouble", TROUBLES["upload"])
async def test_an_upload_that_failed_was_taken_if_its_reply_was_lost(entering, trouble) -> None:
    async with entering(upload=trouble) as world:
        with pytest.raises(IngestError):
            await world.upload()
        assert world.taken() == (["a.wav"] if trouble == "lost" else [])


@pytest.mark.parametrize(
    ("verb", "trouble"), [(v, t) for v, t in _all_troubles() if t != "unreachable"]
)
async def test_a_trouble_is_met_once(entering, verb: str, trouble: str) -> None:
    async with entering(**{verb: trouble}) as world:
        if verb == "ask":
            await world.upload()
        with pytest.raises(IngestError):
            await world.call(verb)
        await world.call(verb)


# --- what goes well ---


async def test_each_dialog_is_one_of_its_own_with_the_node_s_categories(entering) -> None:
    async with entering() as world:
        first, second = await world.dialogs.open(), await world.dialogs.open()
    assert first.id != second.id
    assert first.chatflow_dialog_id != second.chatflow_dialog_id
    assert int(first.chatflow_dialog_id) > 2**53
    assert first.node.categories == second.node.categories
    assert all(each.upload_max_num > 0 for each in first.node.categories)


async def test_the_same_file_twice_is_two_uploads(entering) -> None:
    async with entering() as world:
        assert await world.upload() != await world.upload()
        assert world.taken() == ["a.wav", "a.wav"]


async def test_the_digest_of_what_was_sent_is_known_afterwards(entering) -> None:
    content = FakeContent("a.wav", b"RIFF")
    async with entering() as world:
        await world.upload(content=content)
    assert content.sha256 == hashlib.sha256(b"RIFF").hexdigest()


async def test_a_source_that_breaks_off_is_not_taken(entering) -> None:
    broken = FakeContent("a.wav", b"RIFF", SourceRejected("it changed", code="changed"))
    async with entering() as world:
        with pytest.raises(SourceRejected) as caught:
            await world.upload(content=broken)
        assert caught.value.code == "changed"
        assert world.taken() == []


async def test_a_file_is_on_its_way_and_then_ready_for_good(entering) -> None:
    async with entering() as world:
        file = await world.upload()
        said: list[StatusReply] = [await world.statuses.ask(file)]
        while said[-1].status != ServiceStatus.FLOW_SUCCEEDED:
            await anyio.sleep(0.01)
            said.append(await world.statuses.ask(file))
        again = await world.statuses.ask(file)
    assert said[0].status == ServiceStatus.PARSING
    assert said[0].parse_content is None
    assert said[-1].parse_content
    assert again == said[-1]


async def test_each_file_is_asked_for_by_its_own_id(entering) -> None:
    async with entering() as world:
        one, other = await world.upload("a.wav"), await world.upload("b.wav")
        for file in (one, other):
            while not (await world.statuses.ask(file)).parse_content:
                await anyio.sleep(0.01)
        first, second = await world.statuses.ask(one), await world.statuses.ask(other)
    assert first.parse_content != second.parse_content


async def test_an_id_that_nobody_gave_is_not_known(entering) -> None:
    async with entering() as world:
        with pytest.raises(ServiceFault) as caught:
            await world.statuses.ask("987654321")
    assert caught.value.code == NO_SUCH_FILE
