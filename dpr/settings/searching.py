"""The groups of what comes after training, from `encode` to `eval`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dpr import measures
from dpr.settings.group import Count, Group
from dpr.systems import System

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
