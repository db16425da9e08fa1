"""Killed, stopped, timed out, run twice, cancelled from elsewhere: nothing lost, nothing doubled."""

import signal
import sqlite3
import time

from tests.e2e.shells import ANYTHING, batch_in, kill, together, wait_for

SLOW = {"kind": "fixed", "seconds": 1.5}
FEW_PLACES = [ANYTHING[0] | {"upload_max_num": 4}]


def taken(simulator):
    return simulator.summary()["uploads_taken"]


def received(simulator):
    return simulator.summary()["uploads_received"]


def known(shell):
    """The service's ids that the database knew of."""
    with sqlite3.connect(f"file:{shell.folder}/ingest.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT chatflow_file_id FROM uploads WHERE state = 'accepted'")
        found = {number for (number,) in rows}
    database.close()
    return found


def only_batch(shell):
    return str(shell.batches()[0].batch_id)


def ids_in(simulator):
    return [str(each["id"]) for each in simulator.ledger()["uploads"] if each["taken"]]


def is_in_the_middle(simulator, moment, total):
    match moment:
        case "dialog":
            return simulator.summary()["connections"] >= 1
        case "first upload":
            return received(simulator) >= 1
        case "uploads":
            return received(simulator) >= total // 2
        case "polls":
            return simulator.summary()["status_calls"] >= total
        case _:
            return simulator.summary()["terminal_served"] >= 1


def a_killed_run_is_resumed(shell, moment):
    simulator = shell.serve(
        categories=FEW_PLACES,
        time_to_ready=SLOW,
        faults=[{"on": "upload", "do": "slow", "seconds": 0.15}],
    )
    paths = shell.put_many("{}.wav", 24)
    process = shell.start("run", *paths)
    wait_for(lambda: is_in_the_middle(simulator, moment, len(paths)), moment)
    assert kill(process)[0] == -signal.SIGKILL
    killed_at = time.time()
    before, certain = ids_in(simulator), known(shell)
    batch = only_batch(shell)
    resumed = shell.type("run", "--resume", batch, "--json")
    assert (resumed.code, resumed.json["counts"]) == (0, {"succeeded": 24}), resumed.stderr
    after = [at for each in simulator.ledger()["uploads"] if (at := each["at"]) > killed_at]
    assert not after or min(after) - killed_at < 12  # nothing the dead one held was waited for
    doubles = simulator.summary()["doubles"]
    assert doubles == len([each for each in before if each not in certain])
    lines = shell.results(batch)
    assert len(lines) == 24
    assert certain <= {line["chatflow_file_id"] for line in lines.values()}
    again = shell.type("run", "--resume", batch, "--json")
    assert (again.code, again.json["state"]) == (0, "finished")


MOMENTS = ["dialog", "first upload", "uploads", "polls", "results"]


def test_a_killed_run_is_resumed_at_once(new_shell):
    together(a_killed_run_is_resumed, MOMENTS, new_shell)


def a_stopped_run_is_resumed(shell, case):
    number, code = case
    simulator = shell.serve(
        categories=FEW_PLACES,
        time_to_ready=SLOW,
        faults=[{"on": "upload", "do": "slow", "seconds": 0.3}],
    )
    process = shell.start("run", *shell.put_many("{}.wav", 24), "--json")
    wait_for(lambda: received(simulator) >= 5, "some uploads")
    began = time.monotonic()
    ended, out, err = kill(process, number)
    assert ended == code, err
    assert time.monotonic() - began < 15
    assert out.startswith("{"), err
    assert '"state":"running"' in out
    assert "Traceback" not in err
    batch = batch_in(err)
    assert f"run --resume {batch}" in err
    resumed = shell.type("run", "--resume", batch, "--json")
    assert (resumed.code, resumed.json["counts"]) == (0, {"succeeded": 24}), resumed.stderr
    assert taken(simulator) == 24


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def test_a_stopped_run_loses_and_doubles_nothing(new_shell):
    together(a_stopped_run_is_resumed, SIGNALS, new_shell)


def test_a_second_signal_ends_it_at_once(shell, service):
    simulator = service(
        categories=ANYTHING, faults=[{"on": "upload", "do": "slow", "seconds": 8, "first": 3}]
    )
    process = shell.start("run", *shell.put_many("{}.wav", 3))
    wait_for(lambda: simulator.summary()["uploads_in_flight"] == 3, "uploads in flight")
    process.send_signal(signal.SIGINT)
    time.sleep(1)  # the first one has been taken up
    assert process.poll() is None
    began = time.monotonic()
    ended, _, err = kill(process, signal.SIGINT)
    assert ended == 130
    assert time.monotonic() - began < 2
    resumed = shell.type("run", "--resume", batch_in(err), "--json")
    assert resumed.json["counts"] == {"succeeded": 3}


