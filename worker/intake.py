"""Batches that come by message: taken in, or refused with a trace that their sender can find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from worker.adapters.database.engine.types import clean
from worker.adapters.webhook import check_target
from worker.bootstrap import HandInRequest, hand_in
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId, fleet
from worker.core.naming import BATCH_NAMESPACE, batch_id_for
from worker.core.order import LONGEST_NAME, BatchOrder, named_fields
from worker.errors import StoreFault, StoreUnavailable, UsageError
from worker.ports.batches import Batches
from worker.ports.telemetry import Telemetry
from worker.settings import DEFAULT_PROFILE, Settings
from worker.steps.register import Part

_LONGEST_PROFILE = 63


@dataclass(frozen=True, slots=True)
class Message:
    """A message's arguments as they came, and its task's id."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    task_id: str


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of a message: its batch, and the profile to be woken for it, if any."""

    batch: BatchId
    profile: str | None


def take_in(message: Message, settings: Settings, store: Batches, telemetry: Telemetry) -> TakenIn:
    """Register a message's batch, or refuse it: a batch in state `rejected`, a line, a count.

    Raises:
        StoreUnavailable: nothing has been lost; the message has to be taken in later.
        UsageError: the same: the database or the settings have to be mended first.
    """
    try:
        order = BatchOrder.of_message(message.args, message.kwargs)
        request = _request(order, message, settings)
    except ValueError as error:
        return _refused(message, str(error), settings, store, telemetry)
    try:
        new = hand_in(store, request, order.files)
    except (StoreUnavailable, UsageError):
        raise
    except Exception as error:  # noqa: BLE001 - it is no reason to lose a message without a trace
        reason = error.message if isinstance(error, StoreFault) else type(error).__name__
        return _refused(message, reason, settings, store, telemetry)
    if new and store.status(request.batch).state == "cancelled":
        telemetry.event("files_cancelled", batch=str(request.batch), files=new)
    return TakenIn(request.batch, order.profile)


def _request(order: BatchOrder, message: Message, settings: Settings) -> HandInRequest:
    """The order as it is registered.

    Raises:
        ValueError: this installation can't work on it.
    """
    if order.profile not in settings.profile_names():
        raise ValueError(f"profile: there is no profile {order.profile!r}")
    if (fault := undeliverable(order.notify, settings)) is not None:
        raise ValueError(fault)
    return HandInRequest(
        batch=BatchId(_batch_of(order, message)),
        profile=order.profile,
        external_key=order.external_key,
        category=order.category,
        inputs=order.inputs,
        notify=order.notify,
        force=order.force,
        part=None if order.part is None else _part(order),
    )


def _part(order: BatchOrder) -> Part:
    return Part(order.part or 1, order.parts or 1, str(order.hand_in or ""))


def undeliverable(notify: object, settings: Settings) -> str | None:
    """Why nobody could be told in this way, None when somebody can be, or nobody is to be.

    Whoever hands in from a command line is held to it just as a message is.
    """
    if notify is None:
        return None
    return check_target(
        notify, settings.webhook_allow, has_secret=settings.webhook_secret is not None
    )


def _batch_of(order: BatchOrder, message: Message) -> UUID:
    if order.external_key is not None:
        return batch_id_for(order.profile, order.external_key)
    return order.batch_id or _id_of_task(message)


def _id_of_task(message: Message) -> UUID:
    """The task's own id, which is a UUID unless its sender chose another one."""
    try:
        return UUID(message.task_id)
    except ValueError:  # no profile's name begins with a slash, so no key's id is the same
        return uuid5(BATCH_NAMESPACE, f"//{message.task_id!a}")


# --- refusing ------------------------------------------------------------------------------------


def _refused(
    message: Message, reason: str, settings: Settings, store: Batches, telemetry: Telemetry
) -> TakenIn:
    """Leave a trace of a message that can't be taken in, where its sender will look for it."""
    fields = _readable(message)
    candidate = _NamedBatch.of(fields, message)
    notify = fields.get("notify")
    welcome = undeliverable(notify, settings) is None
    row = NewBatch(
        id=candidate.id,
        profile=candidate.profile,
        crew=fleet(candidate.profile),
        external_key=candidate.key,
        notify=dict(notify) if isinstance(notify, Mapping) and welcome else None,
    )
    refused = row.id
    try:
        if not store.reject(row, reason):  # there is a good batch of this name: leave it alone
            refused = BatchId(_id_of_task(message))
            store.reject(NewBatch(refused, row.profile, row.crew), _about(candidate, reason))
    except StoreFault as error:  # the line below is all that is left
        reason = f"{reason}; and not stored: {error.message}"
    telemetry.count("chatflow_ingest_messages_refused_total", part="arguments")
    telemetry.event("message_refused", part="arguments", batch=str(refused), reason=reason)
    return TakenIn(refused, None)


def _about(candidate: _NamedBatch, reason: str) -> str:
    return f"more for batch {candidate.id}: {reason}"


def _readable(message: Message) -> dict[str, Any]:
    try:
        return named_fields(message.args, message.kwargs)
    except ValueError:
        return dict(message.kwargs)


@dataclass(frozen=True, slots=True)
class _NamedBatch:
    """The batch that a faulty message means, as far as that can be told."""

    id: BatchId
    profile: str
    key: str | None

    @classmethod
    def of(cls, fields: Mapping[str, Any], message: Message) -> _NamedBatch:
        profile, key = fields.get("profile", DEFAULT_PROFILE), fields.get("external_key")
        named = profile if isinstance(profile, str) and profile else DEFAULT_PROFILE
        shown = clean(named, _LONGEST_PROFILE)
        if isinstance(key, int) and not isinstance(key, bool):
            key = str(key)  # the id that its sender computes is that of the text
        if isinstance(key, str) and key:
            try:
                known = batch_id_for(named, key)
            except UnicodeEncodeError:
                known = _id_of_task(message)
            return cls(BatchId(known), shown, key[:LONGEST_NAME])
        return cls(BatchId(_told(fields, message)), shown, None)


def _told(fields: Mapping[str, Any], message: Message) -> UUID:
    try:
        return UUID(fields["batch_id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return _id_of_task(message)
