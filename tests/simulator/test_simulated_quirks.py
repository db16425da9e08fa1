"""Habits of live deployments, and what clients of the live service leave out."""

import json

import aiohttp
import pytest

from tests.simulator.conftest import DIALOG, FORM, HEADERS, QUESTION, STATUS, UPLOAD

pytestmark = pytest.mark.anyio

STRICT = {"strict": True}
BARE = {
    "cybertron-robot-key": "demo-key",
    "cybertron-robot-token": "demo-token",
    "username": "demo",
    "question": "File upload",
}
"""A question as some clients ask it: hyphens, and nothing that is not needed."""


async def codes(socket, question):
    """Ask, and list the flow events up to one after which nothing need come."""
    await socket.send_json(question)
    seen = []
    while not seen or seen[-1] not in {"002010", "002004", "002005", "002007"}:
        frame = json.loads(await socket.receive_str())
        if frame["type"] == "flow":
            seen.append(frame["data"]["code"])
    return seen, frame


@pytest.mark.parametrize(
    "address", [DIALOG, DIALOG.rstrip("/"), "/openapi/v1/ws/dialog/", "/openapi/v1/ws/dialog"]
)
async def test_a_question_needs_no_headers_and_is_taken_at_every_known_address(serving, address):
    async with serving() as client, client.session.ws_connect(client.url + address) as socket:
        seen, _ = await codes(socket, BARE)

        assert seen[-1] == "002010"


async def test_headers_that_are_sent_have_to_be_right(serving):
    async with serving() as client:
        client.headers["cybertron-robot-key"] = "wrong"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.converse()


@pytest.mark.parametrize("name", ["cybertron-robot-key", "cybertron-robot-token", "username"])
async def test_a_question_has_to_carry_the_right_credentials(serving, name):
    async with serving() as client, client.session.ws_connect(client.url + DIALOG) as socket:
        await socket.send_json(BARE | {name: "wrong"})

        assert (await socket.receive_json())["code"] == "400401"


async def test_the_strict_service_wants_headers_at_the_handshake(serving):
    async with serving(STRICT) as client:
        client.headers.clear()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.converse()

        assert refused.value.status == 401


