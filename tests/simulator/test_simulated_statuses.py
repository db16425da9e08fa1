import ast
import asyncio
import json

import aiohttp
import pytest

pytestmark = pytest.mark.anyio

FIXED = {"time_to_ready": {"kind": "fixed", "seconds": 12}}
AT_ONCE = {"time_to_ready": {"kind": "none"}}
THREE = [
    {"text": "message1 of call.wav", "speaker_id": 0},
    {"text": "message2", "speaker_id": 1},
    {"text": "message3", "speaker_id": 1},
]


def fault(do, **more):
    return AT_ONCE | {"faults": [{"on": "status", "do": do, **more}]}


async def statuses(client, file_id, *seconds):
    start, seen = client.clock.now, []
    for second in seconds:
        client.clock.now = start + second
        seen.append((await client.data(file_id))["status"])
    return seen


async def test_a_file_goes_its_way_in_time(serving):
    async with serving(FIXED) as client:
        file_id = await client.upload_id()

        assert await statuses(client, file_id, 0, 3.9, 4, 7.9, 8, 11.9, 12, 999) == [
            1, 1, 2, 2, 4, 4, 5, 5,
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ([1, 2, 4, 5, 7], [1, 2, 4, 5, 7]),
        ([1, 2, 4, 6], [1, 2, 4, 6, 6]),
        ([1, 3], [1, 1, 1, 3, 3]),
        ([3], [3, 3, 3, 3, 3]),
        ([1, 2, 4, 5, 8], [1, 2, 4, 5, 8]),
        ([1, 9, 42, 5], [1, 9, 42, 5, 5]),
        ([{"status": 1, "at": 0}, {"status": 4, "at": 0.5}, {"status": 8, "at": 1}],
         [1, 1, 4, 8, 8]),
    ],
)  # fmt: skip
async def test_a_path_can_be_any(serving, path, seen):
    async with serving(FIXED | {"path": path}) as client:
        file_id = await client.upload_id()

        assert await statuses(client, file_id, 0, 4, 8, 12, 18) == seen


async def test_the_reply_has_the_published_fields(serving):
    async with serving(FIXED) as client:
        file_id = await client.upload_id('a "quoted" 文件.wav')
        envelope = await client.status(file_id)

        assert envelope == {
            "code": "000000",
            "message": "success",
            "data": {
                "file_id": file_id,
                "status": 1,
                "error_msg": "",
                "file_name": 'a "quoted" 文件.wav',
                "parse_content": None,
                "llm_content": None,
            },
        }


async def parse_content(serving, content, **more):
    async with serving(AT_ONCE | {"path": [5], "parse_content": content} | more) as client:
        return (await client.data(await client.upload_id()))["parse_content"]


async def test_contents_as_a_python_repr(serving):
    content = await parse_content(serving, {"shape": "python_repr"})

    assert json.loads(ast.literal_eval(content)[0]) == THREE


async def test_contents_with_the_published_broken_escapes(serving):
    segments = [{"text": f"message{n}", "speaker_id": int(n > 1)} for n in (1, 2, 3)]
    content = await parse_content(serving, {"shape": "broken_repr", "segments": segments})

    assert content == (
        '[\'[{"text": "\\\\message1", "speaker_id": 0}, {"text": "\\\\message2",'
        ' "speaker_id": 1}, {"text": "\\\\message3", "speaker_id": 1}]\']'
    )


async def test_contents_in_a_fence(serving):
    content = await parse_content(serving, {"shape": "fenced"})

    assert content.startswith("```json\n")
    assert json.loads(content.removeprefix("```json\n").removesuffix("\n```")) == THREE


@pytest.mark.parametrize(
    ("content", "served"),
    [
        ({"shape": "json"}, json.dumps(THREE)),
        ({"shape": "list"}, THREE),
        ({"shape": "text", "text": "in {file_name}"}, "in call.wav"),
        ({"shape": "text", "text": "x" * 4, "size": 9}, "xxxxlorem"),
        ({"shape": "empty_list"}, []),
        ({"shape": "empty_text"}, ""),
        ({"shape": "null"}, None),
        ({"shape": "value", "value": {"of": ["{file_name}", 1]}}, {"of": ["call.wav", 1]}),
        ({"shape": "dirty", "text": "."}, "before\x00after \ud800 ."),
    ],
)
async def test_contents_in_other_shapes(serving, content, served):
    assert await parse_content(serving, content) == served


async def test_contents_can_be_megabytes(serving):
    content = await parse_content(serving, {"shape": "json", "size": 3_000_000})

    assert len(content) > 3_000_000
    assert json.loads(content)[:3] == THREE


