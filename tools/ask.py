"""Ask the collection a question: the best passages of a system, the words of the question marked.

Reads data/collection, and encoder, embeddings and indexes of the system; metrics/fuse.json for
hybrid. Without a question it asks for some. A passage is marked as relevant (+) or judged and not
relevant (-) if the question is one of the judged topics.

    python -m tools.ask "does zinc deficiency impair wound healing"
    python -m tools.ask --system bm25 --k 3 --json "wound healing"
    python -m tools.ask --serve                 # a page at http://127.0.0.1:8000
"""

import json
import sys
from collections.abc import Iterator

from dpr.base.errors import InputError
from dpr.records.types import SYSTEMS
from stages.run import one_line_errors, parser
from tools import ask_page
from tools.answers import Answer, Answers
from tools.highlight import Words

BOLD, DIM, PLAIN = "\033[1m", "\033[2m", "\033[0m"


def main(question: str | None, system: str, k: int, as_json: bool) -> None:
    answers = Answers(system)
    for note in answers.notes:
        print(f"note: {note}", file=sys.stderr)
    for asked in [question] if question is not None else questions():
        try:
            found = answers.ask(asked, k)
        except InputError as error:
            if question is not None:
                raise
            print(error, file=sys.stderr)
            continue
        if as_json:
            print(json.dumps([answer.as_dict() for answer in found], ensure_ascii=False))
        else:
            print("\n".join(lines(asked, found, colours=sys.stdout.isatty())))


def questions() -> Iterator[str]:
    """What is typed until the input ends."""
    while True:
        try:
            print("question, or Ctrl-D to end: ", end="", file=sys.stderr, flush=True)
            yield input()
        except EOFError:
            return


def lines(question: str, found: list[Answer], colours: bool) -> Iterator[str]:
    words = Words(question)
    bold, dim, plain = (BOLD, DIM, PLAIN) if colours else ("", "", "")

    def marked(text: str) -> str:
        return "".join(f"{bold}{p}{plain}" if hit else p for p, hit in words.parts(text))

    if not found:
        yield "nothing found: no passage has a word of the question"
    for answer in found:
        judged = "" if answer.judged is None else "  +" if answer.relevant else "  -"
        yield f"{answer.rank:2}. {marked(answer.title or '(no title)')}"
        yield f"    {marked(answer.snippet)}"
        yield f"    {dim}{answer.id}  {answer.score:.4f}{judged}{plain}"


if __name__ == "__main__":
    arguments = parser("tools.ask", __doc__)
    arguments.add_argument("question", nargs="?")
    arguments.add_argument("--system", choices=SYSTEMS, default="dense")
    arguments.add_argument("--k", type=int, default=10, help="passages (10)")
    arguments.add_argument("--json", action="store_true", help="one line of JSON a question")
    arguments.add_argument("--serve", action="store_true", help="a page for the browser")
    arguments.add_argument("--host", default="127.0.0.1", help="who may ask (127.0.0.1: only you)")
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
