"""Servers that hold sources: moto's S3 and asyncssh's own SFTP, both in the tests' process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import asyncssh
import boto3
from moto.server import ThreadedMotoServer

USER = "al"
KEYS = {"key": "testing", "secret": "hunter2-of-s3"}


class Bucket:
    """One bucket of an S3 server."""

    def __init__(self, port: int) -> None:
        endpoint = f"http://127.0.0.1:{port}"
        self.name = f"b-{uuid4().hex[:12]}"
        self.root = f"s3://{self.name}"
        self.options = {"s3": {"endpoint_url": endpoint, **KEYS}}
        self._client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1",
            aws_access_key_id="testing", aws_secret_access_key=KEYS["secret"],
        )  # fmt: skip
        self._client.create_bucket(Bucket=self.name)

    def put(self, files: dict[str, bytes]) -> None:
        for key, data in files.items():
            self._client.put_object(Bucket=self.name, Key=key, Body=data)

    def files(self) -> dict[str, bytes]:
        listed = self._client.list_objects_v2(Bucket=self.name).get("Contents", [])
        bodies = {
            each["Key"]: self._client.get_object(Bucket=self.name, Key=each["Key"])["Body"]
            for each in listed
        }
        return {key: body.read() for key, body in bodies.items()}


@contextmanager
def s3_server() -> Iterator[int]:
    """The port of an S3 server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


class SshServer:
    """An SFTP server on a folder, with a host key and one user's key; it can go away and come back."""

    def __init__(self, base: Path) -> None:
        self.folder = base / "served"
        self.folder.mkdir()
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        own = asyncssh.generate_private_key("ssh-ed25519")
        own.write_private_key(base / "id")
        (base / "id").chmod(0o600)
        own.write_public_key(base / "authorized")
        self._authorized = str(base / "authorized")
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server: Any = None
        self._connections: list[asyncssh.SSHServerConnection] = []
        self.port = 0
        self.start()
        known = base / "known_hosts"
        public = self._host_key.export_public_key().decode().strip()
        known.write_text(f"[127.0.0.1]:{self.port} {public}\n")
        self.root = f"sftp://127.0.0.1:{self.port}/in"
        self.account = {
            "username": USER, "client_keys": [str(base / "id")], "known_hosts": str(known),
        }  # fmt: skip
        self.options = {self.root.removesuffix("/in"): self.account}

    def start(self) -> None:
        self._server = self._on_loop(self._listen())
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """End the server and every connection to it."""

        async def end() -> None:
            self._server.close()
            for connection in self._connections:
                connection.abort()
            self._connections.clear()
            await self._server.wait_closed()

        self._on_loop(end())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def put(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }

    async def _listen(self) -> Any:
        return await asyncssh.listen(
            "127.0.0.1", self.port, server_host_keys=[self._host_key],
            authorized_client_keys=self._authorized, allow_scp=False,
            acceptor=self._connections.append,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(self.folder)),
        )  # fmt: skip

    def _on_loop(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)
