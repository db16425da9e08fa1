"""A client that knows the wire and nothing of the program, and a clock that tests turn by hand."""

from __future__ import annotations

import io
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from worker.simulator import Simulator

HEADERS = {
    "cybertron-robot-key": "demo-key",
    "cybertron-robot-token": "demo-token",
    "username": "demo",
}
UPLOAD = "/openapi/v1/chatflow/offline_upload_file/"
STATUS = "/openapi/v1/chatflow/get_offline_file_status/"
DIALOG = "/openapi/v2/ws/dialog/"
FLOW = "4cc96904-049f-11f0-80e7-0e8133e180cd"
FORM = {
    "mode": "1",
    "username": "demo",
    "flow_uuid": FLOW,
    "tenant_name": "AiopsTest",
    "extra_params": "test_vvv",
    "file_name": "call.wav",
    "file_format": "",
    "parse_model": "text",
    "parse_prompt": "",
}
QUESTION = {
    "cybertron_robot_key": "demo-key",
    "cybertron_robot_token": "demo-token",
    "username": "demo",
    "question": "File upload",
    "segment_code": "wWkE3bNkL3SzJX9orcO9P1",
    "message_source": "WS",
}


@dataclass
class HandClock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Client:
    simulator: Simulator
    session: aiohttp.ClientSession
    clock: HandClock
    headers: dict[str, str] = field(default_factory=lambda: dict(HEADERS))

    @property
    def url(self) -> str:
        return self.simulator.url

    def summary(self):
        return self.simulator.summary()

    def uploads(self):
        return self.simulator.ledger()["uploads"]

    def upload_call(self, content: bytes | None = b"RIFF", **changes):
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in (FORM | changes).items():
            if value is not None:
                form.add_field(name, value)
        if content is not None:
            form.add_field(
                "file", io.BytesIO(content), filename=changes.get("file_name") or "call.wav"
            )
        return self.session.post(self.url + UPLOAD, data=form, headers=self.headers)

    async def upload(self, content: bytes | None = b"RIFF", **changes):
        async with self.upload_call(content, **changes) as response:
            assert response.status == 200
            return json.loads(await response.read())

    async def upload_id(self, file_name: str = "call.wav", **changes) -> int:
        envelope = await self.upload(file_name=file_name, **changes)
        assert envelope["code"] == "000000", envelope
        return envelope["data"]["id"]

    def status_call(self, file_id):
        return self.session.get(
            self.url + STATUS, params={"file_id": str(file_id)}, headers=self.headers
        )

    async def status(self, file_id):
        async with self.status_call(file_id) as response:
            assert response.status == 200
            return json.loads(await response.read())

    async def data(self, file_id):
        return (await self.status(file_id))["data"]

    def connect(self):
        return self.session.ws_connect(self.url + DIALOG, headers=self.headers, max_msg_size=0)

    async def converse(self, **changes):
        async with self.connect() as socket:
            await socket.send_json(QUESTION | changes)
            return await until_the_end(socket)

    async def upload_node(self, **changes):
        return (await self.converse(**changes))[-1]


async def until_the_end(socket):
    """The frames up to the one that ends a conversation, however it ends."""
    frames = []
    while True:
        frames.append(json.loads(await socket.receive_str()))
        last = frames[-1]
        ended = last["type"] == "flow" and last["data"].get("code") in {
            "002010", "002005", "002001", "400000", "400123",
        }  # fmt: skip
        if last["code"] != "000000" or ended:
            return frames


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def serving():
    """An async context manager: a simulator with this scenario, and a client for it."""

    @asynccontextmanager
    async def start(scenario=None):
        clock = HandClock()
        async with (
            Simulator(scenario, clock=clock) as simulator,
            aiohttp.ClientSession() as session,
        ):
            yield Client(simulator, session, clock)

    return start
