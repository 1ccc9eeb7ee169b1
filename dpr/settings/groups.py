"""What the groups of params.yaml share.

The group `data`.

The group `model`.

The groups of what comes after training, from `encode` to `eval`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dpr import measures
from dpr.records.types import System

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _with_line_ends(text: str) -> str:
    r"""`dvc exp run -S` keeps both characters of a `\n` or `\t`: the line end or tab is meant."""
    return text.replace(r"\n", "\n").replace(r"\t", "\t")


Text = Annotated[str, AfterValidator(_with_line_ends)]  # goes into what is encoded


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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


INDEX_KINDS = ("flat", "ivf", "hnsw", "ivfpq", "pq", "sq8", "lsh")


class Bm25Settings(Group):
    k1: Annotated[float, Field(ge=0)]
    b: Annotated[float, Field(ge=0, le=1)]


class Bm25IndexSettings(Bm25Settings):
    threads: Count
    heap: Annotated[float, Field(ge=0.25)]


class EncodeSettings(Group):
    window: Count
    batch_tokens: Count | None
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]
    dtype: Literal["float32", "float16", "int8"]


def _index_kind(kind: str) -> str:
    """A kind by name, or a string that FAISS can read. (The stage `check` tries it.)"""
    if kind in INDEX_KINDS:
        return kind
    import faiss  # here, since it loads slowly

    try:
        faiss.index_factory(960, kind)  # a number that most kinds can divide
    except RuntimeError as error:
        if "could not parse" in str(error):
            raise ValueError(
                f"neither of {', '.join(INDEX_KINDS)}, nor a factory string of FAISS"
            ) from None
    return kind


class IndexSettings(Group):
    kind: Annotated[str, Field(min_length=1), AfterValidator(_index_kind)]
    dimension: Count | None
    storage: Literal["float32", "float16"]
    nlist: Count | None
    hnsw_m: Annotated[int, Field(ge=2)]
    ef_construction: Count
    pq_bytes: Count | None
    lsh_bits: Count | None
    train_sample: Count | None


class AuditSettings(Group):
    min_recall: Annotated[float, Field(ge=0, le=1)]
    topics: Count


class SearchSettings(Group):
    top_k: Count
    nprobe: Count | None
    ef_search: Count | None
    memory: Annotated[float, Field(gt=0)]
    rescore: Count | None


class FuseSettings(Group):
    rrf_k: Annotated[int, Field(ge=0)]
    weight_steps: Count
    default_weight: Annotated[float, Field(ge=0, le=1)]


class EvalSettings(Group):
    measures: Annotated[list[str], Field(min_length=1), AfterValidator(measures.check)]
    references: list[System]
