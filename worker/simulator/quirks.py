"""Habits of live deployments that clients meet; each is off unless the scenario asks for it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from worker.simulator.offers import OfferedCategory, OfferedParseMethod
from worker.simulator.parts import ScenarioPart


class Quirks(ScenarioPart):
    """Switches, each for one habit that was observed in the wild.

    `image_methods`: the default category has parse methods for `pdf` and for the word `Image`.
    `jump`: the question leads to a flow that hands over to another one (`002007`), which the
    client has to follow: by an empty question in the same conversation, or by opening the flow
    whose id the answer names. It happens `jumps` times in a row; with `jump_ends_round` the round
    is said to be over after each.
    `notices_with_error_code`: "task accepted" and "question accepted" carry an error's code.
    `chats`: no flow at all, the robot makes conversation. `waits_for_input`: a flow that asks the
    client for something else than files.
    `noise_frames`: binary frames, frames that are no JSON or no object, frames of further types.
    `ocr_mode`: success is status 8 "flow failed" with contents, and until then there is `[]`.
    """

    image_methods: bool = False
    jump: Literal["empty_question", "direct"] | None = None
    jumps: int = Field(default=1, ge=1)
    jump_ends_round: bool = False
    notices_with_error_code: bool = False
    chats: bool = False
    waits_for_input: bool = False
    noise_frames: bool = False
    ocr_mode: bool = False


IMAGE_CATEGORIES = (
    OfferedCategory(
        id=80,
        name="Invoice",
        support_formats="pdf,png,jpg,jpeg",
        upload_max_num=10,
        variable_assign="invoice",
        customized_parse_methods=(
            OfferedParseMethod(
                file_format="pdf",
                parse_model="Image Multimodal Model-72B",
                parse_prompt="Read every page,\nthen list the items.",
            ),
            OfferedParseMethod(
                file_format="Image",
                parse_model="Image Multimodal Model-7B",
                parse_prompt="Describe the picture,\nthen list the items.",
            ),
        ),
    ),
)

OCR_CATEGORIES = (
    OfferedCategory(
        id=81,
        name="Receipt",
        support_formats="png,jpg,jpeg,pdf",
        upload_max_num=10,
        variable_assign="ocr",
        customized_parse_methods=(OfferedParseMethod(parse_model="ocr"),),
    ),
)


def with_presets(tables: dict[str, Any]) -> dict[str, Any]:
    """A scenario's tables, with the defaults that its quirks bring; what it says itself stays."""
    presets: dict[str, Any] = {}
    if tables.get("ocr_mode"):
        presets |= {"categories": OCR_CATEGORIES, "path": (1, 2, 4, 8)}
        presets["early_content"] = "empty_list"
    if tables.get("image_methods"):
        presets["categories"] = IMAGE_CATEGORIES
    return presets | tables
