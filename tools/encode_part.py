"""Encode a part of the passages: one task of a job array on a cluster. No task waits for another.

WHAT is dense or zero_shot for the stage `encode`, first or second for `vectors`. Reads what that
stage reads. Fills .scratch, where the stage finds the windows of all parts and joins them.
After a kill or a preemption, the same command encodes the rest of its part.

    python -m tools.encode_part dense $SLURM_ARRAY_TASK_ID 32     # sbatch --array=0-31
    python -m tools.repro                                         # when all tasks have ended
"""

from pathlib import Path
from typing import Literal, get_args

from dpr.base import runtime
from dpr.base.errors import InputError
from dpr.base.processes import ProcessGroup
from dpr.embeddings.passages import encode_part
from dpr.embeddings.precision import open_for_passages
from dpr.records.corpus import Corpus
from dpr.records.types import ENCODERS
from dpr.settings import Round, load_settings
from stages import rounds, versions
from stages.run import SCRATCH, one_line_errors, parser


def main(what: Round | Literal["zero_shot", "dense"], part: int, parts: int) -> None:
    versions.require_recorded()
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    if what == "first" or what == "second":
        texts, encoder = Path("data/training"), rounds.INITIAL_ENCODER[what]
        folder = rounds.vectors_folder(what)
        if not settings.needs_vectors(what):
            raise InputError(f"the {what} round needs no vectors; nothing to encode")
    else:
        texts, encoder = Path("data/collection"), Path("data/encoders") / what
        folder = Path("data/embeddings") / what
    corpus, alone = Corpus(texts, settings.data.separator), ProcessGroup(device=runtime.device())
    embedder = open_for_passages(corpus, encoder, settings.encode, SCRATCH, alone)
    encoded, left = encode_part(embedder, corpus, folder, part, parts)
    print(f"part {part} of {parts}: {encoded} windows encoded; {left} are left for other parts")


if __name__ == "__main__":
    arguments = parser("tools.encode_part", __doc__)
    targets = (*ENCODERS, *get_args(Round))
    arguments.add_argument("what", choices=targets, metavar="WHAT", help=", ".join(targets))
    arguments.add_argument("part", type=int, metavar="PART", help="from 0")
    arguments.add_argument("parts", type=int, metavar="PARTS", help="how many there are")
    chosen = arguments.parse_args()
    with one_line_errors("encode_part"):
        main(chosen.what, chosen.part, chosen.parts)
