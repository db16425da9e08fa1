"""What a conversation says instead of, or on the way to, an upload node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from worker.simulator import frames
from worker.simulator.offers import Flow

if TYPE_CHECKING:
    from worker.simulator.scenario import Scenario

ENTRANCE = Flow(uuid="7b1f0b52-5c1e-4d0c-9a58-2d9f3f1f7e11", name="reception")
"""The flow that questions open first when it is one that hands over to another."""

NOISE: tuple[str | bytes, ...] = (
    "connected",
    "[1, 2]",
    '"text"',
    b"\x00\xff\x01",
    json.dumps({"code": "000000", "type": "llm_end", "index": 0, "data": {}, "finish": "n"}),
    json.dumps({"code": "000000", "type": "text", "index": 0, "data": "", "finish": "n"}),
)
"""Frames that mean nothing: no JSON, no object, binary, and types that come now and then."""


def small_talk(scenario: Scenario) -> tuple[str, ...]:
    """A robot without a flow: its reply ends with `finish: "y"` and nothing follows."""
    return (
        *frames.accepted(scenario),
        frames.text_frame("Sure! ", finish="n"),
        frames.text_frame("How can I help you?", finish="y"),
    )


def asking_back(scenario: Scenario, flow: Flow) -> tuple[str, ...]:
    """A flow that wants something else than files, with a system word among what it says."""
    question = "Which contract is it about?"
    waiting: dict[str, object] = {"node_waiting_input": 1}
    return (
        *frames.accepted(scenario),
        frames.text_frame("flow_enter", finish="n"),
        frames.flow_frame(flow, "002000", node=frames.FORMER_NODE),
        frames.flow_frame(flow, "002002", node=frames.FORMER_NODE),
        frames.flow_frame(flow, "000000", node=frames.FORMER_NODE, answer=question),
        frames.text_frame("node_waiting_input", finish="y"),
        frames.flow_frame(flow, "002004", node=frames.FORMER_NODE, more=waiting),
    )


def jump(scenario: Scenario, target: Flow) -> tuple[str, ...]:
    """One flow hands over to another; the client is expected to follow."""
    answer = "flow_jump::"
    if scenario.jump == "direct":
        answer += f"jump_flow_uuid:{target.uuid}"
    marks: dict[str, object] = {"flow_jump": 1, "node_waiting_jump": 1}
    node = frames.FORMER_NODE
    end = (frames.flow_frame(ENTRANCE, "002005", node=node),) if scenario.jump_ends_round else ()
    return (
        *frames.accepted(scenario),
        frames.text_frame("flow_enter", finish="n"),
        frames.flow_frame(ENTRANCE, "002000", node=node),
        frames.text_frame(answer, finish="y"),
        frames.flow_frame(ENTRANCE, "002007", node=node, answer=answer, more=marks),
        *end,
    )
