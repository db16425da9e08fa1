import asyncio
import hashlib

import aiohttp
import pytest

pytestmark = pytest.mark.anyio


def fault(do, **more):
    return {"faults": [{"on": "upload", "do": do, **more}]}


async def test_an_upload_is_taken_and_written_down(serving):
    async with serving() as client:
        envelope = await client.upload(b"some bytes", file_name="Gespräch (1).wav", inputs="{}")
        (entry,) = client.uploads()

        assert envelope["code"] == "000000"
        assert envelope["data"] == {"id": entry["id"], "status": 1}
        assert entry["taken"]
        assert entry["answered"]
        assert entry["file_name"] == "Gespräch (1).wav"
        assert entry["size"] == 10
        assert entry["sha256"] == hashlib.sha256(b"some bytes").hexdigest()
        assert entry["at"] == client.clock.now
        assert entry["fields"] == {
            "mode": "1",
            "flow_uuid": "4cc96904-049f-11f0-80e7-0e8133e180cd",
            "tenant_name": "AiopsTest",
            "extra_params": "test_vvv",
            "file_format": "",
            "parse_model": "text",
            "parse_prompt": "",
            "inputs": "{}",
        }


async def test_a_large_file_is_hashed_as_it_comes(serving):
    content = bytes(range(256)) * 40_000
    async with serving() as client:
        await client.upload(content)

        (entry,) = client.uploads()
        assert (entry["size"], entry["sha256"]) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
        )


async def test_ids_are_never_given_twice_even_after_a_reset(serving):
    async with serving() as client:
        ids = [await client.upload_id() for _ in range(3)]
        client.simulator.reset()
        ids.append(await client.upload_id())

        assert len(set(ids)) == 4
        assert len(client.uploads()) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"username": None}, "400001"),
        ({"username": "other"}, "400001"),
        ({"flow_uuid": None}, "400002"),
        ({"flow_uuid": "other"}, "400002"),
        ({"tenant_name": "Other"}, "400003"),
        ({"tenant_name": None}, "400003"),
        ({"inputs": "[]"}, "400004"),
        ({"inputs": "{"}, "400004"),
        ({"mode": "3"}, "400005"),
        ({"content": None}, "400006"),
        ({"file_name": ""}, "400006"),
        ({"file_name": None}, "400006"),
        ({"extra_params": None}, "400006"),
        ({"parse_model": None}, "400006"),
        ({"content": b"x" * 101}, "400007"),
        ({"extra_params": "other"}, "400008"),
        ({"file_name": "call.mp3"}, "400009"),
        ({"extra_params": "document_text"}, "400009"),
        ({"parse_model": "other"}, "400010"),
    ],
)
async def test_a_wrong_form_is_refused_inside_the_envelope(serving, changes, code):
    async with serving({"strict": True, "limits": {"max_file_bytes": 100}}) as client:
        envelope = await client.upload(**changes)

        (entry,) = client.uploads()
        assert envelope["code"] == code
        assert envelope["data"] is None
        assert entry["id"] is None
        assert entry["refusal"] == envelope["message"]
        assert client.summary()["uploads_refused"] == 1


@pytest.mark.parametrize(
    ("file_name", "method"),
    [
        ("a.PDF", {"parse_model": "layout", "parse_prompt": "Keep the tables."}),
        ("a.docx", {"parse_model": "text"}),
        ("a.doc", {"parse_model": "text"}),
        ("a.txt", {"parse_model": "text"}),
    ],
)
async def test_formats_are_compared_as_loosely_as_they_are_written(serving, file_name, method):
    async with serving() as client:
        assert await client.upload_id(file_name, extra_params="document_text", **method)


async def test_mode_two_needs_no_file(serving):
    async with serving() as client:
        nothing = dict.fromkeys(
            ("extra_params", "file_name", "file_format", "parse_model", "parse_prompt")
        )
        envelope = await client.upload(None, mode="2", **nothing)

        assert envelope["code"] == "000000"
        assert client.uploads()[0]["size"] is None


async def test_a_category_without_a_variable_asks_for_none(serving):
    scenario = {
        "categories": [
            {"id": 1, "name": "Plain", "support_formats": "wav", "variable_assign_enable": False,
             "variable_assign": "ignored", "customized_parse_methods": []}
        ]
    }  # fmt: skip
    async with serving(scenario) as client:
        assert await client.upload_id(extra_params="", parse_model="")
        assert (await client.upload(extra_params="ignored", parse_model=""))["code"] == "400008"


@pytest.mark.parametrize("name", ["cybertron-robot-key", "cybertron-robot-token", "username"])
async def test_wrong_credentials_are_refused(serving, name):
    async with serving({"strict": True, "credentials": {"refuse_status": 403}}) as client:
        del client.headers[name]
        async with client.upload_call() as response:
            assert response.status == 403

        assert client.uploads() == []


async def test_no_credential_reaches_the_ledger(serving):
    own = {"robot_key": "kkk-secret", "robot_token": "ttt-secret", "username": "uuu-secret"}
    async with serving({"credentials": own}) as client:
        client.headers.update(
            {"cybertron-robot-key": own["robot_key"], "cybertron-robot-token": own["robot_token"],
             "username": own["username"]}
        )  # fmt: skip
        await client.upload_id(username=own["username"])

        assert "secret" not in str(client.simulator.ledger())
        assert "secret" not in repr(client.simulator.service.scenario)


