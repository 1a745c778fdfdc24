"""A hub on loopback: the two addresses that das models pull asks, of a folder's files, with failures to order."""

import hashlib
import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

LARGE = ".safetensors"
MEGABYTE = 1_000_000


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class StandInHub:
    """Serves ``folder`` as ``some/weights`` at branch main. Set its attributes to change how it behaves."""

    name, commit, licence = "some/weights", "c" * 40, {"license": "other", "license_name": "some-licence", "license_link": "LICENSE"}

    def __init__(self, folder: Path):
        self.folder = folder
        self.gated = self.refused = False
        self.break_off_after: int | None = None  # bytes of one answer, once
        self.spoil = ""  # a file whose content arrives with another last byte
        self.status = 200
        self.seconds_a_megabyte = 0.0
        self.ranges: list[tuple[str, str]] = []  # file and range of each download
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def info(self) -> dict:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        siblings = [self._sibling(file) for file in files]
        gated = "manual" if self.gated else False
        return {"id": self.name, "sha": self.commit, "siblings": siblings, "gated": gated, "cardData": self.licence, "tags": []}

    def _sibling(self, file: Path) -> dict:
        content = file.read_bytes()
        entry = {"rfilename": file.relative_to(self.folder).as_posix(), "size": len(content), "blobId": git_hash(content)}
        if file.suffix == LARGE:
            entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def answer(self, path: str, range_: str) -> tuple[int, dict, bytes]:
        """Status, headers and body."""
        if self.status != 200:
            return self.status, {}, b""
        parts = unquote(path.split("?")[0]).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._api("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        if "/".join(parts[:2]) == self.name and parts[2:4] == ["resolve", self.commit]:
            return self._file("/".join(parts[4:]), range_)
        return 404, {"X-Error-Code": "EntryNotFound"}, b""

    def _api(self, name: str, revision: str) -> tuple[int, dict, bytes]:
        if name != self.name:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if revision not in ("main", self.commit):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        return 200, {"Content-Type": "application/json"}, json.dumps(self.info()).encode()

    def _file(self, name: str, range_: str) -> tuple[int, dict, bytes]:
        self.ranges.append((name, range_))
        if self.refused:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        content = (self.folder / name).read_bytes()
        if name == self.spoil:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if not range_:
            return 200, {}, content
        start = int(range_.removeprefix("bytes=").split("-")[0])
        return 206, {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}, content[start:]

    def _handler(hub):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body = hub.answer(self.path, self.headers.get("Range", ""))
                self.send_response(status)
                for key, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(key, value)
                self.end_headers()
                limit = hub.break_off_after
                if limit is not None and "/resolve/" in self.path and len(body) > limit:
                    body, self.close_connection = body[:limit], True
                with suppress(ConnectionError):  # who asked has gone
                    for start in range(0, len(body), MEGABYTE):
                        self.wfile.write(body[start : start + MEGABYTE])
                        time.sleep(hub.seconds_a_megabyte)

            def log_message(self, *ignored):
                pass

        return Handler
