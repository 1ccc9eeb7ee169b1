"""The page of `tools.ask --serve`, by the standard library: one question at a time, no script."""

import ipaddress
import socket
import sys
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, FileSystemLoader

from dpr.base.errors import InputError
from dpr.records.types import SYSTEMS
from tools.answers import Answers
from tools.highlight import Words

PAGES = Environment(loader=FileSystemLoader(Path(__file__).parent / "pages"), autoescape=True)
LONGEST = 2_000  # letters of a question
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
answers = cache(Answers)  # a system is opened when it is first asked


def serve(host: str, port: int, system: str) -> None:
    """Answer until Ctrl-C; InputError for a port that is taken."""
    try:
        server = HTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"{host}:{port}: {error}; another --port?") from None
    answers(system)
    Handler.system = system
    Handler.names |= {host.lower(), socket.gethostname().lower()}
    print(f"http://{host}:{server.server_port}  (Ctrl-C ends it)", file=sys.stderr, flush=True)
    with server:
        server.serve_forever()


class Handler(BaseHTTPRequestHandler):
    timeout = 1  # seconds for a connection that asks nothing
    system = "dense"  # until another is chosen
    names = frozenset({"localhost"})  # under which it is asked, besides by address

    def do_GET(self) -> None:
        try:
            parts, host = (
                urlsplit(self.path),
                urlsplit("//" + self.headers.get("Host", "")).hostname,
            )
        except ValueError:
            self.send_error(400)
            return
        if not self.known(host or ""):
            self.send_error(421, "Misdirected", "Open the page by the address that it was given")
            return
        if parts.path != "/":
            self.send_error(404)
            return
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = page(asked.get("q", ""), asked.get("system", self.system)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def known(self, host: str) -> bool:
        """False for a name that another page may have bound to this address (DNS rebinding)."""
        try:
            return bool(ipaddress.ip_address(host))
        except ValueError:
            return host in self.names

    def log_message(self, format: str, *arguments: object) -> None:
        """Questions are nobody's business."""


def page(question: str, system: str) -> str:
    """The page after a question; before one, if it is empty."""
    found, notes, problem = [], [], None
    question = question[:LONGEST]
    try:
        if system not in SYSTEMS:
            raise InputError(f"no system {system}; there are {', '.join(SYSTEMS)}")
        if question:
            found, notes = answers(system).ask(question), answers(system).notes
    except InputError as error:
        problem = str(error)
    return PAGES.get_template("ask.html").render(
        question=question,
        system=system,
        systems=SYSTEMS,
        found=found,
        notes=notes,
        problem=problem,
        words=Words(question),
    )
