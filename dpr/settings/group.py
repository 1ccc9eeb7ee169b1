"""What the groups of params.yaml share."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _with_line_ends(text: str) -> str:
    r"""`dvc exp run -S` keeps both characters of a `\n` or `\t`: the line end or tab is meant."""
    return text.replace(r"\n", "\n").replace(r"\t", "\t")


Text = Annotated[str, AfterValidator(_with_line_ends)]  # goes into what is encoded


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
