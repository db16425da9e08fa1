import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ConfigurationError
from worker.simulator import Simulator, load_scenario, running
from worker.simulator import scenario as scenario_module
from worker.simulator.forms import BadForm, FormParser
from worker.simulator.parts import ScenarioPart
from worker.simulator.service import Bucket

PAGE = Path(scenario_module.__file__).with_name("README.md")


def get(url):
    with urllib.request.urlopen(url) as response:
        return response.read()


def post(url, body=b"", kind="application/toml"):
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method="POST")
    with urllib.request.urlopen(request) as response:
        return response.status


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense = 1", "nonsense"),
        ("[credentials]\nrobot_kee = 'x'", "credentials.robot_kee"),
        ("path = []", "path"),
        ("path = [1, {status = 5, at = 1}]", "either all numbers"),
        ("path = [{status = 1, at = 0}, {status = 4, at = 3}, {status = 5, at = 1}]", "ascend"),
        ("path = [{status = 1, at = 2}]", "begin at 0"),
        ("time_to_ready = {kind = 'lognormal', median = 2, p95 = 1}", "p95 must not be below"),
        ("time_to_ready = {kind = 'soon'}", "time_to_ready"),
        ("[[faults]]\non = 'upload'\ndo = 'explode'", "faults.0"),
        ("[[faults]]\non = 'upload'\ndo = 'close'", "faults.0"),
        ("[[faults]]\non = 'dialog'\ndo = 'http'\nstatus = 500", "faults.0"),
        ("[[faults]]\non = 'dialog'\ndo = 'silence'\nfile_name = 'x'", "mean nothing"),
        ("[[flows]]\ncategories = ['Other']", "unknown categories ['Other']"),
        ("[[rules]]\npath = [5]", "rules.0.file_name"),
        ("parse_content = {shape = 'round'}", "parse_content.shape"),
        ("path = [1", "scenario: "),
    ],
)
def test_a_wrong_scenario_is_told_by_place(text, told):
    with pytest.raises(ConfigurationError) as wrong:
        load_scenario(text)

    assert any(told in fault for fault in wrong.value.faults)


def test_every_fault_of_a_scenario_is_told_at_once():
    with pytest.raises(ConfigurationError) as wrong:
        load_scenario({"one": 1, "two": 2})

    assert len(wrong.value.faults) == 2


def test_a_scenario_file_is_named_when_it_is_wrong(tmp_path):
    with pytest.raises(ConfigurationError, match=r"gone\.toml"):
        load_scenario(tmp_path / "gone.toml")


def test_every_example_of_the_documentation_is_a_scenario():
    examples = PAGE.read_text(encoding="utf-8").split("```toml\n")[1:]

    assert len(examples) >= 5
    for example in examples:
        load_scenario(example.split("```")[0])


def every_part(kind):
    return [kind, *(part for below in kind.__subclasses__() for part in every_part(below))]


def test_every_key_is_documented():
    text = PAGE.read_text(encoding="utf-8")
    keys = {key for part in every_part(ScenarioPart) for key in part.model_fields}

    assert sorted(key for key in keys if not re.search(rf"`{key}`|\b{key} = ", text)) == []


def test_it_runs_in_a_thread_and_answers_over_http():
    with running({"categories": [{"id": 1, "name": "A", "support_formats": "x"}]}) as simulator:
        summary = json.loads(get(simulator.url + "/_simulator/summary"))
        ledger = json.loads(get(simulator.url + "/_simulator/ledger"))
        lines = get(simulator.url + "/_simulator/ledger.jsonl")

        assert summary["uploads_taken"] == simulator.summary()["uploads_taken"] == 0
        assert ledger == simulator.ledger()
        assert lines == b""


def test_the_scenario_can_be_replaced_while_it_runs():
    with running() as simulator:
        address = simulator.url + "/_simulator/scenario"
        assert post(address, b"tenants = ['Other']") == 200
        assert post(address, b'{"tenants": ["Another"]}', "application/json") == 200
        simulator.set_scenario({"tenants": ["Third"]})
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(address, b"tenants = 3")
        with refused.value as response:
            assert response.code == 422
            assert "tenants" in json.loads(response.read())["errors"][0]
        with pytest.raises(ConfigurationError):
            simulator.set_scenario("tenants = 3")


def test_other_addresses_and_methods_are_refused():
    with running() as simulator:
        for path, method, status in [
            ("/", "GET", 404),
            ("/_simulator/reset", "GET", 405),
            ("/openapi/v1/chatflow/offline_upload_file/", "GET", 405),
        ]:
            request = urllib.request.Request(simulator.url + path, method=method)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            with refused.value as response:
                assert response.code == status


def test_an_address_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)), running(port=port):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_stops_cleanly_on_a_signal(number):
    command = [sys.executable, "-W", "error", "-m", "worker.simulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        url = process.stdout.readline().decode().strip()
        get(url + "/_simulator/summary")
        os.kill(process.pid, number)
        out, errors = process.communicate(timeout=30)

    assert (process.returncode, out, errors) == (0, b"", b"")


def test_the_process_says_what_is_wrong(tmp_path):
    scenario = tmp_path / "wrong.toml"
    scenario.write_text("path = 7")
    command = [sys.executable, "-m", "worker.simulator", "--scenario", str(scenario)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "wrong.toml: path" in done.stderr


def test_a_simulator_that_was_never_entered_knows_its_scenario():
    assert Simulator({"tenants": ["T"]}).service.scenario.tenants == ("T",)


BOUNDARY = "b0undary"


def form_body(fields, content):
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    return b"".join(parts) + head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


# Text that is nearly a delimiter is where a parser of chunks goes wrong.
near = st.lists(
    st.sampled_from(["\r\n", "--", "-", BOUNDARY[:4], f"\r\n--{BOUNDARY[:-1]}", "x", "ü", "\r"])
).map("".join)


@given(
    fields=st.dictionaries(st.sampled_from(["mode", "inputs", "file_name"]), near),
    content=near.map(str.encode) | st.binary(max_size=200),
    cuts=st.lists(st.integers(min_value=1, max_value=40)),
)
def test_a_form_means_the_same_however_it_is_cut(fields, content, cuts):
    body, parser = (
        form_body(fields, content),
        FormParser(f"multipart/form-data; boundary={BOUNDARY}"),
    )
    for cut in cuts:
        parser.feed(body[:cut])
        body = body[cut:]
    parser.feed(body)

    assert parser.finish() == hashlib.sha256(content).hexdigest()
    assert parser.size == len(content)
    assert parser.fields == fields


@pytest.mark.parametrize(
    "body",
    [b"", b"--b\r\n", b"--b\r\nNo-Name: x\r\n\r\n", b"--b\r\n" + b"x" * 20_000],
)
def test_a_broken_form_is_refused(body):
    parser = FormParser('multipart/form-data; boundary="b"')
    with pytest.raises(BadForm):  # noqa: PT012 - either step may notice
        parser.feed(body)
        parser.finish()


def test_a_bucket_lets_a_second_s_worth_through_and_fills_again():
    bucket = Bucket(3, now=0)

    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.4), bucket.take(0.4)] == [True, False]
    assert all(Bucket(None, 0).take(0) for _ in range(100))
