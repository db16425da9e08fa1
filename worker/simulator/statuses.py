"""`GET /openapi/v1/chatflow/get_offline_file_status/`: the hot path of every bench."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from worker.simulator.service import (
    RequestFault,
    busy,
    envelope,
    misbehave,
    refused_credentials,
    reply,
)

if TYPE_CHECKING:
    from aiohttp import web

    from worker.simulator.ledger import ReceivedUpload
    from worker.simulator.service import SimulatedService


async def tell(service: SimulatedService, request: web.BaseRequest) -> web.StreamResponse:
    """Answer one status call."""
    counts = service.ledger.counts
    counts["status_calls"] += 1
    if not service.status_rate.take(service.clock()):
        counts["status_calls_throttled"] += 1
        return busy(service.scenario.limits.retry_after)
    if not service.admits_headers(request.headers):
        return refused_credentials(service)
    upload = service.ledger.by_id.get(_file_id(request.raw_path))
    if upload is None:
        counts["status_calls_unknown"] += 1
        return envelope("400012", "file_id is missing or unknown")
    upload.status_calls += 1
    return await _answer(service, request, upload)


def _file_id(raw_path: str) -> int:
    query = raw_path.partition("?")[2]
    values = parse_qs(query).get("file_id", [""]) if "&" in query else [query[len("file_id=") :]]
    number = values[0] if query.startswith("file_id=") or "&" in query else ""
    return int(number) if number.isascii() and number.isdigit() and len(number) < 20 else -1


async def _answer(
    service: SimulatedService, request: web.BaseRequest, upload: ReceivedUpload
) -> web.StreamResponse:
    trouble = service.faults.meet(
        "status", service.elapsed(), file_name=upload.file_name, key=upload.id
    )
    if trouble.delay:
        await asyncio.sleep(trouble.delay)
    if isinstance(trouble.fault, RequestFault):
        return misbehave(request, trouble.fault)
    return reply(_body(service, upload))


def _body(service: SimulatedService, upload: ReceivedUpload) -> bytes:
    assert upload.plan is not None
    assert upload.id is not None
    now = service.clock()
    moment = upload.plan.moment(now - upload.at, upload.scale)
    status = moment.status
    upload.note(status, now, settled=moment.settled)
    service.ledger.statuses_served[status] += 1
    return b'{"code":%s,"message":"success","data":{"file_id":%s,"status":%s,"file_name":%s%s' % (
        service.success,
        service.number(upload.id),
        service.number(status),
        json.dumps(upload.file_name).encode(),
        upload.plan.tail(moment, upload.file_name),
    )
