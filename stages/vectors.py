"""vectors ROUND: encode the training passages, if the round compares queries with all of them.

Reads data/plan, data/training and the encoder that the round starts from: data/encoders/zero_shot
or first. Makes data/vectors/ROUND, which is empty unless `mine.encoder.use`,
`teacher.scores: fusion` or `train.roles: query` needs it.

    python -m stages.vectors first
"""

from pathlib import Path

from dpr.base import runtime
from dpr.base.environment import is_first_process
from dpr.base.files import new_folder, read_json
from dpr.base.processes import ProcessGroup
from dpr.embeddings.passages import encode_passages
from dpr.embeddings.precision import open_for_passages
from dpr.records.corpus import Corpus
from dpr.settings import Round, load_settings
from stages import rounds
from stages.run import SCRATCH, run


def main(round_name: Round) -> str:
    settings = load_settings("params.yaml")
    if not read_json(rounds.plan_file("vectors", round_name))["needed"]:
        if is_first_process():
            with new_folder(rounds.vectors_folder(round_name)) as folder:
                (folder / "unused").touch()
        return "no vectors needed"
    runtime.set_up(settings.threads)
    processes, encoder = ProcessGroup.join(runtime.device()), rounds.INITIAL_ENCODER[round_name]
    corpus = Corpus(Path("data/training"), settings.data.separator)
    embedder = open_for_passages(corpus, encoder, settings.encode, SCRATCH, processes)
    embeddings = encode_passages(embedder, corpus, rounds.vectors_folder(round_name), processes)
    processes.leave()
    return embeddings.described


if __name__ == "__main__":
    run(main)
