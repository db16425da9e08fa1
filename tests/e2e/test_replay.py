"""What was recorded at one service can be ingested against again, without it."""

from worker.core.contents import decode_contents
from worker.simulator import replaying


def outline(value):
    match value:
        case dict():
            return {key: outline(item) for key, item in value.items()}
        case list():
            return [outline(item) for item in value]
        case _:
            return type(value)


def test_a_batch_ends_in_the_same_way_against_a_replay(shell, service):
    service()
    file = shell.put("call.wav")
    first = shell.type("doctor", "--record", "kept.jsonl", "--canary", file)
    assert first.code == 0, first.stdout
    live = shell.type("run", file, "--json")
    with replaying(shell.folder / "kept.jsonl") as url:
        again = shell.type("run", file, "--json", CHATFLOW_BASE_URL=url)

    assert (live.code, again.code) == (0, 0), again.stderr
    assert again.json["counts"] == live.json["counts"] == {"succeeded": 1}
    before, after = (shell.results(ran.batch)["call.wav"] for ran in (live, again))
    assert after["state"] == before["state"]
    assert after["status"] == before["status"]
    assert outline(after["parse_segments"]) == outline(before["parse_segments"])
    assert after["parse_content"] != before["parse_content"]
    assert decode_contents(after["parse_content"], None).segments == after["parse_segments"]
