"""Taking messages off the broker: what is no proper task message is refused.

Celery trusts the shape of a message's body and headers. One that is built otherwise raises in its
consumer and ends the worker, comes back, and ends the next one; or it fails in the pool before the
task begins, is never acknowledged, and keeps its place in hand. Here each message is looked at
before Celery sees it, and what Celery stumbles over all the same costs only that message.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any

from celery.bootsteps import RUN  # type: ignore[attr-defined]  # its stub lacks it
from celery.concurrency.thread import TaskPool
from celery.utils.log import get_logger
from celery.worker.consumer import Consumer as CelerysConsumer
from kombu.exceptions import ContentDisallowed, DecodeError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.telemetry import LogTelemetry

Number = int | float
Texts = list[str] | None


class _Body(BaseModel):
    """What a task is called with, and what Celery is to do around it."""

    model_config = ConfigDict(strict=True)

    args: list[Any]
    kwargs: dict[str, Any]
    callbacks: list[Any] | None = None
    errbacks: list[Any] | None = None
    chain: list[Any] | None = None
    chord: dict[str, Any] | None = None


class _Headers(BaseModel):
    """The fields of Celery's protocols that its consumer uses, as it needs them."""

    model_config = ConfigDict(strict=True)

    task: Annotated[str, Field(min_length=1)]
    id: Annotated[str, Field(min_length=1)]
    lang: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    shadow: str | None = None
    eta: str | None = None
    expires: str | None = None
    retries: Annotated[int, Field(ge=0, le=2**31)] | None = None
    timelimit: Annotated[list[Number | None], Field(min_length=2, max_length=2)] | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    stamped_headers: Texts = None
    stamps: dict[str, Any] | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: int | None = None
    callbacks: list[Any] | None = None
    errbacks: list[Any] | None = None
    chain: list[Any] | None = None
    chord: dict[str, Any] | None = None


