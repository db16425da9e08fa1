"""What may be handed in: the schema of `worker.ingest_batch`, and of everybody who sends it.

It is checked at the door, before anything is written: what gets in can be stored, computed an id
for, and worked on. Bounds are far above what anybody means and far below what harms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

MOST_FILES = 200_000
"""Files in one message; more travel in several (`part`, `parts`)."""

MOST_PARTS = 100_000
LONGEST_NAME = 1000
"""Characters of a key or a category."""

LONGEST_INPUTS = 1024 * 1024
"""Characters of the flow variables as JSON."""

LONGEST_TARGET = 2000
"""Characters of a webhook's address."""

LONGEST_QUEUE = 255
"""Bytes of a task's or a queue's name: what AMQP has room for."""

PROFILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""No slash and no colon: ids are computed from PROFILE/KEY, and `run:` begins a run's crew."""

FAULTS_SAID = 8

_UNFIT = re.compile("[\x00\ud800-\udfff]")
_SHAPES = ({"url"}, {"task"}, {"task", "queue"})
_WORDS = {"extra_forbidden": "unknown field", "missing": "is missing"}


def _storable(text: str) -> str:
    if _UNFIT.search(text):
        raise ValueError("holds a NUL or half a surrogate pair, which no database can hold")
    return text


def _blank_is_none(value: object) -> object:
    return None if value == "" else value  # languages without null send an empty text


def _profile(name: str) -> str:
    if PROFILE_NAME.fullmatch(name) is None:
        raise ValueError("letters, digits, dots, dashes and underscores only, at most 63")
    return name


def _id(value: object) -> object:
    if isinstance(value, str):
        return UUID(value)
    return value


def _json_object(value: object) -> str | None:
    """The flow variables as JSON text, which is how they are stored and sent."""
    if value is None or value in ("", {}):
        return None
    if not isinstance(value, str | Mapping):
        raise ValueError("write a JSON object")  # noqa: TRY004 - pydantic wants ValueError
    try:
        text = value if isinstance(value, str) else json.dumps(dict(value), allow_nan=False)
        if len(text) > LONGEST_INPUTS:
            raise ValueError(f"longer than {LONGEST_INPUTS} characters")
        decoded = json.loads(text, parse_constant=_no_constant)
        _all_storable(decoded)
    except TypeError:
        raise ValueError("holds a value that JSON does not know") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(decoded, dict):
        raise ValueError("write a JSON object")  # noqa: TRY004 - pydantic wants ValueError
    return text


def _all_storable(value: object) -> None:
    """Refuse what hides behind an escape, too: the service is to decode it, and store it."""
    match value:
        case str():
            _storable(value)
        case dict():
            for name, each in value.items():
                _storable(name)
                _all_storable(each)
        case list():
            for each in value:
                _all_storable(each)
        case _:
            pass


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def notify_fault(notify: object) -> str | None:
    """What is wrong with the form of a `notify`; None when it can be read."""
    if not isinstance(notify, Mapping) or set(notify) not in _SHAPES:
        return 'write {"task": NAME, "queue": NAME} or {"url": ADDRESS}'
    for key, value in notify.items():
        if not isinstance(value, str) or not value.strip():
            return f"{key}: write a name or an address"
        if _UNFIT.search(value) or not value.isprintable():
            return f"{key}: holds a character that no name or address has"
        limit = LONGEST_TARGET if key == "url" else LONGEST_QUEUE
        if len(value.encode()) > limit:
            return f"{key}: longer than {limit} bytes"
    return None


def _notify(value: object) -> object:
    if value is None or value == {}:
        return None
    fault = notify_fault(value)
    if fault is not None:
        raise ValueError(fault)
    return value


Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[
    Annotated[Text, Field(max_length=LONGEST_NAME)] | None, BeforeValidator(_blank_is_none)
]


class BatchOrder(BaseModel):
    """The fields of a message that hands a batch in, checked.

    Attributes:
        files: paths or URLs as the workers see them.
        inputs: further flow variables, a JSON object; here as text.
        notify: {"task": name, "queue": name} or {"url": address}.
        batch_id: the id of a batch without key that comes in several messages.
        hand_in: what the parts of one hand-in have in common.
        part: the message's number of `parts`, from 1.
        force: upload the files even if results of the same bytes are known.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    files: Annotated[list[Text], Field(max_length=MOST_FILES)]
    category: Name = None
    profile: Annotated[str, AfterValidator(_profile)] = "default"
    external_key: Name = None
    inputs: Annotated[str | None, BeforeValidator(_json_object)] = None
    notify: Annotated[dict[str, str] | None, BeforeValidator(_notify)] = None
    batch_id: Annotated[UUID | None, BeforeValidator(_id)] = None
    part: Annotated[int, Field(ge=1, le=MOST_PARTS)] | None = None
    parts: Annotated[int, Field(ge=1, le=MOST_PARTS)] | None = None
    hand_in: Annotated[UUID | None, BeforeValidator(_id)] = None
    force: bool = False

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.part is None) != (self.parts is None):
            raise ValueError("part and parts: give both or neither")
        if self.part is not None and self.parts is not None:
            if self.part > self.parts:
                raise ValueError(f"part: there is no part {self.part} of {self.parts}")
            if self.external_key is None and self.batch_id is None:
                raise ValueError("part: needs external_key or batch_id, the same in each message")
        return self

    @classmethod
    def checked(cls, fields: Mapping[str, Any]) -> Self:
        """The order, if nothing is wrong with it.

        Raises:
            ValueError: one line for each fault.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise ValueError("\n".join(_lines(error))) from None

    @classmethod
    def of_message(cls, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Self:
        """The order that a message's arguments make; positions follow the fields above.

        A list with one entry that is no text is refused whole, as any other wrong type is: its
        sender is at fault, and a part of a list is not what was meant.

        Raises:
            ValueError: one line for each fault.
        """
        return cls.checked(named_fields(args, kwargs))


def named_fields(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A message's arguments by name.

    Raises:
        ValueError: one is given twice, or there are more than fields.
    """
    names = list(BatchOrder.model_fields)
    if len(args) > len(names):
        raise ValueError(f"{len(args)} arguments for {len(names)} fields")
    placed = dict(zip(names, args, strict=False))
    twice = sorted(placed.keys() & kwargs.keys())
    if twice:
        raise ValueError(f"{twice[0]}: given twice")
    return {**placed, **kwargs}


def _lines(error: ValidationError) -> list[str]:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [_line(fault["loc"], fault["type"], fault["msg"]) for fault in faults[:FAULTS_SAID]]
    more = len(faults) - FAULTS_SAID
    return [*lines, f"and {more} faults more"] if more > 0 else lines


def _line(place: Sequence[int | str], kind: str, words: str) -> str:
    said = _WORDS.get(kind) or words.removeprefix("Value error, ")
    if not place:
        return said
    rest = f"[{place[1]}]" if len(place) > 1 and isinstance(place[1], int) else ""
    return f"{str(place[0])[:60]}{rest}: {said}"