def hanging_uploads_are_left(shell, number):
    simulator = shell.serve(
        categories=ANYTHING, faults=[{"on": "upload", "do": "slow", "seconds": 40, "first": 2}]
    )
    process = shell.start("run", *shell.put_many("{}.wav", 2))
    wait_for(lambda: simulator.summary()["uploads_in_flight"] == 2, "uploads in flight")
    began = time.monotonic()
    ended, _, err = kill(process, number)
    assert ended == 128 + number
    assert time.monotonic() - began < 15
    lines = shell.results(batch_in(err)).values()
    stories = [shell.story(line["file_id"]) for line in lines]
    assert [[upload["state"] for upload in each["uploads"]] for each in stories] == [
        ["unknown"]
    ] * 2
    resumed = shell.type("run", "--resume", batch_in(err), "--json")
    assert resumed.json["counts"] == {"succeeded": 2}
    assert {line["upload_attempts"] for line in shell.results(batch_in(err)).values()} == {2}


def test_uploads_that_hang_do_not_hold_up_the_way_out(new_shell):
    together(hanging_uploads_are_left, [signal.SIGINT, signal.SIGTERM], new_shell)


def test_a_timeout_stops_waiting_and_can_be_resumed(shell, service):
    simulator = service(categories=ANYTHING, time_to_ready={"kind": "fixed", "seconds": 5})
    ran = shell.type("run", *shell.put_many("{}.wav", 3), "--timeout", "2", "--json")
    assert (ran.code, ran.json["state"]) == (1, "running")
    assert ran.seconds < 10
    resumed = shell.type("run", "--resume", ran.batch, "--json")
    assert (resumed.code, resumed.json["counts"]) == (0, {"succeeded": 3})
    assert taken(simulator) == 3


def test_a_second_run_on_the_same_database_is_refused(shell, service):
    simulator = service(categories=ANYTHING, time_to_ready={"kind": "fixed", "seconds": 8})
    paths = shell.put_many("{}.wav", 3)
    first = shell.start("run", *paths, "--json")
    wait_for(lambda: taken(simulator) == 3, "the first run's uploads")
    batch = only_batch(shell)
    second = [
        shell.start(*arguments)
        for arguments in (["run", *paths], ["run", "--resume", batch], ["retry", batch])
    ]
    for process in second:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, b""), err
        assert b"another run" in err
        assert b"Traceback" not in err
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert b'"succeeded":3' in out
    assert [str(each.batch_id) for each in shell.batches()] == [batch]
    assert taken(simulator) == 3


def test_cancel_from_elsewhere_ends_a_run(shell, service):
    service(categories=ANYTHING, time_to_ready={"kind": "fixed", "seconds": 60})
    process = shell.start("run", *shell.put_many("{}.wav", 3), "--json")
    wait_for(lambda: _counts(shell) == {"polling": 3}, "uploads")
    batch = only_batch(shell)
    began = time.monotonic()
    assert shell.type("cancel", batch).code == 0
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 8
    assert process.returncode == 1, err
    assert b'"state":"cancelled"' in out
    assert b'"cancelled":3' in out
    assert shell.type("run", "--resume", batch).code == 0


def _counts(shell):
    batches = shell.batches()
    return batches[0].counts if batches else None


def test_an_external_key_names_one_batch(shell, service):
    simulator = service(categories=ANYTHING)
    first = shell.put_many("{}.wav", 3)
    ran = shell.type("run", *first, "--external-key", "nightly", "--json")
    assert ran.json["external_key"] == "nightly"
    more = shell.put("more.wav")
    again = shell.type("run", *first, more, "--external-key", "nightly", "--json")
    assert again.json["batch_id"] == ran.json["batch_id"]
    assert (again.code, again.json["counts"]) == (0, {"succeeded": 4})
    assert taken(simulator) == 4
    once_more = shell.type("run", *first, "--external-key", "nightly", "--json")
    assert (once_more.code, once_more.json["total"]) == (0, 4)
    assert taken(simulator) == 4
    other = shell.type("run", *first, "--external-key", "other", "--json")
    assert other.json["batch_id"] != ran.json["batch_id"]
    assert taken(simulator) == 7


def test_retry_tries_only_what_it_should(shell, service):
    rules = [{"file_name": "bad*", "path": [1, 6], "uploads": [1]}]
    simulator = service(categories=ANYTHING, rules=rules)
    paths = [shell.put("good.wav"), shell.put("bad.wav"), str(shell.inbox / "late.wav")]
    ran = shell.type("run", *paths, "--json")
    assert ran.json["counts"] == {"succeeded": 1, "failed": 1, "rejected": 1}
    none = shell.type("retry", ran.batch, "--only", "timed_out", "--json")
    assert (none.code, none.json["counts"]) == (1, ran.json["counts"])
    shell.put("late.wav")
    again = shell.type("retry", ran.batch, "--json")
    assert (again.code, again.json["counts"]) == (0, {"succeeded": 3}), again.stderr
    assert taken(simulator) == 4


def test_a_run_is_not_disturbed_by_lookers_on(shell, service):
    service(categories=ANYTHING, time_to_ready=SLOW)
    process = shell.start("run", *shell.put_many("{}.wav", 20), "--json")
    while process.poll() is None:
        looked = shell.type("status", "--json")
        assert looked.code == 0, looked.stderr
        for batch in looked.json["batches"]:
            assert shell.type("results", batch["batch_id"]).code == 0
    assert process.returncode == 0
