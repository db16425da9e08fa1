"""The service on bad days: faults of every kind on every call, many files in one run."""

from tests.e2e.shells import ANYTHING, together


def fault(on, do, **more):
    return {"on": on, "do": do} | more


def on_upload(name, do, **more):
    return fault("upload", do, file_name=name, per_file=True, **more)


def on_status(name, do, **more):
    return fault("status", do, file_name=name, per_file=True, **more)


UPLOAD_FAULTS = [
    on_upload("code-once.wav", "code", code="400123", message="not now", first=1),
    on_upload("code-always.wav", "code", code="400123", message="no, never"),
    on_upload("http-400.wav", "http", status=400),
    on_upload("http-413.wav", "http", status=413),
    on_upload("http-500-taken.wav", "http", status=500, taken=True, first=1),
    on_upload("reset-before.wav", "reset", first=1),
    on_upload("reset-after.wav", "reset", taken=True, first=1),
    on_upload("garbage-taken.wav", "garbage", taken=True, first=1),
    on_upload("lost-always.wav", "reset", taken=True),
]
AFTER_UPLOAD_FAULTS = {
    "plain.wav": ("succeeded", None, 1),
    "code-once.wav": ("succeeded", None, 2),
    "code-always.wav": ("failed", "400123", 2),
    "http-400.wav": ("failed", "400400", 1),
    "http-413.wav": ("failed", "400413", 1),
    "http-500-taken.wav": ("succeeded", None, 2),
    "reset-before.wav": ("succeeded", None, 2),
    "reset-after.wav": ("succeeded", None, 2),
    "garbage-taken.wav": ("succeeded", None, 2),
    "lost-always.wav": ("failed", "upload_unknown", 2),
}


def seen(lines):
    return {
        name: (line["state"], line["error_code"], line["upload_attempts"])
        for name, line in lines.items()
    }


def uploads_of(simulator, name):
    return [each for each in simulator.ledger()["uploads"] if each["file_name"] == name]


def test_uploads_that_go_wrong(shell, service):
    simulator = service(categories=ANYTHING, faults=UPLOAD_FAULTS)
    shell.environment["INGEST_MAX_UPLOAD_ATTEMPTS"] = "2"
    for name in AFTER_UPLOAD_FAULTS:
        shell.put(name)
    ran = shell.type("run", str(shell.inbox), "--json")
    lines = shell.results(ran.json["batch_id"])
    assert seen(lines) == AFTER_UPLOAD_FAULTS
    assert "no, never" in lines["code-always.wav"]["error_message"]
    assert len(uploads_of(simulator, "code-always.wav")) == 2
    assert len(uploads_of(simulator, "http-400.wav")) == 1
    lost = uploads_of(simulator, "reset-after.wav")
    assert [each["answered"] for each in lost] == [False, True]
    assert lost[1]["at"] - lost[0]["at"] >= 3  # time for a late reply
    story = shell.story(lines["reset-after.wav"]["file_id"])
    assert [upload["state"] for upload in story["uploads"]] == ["unknown", "accepted"]
    assert lines["reset-after.wav"]["chatflow_file_id"] == str(lost[1]["id"])


def test_an_unknown_upload_fails_when_told_to(shell, service):
    simulator = service(categories=ANYTHING, faults=UPLOAD_FAULTS)
    shell.environment["INGEST_ON_UNKNOWN_UPLOAD"] = "fail"
    names = ["http-500-taken.wav", "reset-before.wav", "reset-after.wav", "garbage-taken.wav"]
    paths = [shell.put(name) for name in names]
    ran = shell.type("run", *paths, "--json")
    lines = shell.results(ran.json["batch_id"])
    assert seen(lines) == dict.fromkeys(names, ("failed", "upload_unknown", 1))
    assert simulator.summary()["uploads_received"] == 4


