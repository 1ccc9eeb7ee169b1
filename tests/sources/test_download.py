"""Files by URL, from a server on this machine that does what a test asks for."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers import train

from dpr.base.errors import InputError
from dpr.base.files import sha256
from dpr.sources import download, reference

PAIRS = "".join(f"query {i}\tpassage {i}\n" for i in range(50)).encode()


class Server(ThreadingHTTPServer):
    """Serves `content` under every path but /gone; `asked` has the Range of each request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.asked = PAIRS, '"1"', []
        self.cuts = 0  # so many answers end after 100 bytes
        self.ranges, self.most = True, 10_000  # bytes in the answer to a Range request

    def url(self, path="pairs.tsv"):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        if self.path == "/gone":
            return self.send_error(404)
        start, end, content = 0, len(server.content), server.content
        if asked and server.ranges and self.headers["If-Range"] == server.etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= end:
                return self.send_error(416)
            end = min(end, start + server.most)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", server.etag)
        self.end_headers()
        server.cuts -= 1
        self.wfile.write(content[start : start + 100 if server.cuts >= 0 else end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "PAUSE", 0)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def killed(server, tmp_path, monkeypatch):
    """A URL of which 100 bytes came before the kill."""
    server.cuts = 1
    with monkeypatch.context() as patch:
        patch.setattr(download, "TRIES", 1)
        with pytest.raises(InputError, match="cannot be fetched"):
            download.fetch(server.url())
    server.asked.clear()
    assert [p.read_bytes() for p in tmp_path.rglob("*.partial")] == [PAIRS[:100]]
    return server.url()


def test_a_file_is_fetched_once(server, tmp_path):
    path = download.fetch(server.url("a.tsv?download=true"))
    assert (path.name, path.read_bytes()) == ("a.tsv", PAIRS)
    assert {p.name for p in path.parent.iterdir()} == {"a.tsv", "a.tsv.lock"}
    server.content = b"other"
    other = download.fetch(server.url("b/a.tsv"))
    assert (other.name, other.read_bytes()) == ("a.tsv", b"other")
    inside = download.fetch(server.url("a/.."))
    assert inside.is_relative_to(tmp_path / ".scratch/downloads")
    assert inside.read_bytes() == b"other"
    server.server_close()
    assert download.fetch(server.url("a.tsv?download=true")) == path
    assert path.read_bytes() == PAIRS


# The connection is cut once more; the server sends less than it is asked for.
@pytest.mark.parametrize(("limit", "value", "start"), [("cuts", 1, 200), ("most", 500, 600)])
def test_after_a_kill_only_the_rest_is_fetched(server, killed, limit, value, start):
    setattr(server, limit, value)
    assert download.fetch(killed).read_bytes() == PAIRS
    assert server.asked == ["bytes=100-", f"bytes={start}-"]


@pytest.mark.parametrize("change", ["file", "server"])
def test_a_changed_file_is_fetched_from_its_start(server, killed, tmp_path, change):
    if change == "file":
        server.content, server.etag = PAIRS.upper(), '"2"'
    else:
        server.ranges = False
    assert download.fetch(killed).read_bytes() == server.content
    assert len(server.asked) == 1


def test_a_kill_after_the_last_byte(server, killed, tmp_path):
    (partial,) = tmp_path.rglob("*.partial")
    partial.write_bytes(PAIRS)
    assert download.fetch(killed).read_bytes() == PAIRS


@pytest.mark.parametrize("wrong", ["gone", "cut", "no server"])
def test_what_cannot_be_fetched_is_put_there_by_hand(server, tmp_path, wrong):
    url = server.url("gone" if wrong == "gone" else "pairs.tsv")
    if wrong == "cut":
        server.cuts = 99
    if wrong == "no server":
        server.shutdown()
        server.server_close()
    with pytest.raises(InputError) as caught:
        train(f"pairs:{url}", tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(f"{url}: cannot be fetched (")
    assert wrong != "gone" or ("404" in message and len(server.asked) == 1)
    place = message.rpartition("by hand: ")[2]
    assert not list(tmp_path.rglob("out"))
    Path(place).write_bytes(PAIRS)
    train(f"pairs:{url}", tmp_path / "out")


def test_training_data_by_url(server, tmp_path):
    (tmp_path / "p.tsv").write_bytes(PAIRS)
    manifest = train(f"pairs:{server.url('p.tsv')}", tmp_path / "by_url")
    train(f"pairs:{tmp_path / 'p.tsv'}", tmp_path / "by_path")
    for name in ("corpus.jsonl", "pairs.jsonl"):
        assert sha256(tmp_path / "by_url" / name) == sha256(tmp_path / "by_path" / name)
    source = {key: manifest["source"][key] for key in ("url", "bytes", "sha256")}
    fingerprint = sha256(tmp_path / "p.tsv")
    assert source == {"url": server.url("p.tsv"), "bytes": len(PAIRS), "sha256": fingerprint}


def test_msmarco_tiny_has_the_number_of_triples_that_it_promises(server, tmp_path, monkeypatch):
    monkeypatch.setitem(reference.MSMARCO_TINY, "url", server.url("tiny.tsv"))
    triple = "query {0}\tgood {0}\tbad {0}\n"
    server.content = "".join(triple.format(i) for i in range(11_000)).encode()
    manifest = train("msmarco-tiny", tmp_path / "out", train_limit=20)
    assert (manifest["source"]["examples"], manifest["pairs"]["with_negatives"]) == (20, 19)
    assert manifest["source"]["bytes"] == len(server.content)
    (path,) = tmp_path.rglob("tiny.tsv")
    path.write_bytes(server.content + triple.format("x").encode())
    with pytest.raises(InputError, match=r"tiny\.tsv: 11,001 triples; this source has 11,0"):
        train("msmarco-tiny", tmp_path / "out")


@pytest.mark.parametrize("user", ["me", "me:secret"])
def test_a_password_is_refused_and_not_told(tmp_path, monkeypatch, user):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"https://\.\.\.@host/p\.tsv.*netrc") as caught:
        download.fetch(f"https://{user}@host/p.tsv")
    assert "secret" not in str(caught.value) and not list(tmp_path.iterdir())
