"""The keys of params.yaml, their types and their ranges: decided here alone.

Every key is required, so that no default hides in the code.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dpr import measures, params_file
from dpr.systems import System

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Precision = Literal["fp32", "bf16", "auto"]
Pooling = Literal["cls", "mean", "max", "last", "pooler"]
INDEX_KINDS = ("flat", "ivf", "hnsw", "ivfpq", "pq", "sq8", "lsh")


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
    separator: str
    drop_query_id: bool | None
    train: str
    prompts: list[str] | None
    train_limit: Count | None
    overlap: Literal["refuse", "drop"]
    held_out: Count
    held_out_seed: Seed
    version: str | None
    medline: MedlineSettings

    @property
    def sources(self) -> list[str]:
        """The names in `train`, one a source."""
        return self.train.split(" + ")

    @model_validator(mode="after")
    def _consistent(self) -> "DataSettings":
        if self.prompts is not None and len(self.prompts) != len(self.sources):
            raise ValueError(
                f"prompts has {len(self.prompts)} texts, but train has {len(self.sources)} "
                "sources: give each its text, or null"
            )
        return self


class ModelSettings(Group):
    name: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)] | None
    query_name: Annotated[str, Field(min_length=1)] | None
    query_revision: Annotated[str, Field(min_length=1)] | None
    respect_modules: bool
    pooling: Pooling
    append_eos: bool
    dtype: Literal["float32", "bfloat16"]
    tied: bool
    query_prefix: str | None
    passage_prefix: str | None
    query_max_length: Annotated[int, Field(ge=3)]
    passage_max_length: Annotated[int, Field(ge=3)]

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSettings":
        if self.query_revision and not self.query_name:
            raise ValueError("query_revision is given, but no query_name")
        return self


class MineSource(Group):
    use: bool
    first_rank: Count
    last_rank: Count
    margin: Annotated[float, Field(ge=0)] | None

    @model_validator(mode="after")
    def _consistent(self) -> "MineSource":
        if self.first_rank > self.last_rank:
            raise ValueError("first_rank is above last_rank")
        return self


class Bm25Settings(Group):
    k1: Annotated[float, Field(ge=0)]
    b: Annotated[float, Field(ge=0, le=1)]


class MineBm25(MineSource, Bm25Settings):
    pass


class MineSettings(Group):
    per_pair: Count
    bm25: MineBm25
    encoder: MineSource


class TrainSettings(Group):
    max_steps: Annotated[int, Field(ge=0)] | None
    epochs: Annotated[float, Field(gt=0)] | None
    batch_size: Annotated[int, Field(ge=2)]
    group_by: Literal["query", "passage"] | None
    pairs_per_group: Count
    hard_negatives: Annotated[int, Field(ge=0)]
    chunk_size: Count | None
    accumulate: Count
    passage_max_length: Annotated[int, Field(ge=3)] | None
    lr: Annotated[float, Field(gt=0)]
    schedule: Literal["constant", "linear", "cosine", "cosine_restarts"]
    cycles: Count
    warmup_steps: Annotated[int, Field(ge=0)] | None
    warmup_ratio: Annotated[float, Field(ge=0, le=1)]
    min_lr_ratio: Annotated[float, Field(gt=0, le=1)]
    temperature: Annotated[float, Field(gt=0)]
    temperature_lr: Annotated[float, Field(gt=0)] | None
    symmetric: bool
    false_negative_margin: float | None
    matryoshka: list[Count]
    initial_share: Annotated[float, Field(ge=0, lt=1)]
    freeze_embeddings: bool
    lora_rank: Annotated[int, Field(ge=0)]
    lora_alpha: Annotated[float, Field(gt=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)] | None
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    eval_every: Count
    valid_passages: Annotated[int, Field(ge=2)]
    patience: Count | None
    precision: Precision
    overfit_one_batch: bool

    @model_validator(mode="after")
    def _consistent(self) -> "TrainSettings":
        if (self.max_steps is None) == (self.epochs is None):
            raise ValueError("give one of max_steps and epochs, and null for the other")
        if self.pairs_per_group > 1 and self.group_by is None:
            raise ValueError("pairs_per_group needs group_by: set it to query or passage")
        if self.overfit_one_batch and self.max_steps == 0:
            raise ValueError("overfit_one_batch needs max_steps above 0")
        if self.lora_rank and self.initial_share:
            raise ValueError("lora_rank excludes initial_share: set initial_share to 0")
        if self.temperature_lr is not None and self.temperature < 0.01:
            raise ValueError("a learned temperature must start at 0.01 or above")
        return self


class EncodeSettings(Group):
    window: Count
    batch_tokens: Count | None
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]
    dtype: Literal["float32", "float16"]


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


class SearchSettings(Group):
    top_k: Count
    nprobe: Count | None
    ef_search: Count | None


class FuseSettings(Group):
    rrf_k: Annotated[int, Field(ge=0)]
    weight_steps: Count
    default_weight: Annotated[float, Field(ge=0, le=1)]


class EvalSettings(Group):
    measures: Annotated[list[str], Field(min_length=1), AfterValidator(measures.check)]
    references: list[System]


class Settings(Group):
    seed: Seed
    threads: Count | None
    similarity: Literal["cosine", "dot", "l2", "l1"]
    launcher: Annotated[str, Field(min_length=1)]
    save_every: Annotated[float, Field(ge=0)]
    data: DataSettings
    model: ModelSettings
    mine: MineSettings
    train: TrainSettings
    encode: EncodeSettings
    index: IndexSettings
    audit: AuditSettings
    search: SearchSettings
    bm25: Bm25Settings
    fuse: FuseSettings
    eval: EvalSettings

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if (self.mine.bm25.use or self.mine.encoder.use) and not self.train.hard_negatives:
            raise ValueError("mine.*.use is true, but train.hard_negatives is 0: set it to 1")
        if (self.train.passage_max_length or 0) > self.model.passage_max_length:
            raise ValueError(
                f"train.passage_max_length {self.train.passage_max_length} is above "
                f"model.passage_max_length {self.model.passage_max_length}: raise that too"
            )
        depth = self.search.top_k + bool(self.data.drop_query_id)
        if "hnsw" in self.index.kind.lower() and (self.search.ef_search or depth) < depth:
            raise ValueError(
                f"search.ef_search {self.search.ef_search} is below the {depth} passages that a "
                "search needs (search.top_k): raise it, or leave it null"
            )
        for measure in self.eval.measures:
            if (measures.cutoff(measure) or 0) > self.search.top_k:
                raise ValueError(
                    f"eval.measures: {measure} is deeper than search.top_k {self.search.top_k}, "
                    "and would be another measure: raise search.top_k or leave it out"
                )
        return self


def load_settings(path: str | Path) -> Settings:
    """Raises InputError naming every key that is missing, unknown, mistyped or out of range."""
    return params_file.read(path, Settings)
