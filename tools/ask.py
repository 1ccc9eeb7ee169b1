"""Ask the collection a question: print a system's best passages, with the question's words marked.

Reads data/collection, data/manifest.json and the system's encoder, embeddings and indexes; for
hybrid, also metrics/fuse.json. Without --system, it asks the best system by metrics/compare.json;
if that cannot be asked here, an encoder or BM25. Without a question, it prompts for questions. If
the question is a judged topic, + marks relevant passages and - marks passages judged not relevant.

    python -m tools.ask "does zinc deficiency impair wound healing"
    python -m tools.ask --system bm25 --k 3 --json "wound healing"
    python -m tools.ask --serve                 # a page at http://127.0.0.1:8000
"""

import json
import sys
from collections.abc import Iterator
from textwrap import shorten

from dpr.base.errors import InputError
from dpr.records.types import SYSTEMS
from stages.run import one_line_errors, parser
from tools import ask_page, systems
from tools.answers import Answer, Answers
from tools.passages import Words, examples, size

BOLD, DIM, PLAIN = "\033[1m", "\033[2m", "\033[0m"


def main(question: str | None, system: str | None, k: int, as_json: bool) -> None:
    """Print the answers to one question, or to each question that is typed."""
    chosen = systems.Choice(system) if system else systems.default()
    searcher = Answers(chosen.system)
    print(f"{size()}; {chosen.words}", file=sys.stderr)
    print(f"score: {searcher.score}", file=sys.stderr)
    for note in searcher.notes:
        print(f"note: {note}", file=sys.stderr)
    for asked in typed() if question is None else [question]:
        try:
            answers = searcher.ask(asked, k)
        except InputError as error:
            if question is not None:
                raise
            print(error, file=sys.stderr)
            continue
        if as_json:
            print(json.dumps([answer.row for answer in answers], ensure_ascii=False))
        else:
            print("\n".join(lines(asked, answers, colours=sys.stdout.isatty())))


def typed() -> Iterator[str]:
    """Questions from the terminal, until the input ends."""
    for example in examples(1):
        print(f"for example: {shorten(example, 100, placeholder='…')}", file=sys.stderr)
    while True:
        try:
            print("question, or Ctrl-D to end: ", end="", file=sys.stderr, flush=True)
            yield input()
        except EOFError:
            return


def lines(question: str, answers: list[Answer], colours: bool) -> Iterator[str]:
    """The answers as text for a terminal."""
    words = Words(question)
    bold, dim, plain = (BOLD, DIM, PLAIN) if colours else ("", "", "")

    def marked(text: str) -> str:
        return "".join(f"{bold}{p}{plain}" if hit else p for p, hit in words.parts(text))

    if not answers:
        yield "nothing found: no passage contains a word of the question"
    for answer in answers:
        judged = "" if answer.judged is None else "  +" if answer.relevant else "  -"
        yield f"{answer.rank:2}. {marked(answer.title or '(no title)')}"
        yield f"    {marked(answer.snippet)}"
        place = f" ({answer.place})" if answer.place else ""
        yield f"    {dim}{answer.id}{place}  {answer.score:.4f}{judged}{plain}"


if __name__ == "__main__":
    arguments = parser("tools.ask", __doc__)
    arguments.add_argument("question", nargs="?")
    arguments.add_argument("--system", choices=SYSTEMS, help="default: the best one here")
    arguments.add_argument("--k", type=int, default=10, help="number of passages (default: 10)")
    arguments.add_argument("--json", action="store_true", help="one line of JSON per question")
    arguments.add_argument("--serve", action="store_true", help="serve a page for the browser")
    arguments.add_argument(
        "--host", default="127.0.0.1", help="address to serve (default: this machine)"
    )
    arguments.add_argument("--port", type=int, default=8000)
    chosen = arguments.parse_args()
    if chosen.k < 1:
        arguments.error("--k must be 1 or more")
    if chosen.serve and (chosen.question or chosen.json):
        arguments.error("--serve answers in the browser: give no question and no --json")
    with one_line_errors("ask"):
        if chosen.serve:
            ask_page.serve(chosen.host, chosen.port, chosen.system)
        else:
            main(chosen.question, chosen.system, chosen.k, chosen.json)
