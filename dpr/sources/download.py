"""Files by URL: fetched once and whole; a killed download continues from its last byte."""

import hashlib
import time
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from urllib3.exceptions import HTTPError

from dpr.base.errors import InputError
from dpr.base.files import sha256
from dpr.base.progress import progress
from dpr.records.lines import existing

FOLDER = Path(".scratch/downloads")
TRIES, PAUSE = 3, 1.0  # seconds between two tries
TIMEOUT = 60.0  # seconds without a byte
BLOCK = 2**20  # bytes


def find(location: str) -> tuple[Path, dict[str, Any]]:
    """The file at a path or URL, and its description for the manifest; errors as in `fetch`."""
    if not location.startswith(("http://", "https://")):
        path = Path(location)
        if not existing(path).is_file():
            return path, {}  # its reader raises the error
        return path, {"file": path.name, "sha256": sha256(existing(path))}
    path = fetch(location)
    return path, {"url": location, "bytes": path.stat().st_size, "sha256": sha256(path)}


def fetch(url: str) -> Path:
    """The file at a URL, downloaded into `FOLDER` unless it is there.

    Raises:
        InputError: if it cannot be fetched whole, naming the path to put the file at by hand; and
            for a URL with a password, since params.yaml and the manifest are committed.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise InputError(
            f"{parts.scheme}://...@{parts.hostname}{parts.path}: has a user or a password in it; "
            "put them into ~/.netrc, which is read"
        )
    name = PurePosixPath(parts.path).name
    name = "file" if name in ("", "..") else name
    path = FOLDER.absolute() / hashlib.sha256(url.encode()).hexdigest()[:12] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):  # two experiments may fetch the same file
        if not path.exists():
            _download(url, path)
    return path


def _download(url: str, path: Path) -> None:
    """Fetch in up to `TRIES` tries; each continues the last if the server supports that."""
    partial, version = (path.with_name(f"{path.name}.{end}") for end in ("partial", "version"))
    for left in reversed(range(TRIES)):
        try:
            _receive(url, partial, version)
            break
        except (requests.RequestException, HTTPError, EOFError) as error:
            response = getattr(error, "response", None)
            if not left or (response is not None and response.status_code < 500):
                raise InputError(
                    f"{url}: cannot be fetched ({error}); check the address and the network and "
                    f"try again, or put the file there by hand: {path}"
                ) from None
            time.sleep(PAUSE)
    partial.replace(path)
    version.unlink()


def _receive(url: str, partial: Path, version: Path) -> None:
    """Complete `partial`. `version` has the validator of its contents (RFC 9110, If-Range).

    Raises:
        EOFError: if bytes are missing at the end.
    """
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, and their number
    start = partial.stat().st_size if partial.exists() else 0
    if start and (validator := version.read_text() if version.exists() else ""):
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            partial.unlink()  # the next try starts over
            raise EOFError(f"nothing comes after byte {start:,}")
        response.raise_for_status()
        if response.status_code == requests.codes.partial_content:
            size = response.headers.get("Content-Range", "").rpartition("/")[2]
        else:  # from the start: the file has changed, or the server cannot continue
            start, size = 0, response.headers.get("Content-Length", "")
            partial.unlink(missing_ok=True)
            tag = response.headers.get("ETag", "")  # weak ones begin with W/
            modified = response.headers.get("Last-Modified", "")
            version.write_text(tag if tag.startswith('"') else modified)
        total = int(size) if size.isdigit() else None
        bar = progress(desc=url, total=total, initial=start, unit="B", unit_scale=True)
        with partial.open("ab") as file, bar:
            for block in response.raw.stream(BLOCK, decode_content=False):
                file.write(block)
                bar.update(len(block))
    if total not in (None, partial.stat().st_size):
        raise EOFError(f"only {partial.stat().st_size:,} of {total:,} bytes came")
