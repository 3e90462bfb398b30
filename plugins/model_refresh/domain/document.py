"""The one base of everything that is written down as JSON: frozen, strict about unknown fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A frozen record that survives a trip through JSON unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")
