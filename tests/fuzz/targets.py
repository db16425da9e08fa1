"""Every parser of what others write, and what it may raise: anything else is a find.

A target takes text. Each has a few samples of what it reads in earnest, the corpus: examples are
those, changed in places, or text and bytes of any kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any

from hypothesis import strategies as st
from pydantic import BeforeValidator, TypeAdapter

from worker import consumer
from worker.adapters.files.walk import _fitting
from worker.adapters.webhook import check_target
from worker.cli.options import inputs_object
from worker.core.addresses import bare, file_name, has_secret, place, without_secrets
from worker.core.contents import decode_contents
from worker.core.frames import parse_frame
from worker.core.loose_json import MalformedReply
from worker.core.messages import Envelope, parse_envelope, parse_status_reply, parse_upload_reply
from worker.core.naming import id_range
from worker.core.order import BatchOrder
from worker.core.recording import NoRecording, read
from worker.core.reply_words import words_of
from worker.core.retry_after import LONGEST_WAIT, seconds_to_wait
from worker.core.schedule import parse_schedules
from worker.core.source_options import SourceOptions, option_faults
from worker.core.speech import understand
from worker.errors import ConfigurationError, UsageError
from worker.settings.values import _object_or_file
from worker.simulator.scenario import load_scenario


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, samples of what it reads, and the errors that it is documented to raise."""

    parse: Callable[[str], object]
    corpus: tuple[str, ...]
    errors: tuple[type[Exception], ...] = ()

    def try_(self, text: str) -> None:
        """Let it read a text.

        Raises:
            Exception: one that it is not documented to raise.
        """
        with suppress(*self.errors):
            self.parse(text)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _json(text: str) -> Any:
    """What a decoder of messages makes of it; the text itself where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _fields(text: str) -> dict[str, Any]:
    value = _json(text)
    return value if isinstance(value, dict) else {"files": value}


def _status(text: str) -> object:
    envelope = parse_envelope(_raw(text))
    return parse_status_reply(envelope.data, "7") if isinstance(envelope, Envelope) else None


def _upload(text: str) -> object:
    envelope = parse_envelope(_raw(text))
    return parse_upload_reply(envelope.data) if isinstance(envelope, Envelope) else None


def _message(text: str) -> None:
    headers = {"task": "worker.ingest_batch", "id": "1", "lang": "py"}
    consumer.check(SimpleNamespace(headers=headers, payload=_json(text)))


def _headers(text: str) -> None:
    consumer.check(SimpleNamespace(headers=_json(text), payload=[[], {}, {}]))


def _options(text: str) -> None:
    options = _fields(text)
    if not list(option_faults(options)):
        known = SourceOptions(options)
        known.of(text)
        known.hidden(text)


def _addresses(text: str) -> None:
    for rule in (bare, has_secret, without_secrets, place):
        rule(text)
    file_name(text).encode()


def _glob(text: str) -> None:
    fits = _fitting(text[:200])  # its author waits for it: time grows with the square of the length
    fits("a.wav")


def _wait(text: str) -> None:
    wait = seconds_to_wait(text, 1_700_000_000.0)
    assert wait is None or 0 <= wait <= LONGEST_WAIT


_OBJECT: TypeAdapter[Any] = TypeAdapter(Annotated[Any, BeforeValidator(_object_or_file)])
_SCHEDULE = """[[schedule]]
name = "nightly"
cron = "*/15 1-5 * * MON-FRI"
timezone = "Europe/Berlin"
paths = ["/in", "s3://bucket/in"]
glob = "*.wav"
stable_for = 5.0
"""
_NODE = (
    '{"code":"000000","type":"flow","dialog_id":1017340986451495206,"finish":"y","data":'
    '{"code":"002010","file_upload":{"session_id":"c4","node_id":"21","upload_file_categories":'
    '[{"id":77,"name":"Audio","support_formats":"wav,mp3","upload_max_num":5,"customized_'
    'parse_methods":[{"file_format":"","parse_model":"text"}]}]}}}'
)
_ORDER = (
    '{"files":["/in/a.wav"],"category":"Audio","profile":"default","external_key":"k",'
    '"inputs":{"a":1},"notify":{"task":"t","queue":"q"},"part":1,"parts":2}'
)
TARGETS = {
    "frame": Target(
        lambda text: parse_frame(_raw(text)),
        (
            _NODE,
            '{"type":"json","index":-2,"code":"400000","data":{"task_id":"1"}}',
            '{"type":"string","data":{"answer":"Sure"},"finish":"y"}',
        ),
        (MalformedReply,),
    ),
    "status reply": Target(
        _status,
        ('{"code":"000000","data":{"file_id":"7","status":6,"parse_content":[1.5]}}', "null"),
        (MalformedReply,),
    ),
    "upload reply": Target(
        _upload, ('{"code":0,"data":{"id":9007199254740993,"status":"1"}}',), (MalformedReply,)
    ),
    "contents": Target(
        lambda text: decode_contents(text, _json(text)),
        ('[{"text": "a"}]', "[{'text': 'a', 'n': None}]", "```json\n[1]\n```"),
    ),
    "error words": Target(
        lambda text: words_of(_raw(text), str),
        ("<html><title>413</title><p>too large</p></html>", '{"code":"400001","message":"no"}'),
    ),
    "speech": Target(understand, ("flow_enterflow_jump::hello", "jump_flow_uuid:1234", "Sure!")),
    "message's body": Target(
        _message,
        ('[["a"], {"files": []}, {"callbacks": null, "chord": null}]', '{"args": []}'),
        (consumer.Malformed,),
    ),
    "message's headers": Target(
        _headers,
        ('{"task":"worker.tick","id":"1","retries":0,"timelimit":[null,1],"stamps":{}}',),
        (consumer.Malformed,),
    ),
    "batch order": Target(
        lambda text: BatchOrder.checked(_fields(text)),
        (
            _ORDER,
            '{"files":[],"batch_id":"00000000-0000-0000-0000-000000000007","inputs":"{}"}',
        ),
        (ValueError,),
    ),
    "schedules": Target(
        lambda text: parse_schedules(text, "schedules.toml"), (_SCHEDULE,), (ConfigurationError,)
    ),
    "source options": Target(
        _options,
        ('{"s3":{"endpoint_url":"https://s3","key":"abcd"},"sftp://host/in":{"port":22}}',),
    ),
    "address": Target(
        _addresses,
        ("sftp://u:p@h:22/in/a%20b.wav", "https://h/x?sig=1#f", "s3://b/%252e%252e/a", "/in/a"),
    ),
    "glob": Target(
        _glob,
        (
            "*.wav",
            "[!a-z]?x*",
        ),
    ),
    "Retry-After": Target(_wait, ("120", "1e3", "Wed, 21 Oct 2015 07:28:00 GMT")),
    "recording": Target(
        lambda text: read(text.splitlines()),
        ('{"recording":1,"made_by":"x","settings":{}}\n{"at":0,"on":"dialog","do":"sent"}',),
        (NoRecording,),
    ),
    "--inputs": Target(inputs_object, ('{"language":"en","n":[1,{}]}',), (UsageError,)),
    "setting that is an object": Target(
        lambda text: _OBJECT.validate_python("{" + text), ('"a":{"b":[1]}}',), (ValueError,)
    ),
    "scenario": Target(load_scenario, ("seed = 1",), (ConfigurationError,)),
    "id": Target(id_range, ("7b76", "00000000-0000-0000-0000-000000000007")),
    "notify": Target(
        lambda text: check_target({"url": text}, [text, "http://h:80/a"], has_secret=True),
        ("https://example.org/hook", "http://[::ffff:10.0.0.1]:80/a/../b", "http://h/a%2e%2e"),
    ),
}

_DEEP = st.sampled_from(["[", '{"a":', "1", "%25", "(", "'"]).map(lambda piece: piece * 6000)
_PIECES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ['"', "'", "{}", "[]", "null", "NaN", "1e999", "-0", "\\ud800", "\0", "\ufeff", "%", "::"]
    ),
    st.integers().map(str),
    _DEEP,
)


@st.composite
def _changed(draw: st.DrawFn, corpus: tuple[str, ...]) -> str:
    """A sample with up to four stretches of it replaced."""
    text = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(text)))
        end = draw(st.integers(begin, min(len(text), begin + 12)))
        text = text[:begin] + draw(_PIECES) + text[end:]
    return text


def examples(target: Target) -> st.SearchStrategy[str]:
    """Texts for a target: samples of it, changed; and anything."""
    anything = st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))
    halves = anything.map(
        lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
    return _changed(target.corpus) | halves | _PIECES
