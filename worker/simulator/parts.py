"""What every piece of a scenario is built on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ScenarioPart(BaseModel):
    """A piece of a scenario: unknown keys are mistakes, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
