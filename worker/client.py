"""What upstream Python jobs import to hand in batches: small, and without the worker's weight.

Any other Celery client sends the same message by name, see the README.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

if TYPE_CHECKING:
    from celery import Celery

BATCH_NAMESPACE = uuid5(NAMESPACE_URL, "urn:chatflow-ingest:batch")
"""The namespace of batch ids: `uuid5(BATCH_NAMESPACE, "PROFILE/EXTERNAL_KEY")`."""

TASK = "worker.ingest_batch"

FILES_PER_MESSAGE = 2000
"""Paths in one message: some hundred kilobytes, which every broker takes."""


def batch_id_for(profile: str, external_key: str) -> UUID:
    """The id of the batch with this external key: the same for everyone who computes it."""
    return uuid5(BATCH_NAMESPACE, f"{profile}/{external_key}")


def submit_batch(
    app: Celery,
    files: Sequence[str],
    *,
    category: str | None = None,
    profile: str = "default",
    external_key: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    notify: Mapping[str, str] | None = None,
) -> UUID:
    """Hand in a batch through a Celery application that knows the broker's address.

    Many files travel in several messages; the batch can't finish before the last has arrived.

    Args:
        app: any Celery application with the right `broker_url`.
        files: absolute paths or URLs, as the workers see them.
        category: name of the category; by format when None.
        profile: which of the installation's profiles.
        external_key: the same key is the same batch; only new files are added to it.
        inputs: further flow variables, a JSON object.
        notify: `{"task": name, "queue": name}` or `{"url": "https://..."}`.

    Returns:
        The batch's id, known without waiting for anybody.

    Raises:
        kombu.exceptions.OperationalError: the broker can't be reached; nothing was handed in, or
            only a part of the messages: handing in again with the same key is safe.
    """
    batch = batch_id_for(profile, external_key) if external_key else uuid4()
    chunks = list(_chunks(files)) or [[]]
    for part, chunk in enumerate(chunks, start=1):
        options: dict[str, Any] = {
            "files": list(chunk),
            "category": category,
            "profile": profile,
            "external_key": external_key,
            "inputs": dict(inputs or {}),
            "notify": dict(notify) if notify else None,
        }
        if len(chunks) > 1:
            options |= {"batch_id": str(batch), "part": part, "parts": len(chunks)}
        # Without a key the first message's task id is the batch's id, so it is given here.
        task_id = str(batch) if external_key is None and part == 1 else None
        app.send_task(TASK, kwargs=options, task_id=task_id)
    return batch


def _chunks(files: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(files), FILES_PER_MESSAGE):
        yield files[start : start + FILES_PER_MESSAGE]
