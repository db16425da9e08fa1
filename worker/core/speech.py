"""What a dialog's spoken text says to us, and what of it is the service talking to itself.

Observed with working clients: among a robot's words the service sends words of its own, alone or
in front of others: `flow_enter`, `flow_exit`, `node_waiting_input`, `flow_jump::…` with
`jump_flow_uuid:UUID` in it, `current_communication_complete`, `node_id:…`. No client shows them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_JUMP = re.compile(r"flow_jump|node_waiting_jump|jump_flow_uuid\s*:")
_TARGET = re.compile(r"jump_flow_uuid\s*:\s*([^,\s]+)")
_AROUND = "\"'`()[]{}<>;."
"""What may stand around a name in a text and is no part of it."""
_SYSTEM = re.compile(
    r"flow_jump::.*|jump_flow_uuid\s*:\s*[^,\s]*|flow_jump|flow_enter|flow_exit"
    r"|node_waiting_(?:input|jump)|current_communication_complete"
    r"|(?:enter by )?(?:prev_)?node_id:\S*",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Speech:
    """One piece of text, understood.

    Attributes:
        words: what is left for a human to read; "" when all of it was the service's own.
        jumps: the flow wants to go on in another flow.
        target: the uuid of that flow, None when the text does not name it.
        waits: a node waits for input.
    """

    words: str
    jumps: bool = False
    target: str | None = None
    waits: bool = False


def understand(text: str) -> Speech:
    """Tell the robot's words from the service's."""
    named = _TARGET.search(text)
    return Speech(
        words=_SYSTEM.sub("", text),
        jumps=_JUMP.search(text) is not None,
        target=(named[1].strip(_AROUND) or None) if named else None,
        waits="node_waiting_input" in text,
    )
