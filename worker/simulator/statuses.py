"""`GET /openapi/v1/chatflow/get_offline_file_status/`: the hot path of every bench."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from worker.simulator.scenario import CodeFault, GarbageFault, HttpFault, ResetFault
from worker.simulator.service import busy, envelope, misbehave, refused_credentials, reply

if TYPE_CHECKING:
    from aiohttp import web

    from worker.simulator.ledger import Upload
    from worker.simulator.service import Service


async def tell(service: Service, request: web.BaseRequest) -> web.StreamResponse:
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


async def _answer(service: Service, request: web.BaseRequest, upload: Upload) -> web.StreamResponse:
    trouble = service.faults.meet(
        "status", service.elapsed(), file_name=upload.file_name, key=upload.id
    )
    if trouble.delay:
        await asyncio.sleep(trouble.delay)
    if isinstance(trouble.fault, HttpFault | CodeFault | GarbageFault | ResetFault):
        return misbehave(request, trouble.fault)
    return reply(_body(service, upload))


def _body(service: Service, upload: Upload) -> bytes:
    assert upload.plan is not None
    assert upload.id is not None
    now = service.clock()
    status = upload.plan.status(now - upload.at, upload.scale)
    upload.note(status, now)
    service.ledger.statuses_served[status] += 1
    return b'{"code":%s,"message":"success","data":{"file_id":%s,"status":%s,"file_name":%s%s' % (
        service.success,
        service.number(upload.id),
        service.number(status),
        json.dumps(upload.file_name).encode(),
        upload.plan.tail(status, upload.file_name),
    )