async def test_the_strict_service_knows_no_other_spelling(serving):
    async with serving(STRICT) as client:
        hyphens = dict.fromkeys(("cybertron_robot_key", "cybertron_robot_token")) | BARE
        assert (await client.upload_node(**hyphens))["code"] == "400401"
        for address in (DIALOG.rstrip("/"), "/openapi/v1/ws/dialog/"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as unknown:
                await client.session.ws_connect(client.url + address, headers=HEADERS)
            assert unknown.value.status == 404


async def test_an_upload_needs_neither_user_name_nor_mode_nor_inputs(serving):
    async with serving() as client:
        assert await client.upload_id(mode=None, username=None, inputs=None)
        del client.headers["username"]
        assert await client.upload_id(mode=None)


async def test_uploads_and_status_calls_are_taken_without_the_last_slash(serving):
    async with serving() as client:
        file_id = await client.upload_id()
        address = client.url + "/openapi/v1/chatflow/get_offline_file_status"
        async with client.session.get(
            address, params={"file_id": file_id}, headers=HEADERS
        ) as response:
            assert (await response.json())["data"]["file_id"] == file_id


async def test_a_prompt_may_come_with_a_browser_s_line_ends(serving):
    form = {
        "extra_params": "invoice",
        "parse_model": "Image Multimodal Model-7B",
        "file_format": "Image",
        "parse_prompt": "Describe the picture,\r\nthen list the items.",
    }
    async with serving({"image_methods": True}) as client:
        assert await client.upload_id("a.png", **form)
    async with serving({"image_methods": True} | STRICT) as client:
        assert (await client.upload(file_name="a.png", **form))["code"] == "400010"


@pytest.mark.parametrize(
    ("name", "model"),
    [("a.png", "Image Multimodal Model-7B"), ("a.pdf", "Image Multimodal Model-72B")],
)
async def test_the_strict_service_wants_the_method_of_the_file_s_format(serving, name, model):
    async with serving({"image_methods": True} | STRICT) as client:
        (category,) = (await client.upload_node())["file_upload"]["upload_file_categories"]
        methods = category["customized_parse_methods"]
        assert [method["file_format"] for method in methods] == ["pdf", "Image"]

        answers = {
            method["parse_model"]: (
                await client.upload(file_name=name, extra_params="invoice", **method)
            )["code"]
            for method in methods
        }
        assert [taken for taken, code in answers.items() if code == "000000"] == [model]


async def test_a_jump_is_followed_by_an_empty_question(serving):
    scenario = {"jump": "empty_question", "flows": [{"questions": ["File upload"]}]}
    async with serving(scenario) as client, client.connect() as socket:
        seen, jump = await codes(socket, QUESTION)
        assert seen == ["002000", "002007"]
        assert jump["data"]["answer"]["data"].startswith("flow_jump")
        assert (jump["flow_jump"], jump["node_waiting_jump"]) == (1, 1)

        seen, node = await codes(socket, QUESTION | {"question": ""})
        assert seen[-1] == "002010"
        assert node["file_upload"]["flow_uuid"] != jump["data"]["flow_uuid"]


async def test_a_jump_is_followed_by_opening_the_flow_that_it_names(serving):
    async with serving({"jump": "direct"}) as client, client.connect() as socket:
        _, jump = await codes(socket, QUESTION)
        target = jump["data"]["answer"]["data"].partition("jump_flow_uuid:")[2]
        unheard, _ = await codes(socket, QUESTION | {"question": ""})
        seen, node = await codes(
            socket,
            QUESTION | {"open_flow_trigger": "direct", "open_flow_uuid": target},
        )

        assert unheard[-1] == "002005"
        assert seen[-1] == "002010"
        assert node["file_upload"]["flow_uuid"] == target


async def test_jumps_can_come_in_a_row_and_end_the_round(serving):
    scenario = {"jump": "empty_question", "jumps": 2, "jump_ends_round": True}
    async with serving(scenario) as client, client.connect() as socket:
        rounds = []
        for question in ("File upload", "", ""):
            seen, _ = await codes(socket, QUESTION | {"question": question})
            rounds.append(seen[-1])
            if seen[-1] == "002007":
                over = await socket.receive_json()
                assert over["data"]["code"] == "002005"

        assert rounds == ["002007", "002007", "002010"]


async def test_an_empty_question_without_a_jump_is_no_question(serving):
    async with serving({"jump": "empty_question"}) as client:
        assert (await client.upload_node(question=""))["code"] == "400001"


async def test_notices_can_carry_an_error_s_code(serving):
    async with serving({"notices_with_error_code": True}) as client, client.connect() as socket:
        await socket.send_json(QUESTION)
        notices = [await socket.receive_json() for _ in range(2)]
        rest = [await socket.receive_json() for _ in range(11)]

        assert [notice["code"] for notice in notices] == ["400000", "400000"]
        assert notices[0]["data"]["task_id"]
        assert notices[1]["data"]["dialog_id"]
        assert {frame["code"] for frame in rest} == {"000000"}
        assert rest[-1]["data"]["code"] == "002010"


async def test_a_robot_can_merely_chat(serving):
    async with serving({"chats": True}) as client, client.connect() as socket:
        await socket.send_json(QUESTION)
        frames = [await socket.receive_json() for _ in range(7)]
        await socket.send_json({"type": "heartbeat", "data": "ping"})

        assert [frame["type"] for frame in frames] == ["json"] * 5 + ["string"] * 2
        assert frames[-1]["finish"] == "y"
        assert (await socket.receive_json())["type"] == "heartbeat"  # nothing else follows


async def test_a_flow_can_wait_for_something_else(serving):
    async with serving({"waits_for_input": True}) as client, client.connect() as socket:
        seen, frame = await codes(socket, QUESTION)

        assert seen[-1] == "002004"
        assert frame["node_waiting_input"] == 1


async def test_noise_can_come_between_the_frames(serving):
    async with serving({"noise_frames": True}) as client, client.connect() as socket:
        await socket.send_json(QUESTION)
        messages = []
        while not messages or "002010" not in str(messages[-1].data):
            messages.append(await socket.receive())

        texts = [m.data for m in messages if m.type is aiohttp.WSMsgType.TEXT]
        assert any(m.type is aiohttp.WSMsgType.BINARY for m in messages)
        assert "connected" in texts
        assert "[1, 2]" in texts
        assert any('"llm_end"' in text for text in texts)


async def test_in_ocr_mode_a_failed_flow_with_contents_is_success(serving):
    scenario = {"ocr_mode": True, "time_to_ready": {"kind": "fixed", "seconds": 12}}
    async with serving(scenario) as client:
        (category,) = (await client.upload_node())["file_upload"]["upload_file_categories"]
        file_id = await client.upload_id("a.png", extra_params="ocr", parse_model="ocr")
        early = await client.data(file_id)
        client.clock.forward(12)
        late = await client.data(file_id)

        assert category["variable_assign"] == "ocr"
        assert early["parse_content"] == []
        assert (late["status"], late["error_msg"]) == (8, "flow failed")
        assert "a.png" in late["parse_content"]


async def test_a_status_can_come_before_its_contents(serving):
    path = [{"status": 8, "at": 0, "early": True}, {"status": 8, "at": 1}]
    scenario = {"ocr_mode": True, "time_to_ready": {"kind": "fixed", "seconds": 12}, "path": path}
    async with serving(scenario) as client:
        file_id = await client.upload_id("a.png", extra_params="ocr", parse_model="ocr")
        early = await client.data(file_id)
        client.clock.forward(12)
        late = await client.data(file_id)
        (entry,) = client.uploads()

        assert (early["status"], early["parse_content"]) == (8, [])
        assert late["status"] == 8
        assert late["parse_content"]
        assert entry["first_terminal_at"] == entry["ready_at"] == entry["at"] + 12


async def test_every_call_can_be_answered_with_a_redirect(serving):
    elsewhere = "https://127.0.0.1:9/login"
    faults = [
        {"on": on, "do": "redirect", "location": elsewhere, "first": 1}
        for on in ("handshake", "upload", "status")
    ]

    async def answers(client, method, path, **more):
        async with client.session.request(
            method, client.url + path, headers=HEADERS, allow_redirects=False, **more
        ) as response:
            return response.status, response.headers["Location"]

    async with serving({"faults": faults}) as client:
        seen = [await answers(client, "GET", DIALOG)]
        with aiohttp.MultipartWriter("form-data") as parts:
            for name, value in FORM.items():
                parts.append(value).set_content_disposition("form-data", name=name)
        seen.append(await answers(client, "POST", UPLOAD, data=parts))
        taken = client.summary()["uploads_taken"]
        file_id = await client.upload_id()
        seen.append(await answers(client, "GET", f"{STATUS}?file_id={file_id}"))

        assert seen == [(302, elsewhere)] * 3
        assert taken == 0
