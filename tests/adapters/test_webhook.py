from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from worker.adapters.webhook import SignedWebhooks, check_target, is_public
from worker.errors import (
    ConfigurationError,
    GiveUp,
    ServiceBusy,
    ServiceFault,
    ServiceUnreachable,
    TryLater,
)

pytestmark = pytest.mark.anyio

SECRET = "whsec_" + base64.b64encode(b"a secret that only two of us know").decode()
BODY = '{"type": "batch.finished", "name": "été"}'.encode()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """A webhook receiver on loopback that answers as it is told and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answer: Handler = self.ok
        self.port = 0

    async def ok(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((headers, await request.read()))
        return await self.answer(request)

    def says(self, status: int, **headers: str) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, headers=named)

        self.answer = answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


async def serve(receiver: Receiver, tls: ssl.SSLContext | None = None) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    receiver.port = runner.addresses[0][1]
    return runner


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    runner = await serve(made)
    yield made
    await runner.cleanup()


class Resolver(AbstractResolver):
    """Answers every name with the addresses it was given, one list a question."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


# --- the message ---------------------------------------------------------------------------------


async def test_a_message_verifies_with_the_specifications_own_library(receiver: Receiver) -> None:
    await SignedWebhooks(SECRET, [receiver.url]).post(receiver.url, "msg_1", BODY)
    ((headers, body),) = receiver.got
    assert body == BODY
    assert headers["webhook-id"] == "msg_1"
    assert headers["content-type"] == "application/json"
    assert Webhook(SECRET).verify(body, headers)["name"] == "été"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"finished", b"FINISHED"), headers)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_every_2xx_is_a_delivery(receiver: Receiver, status: int) -> None:
    receiver.says(status)
    await SignedWebhooks(SECRET, [receiver.url]).post(receiver.url, "msg_1", BODY)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 500, 502])
async def test_other_answers_are_tried_again(receiver: Receiver, status: int) -> None:
    receiver.says(status)
    with pytest.raises(ServiceFault, match=f"answered {status}"):
        await SignedWebhooks(SECRET, [receiver.url]).post(receiver.url, "msg_1", BODY)


async def test_a_receiver_that_is_gone_wants_no_more(receiver: Receiver) -> None:
    receiver.says(410)
    with pytest.raises(GiveUp, match="answered 410") as caught:
        await SignedWebhooks(SECRET, [receiver.url]).post(receiver.url, "msg_1", BODY)
    assert caught.value.code == "webhook_gone"


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_read(receiver: Receiver, status: int) -> None:
    receiver.says(status, Retry_After="17")
    with pytest.raises(ServiceBusy) as caught:
        await SignedWebhooks(SECRET, [receiver.url]).post(receiver.url, "msg_1", BODY)
    assert caught.value.retry_after == 17


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.says(302, Location=f"http://127.0.0.1:{receiver.port}/elsewhere")
    with pytest.raises(ServiceFault, match="answered 302"):
        await SignedWebhooks(SECRET, [receiver.url]).post(receiver.url, "msg_1", BODY)
    assert len(receiver.got) == 1


async def test_a_silent_receiver_is_given_up_for_now(receiver: Receiver) -> None:
    import anyio

    async def silent(request: web.Request) -> web.StreamResponse:
        await anyio.sleep_forever()
        raise AssertionError

    receiver.answer = silent
    with pytest.raises(ServiceFault, match="no answer within"):
        await SignedWebhooks(SECRET, [receiver.url], timeout=0.2).post(receiver.url, "msg_1", BODY)


async def test_a_torn_connection_is_tried_again(receiver: Receiver) -> None:
    async def torn(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    receiver.answer = torn
    with pytest.raises(TryLater):
        await SignedWebhooks(SECRET, [receiver.url]).post(receiver.url, "msg_1", BODY)


async def test_nobody_there_is_tried_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/hook"
        with pytest.raises(ServiceUnreachable):
            await SignedWebhooks(SECRET, [url]).post(url, "msg_1", BODY)


async def test_an_unknown_name_is_tried_again() -> None:
    class Nowhere(Resolver):
        async def resolve(self, *args: Any, **kwargs: Any) -> list[ResolveResult]:
            raise OSError(None, "no such name")

    with pytest.raises(ServiceUnreachable):
        await SignedWebhooks(SECRET, resolver=Nowhere([])).post(
            "https://gone.example/", "msg_1", BODY
        )


async def test_without_a_secret_nothing_is_sent(receiver: Receiver) -> None:
    with pytest.raises(TryLater, match="INGEST_WEBHOOK_SECRET"):
        await SignedWebhooks(None, [receiver.url]).post(receiver.url, "msg_1", BODY)
    assert receiver.got == []


@pytest.mark.parametrize("secret", ["whsec_!!x", "whsec_", "whsec_é"])
def test_a_bad_secret_is_refused_without_saying_it(secret: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SignedWebhooks(secret)
    shown = "".join(traceback.format_exception(caught.value))
    assert "INGEST_WEBHOOK_SECRET" in shown
    assert secret not in shown.replace("whsec_ and base64", "")


# --- where to ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
async def test_a_private_address_is_refused_before_anything_is_sent(host: str) -> None:
    with pytest.raises(GiveUp, match="private address") as caught:
        await SignedWebhooks(SECRET).post(f"https://{host}/", "msg_1", BODY)
    assert caught.value.code == "webhook_refused"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1"], ["10.1.2.3", "127.0.0.1"]])
async def test_a_name_with_a_private_address_is_refused(addresses: list[str]) -> None:
    resolver = Resolver(addresses)
    with pytest.raises(GiveUp, match="private address"):
        await SignedWebhooks(SECRET, resolver=resolver).post(
            "https://inner.example/", "msg_1", BODY
        )
    assert resolver.asked == 1


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "localhost"])
async def test_unusual_spellings_of_loopback_reach_nobody(receiver: Receiver, host: str) -> None:
    with pytest.raises((GiveUp, TryLater)):
        await SignedWebhooks(SECRET).post(f"https://{host}:{receiver.port}/", "msg_1", BODY)
    assert receiver.got == []


