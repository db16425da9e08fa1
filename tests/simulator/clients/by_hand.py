"""A client without any library: the websocket's handshake and frames, and HTTP, by hand.

It goes to the dialog's former address without the last slash, writes hyphens in the names of
the credentials, sends nothing that is not needed, and beats its heart before it asks.
"""

import asyncio
import base64
import json
import os
import struct
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Wire:
    """One websocket connection over a plain stream."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, host, port, path):
        reader, writer = await asyncio.open_connection(host, port)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1]
        if status != b"101":
            writer.close()
            raise RuntimeError(f"handshake: {status.decode()}")
        return cls(reader, writer)

    def send(self, text):
        payload, mask = text.encode(), os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | TEXT])
        if size < 126:
            head += bytes([0x80 | size])
        else:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        self.writer.write(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    async def receive(self):
        """The next text message; all others are passed over."""
        while True:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
            payload = await self.reader.readexactly(size)
            if first & 0x0F == CLOSE:
                raise RuntimeError("closed")
            if first & 0x0F == TEXT:
                return payload.decode()

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


class HandMade:
    def __init__(self, base, key, token, user):
        address = urlsplit(base)
        self.host, self.port = address.hostname, address.port
        self.key, self.token, self.user = key, token, user
        self.said = []

    async def ingest(self, name, content):
        node = await self.dialog("File upload")
        file_id = await self.upload(node, name, content)
        while True:
            path = f"/openapi/v1/chatflow/get_offline_file_status?file_id={file_id}"
            data = (await self.http("GET", path))["data"]
            self.said.append(f"status {data['status']}")
            if int(data["status"]) in {5, 6, 7, 8}:
                return data
            await asyncio.sleep(0.05)

    async def dialog(self, question):
        wire = await Wire.open(self.host, self.port, "/openapi/v1/ws/dialog")
        try:
            wire.send(json.dumps({"type": "heartbeat", "data": "ping"}))
            pong = json.loads(await wire.receive())
            self.said.append(f"< heartbeat {pong['data']} {pong['code']} {pong['message']}")
            wire.send(self.question(question))
            self.said.append(f"> question {question!r}")
            return await self.node(wire)
        finally:
            await wire.close()

    def question(self, question, **more):
        return json.dumps(
            {
                "cybertron-robot-key": self.key,
                "cybertron-robot-token": self.token,
                "username": self.user,
                "question": question,
                **more,
            }
        )

    async def node(self, wire):
        while True:
            frame = json.loads(await wire.receive())
            event = frame["data"] if frame.get("type") == "flow" else {}
            if event:
                self.said.append(f"< flow {event['code']}")
            words = str(event.get("answer", {}).get("data", ""))
            if "jump_flow_uuid:" in words:
                uuid = words.partition("jump_flow_uuid:")[2]
                self.said.append(f"> open {uuid}")
                direct = {"open_flow_trigger": "direct", "open_flow_uuid": uuid}
                wire.send(self.question("", **direct))
            if "file_upload" in event:
                return event["file_upload"]

    async def upload(self, node, name, content):
        ending = name.rsplit(".", 1)[1]
        category = next(
            c for c in node["upload_file_categories"] if ending in c["support_formats"].lower()
        )
        method = category["customized_parse_methods"][-1]
        fields = {
            "flow_uuid": node["flow_uuid"],
            "tenant_name": "AiopsTest",
            "extra_params": category["variable_assign"],
            "file_name": name,
            **method,
        }
        body = b"".join(
            f'--cut\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items()
        )
        body += (
            f'--cut\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'.encode()
        )
        body += b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--cut--\r\n"
        kind = "multipart/form-data; boundary=cut"
        reply = await self.http("POST", "/openapi/v1/chatflow/offline_upload_file", body, kind)
        self.said.append(f"upload {name} -> {reply['code']} {reply['message']}")
        return reply["data"]["id"]

    async def http(self, method, path, body=b"", kind="application/json"):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: close\r\n"
            f"cybertron-robot-key: {self.key}\r\ncybertron-robot-token: {self.token}\r\n"
            f"username: {self.user}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        whole = await reader.read()
        writer.close()
        await writer.wait_closed()
        return json.loads(whole.partition(b"\r\n\r\n")[2])
