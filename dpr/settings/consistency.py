"""Conditions between the groups of params.yaml; a ValueError says what to change."""

from typing import TYPE_CHECKING

from dpr import measures
from dpr.settings.groups import TRAINED

if TYPE_CHECKING:  # whole.py imports this file
    from dpr.settings.whole import Round, Settings


def require(settings: "Settings") -> None:
    trained = settings.trained_rounds()
    for round_name in trained:
        try:
            _require_consistent_round(settings, round_name)
        except ValueError as error:
            where = "in the second round: " if round_name == "second" else ""
            raise ValueError(f"{where}{error}") from None
    if shares := [settings.train_settings(name).teacher_share for name in trained]:
        _require_teaching(settings, shares)
    _require_deep_search(settings)
    _require_reranking(settings)


def _require_consistent_round(settings: "Settings", round_name: "Round") -> None:
    mine, train = settings.mine_settings(round_name), settings.train_settings(round_name)
    used = [source for source in (mine.bm25, mine.encoder) if source.use]
    if used and not train.hard_negatives:
        raise ValueError("mine.*.use is true, but train.hard_negatives is 0: raise it to 1")
    if settings.model.dtype == "bfloat16" and not train.lora_rank:
        raise ValueError(
            "model.dtype: bfloat16 would round training steps away: set float32, or set "
            "train.lora_rank, since LoRA matrices are float32"
        )
    scores = settings.teacher_of(round_name) or ""
    if scores.startswith("file:") and settings.chooses_positives(round_name):
        raise ValueError(
            "teacher.scores: a file cannot name the positives that mine.positive: best "
            "chooses: set mine.positive to first"
        )
    if scores == f"cross-encoder:{TRAINED}" and not settings.rerank.trains:
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
    limited = settings.teacher.margin is not None and not scores.startswith("file:")
    if limited and settings.teacher.depth < deepest:
        raise ValueError(
            f"teacher.depth {settings.teacher.depth} is below mine's last_rank {deepest}, so "
            "teacher.margin would drop the passages in between: raise teacher.depth"
        )


def _require_teaching(settings: "Settings", shares: list[float]) -> None:
    """A teacher needs scores, and either a share of a loss or a margin."""
    margin, scores = settings.teacher.margin, settings.teacher.scores
    kind, _, name = (scores or "").partition(":")
    if settings.teacher.revision and (kind != "cross-encoder" or name == TRAINED):
        raise ValueError("teacher.revision is that of a hub's cross-encoder: set it to null")
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


def _require_deep_search(settings: "Settings") -> None:
    search = settings.search
    depth = max(search.top_k + bool(settings.data.drop_query_id), search.rescore or 0)
    if "hnsw" in settings.index.kind.lower() and (search.ef_search or depth) < depth:
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
    for measure in settings.eval.measures:
        if (measures.cutoff(measure) or 0) > search.top_k:
            raise ValueError(
                f"eval.measures: {measure} is deeper than search.top_k {search.top_k}, so "
                "its values would be wrong: raise search.top_k, or remove the measure"
            )


def _require_reranking(settings: "Settings") -> None:
    rerank, top_k = settings.rerank, settings.search.top_k
    if rerank.revision and rerank.model in (None, TRAINED):
        raise ValueError("rerank.revision is that of a hub's rerank.model: set it to null")
    if rerank.model and rerank.depth > top_k:
        raise ValueError(
            f"rerank.depth {rerank.depth} is deeper than search.top_k {top_k}: raise "
            "search.top_k, or lower the depth"
        )
