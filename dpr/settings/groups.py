"""The groups `data`, `model`, and `encode` to `eval` of params.yaml."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dpr import measures

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]
Length = Annotated[int, Field(ge=3)]  # in tokens: [CLS], one token of the text, [SEP]
Share = Annotated[float, Field(gt=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(min_length=1)]
TRAINED = "trained"  # as the name of a cross-encoder: the one that is trained here


def _with_line_ends(text: str) -> str:
    r"""Turn `\n` and `\t` into one character; `dvc exp run -S` keeps them as two."""
    return text.replace(r"\n", "\n").replace(r"\t", "\t")


Text = Annotated[str, AfterValidator(_with_line_ends)]  # part of an encoded text


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


class PassageSettings(Group):
    words: Annotated[int, Field(ge=2)] | None
    overlap: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _consistent(self) -> "PassageSettings":
        if self.words is None and self.overlap:
            raise ValueError(f"overlap is {self.overlap}, but words is null, so nothing is cut")
        if self.words is not None and self.overlap > self.words // 2:
            raise ValueError(
                f"overlap {self.overlap} is more than half of words {self.words}: lower it"
            )
        return self


class DataSettings(Group):
    collection: str
    train: str
    split: Name
    topic_field: Name
    separator: Text
    passages: PassageSettings
    drop_query_id: bool | None
    prompts: list[Text] | None
    train_limit: Count | None
    overlap: Literal["refuse", "drop"]
    held_out: Count
    held_out_seed: Seed
    version: str | None
    medline: MedlineSettings

    @property
    def source_names(self) -> list[str]:
        """The names in `train`, one per source."""
        return self.train.split(" + ")

    @property
    def cut(self) -> bool:
        """Whether documents are cut into passages."""
        return self.passages.words is not None

    @model_validator(mode="after")
    def _consistent(self) -> "DataSettings":
        if not self.separator:
            raise ValueError(
                "separator is empty, which would glue titles to texts; white space alone needs "
                """quotes within quotes: -S 'data.separator=" "'"""
            )
        if self.prompts is not None and len(self.prompts) != len(self.source_names):
            raise ValueError(
                f"prompts has {len(self.prompts)} texts, but train has {len(self.source_names)} "
                "sources: give one text per source, or null"
            )
        return self


Pooling = Literal["cls", "mean", "max", "last", "weightedmean", "pooler"]


class ModelSettings(Group):
    name: Name
    pooling: Pooling | None
    query_max_length: Length | None
    passage_max_length: Length | None
    query_prefix: Text | None
    passage_prefix: Text | None
    query_prompt: Name | None
    passage_prompt: Name | None
    tied: bool | None
    query_name: Name | None
    revision: Name | None
    query_revision: Name | None
    version: str | None
    respect_modules: bool
    append_eos: bool
    dtype: Literal["float32", "bfloat16"]

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSettings":
        if self.query_revision and not self.query_name:
            raise ValueError("query_revision is given, but no query_name")
        for role in ("query", "passage"):
            if getattr(self, f"{role}_prompt") and getattr(self, f"{role}_prefix") is not None:
                raise ValueError(
                    f"{role}_prompt names a text, and {role}_prefix gives one: set only one of them"
                )
        return self


class EncodeSettings(Group):
    window: Count
    batch_tokens: Count | None
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]
    dtype: Literal["float32", "float16", "int8"]


INDEX_KINDS = ("flat", "ivf", "hnsw", "ivfpq", "pq", "sq8", "lsh")


class IndexSettings(Group):
    kind: Name  # one of INDEX_KINDS, or a FAISS factory string, which the stage `check` tries
    dimension: Count | None
    storage: Literal["float32", "float16"]
    nlist: Count | None
    hnsw_m: Annotated[int, Field(ge=2)]
    ef_construction: Count
    pq_bytes: Count | None
    lsh_bits: Count | None
    train_sample: Count | None


class FeedbackSettings(Group):
    method: Literal["mean", "rocchio"] | None
    passages: Count
    alpha: Annotated[float, Field(ge=0)]
    beta: Positive


class SearchSettings(Group):
    top_k: Count
    nprobe: Count | None
    ef_search: Count | None
    rescore: Count | None
    memory: Positive
    feedback: FeedbackSettings


class AuditSettings(Group):
    min_recall: Fraction
    topics: Count


class Bm25Settings(Group):
    k1: Annotated[float, Field(ge=0)]
    b: Fraction


class Rm3Settings(Group):
    use: bool
    terms: Count
    passages: Count
    weight: Fraction


class Bm25IndexSettings(Bm25Settings):
    threads: Count
    heap: Annotated[float, Field(ge=0.25)]
    rm3: Rm3Settings


class FuseSettings(Group):
    rrf_k: Annotated[int, Field(ge=0)]
    weight_steps: Count
    default_weight: Fraction


class RerankTrainSettings(Group):
    steps: Count
    batch_size: Count
    passages: Annotated[int, Field(ge=2)]
    lr: Positive
    max_length: Annotated[int, Field(ge=16)]  # the query leaves room for the passage


class RerankSettings(Group):
    model: Name | None
    revision: Name | None
    run: Literal["bm25", "zero_shot", "dense", "rrf", "hybrid"]
    depth: Count
    weight: Fraction | None
    train: RerankTrainSettings

    @property
    def trains(self) -> bool:
        """Whether a cross-encoder is trained here."""
        return self.model == TRAINED


class EvalSettings(Group):
    measures: Annotated[list[str], Field(min_length=1), AfterValidator(measures.check)]
