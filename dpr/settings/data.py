"""The group `data`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dpr.settings.group import Count, Group, Seed, Share, Text


class MedlineSettings(Group):
    seed: Seed
    min_relevant: Count
    max_relevant: Count
    min_major: Count
    train_max_relevant: Count
    valid_share: Share
    test_share: Share
    valid_topics: Annotated[int, Field(ge=2, multiple_of=2)]
    test_topics: Annotated[int, Field(ge=2, multiple_of=2)]

    @model_validator(mode="after")
    def _consistent(self) -> "MedlineSettings":
        if self.min_relevant > self.max_relevant:
            raise ValueError("min_relevant is above max_relevant")
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share + test_share leave nothing to train on")
        return self


class DataSettings(Group):
    collection: str
    split: Annotated[str, Field(min_length=1)]
    topic_field: Annotated[str, Field(min_length=1)]
    separator: Text
    drop_query_id: bool | None
    train: str
    train_limit: Count | None
    overlap: Literal["refuse", "drop"]
    held_out: Count
    held_out_seed: Seed
    prompts: list[Text] | None
    version: str | None
    medline: MedlineSettings

    @property
    def sources(self) -> list[str]:
        """The names in `train`, one a source."""
        return self.train.split(" + ")

    @model_validator(mode="after")
    def _consistent(self) -> "DataSettings":
        if not self.separator:
            raise ValueError(
                "separator is empty, which would glue titles to texts; white space alone needs "
                """quotes within quotes: -S 'data.separator=" "'"""
            )
        if self.prompts is not None and len(self.prompts) != len(self.sources):
            raise ValueError(
                f"prompts has {len(self.prompts)} texts, but train has {len(self.sources)} "
                "sources: give each its text, or null"
            )
        return self
