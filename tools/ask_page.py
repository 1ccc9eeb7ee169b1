"""The page of `python -m tools.ask --serve`: a form, and the answers to one question at a time."""

import ipaddress
import socket
import sys
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dpr.base.errors import InputError
from dpr.records.types import SYSTEMS
from dpr.settings import load_settings
from tools import PAGES, systems
from tools.answers import Answers
from tools.passages import Words, examples, size

LONGEST = 2_000  # letters of a question; the rest is cut
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def serve(host: str, port: int, system: str | None) -> None:
    """Serve the page until Ctrl-C. Raises InputError for a port that is in use."""
    try:
        server = HTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"{host}:{port}: {error}; try a different --port") from None
    best = choice().system
    answers_of(system or best)
    Handler.system = system
    Handler.names |= {host.lower(), socket.gethostname().lower()}
    print(f"http://{host}:{server.server_port}  (Ctrl-C ends it)", file=sys.stderr, flush=True)
    with server:
        server.serve_forever()


answers_of = cache(Answers)  # a system is opened at its first question
choice = cache(systems.default)


class Handler(BaseHTTPRequestHandler):
    """The page, one question at a time. It needs no script."""

    timeout = 1  # seconds for a connection that sends nothing
    system: str | None = None  # preselected on the page; None: the best one here
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


def page(question: str, system: str | None) -> str:
    """The page with the answers to a question; only the form if the question is empty.

    Args:
        system: None for the best one here.
    """
    question, default, problem = question[:LONGEST], choice(), None
    shown: dict[str, Any] = {"size": "", "answers": [], "notes": [], "score": "", "examples": []}
    system = system or default.system
    differs = system in SYSTEMS and system != default.system
    try:
        shown["size"] = size()
        if system not in SYSTEMS:
            raise InputError(f"no system {system}; choose one of {', '.join(SYSTEMS)}")
        if question:
            opened = answers_of(system)
            shown |= {"answers": opened.ask(question), "notes": opened.notes, "score": opened.score}
        else:
            shown["examples"] = examples()
    except InputError as error:
        problem = str(error)
    return PAGES.get_template("ask.html").render(
        shown,
        question=question,
        default=default,
        chosen=systems.Choice(system) if differs else default,
        descriptions=systems.descriptions_of(load_settings("params.yaml")),
        problem=problem,
        words=Words(question),
    )
