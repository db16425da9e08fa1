import asyncio
import json

import aiohttp
import pytest
import websockets

from worker.simulator import running

pytestmark = pytest.mark.anyio

DIALOG = "/openapi/v2/ws/dialog/"
QUESTION = {
    "cybertron_robot_key": "demo-key",
    "cybertron_robot_token": "demo-token",
    "username": "demo",
    "question": "File upload",
    "segment_code": "wWkE3bNkL3SzJX9orcO9P1",
    "message_source": "WS",
}


STRICT = {"strict": True}


def fault(do, **more):
    return {"faults": [{"on": "dialog", "do": do, **more}]}


async def test_a_conversation_runs_from_accepted_to_the_upload_node(serving):
    async with serving() as client:
        frames = await client.converse()

        flow_events = [frame for frame in frames if frame["type"] == "flow"]
        assert [frame["index"] for frame in frames[:5]] == [-2, -1, -3, -4, -8]
        assert "task_id" in frames[0]["data"]
        assert [frame["finish"] for frame in frames if frame["type"] == "string"] == ["n", "y"]
        assert [event["data"]["code"] for event in flow_events] == [
            "002000", "002002", "000000", "002003", "002002", "002010",
        ]  # fmt: skip
        assert {event["finish"] for event in flow_events} == {"y"}


async def test_dialog_ids_are_beyond_what_a_float_can_tell_apart(serving):
    async with serving() as client:
        ids = [(await client.converse())[1]["data"]["dialog_id"] for _ in range(3)]

        assert min(ids) > 2**53
        assert len(set(ids)) == 3
        assert len({float(dialog_id) for dialog_id in ids}) == 1


async def test_the_upload_node_stands_in_three_places(serving):
    async with serving() as client:
        frame = await client.upload_node()

        content = frame["file_upload"]
        assert frame["data"]["file_upload"] == content
        assert frame["data"]["answer"] == {"type": "upload", "data": content}
        assert [category["name"] for category in content["upload_file_categories"]] == [
            "Audio test", "Document", "Image",
        ]  # fmt: skip
        assert content["upload_file_categories"][0] == {
            "id": 77,
            "name": "Audio test",
            "support_formats": "wav",
            "upload_max_num": 5,
            "variable_assign_enable": True,
            "variable_assign": "test_vvv",
            "customized_parse_methods": [
                {"file_format": "", "parse_model": "text", "parse_prompt": ""}
            ],
        }


@pytest.mark.parametrize("place", ["data", "answer", "top"])
async def test_the_upload_node_may_stand_in_one_place_only(serving, place):
    async with serving({"dialog": {"upload_in": [place]}}) as client:
        frame = await client.upload_node()

        found = {
            "data": "file_upload" in frame["data"],
            "answer": frame["data"]["answer"]["type"] == "upload",
            "top": "file_upload" in frame,
        }
        assert [name for name, there in found.items() if there] == [place]


async def test_one_connection_carries_many_conversations_and_heartbeats(serving):
    async with serving() as client, client.connect() as socket:
        sessions = set()
        for segment in ("a", "b"):
            await socket.send_json(QUESTION | {"segment_code": segment})
            while (frame := await socket.receive_json())["data"].__class__ is str or frame[
                "data"
            ].get("code") != "002010":
                pass
            sessions.add(frame["file_upload"]["session_id"])
        await socket.send_json({"type": "heartbeat", "data": "ping"})

        assert await socket.receive_json() == {
            "code": "000000", "message": "success", "type": "heartbeat", "data": "pong",
        }  # fmt: skip
        assert len(sessions) == 2
        assert client.summary()["connections"] == 1
        assert client.summary()["dialogs"] == 2
        assert client.summary()["upload_nodes"] == 2
        assert client.summary()["heartbeats"] == 1


