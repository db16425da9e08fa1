"""`POST /openapi/v1/chatflow/offline_upload_file/`: reads, checks and takes uploads."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import PayloadEncodingError

from worker.simulator.forms import BadForm, FormParser
from worker.simulator.ledger import FIELDS, ReceivedUpload
from worker.simulator.service import (
    RequestFault,
    busy,
    envelope,
    misbehave,
    refused_credentials,
    reply,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from worker.simulator.faults import Trouble
    from worker.simulator.offers import Flow, OfferedCategory
    from worker.simulator.service import SimulatedService

_OF_A_FILE = ("extra_params", "file_name", "file_format", "parse_model", "parse_prompt")
"""What mode 1 asks for beside the file; each may be empty, but not missing."""

Refusal = tuple[str, str]
"""Envelope code (our own choice within 400…) and message."""


async def receive(service: SimulatedService, request: web.BaseRequest) -> web.StreamResponse:
    """Answer one upload, and keep count of how many are in flight."""
    ledger = service.ledger
    ledger.uploads_in_flight += 1
    ledger.uploads_in_flight_max = max(ledger.uploads_in_flight_max, ledger.uploads_in_flight)
    try:
        return await _receive(service, request)
    finally:
        ledger.uploads_in_flight -= 1


async def _receive(service: SimulatedService, request: web.BaseRequest) -> web.StreamResponse:
    welcome = _has_capacity(service)
    admitted = service.admits_headers(request.headers)
    try:
        # Read to the end whatever the answer will be, as a buffering gateway in front would.
        form = await _read(request)
        sha256 = form.finish()
    except BadForm as error:
        return envelope("400001", str(error))
    except (OSError, ClientPayloadError, PayloadEncodingError):
        service.ledger.counts["uploads_broken_off"] += 1
        return envelope("400001", "the request broke off", 400)
    if not welcome:
        service.ledger.counts["uploads_throttled"] += 1
        return busy(service.scenario.limits.retry_after)
    if not admitted:
        return refused_credentials(service)
    return await _answer(service, request, form, sha256)


def _has_capacity(service: SimulatedService) -> bool:
    most = service.scenario.limits.concurrent_uploads
    room = most is None or service.ledger.uploads_in_flight <= most
    return room and service.upload_rate.take(service.clock())


async def _read(request: web.BaseRequest) -> FormParser:
    form = FormParser(request.headers.get("Content-Type", ""))
    async for chunk in request.content.iter_any():
        form.feed(chunk)
    return form


async def _answer(
    service: SimulatedService, request: web.BaseRequest, form: FormParser, sha256: str | None
) -> web.StreamResponse:
    name = form.fields.get("file_name", "")
    trouble = service.faults.meet("upload", service.elapsed(), file_name=name, key=name)
    answer = _judge(service, form, sha256, trouble)
    if trouble.delay:
        await asyncio.sleep(trouble.delay)
    if isinstance(trouble.fault, RequestFault):
        return misbehave(request, trouble.fault)
    return answer


def _judge(
    service: SimulatedService, form: FormParser, sha256: str | None, trouble: Trouble
) -> web.Response:
    """Record the upload as taken or refused, and say what the answer is unless a fault hides it."""
    fields = tuple(form.fields.get(name) for name in FIELDS)
    lost = trouble.fault is not None
    if lost and not getattr(trouble.fault, "taken", False):
        refusal: Refusal | None = ("fault", f"fault: {trouble.fault.do}")  # type: ignore[union-attr]
    else:
        refusal = objection(service, form)
    if refusal is None:
        upload = service.take(form, fields, sha256)
        upload.answered = not lost
        return _accepted(service, upload)
    code, message = refusal
    name = form.fields.get("file_name", "")
    service.ledger.record(
        ReceivedUpload(None, name, form.size, sha256, fields, service.clock(), refusal=message)
    )
    return envelope(code, message)


def _accepted(service: SimulatedService, upload: ReceivedUpload) -> web.Response:
    assert upload.id is not None
    assert upload.plan is not None
    return reply(
        b'{"code":%s,"message":"success","data":{"id":%s,"status":%s}}'
        % (
            service.success,
            service.number(upload.id),
            service.number(upload.plan.first_status),
        )
    )


def objection(service: SimulatedService, form: FormParser) -> Refusal | None:
    """Why the service does not take this upload, None when it does."""
    return next(_objections(service, form), None)


def _objections(service: SimulatedService, form: FormParser) -> Iterator[Refusal]:
    fields = form.fields
    mode = fields.get("mode", "1")
    flow = service.flow(fields.get("flow_uuid", ""))
    account = service.scenario.credentials.username
    # As a header it suffices: clients of the live service send no such field.
    if fields.get("username", None if service.strict else account) != account:
        yield "400001", "username is missing or not the account's"
    if flow is None:
        yield "400002", "flow_uuid is missing or unknown"
    if fields.get("tenant_name") not in service.scenario.tenants:
        yield "400003", "tenant_name is missing or not registered"
    if not _is_object(fields.get("inputs")):
        yield "400004", "inputs is no JSON object"
    if mode not in {"1", "2"}:
        yield "400005", "mode is neither 1 nor 2"
    if mode == "1" and flow is not None:
        yield from _objections_to_file(service, form, flow)


def _is_object(inputs: str | None) -> bool:
    if inputs is None or inputs == "":
        return True
    try:
        return isinstance(json.loads(inputs), dict)
    except (ValueError, RecursionError):
        return False


def _objections_to_file(
    service: SimulatedService, form: FormParser, flow: Flow
) -> Iterator[Refusal]:
    missing = [name for name in _OF_A_FILE if name not in form.fields]
    if form.size is None:
        missing.append("file")
    if missing:
        yield "400006", f"missing: {', '.join(missing)}"
    if not form.fields["file_name"]:
        yield "400006", "file_name is empty"
    limit = service.scenario.limits.max_file_bytes
    if limit is not None and (form.size or 0) > limit:
        yield "400007", "the file is too large"
    yield from _objections_to_category(service, form, service.scenario.categories_of(flow))


def _objections_to_category(
    service: SimulatedService, form: FormParser, categories: Sequence[OfferedCategory]
) -> Iterator[Refusal]:
    offered = [c for c in categories if c.variable == form.fields["extra_params"]]
    if not offered:
        yield "400008", "extra_params is no category's variable"
    taking = [category for category in offered if category.takes(form.fields["file_name"])]
    if not taking:
        yield "400009", "the category does not take this format"
    if not any(_has_method(service, category, form.fields) for category in taking):
        yield "400010", "parse_model and parse_prompt are none of the category's"
    if service.scenario.limits.enforce_places and not service.ledger.has_place(taking[0].variable):
        yield "400011", "every place that a dialog offered is taken"


def _has_method(
    service: SimulatedService, category: OfferedCategory, fields: Mapping[str, str]
) -> bool:
    """Whether the form asks for one of the category's parse methods.

    Browsers turn a line feed within a form's text into CR and LF. The strict service wants the
    text as the dialog gave it, and the method that goes with the file's format.
    """
    model, prompt = fields["parse_model"], fields["parse_prompt"]
    if service.strict:
        methods = category.methods_for(fields["file_name"])
    else:
        methods, prompt = category.customized_parse_methods, prompt.replace("\r\n", "\n")
    wanted = (model, prompt)
    return wanted in {(m.parse_model, m.parse_prompt) for m in methods} or (
        not category.customized_parse_methods and wanted == ("", "")
    )
