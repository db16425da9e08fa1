"""The floor: a script that does the same calls, keeps nothing, and survives nothing.

`python -m tests.bench.bare CLIENT FOLDER`, CLIENT being `aiohttp`, `httpx-aiohttp` or `httpx`.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

BASE = os.environ["CHATFLOW_BASE_URL"]
UPLOAD = BASE + "/openapi/v1/chatflow/offline_upload_file/"
STATUS = BASE + "/openapi/v1/chatflow/get_offline_file_status/"
DIALOG = BASE.replace("http", "ws", 1) + "/openapi/v2/ws/dialog/"
HEADERS = {
    "cybertron-robot-key": os.environ["CHATFLOW_ROBOT_KEY"],
    "cybertron-robot-token": os.environ["CHATFLOW_ROBOT_TOKEN"],
    "username": os.environ["CHATFLOW_USERNAME"],
}
UPLOADS = int(os.environ["INGEST_MAX_CONCURRENT_UPLOADS"])
TERMINAL = {5, 6, 7, 8}
FIRST_WAIT, GROWTH, LONGEST_WAIT = 1.0, 1.5, 5.0


class Aiohttp:
    def __init__(self) -> None:
        import aiohttp

        self._form = aiohttp.FormData
        self.session = aiohttp.ClientSession(headers=HEADERS)

    async def upload(self, fields: dict[str, str], name: str, content: bytes) -> Any:
        form = self._form(fields)
        form.add_field("file", content, filename=name)
        async with self.session.post(UPLOAD, data=form) as reply:
            return await reply.json()

    async def status(self, file_id: int) -> Any:
        async with self.session.get(STATUS, params={"file_id": file_id}) as reply:
            return await reply.json()


class Httpx:
    def __init__(self, transport: Any = None) -> None:
        import httpx2 as httpx

        self.session = httpx.AsyncClient(headers=HEADERS, transport=transport, timeout=60)

    async def upload(self, fields: dict[str, str], name: str, content: bytes) -> Any:
        reply = await self.session.post(UPLOAD, data=fields, files={"file": (name, content)})
        return reply.json()

    async def status(self, file_id: int) -> Any:
        return (await self.session.get(STATUS, params={"file_id": file_id})).json()


@asynccontextmanager
async def client(name: str) -> Any:
    match name:
        case "aiohttp":
            made: Any = Aiohttp()
        case "httpx-aiohttp":
            from httpx_aiohttp.httpx2 import AiohttpTransport

            made = Httpx(AiohttpTransport())
        case _:
            made = Httpx()
    async with made.session:
        yield made


async def open_dialog(socket: ClientConnection) -> dict[str, Any]:
    question = {
        **{name.replace("-", "_"): value for name, value in HEADERS.items()},
        "question": "File upload",
        "segment_code": secrets.token_hex(11),
        "message_source": "WS",
    }
    await socket.send(json.dumps(question))
    async for frame in socket:
        data = json.loads(frame).get("data")
        if isinstance(data, dict) and data.get("code") == "002010":
            return data["file_upload"]
    raise RuntimeError("the dialog ended without an upload node")


def fields_for(node: dict[str, Any], name: str) -> dict[str, str]:
    category = node["upload_file_categories"][0]
    method = category["customized_parse_methods"][0]
    return {
        "mode": "1",
        "username": HEADERS["username"],
        "tenant_name": "AiopsTest",
        "flow_uuid": node["flow_uuid"],
        "extra_params": category["variable_assign"],
        "file_name": name,
        "file_format": method["file_format"],
        "parse_model": method["parse_model"],
        "parse_prompt": method["parse_prompt"],
    }


async def poll(http: Any, file_id: int, results: dict[int, Any]) -> None:
    wait = FIRST_WAIT
    while True:
        await asyncio.sleep(wait)
        told = (await http.status(file_id))["data"]
        if int(told["status"]) in TERMINAL:
            results[file_id] = told["parse_content"]
            return
        wait = min(wait * GROWTH, LONGEST_WAIT)


async def upload_on(
    http: Any, paths: Iterator[Path], polls: asyncio.TaskGroup, results: dict[int, Any]
) -> None:
    """One of the uploads in flight: a dialog, as many files as it takes, the next dialog."""
    async with connect(DIALOG, additional_headers=HEADERS, max_size=10 * 2**20) as socket:
        for path in paths:
            node = await open_dialog(socket)
            room = node["upload_file_categories"][0]["upload_max_num"]
            for one in [path, *(next(paths, None) for _ in range(room - 1))]:
                if one is not None:
                    fields = fields_for(node, one.name)
                    reply = await http.upload(fields, one.name, one.read_bytes())
                    polls.create_task(poll(http, int(reply["data"]["id"]), results))


async def main(name: str, folder: Path) -> int:
    paths = sorted(folder.iterdir())
    results: dict[int, Any] = {}
    async with client(name) as http, asyncio.TaskGroup() as tasks:
        remaining = iter(paths)
        for _ in range(UPLOADS):
            tasks.create_task(upload_on(http, remaining, tasks, results))
    print(len(results))
    return 0 if len(results) == len(paths) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]))))