async def test_a_frame_may_be_larger_than_a_megabyte_and_others_may_follow_it(serving):
    scenario = {"dialog": {"history_bytes": 2**20 + 1, "trailing_frames": True}}
    async with serving(scenario) as client, client.connect() as socket:
        await socket.send_json(QUESTION)
        texts = [await socket.receive_str() for _ in range(14)]

        assert len(texts[-2]) > 2**20
        assert json.loads(texts[-1])["data"]["code"] == "002004"


async def test_a_flow_can_be_opened_directly(serving):
    flows = [{"uuid": "one", "questions": ["One"]}, {"uuid": "two", "categories": ["Image"]}]
    async with serving({"flows": flows}) as client:
        direct = {"open_flow_trigger": "direct", "open_flow_node_uuid": ""}
        frame = await client.upload_node(open_flow_uuid="two", question="", **direct)
        unknown = await client.upload_node(open_flow_uuid="three", **direct)

        assert frame["file_upload"]["flow_uuid"] == "two"
        assert [c["name"] for c in frame["file_upload"]["upload_file_categories"]] == ["Image"]
        assert unknown["code"] == "400002"


async def test_the_question_chooses_the_flow(serving):
    async with serving({"flows": [{"uuid": "one", "questions": ["One"]}]}) as client:
        understood = await client.upload_node(question="One")
        not_understood = await client.converse(question="Two")

        assert understood["file_upload"]["flow_uuid"] == "one"
        assert not_understood[-1]["data"]["code"] == "002005"
        assert "002010" not in str(not_understood)


@pytest.mark.parametrize("name", ["segment_code", "message_source", "question"])
async def test_the_strict_service_misses_every_field_of_a_question(serving, name):
    async with serving(STRICT) as client:
        frame = await client.upload_node(**{name: ""})

        assert frame["code"] == "400001"
        assert name in frame["message"]


@pytest.mark.parametrize("name", ["cybertron-robot-key", "cybertron-robot-token", "username"])
@pytest.mark.parametrize("status", [401, 403])
async def test_wrong_headers_are_refused_at_the_handshake(serving, name, status):
    async with serving({"credentials": {"refuse_status": status}}) as client:
        client.headers[name] = "wrong"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.converse()

        assert refused.value.status == status
        assert client.summary()["credentials_refused"] == 1


async def test_wrong_credentials_can_be_refused_in_a_frame(serving):
    async with serving({"credentials": {"refuse_dialog": "frame"}}) as client:
        client.headers["cybertron-robot-key"] = "wrong"
        frame = await client.upload_node(cybertron_robot_key="wrong")

        assert frame["code"] == "400401"


@pytest.mark.parametrize("name", ["cybertron_robot_key", "cybertron_robot_token", "username"])
async def test_wrong_credentials_in_the_body_are_refused_too(serving, name):
    async with serving() as client:
        frame = await client.upload_node(**{name: None})

        assert frame["code"] == "400401"


async def test_the_handshake_can_fail_with_a_status_and_a_wish(serving):
    faults = [{"on": "handshake", "do": "http", "status": 503, "retry_after": 7, "first": 1}]
    async with serving({"faults": faults}) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.converse()

        assert refused.value.status == 503
        assert refused.value.headers["Retry-After"] == "7"
        assert (await client.upload_node())["data"]["code"] == "002010"


async def test_the_handshake_can_be_reset(serving):
    async with serving({"faults": [{"on": "handshake", "do": "reset"}]}) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.converse()


async def test_too_many_connections_a_second_are_throttled(serving):
    async with serving({"limits": {"dialogs_per_second": 2}}) as client:
        await client.converse()
        await client.converse()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.converse()
        client.clock.forward(1)

        assert refused.value.status == 429
        assert await client.converse()
        assert client.summary()["dialogs_throttled"] == 1


@pytest.mark.parametrize("code", [1000, 1011, 1012, 1013, 4001])
async def test_the_connection_can_be_closed_with_a_code(serving, code):
    async with serving(fault("close", code=code, after_frames=3)) as client:
        async with client.connect() as socket:
            await socket.send_json(QUESTION)
            for _ in range(3):
                await socket.receive_str()
            closing = await socket.receive()

        assert closing.type is aiohttp.WSMsgType.CLOSE
        assert closing.data == code