STATUS_FAULTS = [
    on_status("500.wav", "http", status=500, first=2),
    on_status("404.wav", "http", status=404, first=2),
    on_status("code.wav", "code", code="400500", message="later", first=2),
    on_status("garbage.wav", "garbage", first=2),
    on_status("reset.wav", "reset", first=2),
    on_status("slow.wav", "slow", seconds=2, first=1),
    on_status("html.wav", "garbage", body="", first=1),
    on_status("code-always.wav", "code", code="400500", message="never"),
]


def test_status_calls_that_go_wrong(shell, service):
    simulator = service(categories=ANYTHING, faults=STATUS_FAULTS)
    shell.environment["INGEST_POLL_DEADLINE"] = "12"
    good = ["500.wav", "404.wav", "code.wav", "garbage.wav", "reset.wav", "slow.wav", "html.wav"]
    for name in [*good, "code-always.wav"]:
        shell.put(name)
    ran = shell.type("run", str(shell.inbox), "--json")
    lines = shell.results(ran.json["batch_id"])
    assert seen(lines) == dict.fromkeys(good, ("succeeded", None, 1)) | {
        "code-always.wav": ("timed_out", "deadline", 1)
    }
    assert "never" in lines["code-always.wav"]["error_message"]
    assert simulator.summary()["uploads_taken"] == len(good) + 1
    assert ran.seconds < 25


def a_busy_service_is_left_alone(shell, case):
    on, status = case
    calls = fault(on, "http", status=status, retry_after=3, calls=[2])
    simulator = shell.serve(categories=ANYTHING, faults=[calls])
    shell.environment |= {"INGEST_MAX_UPLOAD_ATTEMPTS": "1", "INGEST_MAX_CONCURRENT_UPLOADS": "1"}
    paths = shell.put_many("{}.wav", 6)
    ran = shell.type("run", *paths, "--json")
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 6})
    uploads = simulator.ledger()["uploads"]
    refused = [each["at"] for each in uploads if not each["taken"]]
    taken = [each["at"] for each in uploads if each["taken"]]
    assert len(taken) == 6
    if on == "upload":
        (moment,) = refused
        assert not [at for at in taken if moment < at < moment + 2.9]
    else:
        assert ran.seconds > 3
    assert {line["upload_attempts"] for line in shell.results(ran.batch).values()} == {1}


BUSY = [(on, status) for on in ("upload", "status") for status in (429, 503)]


def test_a_busy_service_is_left_alone_as_long_as_it_asks(new_shell):
    together(a_busy_service_is_left_alone, BUSY, new_shell)


def test_a_freeze_is_said_and_outlives_the_process(shell, service):
    service(categories=ANYTHING, faults=[fault("upload", "http", status=429, retry_after=8)])
    path = shell.put("a.wav")
    ran = shell.type("run", path, "--json", "--timeout", "2")
    assert (ran.code, ran.json["profile_state"]) == (1, "frozen")
    assert "429" in ran.json["profile_reason"]
    assert ran.json["state"] == "running"


DIALOG_FAULTS = {
    "429": fault("handshake", "http", status=429, retry_after=1, first=2),
    "503": fault("handshake", "http", status=503, retry_after=1, first=1),
    "500": fault("handshake", "http", status=500, first=2),
    "1011": fault("dialog", "close", code=1011, first=2),
    "1012": fault("dialog", "close", code=1012, first=1),
    "reset": fault("dialog", "reset", first=2),
    "reset at once": fault("dialog", "reset", after_frames=0, first=2),
    "silence": fault("dialog", "silence", first=1),
    "dumb": fault("dialog", "silence", after_frames=0, heartbeat=False, first=1),
    "garbage": fault("dialog", "garbage", first=1),
}


def a_dialog_breaks(shell, name):
    simulator = shell.serve(categories=ANYTHING, faults=[DIALOG_FAULTS[name]])
    shell.environment["CHATFLOW_DIALOG_TIMEOUT"] = "2"
    ran = shell.type("run", *shell.put_many("{}.wav", 3), "--json")
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 3}), ran.stderr
    assert simulator.summary()["uploads_received"] == 3


