"""The Celery application: wake-ups travel here, the database holds the work.

Every setting that differs from Celery's default has its reason beside it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from worker.core.lifecycle import Lane
from worker.core.model import Crew
from worker.errors import ServiceUnreachable
from worker.settings import Settings

CONTROL_QUEUE = "celery"
"""Celery's own default queue, so that any client that knows the broker reaches `ingest_batch`."""

SUBMIT_QUEUE = "ingest.submit"
POLL_QUEUE = "ingest.poll"
NOTIFY_QUEUE = "ingest.notify"

VISIBILITY_TIMEOUT = 900
"""Seconds after which Redis gives an unacknowledged message to somebody else: far more than a
shift and its drain take. No message waits longer, since none has an ETA."""

WAKE_EXPIRES = 30
"""Seconds after which a wake-up is stale: the sweep has sent another by then."""

app = Celery("worker", include=["worker.tasks"])

_OWN = "worker.adapters.redis_transport"
# With kombu's own, a worker that has tasks in hand ends when Redis goes away. Loaded when needed.
TRANSPORT_ALIASES.update(
    redis=f"{_OWN}:Transport", rediss=f"{_OWN}:Transport", sentinel=f"{_OWN}:SentinelTransport"
)


class CeleryWaker:
    """Wakes workers through the broker (see `ports.Waker`)."""

    def wake(self, profile: str, crew: Crew, lane: Lane) -> None:
        """Send one wake-up; a broker that is away costs one sweep, not the work."""
        self._send(f"worker.{lane}", {"profile": profile, "crew": crew})

    def wake_notify(self) -> None:
        """Say that the outbox holds something."""
        self._send("worker.notify", {})

    def send_notification(self, task: str, queue: str | None, payload: dict[str, Any]) -> None:
        """Send the task that a batch asked for when it is finished.

        Raises:
            ServiceUnreachable: the broker is away.
        """
        try:
            app.send_task(task, args=(payload,), queue=queue, retry=False)
        except (OperationalError, OSError) as error:
            raise ServiceUnreachable("no connection to the broker") from error

    def _send(self, task: str, arguments: dict[str, str]) -> None:
        with suppress(OperationalError, OSError):
            app.send_task(task, kwargs=arguments, expires=WAKE_EXPIRES, retry=False)


def configure(settings: Settings, *, embedded: bool = False) -> Celery:
    """Apply the settings; `embedded` means an in-process broker, whatever the broker's address."""
    broker = "memory://localhost" if embedded else settings.broker_url
    app.conf.update(
        {
            "broker_url": broker,
            "broker_transport_options": transport_options(broker),
            "task_queues": queues(broker),
            "beat_schedule": beat_schedule(settings),
            **COMMON,
        }
    )
    if embedded:
        app.conf.update(EMBEDDED)
    return app


def queues(broker: str) -> list[Queue]:
    """One queue per kind of work, so that a long upload shift keeps nobody from polling."""
    # A queue that outlives a broker node; a wake-up that can't be handled must not circle.
    quorum = {"x-queue-type": "quorum", "x-delivery-limit": 5}
    own = quorum if broker.startswith(("amqp", "pyamqp")) else None
    exchange = Exchange("ingest", type="direct")
    return [
        # Exactly what a client without our settings declares: anything else would be refused.
        Queue(CONTROL_QUEUE, Exchange(CONTROL_QUEUE, type="direct"), routing_key=CONTROL_QUEUE),
        *(
            Queue(name, exchange, routing_key=name, queue_arguments=own)
            for name in (SUBMIT_QUEUE, POLL_QUEUE, NOTIFY_QUEUE)
        ),
    ]


def transport_options(broker: str) -> dict[str, Any]:
    """The same for worker, beat, flower and producers: on Redis the shortest visibility wins."""
    if broker.startswith("memory"):
        return {"polling_interval": 0.02}  # the default of 1 s would cost a second per message
    if broker.startswith(("amqp", "pyamqp")):
        return {"confirm_publish": True}  # a wake-up is sent when the broker has it, not before
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 3,  # a dead worker's messages are seen within about 30 s
        "socket_timeout": 30,  # the default None lets a publish hang on a dead peer
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,  # a half-open connection is noticed
    }


def beat_schedule(settings: Settings) -> dict[str, Any]:
    """What Beat sends: sweeps, and the schedules with the text of their file."""
    entries: dict[str, Any] = {
        "tick": {"task": "worker.tick", "schedule": 5.0, "options": {"expires": 10}}
    }
    if settings.schedules is not None:
        entries["tick_schedules"] = {
            "task": "worker.tick_schedules",
            "schedule": 10.0,
            "kwargs": {"schedules": settings.schedules_text(), "file": settings.schedules},
            "options": {"expires": 20},
        }
    return entries


COMMON: dict[str, Any] = {
    # JSON only: a message can carry no code.
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    # The database is the record; results would only repeat it where Flower shows them.
    "task_ignore_result": True,
    "result_backend": None,
    "task_store_errors_even_if_ignored": False,
    # Tasks are idempotent wake-ups: acknowledge late, let the broker give a dead worker's away.
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    # A wake-up that fails must not come back at once: the sweep offers its rows again.
    "task_acks_on_failure": True,
    "task_acks_on_timeout": True,
    "task_default_queue": CONTROL_QUEUE,
    "task_create_missing_queues": True,  # a batch may name the queue of its notification
    "task_routes": {
        "worker.submit": {"queue": SUBMIT_QUEUE},
        "worker.poll": {"queue": POLL_QUEUE},
        "worker.notify": {"queue": NOTIFY_QUEUE},
    },
    "task_publish_retry_policy": {
        "max_retries": 3,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 1,
    },
    # Start before the broker does, and wait for it however long it is away.
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 5,
    "broker_pool_acquire_timeout": 30,  # the default None blocks publishers for ever
    "broker_heartbeat": 30,
    # Tasks wait for the event loop, so threads are cheap; more work wants more processes.
    "worker_pool": "threads",
    "worker_concurrency": 16,
    "worker_prefetch_multiplier": 1,  # a message in hand is one that no idle worker sees
    "worker_cancel_long_running_tasks_on_connection_loss": False,  # fences protect the writes
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_send_task_events": True,  # cheap, tasks being shifts; without them Flower is blind
    "worker_direct": True,  # a queue of its own for each worker's heartbeat
    "task_send_sent_event": False,
    "timezone": "UTC",
    "enable_utc": True,
    # Beat only sends wake-ups, so it needs no memory of its own and may run more than once.
    "beat_scheduler": "worker.beat:TickScheduler",
    "beat_max_loop_interval": 5,
}

EMBEDDED: dict[str, Any] = {
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_concurrency": 4,
}