@pytest.mark.parametrize(
    ("early", "served"), [("null", None), ("empty_text", ""), ("empty_list", [])]
)
async def test_contents_on_the_way(serving, early, served):
    async with serving(FIXED | {"early_content": early}) as client:
        assert (await client.data(await client.upload_id()))["parse_content"] == served


async def test_half_a_json_on_the_way(serving):
    scenario = FIXED | {"early_content": "half", "parse_content": {"shape": "json"}}
    async with serving(scenario) as client:
        content = (await client.data(await client.upload_id()))["parse_content"]

        assert content
        with pytest.raises(ValueError, match=r"column"):
            json.loads(content)


async def test_rules_by_file_name_and_the_rest_by_default(serving):
    scenario = AT_ONCE | {
        "rules": [
            {"file_name": "bad-*", "path": [6], "error_msg": "no sound"},
            {"file_name": "*-lost.wav", "path": [8], "llm_content": {"shape": "text"}},
        ]
    }
    async with serving(scenario) as client:
        bad = await client.data(await client.upload_id("bad-lost.wav"))
        lost = await client.data(await client.upload_id("a-lost.wav"))
        good = await client.data(await client.upload_id("good.wav"))

        assert (bad["status"], bad["error_msg"], bad["parse_content"]) == (6, "no sound", None)
        assert (lost["status"], lost["error_msg"]) == (8, "flow failed")
        assert "a-lost.wav" in lost["parse_content"]
        assert lost["llm_content"] == "The text of a-lost.wav."
        assert good["status"] == 5
        assert "good.wav" in good["parse_content"]


async def test_a_rule_for_the_first_upload_of_a_name_only(serving):
    rules = [{"file_name": "*", "uploads": [1], "path": [3]}]
    async with serving(AT_ONCE | {"rules": rules}) as client:
        first = await client.data(await client.upload_id())
        second = await client.data(await client.upload_id())
        other = await client.data(await client.upload_id("other.wav"))

        assert [data["status"] for data in (first, second, other)] == [3, 5, 3]
        assert first["error_msg"] == "upload failed"


async def test_the_flow_answers_only_when_it_is_through(serving):
    scenario = FIXED | {"path": [1, 5, 7], "llm_content": {"shape": "text"}}
    async with serving(scenario) as client:
        file_id = await client.upload_id()
        client.clock.forward(12)
        parsed = await client.data(file_id)
        client.clock.forward(6)
        flowed = await client.data(file_id)

        assert (parsed["status"], parsed["llm_content"]) == (5, None)
        assert (flowed["status"], flowed["llm_content"]) == (7, "The text of call.wav.")
        assert flowed["parse_content"] == parsed["parse_content"]


async def test_times_are_lognormal_and_repeat_with_a_seed(serving):
    scenario = {"seed": 7, "time_to_ready": {"kind": "lognormal", "median": 2, "p95": 6}}

    async def times(names):
        async with serving(scenario) as client:
            for name in names:
                await client.upload_id(name)
            return {e["file_name"]: e["ready_at"] - e["at"] for e in client.uploads()}

    names = [f"{n}.wav" for n in range(200)]
    first, second = await times(names), await times(names[::-1])
    ordered = sorted(first.values())

    assert first == second
    assert 1.5 < ordered[100] < 2.7
    assert 4 < ordered[190] < 9


@pytest.mark.parametrize("query", ["", "?file_id=", "?file_id=abc", "?file_id=1", "?id=100001"])
async def test_an_unknown_file_is_an_error_inside_the_envelope(serving, query):
    async with serving() as client:
        await client.upload_id()
        address = client.url + "/openapi/v1/chatflow/get_offline_file_status/" + query
        async with client.session.get(address, headers=client.headers) as response:
            assert (response.status, (await response.json())["code"]) == (200, "400012")

        assert client.summary()["status_calls_unknown"] == 1


@pytest.mark.parametrize("name", ["cybertron-robot-key", "cybertron-robot-token", "username"])
async def test_status_calls_need_every_credential(serving, name):
    async with serving() as client:
        file_id = await client.upload_id()
        client.headers[name] = "wrong"
        async with client.status_call(file_id) as response:
            assert response.status == 401


async def test_numbers_can_be_strings_and_success_a_zero(serving):
    wire = {"numbers_as_strings": True, "code_as_integer": True}
    async with serving(AT_ONCE | {"wire": wire}) as client:
        taken = await client.upload()
        told = await client.status(taken["data"]["id"])

        assert taken["code"] == told["code"] == 0
        assert taken["data"]["status"] == "1"
        assert told["data"]["file_id"] == taken["data"]["id"] == str(client.uploads()[0]["id"])
        assert told["data"]["status"] == "5"


async def test_status_calls_can_fail_for_every_file_apart(serving):
    scenario = fault("http", status=503, retry_after=3, first=1, per_file=True)
    async with serving(scenario) as client:
        ids = [await client.upload_id(), await client.upload_id("b.wav")]
        for file_id in ids:
            async with client.status_call(file_id) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "3")

        assert [(await client.data(file_id))["status"] for file_id in ids] == [5, 5]


