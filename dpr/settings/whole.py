"""All of params.yaml: its groups, the conditions between them, and the settings of each round.

The file is YAML 1.2, where `3e-05` is a number. `dvc exp run -S train.lr=3e-5` writes this form.
(In YAML 1.1, which PyYAML reads, it is text.)
"""

import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML, YAMLError

from dpr import measures
from dpr.base.errors import InputError
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
        for round_name in filter(self.trains, ROUNDS):
            try:
                self._require_consistent_round(round_name)
            except ValueError as error:
                where = "in the second round: " if round_name == "second" else ""
                raise ValueError(f"{where}{error}") from None
        if shares := [
            self.train_settings(name).teacher_share for name in filter(self.trains, ROUNDS)
        ]:
            self._require_teaching(shares)
        self._require_deep_search()
        return self

    def _require_consistent_round(self, round_name: Round) -> None:
        mine, train = self.mine_settings(round_name), self.train_settings(round_name)
        used = [source for source in (mine.bm25, mine.encoder) if source.use]
        if used and not train.hard_negatives:
            raise ValueError("mine.*.use is true, but train.hard_negatives is 0: raise it to 1")
        if self.model.dtype == "bfloat16" and not train.lora_rank:
            raise ValueError(
                "model.dtype: bfloat16 would round training steps away: set float32, or set "
                "train.lora_rank, since LoRA matrices are float32"
            )
        scores = self.teacher_of(round_name) or ""
        if scores.startswith("file:") and self.chooses_positives(round_name):
            raise ValueError(
                "teacher.scores: a file cannot name the positives that mine.positive: best "
                "chooses: set mine.positive to first"
            )
        if scores == f"cross-encoder:{TRAINED}" and not self.rerank.trains:
            raise ValueError(
                f"teacher.scores is {scores}, but no cross-encoder is trained here: set "
                f"rerank.model to {TRAINED}"
            )
        if scores.startswith("cross-encoder:") and not used:
            raise ValueError(
                "teacher.scores: a cross-encoder scores the passages that `mine` ranks: set "
                "mine.bm25.use or mine.encoder.use to true"
            )
        deepest = max((source.last_rank for source in used), default=0)
        limited = self.teacher.margin is not None and not scores.startswith("file:")
        if limited and self.teacher.depth < deepest:
            raise ValueError(
                f"teacher.depth {self.teacher.depth} is below mine's last_rank {deepest}, so "
                "teacher.margin would drop the passages in between: raise teacher.depth"
            )

    def _require_teaching(self, shares: list[float]) -> None:
        """A teacher needs scores, and either a share of a loss or a margin."""
        margin, scores = self.teacher.margin, self.teacher.scores
        teaches = any(shares) or margin is not None
        if teaches != (scores is not None):
            raise ValueError(
                f"teacher.scores is {scores}, train.teacher_share {max(shares):g} and "
                f"teacher.margin {margin}: set teacher.scores and one of the other two, or none of "
                "the three"
            )
        if all(shares) and margin is not None:
            raise ValueError(
                "teacher.margin chooses among mined negatives, which a teacher_share does not "
                "use: set teacher.margin to null, or teacher_share to 0"
            )

    def _require_deep_search(self) -> None:
        search = self.search
        depth = max(search.top_k + bool(self.data.drop_query_id), search.rescore or 0)
        if "hnsw" in self.index.kind.lower() and (search.ef_search or depth) < depth:
            raise ValueError(
                f"search.ef_search {search.ef_search} is below the {depth} passages that a "
                "search needs (search.top_k, search.rescore): raise it, or leave it null"
            )
        if search.rescore is not None and search.rescore < search.top_k:
            raise ValueError(
                f"search.rescore {search.rescore} is below search.top_k {search.top_k}, "
                "so a run would mix two kinds of scores: raise search.rescore, or leave it null"
            )
        feedback = search.feedback
        if feedback.method and feedback.passages > search.top_k:
            raise ValueError(
                f"search.feedback.passages {feedback.passages} is above search.top_k "
                f"{search.top_k}: lower it, or raise search.top_k"
            )
        if self.rerank.revision and self.rerank.model in (None, TRAINED):
            raise ValueError("rerank.revision is that of a hub's rerank.model: set it to null")
        if self.rerank.model and self.rerank.depth > search.top_k:
            raise ValueError(
                f"rerank.depth {self.rerank.depth} is deeper than search.top_k {search.top_k}: "
                "raise search.top_k, or lower the depth"
            )
        for measure in self.eval.measures:
            if (measures.cutoff(measure) or 0) > search.top_k:
                raise ValueError(
                    f"eval.measures: {measure} is deeper than search.top_k {search.top_k}, so "
                    "its values would be wrong: raise search.top_k, or remove the measure"
                )

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
                yield "teacher.scores", name, None

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
        for round_name in filter(self.trains, ROUNDS):
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
        for round_name in filter(self.trains, ROUNDS):
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


def load_settings(path: str | Path) -> Settings:
    """Raises InputError naming every key that is missing, unknown, mistyped or out of range."""
    try:
        values = YAML(typ="safe", pure=True).load(Path(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the root of the repository") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = [f"  {_described(dict(problem))}" for problem in error.errors()]
        raise InputError("\n".join([f"{path}:", *problems])) from None


def _described(problem: dict[str, Any]) -> str:
    """A pydantic error as one line."""
    # pydantic adds the branch of a union ("int") to the location; the key does not have it.
    key = ".".join(str(part) for part in problem["loc"] if part not in ("int", "float"))
    if problem["type"] == "extra_forbidden":
        group: Any = Settings
        for part in problem["loc"][:-1]:
            group = group.model_fields[part].annotation
        return f"{key}: unknown key (known here: {', '.join(group.model_fields)})"
    if problem["type"] == "missing":
        return f"{key}: missing; every key is required"
    given = problem["input"]
    shown = "" if isinstance(given, dict) else f" (got {reprlib.repr(given)})"
    return f"{key or 'the file'}: {problem['msg'].removeprefix('Value error, ')}{shown}"
