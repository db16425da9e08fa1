"""A script as a user of the service writes it: `websockets` for the dialog, `aiohttp` for the rest.

It sends no header with the handshake, makes its own segment codes, and follows a jump by asking
again with an empty question.
"""

import asyncio
import json
from uuid import uuid4

import aiohttp
import websockets

DONE = (5, 6, 7, 8)


class ChatClient:
    def __init__(self, base, key, token, user):
        self.base, self.key, self.token, self.user = base, key, token, user
        self.said = []

    async def ingest(self, name, content):
        node = await self.dialog("File upload")
        category = next(
            entry
            for entry in node["upload_file_categories"]
            if name.rsplit(".", 1)[1] in entry["support_formats"]
        )
        async with aiohttp.ClientSession(headers=self.headers()) as session:
            file_id = await self.upload(session, node, category, name, content)
            return await self.wait(session, file_id)

    async def dialog(self, question):
        url = self.base.replace("http", "ws", 1) + "/openapi/v2/ws/dialog/"
        segment = uuid4().hex
        async with websockets.connect(url, max_size=None) as socket:
            while True:
                await socket.send(
                    json.dumps(
                        {
                            "cybertron_robot_key": self.key,
                            "cybertron_robot_token": self.token,
                            "username": self.user,
                            "question": question,
                            "segment_code": segment,
                        }
                    )
                )
                self.said.append(f"> question {question!r}")
                node = await self.listen(socket)
                if node is not None:
                    return node
                question = ""

    async def listen(self, socket):
        """The upload node, or None when the flow has jumped and wants to be asked again."""
        async for raw in socket:
            frame = json.loads(raw)
            if frame["code"] != "000000":
                raise RuntimeError(frame["message"])
            if frame["type"] != "flow":
                continue
            event = frame["data"]
            self.said.append(f"< flow {event['code']}")
            if event["code"] == "002010":
                return event["answer"]["data"]
            if frame.get("node_waiting_jump"):
                return None
        raise RuntimeError("the dialog was closed")

    def headers(self):
        return {
            "cybertron-robot-key": self.key,
            "cybertron-robot-token": self.token,
            "username": self.user,
        }

    async def upload(self, session, node, category, name, content):
        method = category["customized_parse_methods"][0]
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name)
        form.add_field("file_name", name)
        form.add_field("flow_uuid", node["flow_uuid"])
        form.add_field("tenant_name", "AiopsTest")
        form.add_field("extra_params", category["variable_assign"])
        form.add_field("file_format", method["file_format"])
        form.add_field("parse_model", method["parse_model"])
        form.add_field("parse_prompt", method["parse_prompt"])
        url = self.base + "/openapi/v1/chatflow/offline_upload_file/"
        async with session.post(url, data=form) as response:
            reply = await response.json()
        self.said.append(f"upload {name} -> {response.status} {reply['code']} {reply['message']}")
        return reply["data"]["id"]

    async def wait(self, session, file_id):
        url = self.base + "/openapi/v1/chatflow/get_offline_file_status/"
        while True:
            async with session.get(url, params={"file_id": file_id}) as response:
                data = (await response.json())["data"]
            self.said.append(f"status {data['status']}")
            if data["status"] in DONE:
                return data
            await asyncio.sleep(0.05)