async def test_an_upload_can_fail_with_a_status_and_a_wish(serving):
    scenario = fault("http", status=429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT", calls=[1])
    async with serving(scenario) as client:
        async with client.upload_call() as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "Wed, 21 Oct 2026 07:28:00 GMT"

        assert await client.upload_id()
        assert [entry["taken"] for entry in client.uploads()] == [False, True]


async def test_an_upload_can_be_refused_with_any_code(serving):
    async with serving(fault("code", code="400777", message="full")) as client:
        assert await client.upload() == {"code": "400777", "message": "full", "data": None}
        assert client.summary()["uploads_taken"] == 0


@pytest.mark.parametrize("taken", [False, True])
async def test_the_reply_can_be_lost_before_or_after_the_upload_was_taken(serving, taken):
    async with serving(fault("reset", taken=taken)) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.upload()

        (entry,) = client.uploads()
        assert entry["taken"] is taken
        assert client.summary()["replies_lost"] == int(taken)
        if taken:
            assert not entry["answered"]
            assert (await client.status(entry["id"]))["code"] == "000000"


@pytest.mark.parametrize("do", ["http", "garbage", "code"])
async def test_an_upload_can_be_taken_behind_any_wrong_reply(serving, do):
    more = {"status": 502} if do == "http" else {}
    async with serving(fault(do, taken=True, **more)) as client:
        async with client.upload_call() as response:
            assert b"000000" not in await response.read()

        assert client.summary()["uploads_taken"] == 1
        assert client.summary()["replies_lost"] == 1


async def test_a_wrong_form_is_not_taken_behind_a_wrong_reply(serving):
    async with serving(fault("reset", taken=True)) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.upload(flow_uuid="other")

        assert client.summary()["uploads_taken"] == 0


async def test_a_slow_reply_comes_after_the_upload_was_taken(serving):
    async with serving(fault("slow", seconds=600)) as client:
        slow = asyncio.create_task(client.upload())
        while not client.summary()["uploads_taken"]:
            await asyncio.sleep(0)
        (entry,) = client.uploads()

        assert (await client.status(entry["id"]))["data"]["status"] == 1
        assert not slow.done()
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


async def test_uploads_that_break_off_are_counted(serving):
    async with serving() as client:
        host, port = client.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /openapi/v1/chatflow/offline_upload_file/ HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 999\r\n\r\n--b\r\n"
        )
        await writer.drain()
        while not client.summary()["uploads_in_flight"]:
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        while client.summary()["uploads_in_flight"]:
            await asyncio.sleep(0)

        assert client.summary()["uploads_broken_off"] == 1


async def test_uploads_beyond_the_rate_are_throttled(serving):
    async with serving({"limits": {"uploads_per_second": 2, "retry_after": 0.5}}) as client:
        await client.upload_id()
        await client.upload_id()
        async with client.upload_call() as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "0.5"
        client.clock.forward(0.5)
        await client.upload_id()

        assert client.summary()["uploads_throttled"] == 1
        assert client.summary()["uploads_taken"] == 3


async def test_uploads_beyond_the_room_are_throttled_and_the_crowd_is_recorded(serving):
    scenario = fault("slow", seconds=600, first=2) | {"limits": {"concurrent_uploads": 2}}
    async with serving(scenario) as client:
        slow = [asyncio.create_task(client.upload()) for _ in range(2)]
        while client.summary()["uploads_taken"] < 2:
            await asyncio.sleep(0)
        async with client.upload_call() as response:
            assert response.status == 429
        for upload in slow:
            upload.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

        assert client.summary()["uploads_in_flight_max"] == 3


async def test_places_can_be_enforced(serving):
    limits = {"limits": {"enforce_places": True}}
    async with serving(limits | {"faults": [
        {"on": "dialog", "do": "limits", "upload_max_num": {"Audio test": 1}}
    ]}) as client:  # fmt: skip
        before = await client.upload()
        await client.converse()
        with_place = await client.upload()
        beyond = await client.upload()

        assert [e["code"] for e in (before, with_place, beyond)] == ["400011", "000000", "400011"]
        assert client.summary()["places"]["test_vvv"] == {"offered": 1, "used": 1}


async def test_doubles_are_counted(serving):
    async with serving() as client:
        for content, name in [(b"1", "a.wav"), (b"1", "a.wav"), (b"2", "a.wav"), (b"1", "b.wav")]:
            await client.upload_id(name, content=content)

        assert client.summary()["doubles"] == 1


async def test_what_is_no_form_is_refused(serving):
    async with serving() as client:
        address = client.url + "/openapi/v1/chatflow/offline_upload_file/"
        async with client.session.post(address, json={}, headers=client.headers) as response:
            assert (await response.json())["code"] == "400001"
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        async with client.session.post(
            address, data=b"--b\r\nhalf", headers=client.headers | kind
        ) as response:
            assert (await response.json())["code"] == "400001"
