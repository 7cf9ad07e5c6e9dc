"""Git repositories behind git's own server for HTTP, which this process calls as a web server would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.web_server import Answer, Asked, WebServer

FOREIGN = (
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
)  # as where a hook of another repository runs us


class Forge:
    """A server with repositories in a folder. smart: whether it knows git, or only hands out files."""

    def __init__(self, server: WebServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.smart = True
        self.password = ""
        server.answer = self.answer
        folder.mkdir()

    def url(self, name: str = "x") -> str:
        return f"{self.server.url}/{name}.git"

    def run(self, *words: str, name: str = "x") -> str:
        environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
        return subprocess.run(
            ["git", "-c", "core.autocrlf=false", "-c", "protocol.file.allow=always", *words],
            cwd=self.folder / f"{name}.git",
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def commit(self, files: dict[str, str], *, name: str = "x") -> str:
        """A commit with these files on the branch main; its hash."""
        place = self.folder / f"{name}.git"
        if not place.exists():
            place.mkdir()
            self.run("init", "--quiet", "--initial-branch=main", name=name)
        for path, content in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(content.encode())
        self.run("add", "--all", name=name)
        self.run("commit", "--quiet", "--message=x", name=name)
        self.run("update-server-info", name=name)
        return self.run("rev-parse", "HEAD", name=name)

    def answer(self, asked: Asked) -> Answer:
        if self.password and asked.headers.get("authorization") != f"Basic {self.password}":
            return Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        path = asked.path.replace(".git/", ".git/.git/", 1)
        if self.smart:
            return self._backend(asked, path)
        file = self.folder / path[1:]
        return Answer(body=file.read_bytes()) if file.is_file() else Answer(status=404)

    def _backend(self, asked: Asked, path: str) -> Answer:
        environment = {
            **{key: value for key, value in os.environ.items() if key not in FOREIGN},
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": str(self.folder),
            "REQUEST_METHOD": asked.method,
            "PATH_INFO": path,
            "QUERY_STRING": "&".join(f"{key}={value[0]}" for key, value in asked.query.items()),
            "CONTENT_TYPE": asked.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": asked.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": asked.headers.get("git-protocol", ""),
            "CONTENT_LENGTH": str(len(asked.body)),
        }
        done = subprocess.run(["git", "http-backend"], env=environment, input=asked.body, capture_output=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return Answer(status=int(headers.pop("Status", "200 OK").split()[0]), headers=headers, body=body)
