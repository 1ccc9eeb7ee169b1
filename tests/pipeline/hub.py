"""A stand-in for a model hub: what is committed lies in a dictionary."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def hub():
    """(address, {repository: {path: bytes}}) of a hub that runs in the block."""
    stored = {}
    handler = type("Handler", (Handler,), {"stored": stored})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
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
        self.answer(404, {"error": self.path})

    def answer(self, code, content):
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass
