"""The groups of mining and training: `mine`, `teacher`, `train`, `second`."""

import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from dpr import measures
from dpr.base.errors import InputError
from dpr.settings.groups import Bm25Settings, Count, Fraction, Group, Length, Positive, Share

MIN_TEMPERATURE = 0.01  # of a learned temperature (Radford et al. 2021, CLIP)
VALIDATION_DEPTH = 1000  # passages that a validation ranks per topic


class MineRanker(Group):
    use: bool
    first_rank: Count
    last_rank: Count
    margin: Annotated[float, Field(ge=0)] | None
    relative_margin: Annotated[float, Field(ge=0, lt=1)] | None

    @model_validator(mode="after")
    def _consistent(self) -> "MineRanker":
        if self.first_rank > self.last_rank:
            raise ValueError("first_rank is above last_rank")
        return self


class MineBm25(MineRanker, Bm25Settings):
    pass


class MineSettings(Group):
    positive: Literal["best", "first"]
    per_pair: Count
    bm25: MineBm25
    encoder: MineRanker


def _teacher(name: str) -> str:
    kind, _, rest = name.partition(":")
    if name != "fusion" and not (kind in ("file", "cross-encoder") and rest):
        raise ValueError("must be fusion, file:FILE or cross-encoder:NAME")
    return name


class TeacherSettings(Group):
    scores: Annotated[str, AfterValidator(_teacher)] | None
    revision: str | None
    depth: Count
    margin: float | None
    version: str | None


def _validation_measure(name: str) -> str:
    measures.check_one(name)
    if (measures.cutoff(name) or 0) > VALIDATION_DEPTH:
        raise ValueError(f"{name!r} is deeper than the {VALIDATION_DEPTH} passages of a validation")
    return name


class TrainSettings(Group):
    lr: Positive
    warmup_ratio: Fraction
    warmup_steps: Annotated[int, Field(ge=0)] | None
    max_steps: Annotated[int, Field(ge=0)] | None
    epochs: Positive | None
    batch_size: Annotated[int, Field(ge=2)]
    hard_negatives: Annotated[int, Field(ge=0)]
    in_batch_negatives: bool
    temperature: Positive
    temperature_lr: Positive | None
    symmetric: bool
    false_negative_margin: float | None
    roles: Literal["both", "query"]
    softmax_passages: Count | None
    group_by: Literal["query", "passage"] | None
    pairs_per_group: Count
    mixture: Literal["proportional", "round_robin"] | list[Share]
    one_source: bool
    chunk_size: Count | None
    accumulate: Count
    passage_max_length: Length | None
    schedule: Literal["constant", "linear", "cosine", "cosine_restarts"]
    cycles: Count
    min_lr_ratio: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)] | None
    initial_share: Annotated[float, Field(ge=0, lt=1)]
    ema: Share | None
    freeze_embeddings: bool
    freeze_layers: Annotated[float, Field(ge=0, lt=1)]
    lora_rank: Annotated[int, Field(ge=0)]
    lora_alpha: Positive
    matryoshka: list[Count]
    teacher_share: Fraction
    teacher_loss: Literal["kl", "margin_mse"]
    teacher_temperature: Positive
    eval_every: Count
    valid_passages: Annotated[int, Field(ge=2)] | None
    valid_measure: Annotated[str, AfterValidator(_validation_measure)]
    patience: Count | None
    precision: Literal["fp32", "bf16", "auto"]
    gradient_checkpointing: bool
    overfit_one_batch: bool

    @model_validator(mode="after")
    def _consistent(self) -> "TrainSettings":
        if (self.max_steps is None) == (self.epochs is None):
            raise ValueError("give one of max_steps and epochs, and null for the other")
        if not self.in_batch_negatives and (self.symmetric or not self.hard_negatives):
            raise ValueError(
                "in_batch_negatives: false needs hard_negatives above 0 and symmetric: false"
            )
        if self.pairs_per_group > 1 and self.group_by is None:
            raise ValueError("pairs_per_group needs group_by: set it to query or passage")
        if self.overfit_one_batch and self.max_steps == 0:
            raise ValueError("overfit_one_batch needs max_steps above 0")
        if self.lora_rank and self.initial_share:
            raise ValueError("lora_rank excludes initial_share: set initial_share to 0")
        if not isinstance(self.mixture, str) and abs(sum(self.mixture) - 1) > 1e-6:
            raise ValueError(f"mixture: the shares sum to {sum(self.mixture):g}, not to 1")
        if (measures.cutoff(self.valid_measure) or 0) >= (self.valid_passages or math.inf):
            raise ValueError(
                f"valid_measure {self.valid_measure} looks at all of the {self.valid_passages} "
                "valid_passages, where every encoder scores the same: raise valid_passages, or "
                "set it to null"
            )
        if self.temperature_lr is not None and self.temperature < MIN_TEMPERATURE:
            raise ValueError(f"a learned temperature must start at {MIN_TEMPERATURE} or above")
        return self

    def require_transformer(self, key: str = "train") -> None:
        """Raises InputError for settings that an encoder without a transformer cannot have."""
        names = ("freeze_embeddings", "freeze_layers", "gradient_checkpointing", "lora_rank")
        chosen = {f"{key}.{name}": value for name in names if (value := getattr(self, name))}
        if chosen:
            cure = " ".join(f"-S {k}={json.dumps(type(v)(0))}" for k, v in chosen.items())
            raise InputError(
                f"params.yaml: {', '.join(chosen)}: this encoder has token vectors alone "
                f"(StaticEmbedding), and no transformer; set {cure}"
            )


class SecondSettings(Group):
    use: bool
    lr_ratio: Positive
    mine: dict[str, Any]
    train: dict[str, Any]