async def test_no_address_is_kept_from_one_delivery_to_the_next() -> None:
    resolver = Resolver(["127.0.0.1"])
    webhooks = SignedWebhooks(SECRET, resolver=resolver)
    for _ in range(2):
        with pytest.raises(GiveUp):
            await webhooks.post("https://rebinding.example/", "msg_1", BODY)
    assert resolver.asked == 2


async def test_an_allowed_prefix_may_be_private_and_plain(receiver: Receiver) -> None:
    resolver = Resolver(["127.0.0.1"])
    allow = [f"http://inner.example:{receiver.port}/hooks"]
    webhooks = SignedWebhooks(SECRET, allow, resolver=resolver)
    await webhooks.post(f"http://inner.example:{receiver.port}/hooks/a", "msg_1", BODY)
    assert len(receiver.got) == 1
    with pytest.raises(GiveUp):
        await webhooks.post(f"http://inner.example:{receiver.port}/other", "msg_1", BODY)
    assert len(receiver.got) == 1


async def test_https_is_verified(tmp_path: Path) -> None:
    receiver = Receiver()
    server, client = certificate(tmp_path)
    runner = await serve(receiver, server)
    url = f"https://hooks.example:{receiver.port}/"
    resolver = Resolver(["127.0.0.1"])
    await SignedWebhooks(SECRET, [url], resolver=resolver, tls=client).post(url, "msg_1", BODY)
    assert len(receiver.got) == 1
    with pytest.raises(ServiceUnreachable):
        await SignedWebhooks(SECRET, [url], resolver=resolver).post(url, "msg_1", BODY)
    assert len(receiver.got) == 1
    await runner.cleanup()


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for hooks.example, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "server.pem"
    file.write_bytes(private + public)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=public.decode())


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_as_public_as_the_address_itself(address: Any) -> None:
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | int(address))
    assert is_public(str(mapped)) == is_public(str(address))


# --- early refusal -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "notify",
    [
        {"task": "done"},
        {"task": "done", "queue": "reports"},
        {"url": "https://hooks.example/x?token=1"},
        {"url": "https://8.8.8.8/"},
        {"url": "http://10.0.0.5:8080/hooks/1"},
        {"url": "http://10.0.0.6:99/any"},
    ],
)
def test_good_targets(notify: object) -> None:
    allow = ["http://10.0.0.5:8080/hooks", "http://10.0.0.6"]
    assert check_target(notify, allow, has_secret=True) is None


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ("https://x", "notify: write"),
        ({}, "notify: write"),
        ({"url": "https://x", "task": "t"}, "notify: write"),
        ({"queue": "q"}, "notify: write"),
        ({"task": ""}, "task: write a name"),
        ({"task": "t", "queue": 3}, "queue: write a name"),
        ({"url": None}, "url: write a name"),
        ({"url": "ftp://x/"}, "url: write it as https"),
        ({"url": "https://"}, "url: write it as https"),
        ({"url": "hooks.example/x"}, "url: write it as https"),
        ({"url": "https://x:99999/"}, "url: write it as https"),
        ({"url": "https://me:pw@hooks.example/"}, "keep user and password"),
        ({"url": "http://hooks.example/"}, "plain http"),
        ({"url": "https://192.168.0.1/"}, "private address"),
        ({"url": "https://[::1]/"}, "private address"),
        ({"url": "http://10.0.0.5:8080/hooksevil"}, "plain http"),
        ({"url": "http://10.0.0.5:8081/hooks"}, "plain http"),
        ({"url": "http://10.0.0.5.evil.example/hooks"}, "plain http"),
        ({"url": "http://10.0.0.5:8080@evil.example/hooks"}, "keep user"),
        ({"url": "https://10.0.0.5:8080/hooks"}, "private address"),
    ],
)
def test_bad_targets_are_told(notify: object, said: str) -> None:
    fault = check_target(notify, ["http://10.0.0.5:8080/hooks"], has_secret=True)
    assert fault is not None
    assert said in fault
    assert "pw" not in fault


def test_a_webhook_without_a_secret_is_refused_early() -> None:
    fault = check_target({"url": "https://hooks.example/"}, [], has_secret=False)
    assert fault is not None
    assert "INGEST_WEBHOOK_SECRET" in fault
    assert check_target({"task": "t"}, [], has_secret=False) is None


@pytest.mark.parametrize(
    "path",
    ["/hooks/..%2fadmin", "/hooks%2f..%2fadmin", "/hooks/%252e%252e/admin", "/hooks/..%5cadmin"],
)
def test_no_spelling_of_a_path_that_climbs_is_below_an_allowed_prefix(path: str):
    allow = ["http://10.0.0.5/hooks"]
    assert check_target({"url": f"http://10.0.0.5{path}"}, allow, has_secret=True)
    assert check_target({"url": "http://10.0.0.5/hooks/a%2fb"}, allow, has_secret=True) is None
