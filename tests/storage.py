"""Cloud Storage on this machine: as much of its JSON API as gcsfs and tensorstore use, in memory.

An upload is there for all as soon as it is answered, and not before; what is asked of a generation is refused when the
object has another. ``python -m tests.storage PORT`` serves until it is killed.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/(.+)")
OBJECTS = re.compile(r"/storage/v1/b/([^/]+)/o/?")
BUCKET = re.compile(r"/storage/v1/b/([^/]+)/?")
UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o")


class Refused(Exception):
    """An answer that is no success: its status and message."""


class Content(NamedTuple):
    """An object: what it holds, the number of the write that made it, and when that was."""

    data: bytes
    generation: int
    updated: str


class Storage:
    """The buckets, and what was asked of them.

    Attributes:
      buckets: name -> object -> content.
      full: what the names of objects begin with that may not be written any more; None if all may.
      writes: names of the objects written, in order.
    """

    def __init__(self, *names: str):
        self.buckets: dict[str, dict[str, Content]] = {name: {} for name in names}
        self.full: str | None = None
        self.writes: list[str] = []
        self.uploads: dict[str, tuple[str, str, bytearray]] = {}
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)

    def write(self, bucket: str, name: str, data: bytes) -> Content:
        """Call with the lock held."""
        if self.full is not None and name.startswith(self.full):
            raise Refused(403, "the quota is used up")
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.buckets[bucket][name] = Content(data, next(self.numbers), now)
        self.writes.append(name)
        return self.buckets[bucket][name]

    def download(self, bucket: str, folder: pathlib.Path) -> pathlib.Path:
        """Write all objects of a bucket as files."""
        with self.lock:
            found = dict(self.buckets[bucket])
        for name, content in found.items():
            if name.endswith("/"):
                continue
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.data)
        return folder


def described(bucket: str, name: str, content: Content) -> dict[str, Any]:
    """What the API says of an object."""
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "id": f"{bucket}/{name}/{content.generation}",
        "generation": str(content.generation),
        "metageneration": "1",
        "size": str(len(content.data)),
        "md5Hash": base64.b64encode(hashlib.md5(content.data).digest()).decode(),
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        "timeCreated": content.updated,
        "updated": content.updated,
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for its second part
    storage: Storage

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(self.get)

    def do_POST(self) -> None:
        self.answer(self.post)

    def do_PUT(self) -> None:
        self.answer(self.put)

    def do_DELETE(self) -> None:
        self.answer(self.delete)

    def answer(self, method: Any) -> None:
        address = urlsplit(self.path)
        self.asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            with self.storage.lock:
                method(address.path, body)
        except Refused as refused:
            status, message = refused.args
            errors = {"code": status, "message": message, "errors": [{"message": message}]}
            self.send(json.dumps({"error": errors}).encode(), status)

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if status not in (204, 304):
            self.wfile.write(body)

    def send_json(self, value: Any) -> None:
        self.send(json.dumps(value).encode())

    def objects(self, bucket: str) -> dict[str, Content]:
        if bucket not in self.storage.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        return self.storage.buckets[bucket]

    def found(self, bucket: str, name: str) -> Content:
        if name not in self.objects(bucket):
            raise Refused(404, f"No such object: {bucket}/{name}")
        return self.storage.buckets[bucket][name]

    def check_generation(self, bucket: str, name: str) -> None:
        expected = self.asked.get("ifGenerationMatch")
        content = self.objects(bucket).get(name)
        if expected is not None and int(expected) != (content.generation if content else 0):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")

    def get(self, path: str, body: bytes) -> None:
        if match := OBJECT.fullmatch(path):
            self.get_object(unquote(match[1]), unquote(match[2]))
        elif match := OBJECTS.fullmatch(path):
            self.list(unquote(match[1]))
        elif match := BUCKET.fullmatch(path):
            self.objects(unquote(match[1]))
            self.send_json({"kind": "storage#bucket", "name": match[1], "id": match[1]})
        else:
            raise Refused(404, f"not served: GET {path}")

    def get_object(self, bucket: str, name: str) -> None:
        content = self.found(bucket, name)
        self.check_generation(bucket, name)
        if self.asked.get("ifGenerationNotMatch") == str(content.generation):
            raise Refused(304, "Not Modified")
        if self.asked.get("alt") != "media":
            return self.send_json(described(bucket, name, content))
        data, status, headers = content.data, 200, {"x-goog-generation": str(content.generation)}
        if match := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or ""):
            size = len(data)
            first = int(match[1]) if match[1] else max(size - int(match[2]), 0)
            last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
            if first >= size:
                raise Refused(416, "The requested range cannot be satisfied.")
            data, status = data[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return self.send(data, status, **headers, **{"Content-Type": "application/octet-stream"})

    def list(self, bucket: str) -> None:
        prefix, delimiter = self.asked.get("prefix", ""), self.asked.get("delimiter")
        first = max(self.asked.get("pageToken", ""), self.asked.get("startOffset", ""))
        most = int(self.asked.get("maxResults", 1000))
        items, folders = [], []
        for name, content in sorted(self.objects(bucket).items()):
            inside, rest = name.startswith(prefix), name[len(prefix) :]
            end = self.asked.get("endOffset")
            if not inside or name < first or (end and name >= end):
                continue
            if delimiter and delimiter in rest:
                folder = prefix + rest.split(delimiter)[0] + delimiter
                if folder not in folders:
                    folders.append(folder)
            else:
                if len(items) == most:
                    found = {"items": items, "prefixes": folders, "nextPageToken": name}
                    return self.send_json(found)
                items.append(described(bucket, name, content))
        return self.send_json({"kind": "storage#objects", "items": items, "prefixes": folders})

    def post(self, path: str, body: bytes) -> None:
        match = UPLOAD.fullmatch(path)
        if not match:
            raise Refused(404, f"not served: POST {path}")
        if "upload_id" in self.asked:
            return self.put(path, body)
        bucket, kind = unquote(match[1]), self.asked.get("uploadType")
        self.objects(bucket)
        if kind == "resumable":
            name = self.asked.get("name") or json.loads(body)["name"]
            upload = str(next(self.storage.numbers))
            self.storage.uploads[upload] = (bucket, name, bytearray())
            where = f"http://{self.headers['Host']}{path}?upload_id={upload}"
            return self.send(b"", Location=where)
        name, data = self.asked.get("name"), body
        if kind == "multipart":
            boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
            assert boundary
            mark = b"--" + boundary[1].encode()
            first, second = body[len(mark) :].split(b"\n" + mark, 1)
            described_as = re.split(rb"\r?\n\r?\n", first, maxsplit=1)[1]
            name = json.loads(described_as)["name"]
            data = re.split(rb"\r?\n\r?\n", second, maxsplit=1)[1]
            data = data[: data.rindex(b"\n" + mark)]
        assert name
        self.check_generation(bucket, name)
        return self.send_json(described(bucket, name, self.storage.write(bucket, name, data)))

    def put(self, path: str, body: bytes) -> None:
        bucket, name, received = self.storage.uploads[self.asked["upload_id"]]
        received += body
        total = (self.headers.get("Content-Range") or "/*").rpartition("/")[2]
        if total != "*" and len(received) >= int(total):
            content = self.storage.write(bucket, name, bytes(received))
            del self.storage.uploads[self.asked["upload_id"]]
            return self.send_json(described(bucket, name, content))
        return self.send(b"", 308, Range=f"bytes=0-{len(received) - 1}")

    def delete(self, path: str, body: bytes) -> None:
        match = OBJECT.fullmatch(path)
        if not match:
            raise Refused(404, f"not served: DELETE {path}")
        bucket, name = unquote(match[1]), unquote(match[2])
        self.found(bucket, name)
        self.check_generation(bucket, name)
        del self.storage.buckets[bucket][name]
        self.send(b"", 204)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a process that was killed
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serve(*buckets: str, port: int = 0) -> Iterator[tuple[Storage, dict[str, str]]]:
    """Serve empty buckets; what to read and write, and the environment variables by which a process finds them."""
    storage = Storage(*buckets)
    server = Server(("127.0.0.1", port), type("Bound", (Handler,), {"storage": storage}))
    address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    names = ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL")  # of gcsfs; of tensorstore
    settings = dict.fromkeys(names, address)
    settings |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1")
    settings["GOOGLE_AUTH_TOKEN_FOR_TESTING"] = "none"  # else tensorstore looks for credentials
    settings["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # asks what only Google answers
    try:
        yield storage, settings
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    with serve("runs", port=int(sys.argv[1])) as (_, found):
        print(os.linesep.join(f"{name}={value}" for name, value in found.items()), flush=True)
        threading.Event().wait()
