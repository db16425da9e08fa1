"""What most people write: one Celery task per file and step, `self.retry`, a commit per step.

`celery -A tests.bench.usual worker`; `hand_in` hands files in.
Kinder than many: one HTTP client per process, no results kept, no logging of each task.
"""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx2 as httpx
from celery import Celery
from sqlalchemy import DateTime, Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from websockets.sync.client import connect

from tests.bench.bare import DIALOG, HEADERS, STATUS, TERMINAL, UPLOAD, fields_for

PER_DIALOG = 5

app = Celery("usual", broker=os.environ["USUAL_BROKER_URL"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


class Base(DeclarativeBase):
    pass


class UsualFile(Base):
    __tablename__ = "usual_files"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str]
    state: Mapped[str]
    remote_id: Mapped[int | None]
    status: Mapped[int | None]
    parse_content: Mapped[str | None]
    recorded_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


@cache
def engine() -> Engine:
    return create_engine(os.environ["USUAL_DATABASE_URL"])


@cache
def http() -> httpx.Client:
    return httpx.Client(headers=HEADERS, timeout=60)


@app.task
def open_dialog(ids: list[int]) -> None:
    with connect(DIALOG, additional_headers=HEADERS, max_size=10 * 2**20) as socket:
        socket.send(json.dumps(_question()))
        while True:
            data = json.loads(socket.recv()).get("data")
            if isinstance(data, dict) and data.get("code") == "002010":
                break
    for each in ids:
        upload.delay(each, data["file_upload"])


def _question() -> dict[str, str]:
    return {
        **{name.replace("-", "_"): value for name, value in HEADERS.items()},
        "question": "File upload",
        "segment_code": secrets.token_hex(11),
        "message_source": "WS",
    }


@app.task
def upload(file: int, node: dict[str, Any]) -> None:
    with Session(engine()) as session:
        row = session.get_one(UsualFile, file)
        path = Path(row.path)
        with path.open("rb") as content:
            reply = http().post(
                UPLOAD, data=fields_for(node, path.name), files={"file": (path.name, content)}
            )
        row.remote_id = int(reply.json()["data"]["id"])
        row.state = "polling"
        session.commit()
    poll.apply_async((file,), countdown=1)


@app.task(bind=True, max_retries=None)
def poll(self: Any, file: int) -> None:
    with Session(engine()) as session:
        row = session.get_one(UsualFile, file)
        told = http().get(STATUS, params={"file_id": row.remote_id}).json()["data"]
        row.status = int(told["status"])
        is_done = row.status in TERMINAL
        if is_done:
            row.state = "done"
            row.parse_content = told["parse_content"]
            row.recorded_at = datetime.now(UTC)
        session.commit()
    if not is_done:
        raise self.retry(countdown=min(1.5 ** (self.request.retries + 1), 5))


def hand_in(folder: Path) -> None:
    with Session(engine(), expire_on_commit=False) as session:
        rows = [UsualFile(path=str(path), state="queued") for path in sorted(folder.iterdir())]
        session.add_all(rows)
        session.commit()
        ids = [row.id for row in rows]
    for start in range(0, len(ids), PER_DIALOG):
        open_dialog.delay(ids[start : start + PER_DIALOG])
