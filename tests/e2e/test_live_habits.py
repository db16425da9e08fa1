"""What clients of live deployments have met, from the command line to the stored result."""

from tests.e2e.shells import together


def everything_succeeds(shell, habits):
    simulator = shell.serve(habits)
    ran = shell.type("run", *(shell.put(name) for name in ("a.wav", "b.wav", "c.wav")), "--json")
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 3}), ran.stderr
    assert simulator.summary()["uploads_received"] == 3
    assert ("dialog_noise" in ran.stderr) is habits.get("noise_frames", False)


class Habits(dict):
    """A scenario that can name a test's case."""

    __hash__ = object.__hash__


AUDIO = [
    {
        "id": 1,
        "name": "Anything",
        "support_formats": "wav",
        "upload_max_num": 1000,
        "variable_assign": "content",
    }
]
PASSED_OVER = [
    Habits(jump="empty_question", notices_with_error_code=True, categories=AUDIO),
    Habits(jump="direct", jumps=2, jump_ends_round=True, noise_frames=True, categories=AUDIO),
]


def test_jumps_notices_with_an_error_code_and_noise_cost_no_file(new_shell):
    together(everything_succeeds, PASSED_OVER, new_shell)


def no_upload_flow_opens(shell, habit):
    simulator = shell.serve({habit: True})
    shell.environment["CHATFLOW_DIALOG_TIMEOUT"] = "3600"  # longer than anybody here waits
    said = {"chats": "How can I help you?", "waits_for_input": "Which contract is it about?"}[habit]
    paths = [shell.put(name) for name in ("a.wav", "b.wav")]
    ran = shell.type("run", *paths, "--json")
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 2}), ran.stderr
    for line in shell.results(ran.batch).values():
        assert line["error_code"] == "no_upload_node"
        assert_it_advises(line["error_message"], said)
    assert simulator.summary()["dialogs"] == 1
    if habit == "chats":
        planned = shell.type("plan", *paths)
        assert planned.code == 1
        assert_it_advises(planned.stderr, said)
        return
    (check,) = (
        check
        for check in shell.type("doctor", "--json").json["checks"]
        if check["name"].startswith("service")
    )
    assert not check["ok"]
    assert_it_advises(check["detail"], said)
    assert "CHATFLOW_BASE_URL" not in check["cure"]


def assert_it_advises(words, said):
    for word in (said, "CHATFLOW_QUESTION", "CHATFLOW_FLOW_UUID"):
        assert word in words
    for word in ("flow_enter", "node_waiting_input"):
        assert word not in words


def test_a_robot_without_an_upload_flow_is_told_as_one(new_shell):
    together(no_upload_flow_opens, ["chats", "waits_for_input"], new_shell)


def test_flows_that_jump_for_ever_are_not_followed_for_ever(shell, service):
    simulator = service(jump="empty_question", jumps=50, jump_ends_round=True)
    ran = shell.type("run", shell.put("a.wav"), "--json")
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 1})
    (line,) = shell.results(ran.batch).values()
    assert line["error_code"] == "no_upload_node"
    assert "jumped" in line["error_message"]
    assert simulator.summary()["uploads_received"] == 0


def test_pictures_are_parsed_by_the_method_for_image(shell, service):
    simulator = service(image_methods=True)
    names = ["a.png", "b.JPG", "c.jpeg", "d.pdf"]
    ran = shell.type("run", *(shell.put(name) for name in names), "--json")
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 4}), ran.stderr
    forms = {each["file_name"]: each["fields"] for each in simulator.ledger()["uploads"]}
    assert {name: form["file_format"] for name, form in forms.items()} == {
        "a.png": "Image",
        "b.JPG": "Image",
        "c.jpeg": "Image",
        "d.pdf": "pdf",
    }
    assert {name for name, form in forms.items() if form["parse_model"].endswith("-7B")} == {
        "a.png",
        "b.JPG",
        "c.jpeg",
    }
    assert all(form["parse_prompt"] for form in forms.values())
