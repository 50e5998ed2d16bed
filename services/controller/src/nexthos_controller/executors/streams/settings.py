"""What `executors.streams` of the controller's settings may say, and what it means when it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nexthos_controller.settings import settings_error
from nexthos_shared.model.quantities import Duration


class StreamsSettings(BaseModel):
    """Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cap: int = Field(250, ge=1, le=2000, description="streams per host")
    idle: Duration = Field(60.0, description="how long a host without streams is kept")


def read_settings(options: Mapping[str, Any]) -> StreamsSettings:
    """The settings, or SettingsError that names the field."""
    try:
        return StreamsSettings.model_validate(options)
    except ValidationError as error:
        raise settings_error(error, "executors.streams") from error
