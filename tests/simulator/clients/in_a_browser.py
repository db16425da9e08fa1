"""A page's script, as far as the wire can tell: no header of its own on the websocket, for a
browser can't send any, and forms as browsers encode them, where LF in a text becomes CRLF.

It waits for contents instead of looking at the status, and ends a turn on a frame that says so.
"""

import asyncio
import json
import re
import secrets

import aiohttp


def multipart(fields, name, content):
    """A form as the HTML standard says: line ends of texts normalised, names escaped."""
    boundary = "----WebKitFormBoundary" + secrets.token_hex(8)

    def escaped(text):
        return text.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")

    parts = []
    for key, value in fields.items():
        text = re.sub(r"\r\n|\r|\n", "\r\n", value)
        parts.append(
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="{escaped(key)}"\r\n\r\n{text}\r\n'.encode()
        )
    parts.append(
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{escaped(name)}"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + content
        + b"\r\n"
    )
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


class Page:
    def __init__(self, base, key, token, user):
        self.base, self.key, self.token, self.user = base, key, token, user
        self.said = []

    async def ingest(self, name, content):
        browser = {"Origin": self.base, "User-Agent": "Mozilla/5.0", "Accept-Language": "en"}
        async with aiohttp.ClientSession(headers=browser) as session:
            node = await self.ask(session, "File upload")
            file_id = await self.send(session, node, name, content)
            return await self.contents(session, file_id)

    async def ask(self, session, question):
        address = self.base.replace("http", "ws", 1) + "/openapi/v2/ws/dialog"
        async with session.ws_connect(address, max_msg_size=0) as socket:
            await socket.send_json(
                {
                    "cybertron-robot-key": self.key,
                    "cybertron-robot-token": self.token,
                    "username": self.user,
                    "question": question,
                    "segment_code": "page-1",
                }
            )
            self.said.append(f"> question {question!r}")
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                frame = json.loads(message.data)
                if isinstance(frame, dict) and "file_upload" in frame:
                    self.said.append(f"< flow {frame['data']['code']}")
                    return frame["file_upload"]
        raise RuntimeError("no upload node")

    async def send(self, session, node, name, content):
        (category,) = node["upload_file_categories"]
        method = next(
            m for m in category["customized_parse_methods"] if m["file_format"] == "Image"
        )
        fields = {
            "flow_uuid": node["flow_uuid"],
            "tenant_name": "AiopsTest",
            "extra_params": category["variable_assign"],
            "file_name": name,
            "file_format": "Image",
            "parse_model": method["parse_model"],
            "parse_prompt": method["parse_prompt"],
            "image_source_param": "",
        }
        body, kind = multipart(fields, name, content)
        address = self.base + "/openapi/v1/chatflow/offline_upload_file/"
        async with session.post(
            address, data=body, headers=self.credentials() | {"Content-Type": kind}
        ) as response:
            reply = await response.json()
        self.said.append(f"upload {name} -> {reply['code']} {reply['message']}")
        return reply["data"]["id"]

    def credentials(self):
        return {
            "cybertron-robot-key": self.key,
            "cybertron-robot-token": self.token,
            "username": self.user,
        }

    async def contents(self, session, file_id):
        address = self.base + "/openapi/v1/chatflow/get_offline_file_status/"
        while True:
            async with session.get(
                address, params={"file_id": file_id}, headers=self.credentials()
            ) as response:
                data = (await response.json())["data"]
            self.said.append(f"status {data['status']}")
            if data["parse_content"]:
                return data
            await asyncio.sleep(0.05)
