"""What the broker holds for an installation, by name.

Several installations share a broker when each has a namespace of its own, which then stands before
every name. Without one the names are Celery's own, so that any client reaches the workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kombu import Exchange, Queue

from worker.adapters.broker.options import is_amqp

CONTROL, SUBMIT, POLL, NOTIFY = "celery", "ingest.submit", "ingest.poll", "ingest.notify"

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class BrokerNames:
    """The names of one installation's queues, exchanges and keys."""

    namespace: str = ""

    def own(self, name: str) -> str:
        """A name as it is in this namespace."""
        return f"{self.namespace}.{name}" if self.namespace else name

    @property
    def queues(self) -> list[str]:
        """All queues that a worker serves without `-Q`, but the one for itself."""
        return [self.own(name) for name in (CONTROL, SUBMIT, POLL, NOTIFY)]

    def declared(self, broker: str) -> list[Queue]:
        """One queue per kind of work, so that a long upload shift keeps nobody from polling."""
        # A queue that outlives a broker node; a wake-up that can't be handled must not circle.
        quorum = {"x-queue-type": "quorum", "x-delivery-limit": 5}
        kind = quorum if is_amqp(broker) else None
        control, *others = self.queues
        return [
            # Exactly what a client without our settings declares: anything else would be refused.
            Queue(control, Exchange(control, type="direct"), routing_key=control),
            *(
                Queue(name, self._exchange, routing_key=name, queue_arguments=kind)
                for name in others
            ),
        ]

    def to_itself(self, node: str) -> Queue:
        """The queue that one worker alone reads; it goes when the worker does."""
        name = self.own(f"ingest.alive.{node}")
        return Queue(name, self._exchange, routing_key=name, auto_delete=True, expires=_DAY)

    def settings(self, broker: str) -> dict[str, Any]:
        """What Celery is told of them."""
        return {
            "task_default_queue": self.own(CONTROL),
            "task_queues": self.declared(broker),
            "task_routes": {
                "worker.submit": {"queue": self.own(SUBMIT)},
                "worker.poll": {"queue": self.own(POLL)},
                "worker.notify": {"queue": self.own(NOTIFY)},
            },
            "control_exchange": self.own("celery"),
            "event_exchange": self.own("celeryev"),
            "event_queue_prefix": self.own("celeryev"),
        }

    def keys(self, broker: str) -> dict[str, str]:
        """Transport options: where Redis keeps what was handed out and not acknowledged."""
        if not self.namespace or not broker.startswith(("redis", "sentinel")):
            return {}
        return {
            f"{key}_key": self.own(key) for key in ("unacked", "unacked_index", "unacked_mutex")
        }

    @property
    def _exchange(self) -> Exchange:
        return Exchange(self.own("ingest"), type="direct")