class Malformed(Exception):
    """No worker can do anything with this message; says in which part of it the fault lies."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(reason)
        self.part = part


def check(message: Any) -> None:
    """Look whether a message is one of Celery's protocol 2, 1, or between the two.

    Raises:
        Malformed: it is none of them.
    """
    headers = message.headers
    if not isinstance(headers, dict):
        raise Malformed("headers", "they are no object")
    payload = _payload(message)
    if isinstance(payload, dict):  # protocol 1: all of it stands in the body
        _fit(_Headers, "headers", payload | headers)
        _fit(_Body, "body", {"args": [], "kwargs": {}} | payload)
        return
    _fit(_Headers, "headers", headers)
    if not isinstance(payload, list) or len(payload) != 3:
        raise Malformed("body", "it is not [args, kwargs, embed]")
    args, kwargs, embed = payload
    if not isinstance(embed, dict | None):
        raise Malformed("body", "embed is no object")
    _fit(_Body, "body", (embed or {}) | {"args": args, "kwargs": kwargs})


def _payload(message: Any) -> Any:
    try:
        return message.payload
    except Exception as error:
        raise Malformed("body", f"it can't be decoded: {type(error).__name__}") from error


def _fit(model: type[BaseModel], part: str, fields: dict[str, Any]) -> None:
    try:
        model.model_validate(fields)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        names = [".".join(map(str, fault["loc"])) for fault in faults]
        words = "; ".join(f"{n}: {f['msg']}" for n, f in zip(names, faults, strict=True))
        raise Malformed(part, words[:500]) from None


class Consumer(CelerysConsumer):
    """Celery's consumer behind a check of every message.

    Without asking other workers at start and listening to what they say later (mingle, gossip):
    they have nothing to tell that is not in the database, and could be told by anybody.
    """

    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]

    class Blueprint(CelerysConsumer.Blueprint):  # type: ignore[misc, valid-type]
        """Without the 28 queues for messages that are to wait: none of ours is."""

        default_steps = tuple(
            step
            for step in CelerysConsumer.Blueprint.default_steps
            if "delayed_delivery" not in step
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        self._telemetry = LogTelemetry()
        super().__init__(*args, **(options | {"without_mingle": True, "without_gossip": True}))

    def create_task_handler(self, *args: Any, **options: Any) -> Any:
        """What is called with each message."""
        return partial(self._take, super().create_task_handler(*args, **options))

    def _take(self, handle: Any, message: Any) -> None:
        try:
            check(message)
            handle(message)
        except Malformed as error:
            self._refuse(message, error.part, str(error))
        except Exception as error:
            # At its end, or without the broker, a worker leaves the message to others.
            if self.blueprint.state != RUN or self._is_brokers(error):
                raise
            self._refuse(message, "unexpected", type(error).__name__, exc_info=error)

    def _is_brokers(self, error: Exception) -> bool:
        # To kombu a KeyError is a lost connection to Redis, which it is nowhere here.
        broken = (*self.connection_errors, *self.channel_errors)
        return isinstance(error, broken) and not isinstance(error, KeyError)

    # --- what Celery itself would refuse, each in a way of its own ---

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """A body that can't be unpacked, or is in a format that is not accepted."""
        self._refuse(message, "body", f"it can't be decoded: {type(exc).__name__}")

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - as Celery calls it
        """A message without the name of a task."""
        self._refuse(message, "headers", "there is no task's name")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - same
        """A message for a task that is not here."""
        self._refuse(message, "task", "there is no task of this name")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - same
        """A message that Celery can't make a request of."""
        part = "body" if isinstance(exc, ContentDisallowed | DecodeError) else "headers"
        self._refuse(message, part, str(exc)[:500])

    def _refuse(self, message: Any, part: str, reason: str, **more: Any) -> None:
        """Say it in one line, count it, and acknowledge: nobody else can do better with it."""
        headers = message.headers if isinstance(message.headers, dict) else {}
        named = {key: str(headers.get(key))[:200] for key in ("id", "task") if key in headers}
        self._telemetry.event("message_refused", part=part, reason=reason, **named, **more)
        self._telemetry.count("chatflow_ingest_messages_refused_total", part=part)
        if not message.acknowledged:
            message.ack_log_error(get_logger(__name__), self.connection_errors)


class ThreadPool(TaskPool):
    """Celery's threads, in which no message is lost sight of.

    What goes wrong there before or after the task itself would only be seen by who asks the
    thread for its result, and nobody does: the message stays in hand for ever.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.executor: ThreadPoolExecutor
        self._former: list[ThreadPoolExecutor] = []

    def on_apply(self, target: Any, *args: Any, **options: Any) -> Any:
        """Have a thread run it."""
        return super().on_apply(partial(_told, target), *args, **options)

    def grow(self, n: int = 1) -> None:
        """Have so many more threads; asked by `--autoscale`, `celery control` and Flower."""
        self._resize(self.limit + n)

    def shrink(self, n: int = 1) -> None:
        """Have so many threads less, but one; those that work bring their tasks to an end."""
        self._resize(max(1, self.limit - n))

    def _resize(self, threads: int) -> None:
        self.executor.shutdown(wait=False)
        self._former.append(self.executor)
        self.executor = ThreadPoolExecutor(max_workers=threads)
        self.limit = threads

    def on_stop(self) -> None:
        """Wait for what is being worked on, also in threads of a former size."""
        super().on_stop()
        for executor in self._former:
            executor.shutdown()


def _told(target: Any, *args: Any, **options: Any) -> Any:
    """As the target, but a failure is a result, as Celery's callback for results expects one."""
    from celery.app.trace import ExceptionInfo  # type: ignore[attr-defined]

    try:
        return target(*args, **options)
    except Exception as error:  # noqa: BLE001 - said, and handed on
        LogTelemetry().event(
            "step_failed", step="task", reason=f"unexpected {type(error).__name__}", exc_info=error
        )
        return 1, ExceptionInfo(), 0.0
