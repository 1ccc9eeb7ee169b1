"""Ask the collection a question: print a system's best passages, with the question's words marked.

Reads data/collection and the system's encoder, embeddings and indexes; for hybrid, also
metrics/fuse.json. Without a question, it prompts for questions. If the question is a judged topic,
+ marks relevant passages and - marks passages judged not relevant.

    python -m tools.ask "does zinc deficiency impair wound healing"
    python -m tools.ask --system bm25 --k 3 --json "wound healing"
    python -m tools.ask --serve                 # a page at http://127.0.0.1:8000
"""

import ipaddress
import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from dpr.base.errors import InputError
from dpr.records.types import SYSTEMS
from stages.run import one_line_errors, parser
from tools import PAGES
from tools.answers import Answer, Answers
from tools.passages import Words

BOLD, DIM, PLAIN = "\033[1m", "\033[2m", "\033[0m"
LONGEST = 2_000  # letters of a question on the page; the rest is cut
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def main(question: str | None, system: str, k: int, as_json: bool) -> None:
    """Print the answers to one question, or to each question that is typed."""
    searcher = Answers(system)
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
            print(json.dumps([asdict(answer) for answer in answers], ensure_ascii=False))
        else:
            print("\n".join(lines(asked, answers, colours=sys.stdout.isatty())))


def typed() -> Iterator[str]:
    """Questions from the terminal, until the input ends."""
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


def serve(host: str, port: int, system: str) -> None:
    """Serve the page until Ctrl-C. Raises InputError for a port that is in use."""
    try:
        server = HTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"{host}:{port}: {error}; try a different --port") from None
    answers_of(system)
    Handler.system = system
    Handler.names |= {host.lower(), socket.gethostname().lower()}
    print(f"http://{host}:{server.server_port}  (Ctrl-C ends it)", file=sys.stderr, flush=True)
    with server:
        server.serve_forever()


answers_of = cache(Answers)  # the page opens a system at its first question


class Handler(BaseHTTPRequestHandler):
    """The page, one question at a time. It needs no script."""

    timeout = 1  # seconds for a connection that sends nothing
    system = "dense"  # preselected on the page
    names = frozenset({"localhost"})  # host names of this server

    def do_GET(self) -> None:
        try:
            parts = urlsplit(self.path)
            host = urlsplit("//" + self.headers.get("Host", "")).hostname
        except ValueError:
            self.send_error(400)
            return
        if not self.is_this_server(host or ""):
            self.send_error(421, "Misdirected", "Open the page at the address that was printed")
            return
        if parts.path != "/":
            self.send_error(404)
            return
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = page(fields.get("q", ""), fields.get("system", self.system)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def is_this_server(self, host: str) -> bool:
        """False for a name that a foreign page may have bound to this address (DNS rebinding)."""
        try:
            return bool(ipaddress.ip_address(host))
        except ValueError:
            return host in self.names

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing: questions are private."""


def page(question: str, system: str) -> str:
    """The page with the answers to a question; only the form if the question is empty."""
    answers, notes, problem = [], [], None
    question = question[:LONGEST]
    try:
        if system not in SYSTEMS:
            raise InputError(f"no system {system}; choose one of {', '.join(SYSTEMS)}")
        if question:
            answers, notes = answers_of(system).ask(question), answers_of(system).notes
    except InputError as error:
        problem = str(error)
    return PAGES.get_template("ask.html").render(
        question=question,
        system=system,
        systems=SYSTEMS,
        answers=answers,
        notes=notes,
        problem=problem,
        words=Words(question),
    )


if __name__ == "__main__":
    arguments = parser("tools.ask", __doc__)
    arguments.add_argument("question", nargs="?")
    arguments.add_argument("--system", choices=SYSTEMS, default="dense")
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
            serve(chosen.host, chosen.port, chosen.system)
        else:
            main(chosen.question, chosen.system, chosen.k, chosen.json)
