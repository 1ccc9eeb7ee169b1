"""All of params.yaml: its groups, and what each round of training takes from them."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from dpr.base.errors import InputError
from dpr.settings import consistency
from dpr.settings.groups import (
    TRAINED,
    AuditSettings,
    Bm25IndexSettings,
    Count,
    DataSettings,
    EncodeSettings,
    EvalSettings,
    FuseSettings,
    Group,
    IndexSettings,
    ModelSettings,
    Name,
    Positive,
    RerankSettings,
    SearchSettings,
    Seed,
)
from dpr.settings.training import MineSettings, SecondSettings, TeacherSettings, TrainSettings

Round = Literal["first", "second"]
ROUNDS: tuple[Round, ...] = ("first", "second")
SMALLEST_BATCH = 2  # a pair alone has no negative


class Settings(Group):
    similarity: Literal["cosine", "dot", "l2", "l1"] | None
    seed: Seed
    threads: Count | None
    launcher: Name
    save_every: Annotated[float, Field(ge=0)]
    train_memory: Positive | Literal["auto"] | None
    loggers: list[Literal["dvclive", "tensorboard", "wandb"]]
    data: DataSettings
    model: ModelSettings
    mine: MineSettings
    teacher: TeacherSettings
    train: TrainSettings
    second: SecondSettings
    encode: EncodeSettings
    index: IndexSettings
    search: SearchSettings
    audit: AuditSettings
    bm25: Bm25IndexSettings
    fuse: FuseSettings
    rerank: RerankSettings
    eval: EvalSettings

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        consistency.require(self)
        return self

    def mine_settings(self, round_name: Round) -> MineSettings:
        if round_name == "first":
            return self.mine
        return _with_changes(self.mine, self.second.mine, "second.mine")

    def train_settings(self, round_name: Round) -> TrainSettings:
        if round_name == "first":
            return self.train
        changes = {"lr": self.train.lr * self.second.lr_ratio} | self.second.train
        if changes.keys() & {"max_steps", "epochs"}:  # one replaces both
            changes = {"max_steps": None, "epochs": None} | changes
        return _with_changes(self.train, changes, "second.train")

    def second_overrides(self) -> list[str]:
        """The keys of `train` with a different value in `second.train`."""
        first, second = (self.train_settings(round_name).model_dump() for round_name in ROUNDS)
        return [key for key in self.second.train if second[key] != first[key]]

    def trains(self, round_name: Round) -> bool:
        """Whether a round trains. If the first does not, neither does the second."""
        if self.train.max_steps == 0:
            return False
        return round_name == "first" or (
            self.second.use and self.train_settings("second").max_steps != 0
        )

    def trained_rounds(self) -> list[Round]:
        return [round_name for round_name in ROUNDS if self.trains(round_name)]

    def teacher_of(self, round_name: Round) -> str | None:
        """`teacher.scores`, unless the round does not train or uses no scores."""
        if not self.trains(round_name):
            return None
        used = self.train_settings(round_name).teacher_share or self.teacher.margin is not None
        return self.teacher.scores if used else None

    def cross_encoders(self) -> Iterator[tuple[str, str, str | None]]:
        """(key, name, revision) of those that this file names; not of one that is trained here."""
        model, revision = self.rerank.model, self.rerank.revision
        if model not in (None, TRAINED):
            yield "rerank.model", model, revision
        teachers = {self.teacher_of(round_name) for round_name in ROUNDS}
        for teacher in filter(None, teachers):
            kind, _, name = teacher.partition(":")
            if kind == "cross-encoder" and name != TRAINED:
                yield "teacher.scores", name, self.teacher.revision

    def mines(self, round_name: Round) -> bool:
        """Whether a round ranks passages for the training queries."""
        if not self.trains(round_name):
            return False
        mine, chooses = self.mine_settings(round_name), self.chooses_positives(round_name)
        return (
            mine.bm25.use or mine.encoder.use or self.teacher_of(round_name) is not None or chooses
        )

    def chooses_positives(self, round_name: Round) -> bool:
        """Whether a round ranks the passages of each judged document and trains on the best."""
        return self.data.cut and self.mine_settings(round_name).positive == "best"

    def needs_vectors(self, round_name: Round) -> bool:
        """Whether a round compares queries with the vectors of all training passages."""
        return self.trains(round_name) and (
            self.teacher_of(round_name) == "fusion"
            or self.chooses_positives(round_name)
            or self.mine_settings(round_name).encoder.use
            or self.train_settings(round_name).roles == "query"
        )

    def require_encoder(self, has_transformer: bool) -> None:
        """Raises InputError for a training that this encoder cannot have."""
        if has_transformer:
            return
        if self.rerank.trains:
            raise InputError(
                "params.yaml: rerank.model: a cross-encoder is trained from a transformer, which "
                "this encoder lacks; name a cross-encoder, or set null"
            )
        for round_name in self.trained_rounds():
            key = "second.train" if round_name == "second" else "train"
            self.train_settings(round_name).require_transformer(key)

    def require_batches(self, pairs: int, queries: int) -> None:
        """Raises InputError if a round has too few training pairs or queries for its batches.

        The error names every key, and the values to set.
        """
        fitting = self.fitting_batches(pairs, queries)
        there = f"there are only {pairs} training pairs of {queries} queries"
        if min(fitting.values(), default=SMALLEST_BATCH) < SMALLEST_BATCH:
            raise InputError(f"{there}, too few to train: set train.max_steps=0")
        if fitting:
            cure = " ".join(f"-S {key}={size}" for key, size in fitting.items())
            raise InputError(
                f"params.yaml: {' and '.join(fitting)}: larger than the training data, since "
                f"{there}: set {cure}"
            )

    def fitting_batches(self, pairs: int, queries: int) -> dict[str, int]:
        """{key: the largest power of two that fits} for each batch size that is too large.

        Args:
            queries: training queries, at most.
        """
        fitting = {}
        for round_name in self.trained_rounds():
            train = self.train_settings(round_name)
            own = round_name == "second" and "batch_size" in self.second.train
            units = min(pairs, queries) if train.group_by == "query" else pairs
            if train.batch_size > units:
                key = "second.train.batch_size" if own else "train.batch_size"
                fitting[key] = 1 << (units.bit_length() - 1) if units else 0
        return fitting


Changed = TypeVar("Changed", MineSettings, TrainSettings)


def _with_changes(group: Changed, changes: dict[str, Any], key: str) -> Changed:
    """The group with some values changed, validated like the group itself."""
    values = group.model_dump()
    for name, value in changes.items():
        nested = isinstance(value, dict) and isinstance(values.get(name), dict)
        values[name] = values[name] | value if nested else value
    try:
        return type(group).model_validate(values)
    except ValidationError as error:
        problem: dict[str, Any] = dict(error.errors()[0])
        place = ".".join([key, *map(str, problem["loc"])])
        raise ValueError(f"{place}: {problem['msg'].removeprefix('Value error, ')}") from None