async def test_the_connection_can_be_reset(serving):
    async with serving(fault("reset", after_frames=0)) as client, client.connect() as socket:
        await socket.send_json(QUESTION)
        gone = await socket.receive()

        assert gone.type in {aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED}


async def test_the_conversation_can_fall_silent_while_heartbeats_are_answered(serving):
    async with serving(fault("silence", after_frames=1)) as client, client.connect() as socket:
        await socket.send_json(QUESTION)
        await socket.receive_str()
        await socket.send_json({"type": "heartbeat", "data": "ping"})

        assert (await socket.receive_json())["type"] == "heartbeat"


async def test_silence_can_be_total(serving):
    scenario = fault("silence", after_frames=1, heartbeat=False)
    async with serving(scenario) as client, client.connect() as socket:
        await socket.send_json(QUESTION)
        await socket.receive_str()
        await socket.send_json({"type": "heartbeat", "data": "ping"})
        client.simulator.set_scenario(None)
        await socket.send_json(QUESTION)

        assert (await socket.receive_json())["index"] == -2


@pytest.mark.parametrize("code", ["002001", "002005"])
async def test_a_dialog_can_end_without_an_upload_node(serving, code):
    async with serving(fault("no_upload_node", code=code)) as client:
        frames = await client.converse()

        assert frames[-1]["data"]["code"] == code
        assert client.summary()["upload_nodes"] == 0
        assert client.summary()["places"] == {}


async def test_a_dialog_can_end_with_an_error_code(serving):
    async with serving(fault("code", code="400123", message="no")) as client:
        frame = await client.upload_node()

        assert (frame["code"], frame["message"]) == ("400123", "no")


async def test_an_error_code_can_hide_in_a_flow_event(serving):
    async with serving(fault("code", code="400123", inside=True)) as client:
        frame = await client.upload_node()

        assert (frame["code"], frame["data"]["code"]) == ("000000", "400123")


async def test_a_system_error_can_come_as_text(serving):
    async with serving(fault("error_text")) as client:
        frames = await client.converse()

        assert [frame["data"] for frame in frames if frame["type"] == "string"] == [
            "系统异常(50012)"
        ]


async def test_garbage_can_come_instead_of_a_frame(serving):
    async with serving(fault("garbage", body="<html>")) as client, client.connect() as socket:
        await socket.send_json(QUESTION)

        assert [await socket.receive_str() for _ in range(3)][-1] == "<html>"


async def test_limits_can_change_from_dialog_to_dialog(serving):
    scenario = fault("limits", upload_max_num={"Image": 1}, calls=[2])
    async with serving(scenario) as client:
        maxima = [
            (await client.upload_node())["file_upload"]["upload_file_categories"][2][
                "upload_max_num"
            ]
            for _ in range(3)
        ]

        assert maxima == [3, 1, 3]
        assert client.summary()["places"]["image_text"] == {"offered": 7, "used": 0}


async def test_a_slow_dialog_still_answers_heartbeats(serving):
    async with serving(fault("slow", seconds=600)) as client, client.connect() as socket:
        await socket.send_json(QUESTION)
        await socket.send_json({"type": "heartbeat", "data": "ping"})

        assert (await socket.receive_json())["type"] == "heartbeat"


def test_another_websocket_library_gets_along_with_it():
    async def ask(url):
        headers = {"cybertron-robot-key": "demo-key", "cybertron-robot-token": "demo-token"}
        async with websockets.connect(url, additional_headers=headers) as socket:
            await socket.send(json.dumps(QUESTION))
            return [json.loads(await socket.recv()) for _ in range(13)]

    with running() as simulator:
        frames = asyncio.run(ask(simulator.url.replace("http", "ws") + DIALOG))

    assert frames[-1]["data"]["code"] == "002010"