def test_a_dialog_that_breaks_is_opened_again(new_shell):
    together(a_dialog_breaks, DIALOG_FAULTS, new_shell)


DIALOG_ENDS = {
    "round over": (fault("dialog", "no_upload_node"), "no_upload_node"),
    "flow left": (fault("dialog", "no_upload_node", code="002001"), "no_upload_node"),
    "error code": (
        fault("dialog", "code", code="400321", message="no such flow"),
        "no_upload_node",
    ),
    "error inside": (fault("dialog", "code", code="400000", inside=True), "no_upload_node"),
    "system error": (fault("dialog", "error_text"), "no_upload_node"),
    "risk": (fault("dialog", "error_text", text="内容涉及到风险"), "no_upload_node"),
}


def a_dialog_ends(shell, name):
    shown, code = DIALOG_ENDS[name]
    simulator = shell.serve(categories=ANYTHING, faults=[shown])
    ran = shell.type("run", *shell.put_many("{}.wav", 3), "--json")
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 3})
    lines = shell.results(ran.batch)
    assert {line["error_code"] for line in lines.values()} == {code}
    assert simulator.summary()["dialogs"] == 1
    assert simulator.summary()["uploads_received"] == 0
    if name == "error code":
        assert "no such flow" in lines["0.wav"]["error_message"]
    if name == "system error":
        assert "系统异常" in lines["0.wav"]["error_message"]


def test_a_dialog_without_an_upload_node_is_not_opened_again(new_shell):
    together(a_dialog_ends, DIALOG_ENDS, new_shell)


CREDENTIALS = {
    "handshake": {},
    "frame": {"refuse_dialog": "frame"},
    "403": {"refuse_status": 403},
}


def credentials_are_refused(shell, name):
    simulator = shell.serve(categories=ANYTHING, credentials=CREDENTIALS[name])
    ran = shell.type(
        "run", *shell.put_many("{}.wav", 30), "--json", CHATFLOW_ROBOT_KEY="not-the-key"
    )
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 30})
    assert {line["error_code"] for line in shell.results(ran.batch).values()} == {
        "credentials_refused"
    }
    assert simulator.summary()["credentials_refused"] <= 2
    assert ran.seconds < 30
    again = shell.type("retry", ran.batch, "--json")
    assert (again.code, again.json["counts"]) == (0, {"succeeded": 30}), again.stderr


def test_refused_credentials_end_a_run_without_hammering(new_shell):
    together(credentials_are_refused, CREDENTIALS, new_shell)


def uploads_alone_are_unauthorized(shell, status):
    simulator = shell.serve(categories=ANYTHING, faults=[fault("upload", "http", status=status)])
    paths = shell.put_many("{}.wav", 5)
    ran = shell.type("run", *paths, "--json", INGEST_MAX_UPLOAD_ATTEMPTS="2")
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 5})
    lines = shell.results(ran.batch).values()
    assert {line["error_code"] for line in lines} == {f"400{status}"}  # the service's own word
    assert {line["upload_attempts"] for line in lines} == {2}
    assert simulator.summary()["uploads_received"] == 10


def test_a_right_to_upload_that_is_gone_is_not_hammered_for(new_shell):
    together(uploads_alone_are_unauthorized, [401, 403], new_shell)


def test_a_status_call_that_alone_is_unauthorized_is_asked_again(shell, service):
    refused = fault("status", "http", status=401, between=[0, 3])
    service(categories=ANYTHING, faults=[refused])
    ran = shell.type("run", *shell.put_many("{}.wav", 5), "--json")
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 5}), ran.stderr


def test_a_service_that_stays_away_ends_a_run(shell):
    shell.environment["INGEST_UNREACHABLE_AFTER"] = "3"
    ran = shell.type("run", *shell.put_many("{}.wav", 5), "--json")
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 5})
    assert {line["error_code"] for line in shell.results(ran.batch).values()} == {
        "service_unavailable"
    }
    assert ran.seconds < 60
