"""All of params.yaml: its groups, and what must fit between them."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from dpr import measures, params_file
from dpr.base.errors import InputError
from dpr.settings.groups import (
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
    SearchSettings,
    Seed,
)
from dpr.settings.training import MineSettings, SecondSettings, TeacherSettings, TrainSettings

Round = Literal["first", "second"]
ROUNDS: tuple[Round, ...] = ("first", "second")
LENGTHS = {"max_steps": None, "epochs": None}  # of a training; one of them is given


class Settings(Group):
    seed: Seed
    threads: Count | None
    similarity: Literal["cosine", "dot", "l2", "l1"]
    launcher: Annotated[str, Field(min_length=1)]
    save_every: Annotated[float, Field(ge=0)]
    train_memory: Annotated[float, Field(gt=0)] | None
    loggers: list[Literal["dvclive", "tensorboard", "wandb"]]
    data: DataSettings
    model: ModelSettings
    mine: MineSettings
    teacher: TeacherSettings
    train: TrainSettings
    second: SecondSettings
    encode: EncodeSettings
    index: IndexSettings
    audit: AuditSettings
    search: SearchSettings
    bm25: Bm25IndexSettings
    fuse: FuseSettings
    eval: EvalSettings

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        for round in filter(self.runs, ROUNDS):
            try:
                self._require_consistent_round(round)
            except ValueError as error:
                where = "in the second round: " if round == "second" else ""
                raise ValueError(f"{where}{error}") from None
        if shares := [self.train_of(r).teacher_share for r in ROUNDS if self.runs(r)]:
            self._require_teaching(shares)
        depth = max(self.search.top_k + bool(self.data.drop_query_id), self.search.rescore or 0)
        if "hnsw" in self.index.kind.lower() and (self.search.ef_search or depth) < depth:
            raise ValueError(
                f"search.ef_search {self.search.ef_search} is below the {depth} passages that a "
                "search needs (search.top_k, search.rescore): raise it, or leave it null"
            )
        if self.search.rescore is not None and self.search.rescore < self.search.top_k:
            raise ValueError(
                f"search.rescore {self.search.rescore} is below search.top_k {self.search.top_k}, "
                "so that two kinds of scores would be in one run: raise it, or leave it null"
            )
        for measure in self.eval.measures:
            if (measures.cutoff(measure) or 0) > self.search.top_k:
                raise ValueError(
                    f"eval.measures: {measure} is deeper than search.top_k {self.search.top_k}, "
                    "and would be another measure: raise search.top_k or leave it out"
                )
        return self

    def _require_consistent_round(self, round: Round) -> None:
        mine, train = self.mine_of(round), self.train_of(round)
        if (mine.bm25.use or mine.encoder.use) and not train.hard_negatives:
            raise ValueError("mine.*.use is true, but train.hard_negatives is 0: set it to 1")
        if (train.passage_max_length or 0) > self.model.passage_max_length:
            raise ValueError(
                f"train.passage_max_length {train.passage_max_length} is above "
                f"model.passage_max_length {self.model.passage_max_length}: raise that too"
            )
        if self.model.dtype == "bfloat16" and not train.lora_rank:
            raise ValueError(
                "model.dtype: bfloat16 would round the steps of training away: set "
                "train.lora_rank, whose matrices are float32, or set float32"
            )
        used = [source for source in (mine.bm25, mine.encoder) if source.use]
        if (self.teacher.scores or "").startswith("cross-encoder:") and not used:
            raise ValueError(
                "teacher.scores: a cross-encoder scores what `mine` finds: set mine.bm25.use or "
                "mine.encoder.use to true"
            )
        deepest = max((source.last_rank for source in used), default=0)
        of_file = (self.teacher.scores or "").startswith("file:")
        if self.teacher.margin is not None and not of_file and self.teacher.depth < deepest:
            raise ValueError(
                f"teacher.depth {self.teacher.depth} is below mine's last_rank {deepest}, so that "
                "teacher.margin would drop what lies between: raise teacher.depth"
            )

    def _require_teaching(self, shares: list[float]) -> None:
        """A teacher needs scores, and either a share of a loss or a margin."""
        margin, scores = self.teacher.margin, self.teacher.scores
        teaches = any(shares) or margin is not None
        if teaches != (scores is not None):
            raise ValueError(
                f"teacher.scores is {scores}, train.teacher_share {max(shares):g} and "
                f"teacher.margin {margin}: a teacher needs scores, and a share of the loss or a "
                "margin"
            )
        if all(shares) and margin is not None:
            raise ValueError(
                "teacher.margin chooses among mined negatives, which a teacher_share does not "
                "use: set teacher.margin to null, or teacher_share to 0"
            )

    def mine_of(self, round: Round) -> MineSettings:
        """The settings of mining in a round."""
        if round == "first":
            return self.mine
        return _with_changes(self.mine, self.second.mine, "second.mine")

    def train_of(self, round: Round) -> TrainSettings:
        """The settings of training in a round."""
        if round == "first":
            return self.train
        changes = {"lr": self.train.lr * self.second.lr_ratio} | self.second.train
        if changes.keys() & LENGTHS.keys():  # one of the two replaces both
            changes = LENGTHS | changes
        return _with_changes(self.train, changes, "second.train")

    def own_of_second(self) -> list[str]:
        """The keys of `train` that have another value in `second.train`."""
        first, second = (self.train_of(round).model_dump() for round in ROUNDS)
        return [key for key in self.second.train if second[key] != first[key]]

    def runs(self, round: Round) -> bool:
        """Whether a round trains. Without a step it hands its encoder on, and no other follows."""
        if self.train.max_steps == 0:
            return False
        return round == "first" or (self.second.use and self.train_of("second").max_steps != 0)

    def mines(self, round: Round) -> bool:
        """Whether a round ranks passages for the training queries."""
        if not self.runs(round):
            return False
        options = self.mine_of(round)
        return options.bm25.use or options.encoder.use or self.teacher.scores is not None

    def require_batches(self, pairs: int) -> None:
        """Raises InputError if so many training pairs fill no batch of a round that trains."""
        for round in filter(self.runs, ROUNDS):
            key, train = "second.train" if round == "second" else "train", self.train_of(round)
            if train.batch_size > pairs:
                raise InputError(
                    f"params.yaml: {key}.batch_size is {train.batch_size}, but there are only "
                    f"{pairs} training pairs"
                )

    def needs_vectors(self, round: Round) -> bool:
        """Whether a round compares queries with the vectors of all training passages."""
        if not self.runs(round):
            return False
        asked = [
            self.mine_of(round).encoder.use,
            self.train_of(round).roles == "query",
            self.teacher.scores == "fusion",
        ]
        return any(asked)


Changed = TypeVar("Changed", MineSettings, TrainSettings)


def _with_changes(group: Changed, changes: dict[str, Any], key: str) -> Changed:
    """The group with some values changed, checked like the group itself."""
    values = group.model_dump()
    for name, value in changes.items():
        both_groups = isinstance(value, dict) and isinstance(values.get(name), dict)
        values[name] = values[name] | value if both_groups else value
    try:
        return type(group).model_validate(values)
    except ValidationError as error:
        problem: dict[str, Any] = dict(error.errors()[0])
        place = ".".join([key, *map(str, problem["loc"])])
        raise ValueError(f"{place}: {problem['msg'].removeprefix('Value error, ')}") from None


def load_settings(path: str | Path) -> Settings:
    """Raises InputError naming every key that is missing, unknown, mistyped or out of range."""
    return params_file.read(path, Settings)