async def test_status_calls_can_fail_inside_the_envelope(serving):
    async with serving(fault("code", code="400500", every=2)) as client:
        file_id = await client.upload_id()

        assert [(await client.status(file_id))["code"] for _ in range(4)] == [
            "000000", "400500", "000000", "400500",
        ]  # fmt: skip


async def test_status_calls_can_bring_garbage_or_a_reset(serving):
    both = [{"on": "status", "do": "garbage", "calls": [1]}, {"on": "status", "do": "reset"}]
    async with serving(AT_ONCE | {"faults": both}) as client:
        file_id = await client.upload_id()
        async with client.status_call(file_id) as response:
            assert "<html>" in await response.text()
        # An idempotent call that meets a reset on a used connection is repeated by the client.
        with pytest.raises(aiohttp.ClientError):
            await client.status(file_id)


async def test_faults_can_be_for_some_files_and_some_time(serving):
    scenario = fault("http", status=500, file_name="a*", between=[10, 20])
    async with serving(scenario) as client:
        ids = [await client.upload_id("a.wav"), await client.upload_id("b.wav")]

        async def met():
            answers = []
            for file_id in ids:
                async with client.status_call(file_id) as response:
                    answers.append(response.status)
            return answers

        early = await met()
        client.clock.forward(10)
        during = await met()
        client.clock.forward(10)
        late = await met()

        assert (early, during, late) == ([200, 200], [500, 200], [200, 200])
        assert client.summary()["faults"] == [{"on": "status", "do": "http", "shown": 1}]


async def test_faults_can_be_a_matter_of_luck(serving):
    async with serving(fault("code", probability=0.5) | {"seed": 1}) as client:
        file_id = await client.upload_id()
        codes = [(await client.status(file_id))["code"] for _ in range(60)]

        assert 10 < codes.count("000000") < 50


async def test_a_slow_status_call_keeps_the_others_going(serving):
    async with serving(fault("slow", seconds=600, calls=[1])) as client:
        file_id = await client.upload_id()
        slow = asyncio.create_task(client.status(file_id))
        while not client.summary()["status_calls"]:
            await asyncio.sleep(0)

        assert (await client.data(file_id))["status"] == 5
        assert not slow.done()
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


async def test_status_calls_beyond_the_rate_are_throttled(serving):
    async with serving(AT_ONCE | {"limits": {"status_calls_per_second": 1}}) as client:
        file_id = await client.upload_id()
        await client.status(file_id)
        async with client.status_call(file_id) as response:
            assert response.status == 429

        assert client.summary()["status_calls_throttled"] == 1


async def test_the_ledger_tells_what_was_served_first_and_when(serving):
    async with serving(FIXED | {"path": [1, 4, 5, 7]}) as client:
        file_id = await client.upload_id()
        await client.status(file_id)
        client.clock.forward(13)
        served = await client.data(file_id)
        client.clock.forward(99)
        await client.status(file_id)

        (entry,) = client.uploads()
        assert entry["status_calls"] == 3
        assert entry["first_terminal_status"] == 5
        assert entry["last_status"] == 7
        assert entry["ready_at"] == entry["at"] + 12
        assert entry["first_terminal_at"] == entry["at"] + 13
        assert entry["parse_content"] == served["parse_content"]
        summary = client.summary()
        assert summary["first_ready_at"] == summary["last_ready_at"] == entry["ready_at"]
        assert summary["lag"] == {"mean": 1, "p50": 1, "p95": 1, "max": 1}
        assert summary["polls_per_file"] == 3
        assert summary["statuses_served"] == {"1": 1, "5": 1, "7": 1}


async def test_the_ledger_comes_line_by_line_and_is_forgotten_on_request(serving):
    async with serving(AT_ONCE | {"parse_content": {"shape": "dirty"}}) as client:
        for number in range(450):
            file_id = await client.upload_id(f"{number}.wav")
        await client.status(file_id)
        address = client.url + "/_simulator/ledger"
        async with client.session.get(address + ".jsonl") as response:
            entries = [json.loads(line) for line in (await response.read()).splitlines()]
        async with client.session.get(address, params={"contents": "no"}) as response:
            bare = json.loads(await response.read())["uploads"]
        async with client.session.post(client.url + "/_simulator/reset") as response:
            assert response.status == 200

        assert [entry["file_name"] for entry in entries] == [f"{n}.wav" for n in range(450)]
        assert "\ud800" in entries[-1]["parse_content"]
        assert "parse_content" not in bare[-1]
        assert client.uploads() == []
        assert (await client.status(file_id))["code"] == "400012"
