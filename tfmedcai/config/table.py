"""What all tables of settings have in common."""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of settings: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
