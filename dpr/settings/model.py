"""The group `model`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dpr.settings.group import Group, Text

Pooling = Literal["cls", "mean", "max", "last", "pooler"]


class ModelSettings(Group):
    name: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)] | None
    query_name: Annotated[str, Field(min_length=1)] | None
    query_revision: Annotated[str, Field(min_length=1)] | None
    version: str | None
    respect_modules: bool
    pooling: Pooling
    append_eos: bool
    dtype: Literal["float32", "bfloat16"]
    tied: bool
    query_prefix: Text | None
    passage_prefix: Text | None
    query_max_length: Annotated[int, Field(ge=3)]
    passage_max_length: Annotated[int, Field(ge=3)]

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSettings":
        if self.query_revision and not self.query_name:
            raise ValueError("query_revision is given, but no query_name")
        return self
