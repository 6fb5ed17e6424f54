"""
A small Hub on this machine: what `huggingface_hub` asks of the real one when it creates, pushes and downloads, kept in
memory. It records every request, and faults can be planted in any of them.

    hub = LocalHub()                      # listens on http://127.0.0.1:PORT, in threads
    hub.plant(Fault("PUT", "/lfs/", status=500, times=2))
    hub.repo("user/name").files()         # {path: bytes} of the newest commit on main
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import traceback
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml


WRITE_TOKEN = "hf_writeWRITEwriteWRITE01"
OTHER_TOKEN = "hf_otherOTHERotherOTHER02"
READ_TOKEN = "hf_readREADreadREADread03"
TOKENS = {WRITE_TOKEN: ("user", "write"), OTHER_TOKEN: ("other", "write"), READ_TOKEN: ("user", "read")}
# as a new repo's .gitattributes says
LFS = re.compile(r"\.(safetensors|bin|pt|pth|parquet|arrow|gguf|zip)$|tfevents")
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.pt filter=lfs diff=lfs merge=lfs -text\n"


@dataclass
class Fault:
    """The next `times` requests of this method whose path holds `path` fail, after the first `skip` have passed."""

    method: str
    path: str
    status: int = 0  # the answer, or
    cut_after: int = 0  # bytes of the body after which the connection is cut, or
    hold: threading.Event | None = None  # what is waited for before the request is answered as usual
    times: int = 1
    skip: int = 0
    came: threading.Event = field(default_factory=threading.Event)  # set when such a request has come


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Commit:
    oid: str
    message: str
    files: dict[str, bytes]


@dataclass
class Repo:
    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commit(revision).files

    def commit(self, revision: str = "main") -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((c for commits in self.branches.values() for c in commits if c.oid == revision), None)

    def add(self, branch: str, message: str, files: dict[str, bytes]) -> Commit:
        commits = self.branches.setdefault(branch, [])
        seed = f"{id(self)} {branch} {len(commits)}"
        commits.append(Commit(hashlib.sha1(seed.encode()).hexdigest(), message, files))
        return commits[-1]


class LocalHub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}  # sha256 -> content that was uploaded
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.errors: list[str] = []  # of this server itself
        self.lock = threading.RLock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def repo(self, name: str) -> Repo:
        return self.repos[name]

    def calls(self, method: str, path: str) -> list[Request]:
        return [r for r in self.requests if r.method == method and path in r.path]

    def plant(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    def handle_error(self, request, client_address):
        pass  # clients that are killed, and connections that are cut, are what the tests are about


class Refusal(Exception):
    def __init__(self, status: int, message: str, code: str | None = None):
        self.status, self.message, self.code = status, message, code


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LocalHub

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._handle()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _handle(self) -> None:
        path = unquote(urlsplit(self.path).path)
        request = Request(self.command, self.path, dict(self.headers))
        with self.server.lock:
            self.server.requests.append(request)
            fault = self._planted(request)
        if fault is not None and fault.hold is not None:
            fault.came.set()
            fault.hold.wait(120)
            fault = None
        request.body = self._read_body(fault.cut_after if fault is not None else 0)
        if fault is not None:
            fault.came.set()
            self._answer(fault.status, {"error": "planted"}) if fault.status else self._cut()
            return
        try:
            with self.server.lock:
                self._route(path, request)
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message} | ({"X-Error-Code": refusal.code} if refusal.code else {})
            self._answer(refusal.status, {"error": refusal.message}, headers)
        except ConnectionError:  # the client was killed
            self.close_connection = True
        except Exception:
            self.server.errors.append(traceback.format_exc())
            self._answer(500, {"error": "the test server failed"})

    def _planted(self, request: Request) -> Fault | None:
        for fault in self.server.faults:
            if fault.times > 0 and fault.method == request.method and fault.path in request.path:
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _read_body(self, most: int = 0) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
                if most and len(body) >= most:
                    return body
            self.rfile.readline()
            return body
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(min(length, most) if most else length)

    def _cut(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, at once
        self.close_connection = True
        self.connection.close()

    def _answer(self, status: int, content: dict | list | bytes, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # ---- What the Hub answers ---------------------------------------------------------------------------------------

    def _route(self, path: str, request: Request) -> None:
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and request.method in method.split("|"):
                answer(self, request, **match.groupdict())
                return
        raise Refusal(404, f"no route for {request.method} {path}")

    def _user(self, write: bool = False) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        if token is not None and token not in TOKENS:
            raise Refusal(401, "Invalid credentials in Authorization header")
        if write and (token is None or TOKENS[token][1] != "write"):
            raise Refusal(401 if token is None else 403, "You need a token with write permission")
        return TOKENS[token][0] if token is not None else None

    def _repo(self, name: str, write: bool = False) -> Repo:
        user = self._user(write)
        repo = self.server.repos.get(name)
        mine = user is not None and name.startswith(f"{user}/")
        if repo is None or (repo.private and not mine):
            raise Refusal(401 if user is None else 404, "Repository not found", "RepoNotFound")
        if write and not mine:
            raise Refusal(403, "You don't have the rights to push to this repo")
        return repo

    def _commit(self, repo: Repo, revision: str) -> Commit:
        commit = repo.commit(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def whoami(self, request):
        self._answer(200, {"type": "user", "name": self._user(), "auth": {}, "orgs": []})

    def create(self, request):
        user = self._user(write=True)
        wanted = json.loads(request.body)
        if wanted.get("organization") not in (None, user):
            raise Refusal(403, f"You don't have the rights to create a model under {wanted['organization']!r}")
        name = f"{user}/{wanted['name']}"
        exists = name in self.server.repos
        if not exists:
            repo = self.server.repos[name] = Repo(wanted.get("visibility") == "private")
            repo.add("main", "initial commit", {".gitattributes": ATTRIBUTES})
        self._answer(409 if exists else 200, {"url": f"{self.server.url}/{name}", "name": name})

    def validate(self, request):
        content = json.loads(request.body)["content"]
        match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        data = yaml.safe_load(match[1]) if match else {}
        known = {"base_model": str, "library_name": str, "tags": list, "pipeline_tag": str, "model_name": str}
        wrong = [key for key, kind in known.items() if key in data and not isinstance(data[key], kind)]
        answer = {"warnings": [] if match else [{"message": "empty"}], "errors": [{"message": key} for key in wrong]}
        self._answer(400 if wrong else 200, answer)

    def branch(self, request, repo, branch):
        held = self._repo(repo, write=True)
        if branch in held.branches:
            raise Refusal(409, "Reference already exists")
        held.branches[branch] = list(held.branches["main"])
        self._answer(200, {})

    def preupload(self, request, repo, revision):
        files = self._commit(self._repo(repo, write=True), revision).files
        answers = []
        for file in json.loads(request.body)["files"]:
            path, mode = file["path"], mode_of(file["path"])
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False})
            if path in files:
                answers[-1]["oid"] = sha256(files[path]) if mode == "lfs" else git_oid(files[path])
        self._answer(200, {"files": answers})

    def lfs_batch(self, request, repo):
        self._repo(repo, write=True)
        objects = []
        for wanted in json.loads(request.body)["objects"]:
            if wanted["oid"] not in self.server.blobs:
                upload = {"href": f"{self.server.url}/lfs/{wanted['oid']}?X-Signature=signed"}
                wanted["actions"] = {"upload": upload, "verify": {"href": f"{self.server.url}/lfs-verify"}}
            objects.append(wanted)
        self._answer(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, request, oid):
        if sha256(request.body) != oid:
            raise Refusal(400, "the content is not what was announced")
        self.server.blobs[oid] = request.body
        self._answer(200, {})

    def lfs_verify(self, request):
        wanted = json.loads(request.body)
        found = self.server.blobs.get(wanted["oid"])
        if found is None or len(found) != wanted["size"]:
            raise Refusal(404, "not uploaded")
        self._answer(200, {})

    def commit(self, request, repo, revision):
        held = self._repo(repo, write=True)
        files = dict(self._commit(held, revision).files)
        message = ""
        for line in map(json.loads, request.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.blobs:
                    raise Refusal(400, f"{value['path']} was not uploaded")
                files[value["path"]] = self.server.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"])
            elif line["key"] == "deletedFolder":
                files = {path: data for path, data in files.items() if not path.startswith(value["path"])}
        oid = held.add(revision, message, files).oid
        self._answer(200, {"commitUrl": f"{self.server.url}/{repo}/commit/{oid}", "commitOid": oid})

    def info(self, request, repo, revision="main"):
        held = self._repo(repo)
        commit = self._commit(held, revision)
        siblings = [{"rfilename": path} for path in commit.files]
        self._answer(200, {"id": repo, "sha": commit.oid, "private": held.private, "siblings": siblings, "tags": []})

    def tree(self, request, repo, revision, folder):
        files = self._commit(self._repo(repo), revision).files
        folder = (folder or "").strip("/")
        recursive = "recursive" in parse_qs(urlsplit(request.path).query)
        inside = {path: data for path, data in files.items() if not folder or path.startswith(f"{folder}/")}
        if folder and not inside:
            raise Refusal(404, f"{folder} does not exist", "EntryNotFound")
        entries, depth = [], len(folder) + 1 if folder else 0
        for path, data in inside.items():
            if recursive or "/" not in path[depth:]:
                entries.append({"type": "file", "path": path, "size": len(data), "oid": git_oid(data)})
                if mode_of(path) == "lfs":
                    entries[-1]["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 130}
        parents = {path[: path.index("/", depth)] for path in inside if "/" in path[depth:]}
        entries += [{"type": "directory", "path": path, "oid": git_oid(path.encode()), "size": 0} for path in parents]
        self._answer(200, entries)

    def resolve(self, request, repo, revision, path):
        commit = self._commit(self._repo(repo), revision)
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            self._answer(404, {"error": "Entry not found"}, headers | {"X-Error-Code": "EntryNotFound"})
            return
        data = commit.files[path]
        headers |= {"ETag": f'"{sha256(data) if mode_of(path) == "lfs" else git_oid(data)}"', "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted:
            start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data = data[start : end + 1]
        headers["Content-Length"] = str(len(data))
        self._answer(206 if wanted else 200, data, headers)


def mode_of(path: str) -> str:
    return "lfs" if LFS.search(path) else "regular"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
REVISION = r"(?P<revision>[\w.-]+)"
ROUTES = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate),
    ("POST", f"/api/models/{REPO}/branch/(?P<branch>.+)", Handler.branch),
    ("POST", f"/api/models/{REPO}/preupload/{REVISION}", Handler.preupload),
    ("POST", f"/{REPO}.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", Handler.lfs_put),
    ("POST", "/lfs-verify", Handler.lfs_verify),
    ("POST", f"/api/models/{REPO}/commit/{REVISION}", Handler.commit),
    ("GET", f"/api/models/{REPO}", Handler.info),
    ("GET", f"/api/models/{REPO}/revision/{REVISION}", Handler.info),
    ("GET", f"/api/models/{REPO}/tree/{REVISION}(?P<folder>/.*)?", Handler.tree),
    ("GET|HEAD", f"/{REPO}/resolve/{REVISION}/(?P<path>.+)", Handler.resolve),
]
