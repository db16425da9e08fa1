"""The Celery application: wake-ups travel here, the database holds the work.

Every setting that differs from Celery's default has its reason beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.concurrency import ALIASES  # type: ignore[attr-defined]  # its stub lacks it
from kombu import Queue
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from worker.adapters.broker.names import BrokerNames
from worker.adapters.broker.options import is_amqp, tls_options, transport_options
from worker.core.lifecycle import Lane
from worker.core.model.ids import Crew
from worker.errors import ServiceUnreachable
from worker.settings import Settings

INSTALLATION = "ingest_installation"
"""The remote control command that asks a worker who it is in its database."""

WAKE_EXPIRES = 30
"""Seconds after which a wake-up is stale: the sweep has sent another by then."""

app = Celery("worker", include=["worker.tasks"])

_OWN = "worker.adapters.broker"
# What is wrong with kombu's own stands in each of them. Loaded when needed.
TRANSPORT_ALIASES.update(
    redis=f"{_OWN}.redis_transport:Transport",
    rediss=f"{_OWN}.redis_transport:Transport",
    sentinel=f"{_OWN}.redis_transport:SentinelTransport",
    amqps=f"{_OWN}.amqp_transport:SSLTransport",
)


ALIASES["threads"] = "worker.consumer:ThreadPool"


def broker_errors() -> tuple[type[Exception], ...]:
    """What sending raises while the broker is away, read-only or full: it differs by broker."""
    broker = app.connection_for_write()
    known = (*broker.connection_errors, *broker.channel_errors)
    return (OperationalError, OSError, *(e for e in known if issubclass(e, Exception)))


class CeleryWaker:
    """Wakes workers through the broker (see `ports.broker.Waker`)."""

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
            app.send_task(task, args=(payload,), queue=_somebodys(queue), retry=False)
        except broker_errors() as error:
            raise ServiceUnreachable("no connection to the broker") from error

    def _send(self, task: str, arguments: dict[str, str]) -> None:
        with suppress(*broker_errors()):
            app.send_task(task, kwargs=arguments, expires=WAKE_EXPIRES, retry=False)


def _somebodys(name: str | None) -> Any:
    """A queue of others: one that is there is left as it is, else it is made.

    RabbitMQ closes the channel over a queue that is declared in another way than it was made.
    """
    if name is None or not is_amqp(app.conf.broker_url):
        return name
    with app.pool.acquire(block=True) as connection:
        there = _message_count(connection, name) is not None
    return Queue(name, no_declare=True) if there else name


def configure(settings: Settings, *, embedded: bool = False, pool: str | None = None) -> Celery:
    """Apply the settings.

    Args:
        embedded: with an in-process broker, whatever the broker's address.
        pool: the pool that the command line names.
    """
    broker = "memory://localhost" if embedded else settings.broker_url
    names = BrokerNames(settings.namespace or "")
    app.conf.update(
        {
            "broker_url": broker,
            "broker_transport_options": names.keys(broker)
            | transport_options(broker, settings.broker_options),
            "broker_use_ssl": tls_options(broker, settings.broker_options),
            "beat_schedule": beat_schedule(settings),
            **names.settings(broker),
            **COMMON,
        }
    )
    if embedded:
        app.conf.update(EMBEDDED)
    if pool in {"prefork", "processes"}:
        # To Celery "prefork" is also what nobody asked for, and gives way to the configured pool.
        app.conf.update(worker_pool="prefork", worker_concurrency=None)
    return app


def asked_for(arguments: Sequence[str], short: str, long: str) -> str | None:
    """What a command line of Celery says for an option, which Celery tells no default apart from.

    Args:
        arguments: the command line.
        short: as `-P`, for `-P X` and `-PX`.
        long: as `--pool`, for `--pool X` and `--pool=X`.
    """
    for number, argument in enumerate(arguments):
        if argument in {short, long}:
            return next(iter(arguments[number + 1 :]), None)
        for beginning in (f"{long}=", short):
            if argument.startswith(beginning):
                return argument.removeprefix(beginning)
    return None


def readers(within: float) -> dict[str, str | None]:
    """The workers that read our queues, and under which name each attends to its database.

    None for those that know nothing of that: they are no workers of ours, or of an older version.

    Args:
        within: seconds that they are given to answer.
    """
    ours = {queue.name for queue in app.conf.task_queues}
    control: Any = app.control
    answers = control.broadcast("active_queues", reply=True, timeout=within) or []
    found = [
        node
        for answer in answers
        for node, queues in answer.items()
        if isinstance(queues, list) and ours & {queue.get("name") for queue in queues}
    ]
    if not found:
        return {}
    answers = control.broadcast(
        INSTALLATION, destination=found, reply=True, timeout=within, limit=len(found)
    )
    said = {node: told for answer in answers or [] for node, told in answer.items()}
    return {node: said.get(node, {}).get("holder") for node in found}


def waiting_messages(connection: Any) -> dict[str, int]:
    """How many messages wait in each queue that there is by now, as kombu's connection knows."""
    counts = {each.name: _message_count(connection, each.name) for each in app.conf.task_queues}
    return {name: count for name, count in counts.items() if count is not None}


def _message_count(connection: Any, name: str) -> int | None:
    """How many messages wait in a queue; None when it is not there."""
    # A queue that is not there closes its channel, so each gets one of its own.
    with suppress(*connection.channel_errors), connection.channel() as channel:
        return int(channel.queue_declare(name, passive=True).message_count)
    return None


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
    "task_create_missing_queues": True,  # a batch may name the queue of its notification
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
    "worker_consumer": "worker.consumer:Consumer",
    "worker_pool": "threads",
    "worker_concurrency": 16,
    "worker_prefetch_multiplier": 1,  # a message in hand is one that no idle worker sees
    "worker_cancel_long_running_tasks_on_connection_loss": False,  # fences protect the writes
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_send_task_events": True,  # cheap, tasks being shifts; without them Flower is blind
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
