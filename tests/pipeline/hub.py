"""A stand-in for a hub: what is committed, and its data sets, lie in a dictionary."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


def commit_of(files):
    """The commit of these files, in 40 digits."""
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


@contextmanager
def hub():
    """(address, {repository: {path: bytes}}) of a hub that runs in the block.

    Data sets can be read: their repository is "datasets/ORG/NAME", their branch main. A repository
    of None is gated.
    """
    stored = {}
    handler = type("Handler", (Handler,), {"stored": stored})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", stored
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        address = f"http://{self.headers['Host']}"
        if self.headers["Authorization"] != "Bearer right":
            self.answer(401, {"error": "Invalid token"})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.stored.setdefault(name, {})
            self.answer(200, {"url": f"{address}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]
            self.answer(200, {"files": modes})
        elif "/commit/" in self.path:
            name = "/".join(self.path.split("/")[3:5])
            for row in map(json.loads, body.splitlines()):
                if row["key"] == "file":
                    content = base64.b64decode(row["value"]["content"])
                    self.stored[name][row["value"]["path"]] = content
            made = {"commitUrl": f"{address}/{name}/commit/1", "commitOid": "1", "success": True}
            self.answer(200, made)
        else:
            self.answer(404, {"error": self.path})

    def do_GET(self):
        path = unquote(urlsplit(self.path).path).removeprefix("/api")
        kind, org, name, *rest = [*path.strip("/").split("/"), "", ""]
        rest = [part for part in rest if part]
        files = self.stored.get(f"{kind}/{org}/{name}", self)
        if files is self:
            return self.refuse(404, "RepoNotFound")
        if files is None:
            return self.refuse(403, "GatedRepo")
        commit = commit_of(files)
        if rest and rest[1] not in ("main", commit):
            return self.refuse(404, "RevisionNotFound")
        if not rest or rest[0] == "revision":
            return self.answer(200, {"id": f"{org}/{name}", "sha": commit, "siblings": []})
        if rest[0] == "tree":
            oid = {path: hashlib.sha1(content).hexdigest() for path, content in files.items()}
            rows = [
                {"type": "file", "path": path, "size": len(content), "oid": oid[path]}
                for path, content in files.items()
            ]
            return self.answer(200, rows)
        content = files["/".join(rest[2:])]
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def refuse(self, code, reason):
        self.answer(code, {"error": reason}, {"X-Error-Code": reason})

    def answer(self, code, content, headers=None):
        data = json.dumps(content).encode()
        self.send_response(code)
        headers = {"Content-Type": "application/json"} | (headers or {})
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *args):
        pass
