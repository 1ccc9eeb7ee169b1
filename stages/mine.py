"""mine ROUND: add hard negatives to the training pairs, and score passages with the teacher.

Reads data/plan, data/training, data/vectors/ROUND and the encoder that the round starts from:
data/encoders/zero_shot or first. The teacher `cross-encoder:trained` is data/reranker. Makes
data/negatives/ROUND and metrics/mine*.json. Without mine.bm25.use, mine.encoder.use and
teacher.scores, the pairs do not change. If `data.passages` cuts documents, the pairs get the
passages of their documents (`mine.positive`).

    python -m stages.mine first
"""

from pathlib import Path

from dpr.base import runtime
from dpr.base.environment import is_first_process
from dpr.base.files import new_folder, read_json, temporary_folder, write_json
from dpr.base.processes import ProcessGroup
from dpr.bm25 import lucene
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.precision import open_for_queries
from dpr.indexes.exact_search import Resources
from dpr.mining import positives
from dpr.mining.mine import Miner, never_negative
from dpr.mining.positives import Positives
from dpr.mining.rankers import Ranker, bm25_ranker, encoder_ranker
from dpr.mining.teachers import FUSION, open_teacher
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.scores import TEACHER
from dpr.settings import TRAINED, MineRanker, Round, Settings, load_settings
from stages import rounds
from stages.run import SCRATCH, run

TRAINING = Path("data/training")


def main(round_name: Round) -> str:
    settings = load_settings("params.yaml")
    target = rounds.negatives_folder(round_name)
    plan = read_json(rounds.plan_file("mine", round_name))
    if not plan["mines"]:
        if is_first_process():
            with new_folder(target) as folder:
                keep_pairs(folder, plan["runs"])
            return write_figures(round_name, plan["runs"])
        return ""
    processes, summary = ProcessGroup.join(runtime.device()), ""
    if processes.is_first:
        with new_folder(target) as folder:
            mine(settings, round_name, processes, folder)
        summary = write_figures(round_name, plan["runs"])
    else:
        mine(settings, round_name, processes)
    processes.leave()
    return summary


def keep_pairs(folder: Path, runs: bool) -> None:
    """Copy the pairs; for a round that does not run, leave a marker."""
    if not runs:
        (folder / "unused").touch()
        return
    pairs, cut = beir.stream_pairs(TRAINING), load_settings("params.yaml").data.cut
    beir.write_pairs(folder, positives.first_passages(pairs) if cut else pairs)


def write_figures(round_name: Round, runs: bool) -> str:
    """Write the metrics of a round; return them in words."""
    figures = beir.count_negatives(rounds.negatives_folder(round_name)) if runs else {"pairs": 0}
    write_json(f"metrics/mine{rounds.SUFFIX[round_name]}.json", figures)
    if not runs:
        return "this round does not run"
    return f"{figures['pairs']:,} pairs, {figures['negatives_per_pair']:.1f} hard negatives each"


def mine(
    settings: Settings, round_name: Round, processes: ProcessGroup, folder: Path | None = None
) -> None:
    """Write pairs and scores to `folder`; without a folder, only help with the rankings."""
    threads = runtime.set_up(settings.threads, settings.seed)
    round_settings = settings.mine_settings(round_name)
    corpus = Corpus(TRAINING, settings.data.separator, settings.data.cut)
    pairs, queries = beir.read_pairs(TRAINING), beir.read_queries(TRAINING)
    name = read_json(rounds.plan_file("mine", round_name))["teacher"]
    depth, revision = settings.teacher.depth, settings.teacher.revision
    if name == f"cross-encoder:{TRAINED}":
        name = "cross-encoder:data/reranker"
    teacher = open_teacher(name, depth, queries, corpus, revision) if name and folder else None
    chooses = settings.chooses_positives(round_name)
    needed = max(
        0 if name is None or name.startswith("file:") else depth,
        positives.DEPTH if chooses else 0,
    )
    rankers: list[tuple[Ranker, MineRanker | None]] = []
    with temporary_folder(SCRATCH / "mine") as temporary:
        if round_settings.bm25.use or name == FUSION or chooses:
            longest = max(round_settings.bm25.last_rank, needed)
            index, heap = temporary / "bm25", settings.bm25.heap
            if processes.is_first:
                lucene.build_index(corpus.texts(), index, heap=heap)
            ranker = bm25_ranker(index, round_settings.bm25, longest, threads, heap, corpus.cut)
            rankers.append((ranker, round_settings.bm25 if round_settings.bm25.use else None))
        if round_settings.encoder.use or name == FUSION or chooses:
            start = rounds.INITIAL_ENCODER[round_name]
            embeddings, encode = Embeddings.open(rounds.vectors_folder(round_name)), settings.encode
            embedder = open_for_queries(embeddings, start, encode, processes.device, SCRATCH)
            longest = max(round_settings.encoder.last_rank, needed)
            resources, prompts = Resources(settings.search.memory, processes), settings.data.prompts
            ranker = encoder_ranker(embedder, embeddings, longest, prompts, resources, corpus.cut)
            rankers.append((ranker, round_settings.encoder if round_settings.encoder.use else None))
        counts = None
        if corpus.cut:
            named = {d for pair in pairs for d in (pair.passage_id, *pair.negative_ids)}
            counts = corpus.passage_counts(named)
        own = Positives(pairs, counts, round_settings.positive)
        if folder is None:
            Miner(pairs, queries, {}, rankers, None, settings.teacher, own).assist()
            return
        qrels = beir.read_qrels(TRAINING, "train")
        never = never_negative(pairs, queries, qrels, corpus.duplicates(), corpus.document)
        miner = Miner(
            pairs, queries, never, rankers, teacher, settings.teacher, own, corpus.document
        )
        scores = folder / TEACHER if teacher else None
        beir.write_pairs(folder, miner.run(round_settings.per_pair, settings.seed, scores))


if __name__ == "__main__":
    run(main)
