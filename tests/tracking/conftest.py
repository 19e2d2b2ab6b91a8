"""A stand-in for the W&B server on the loopback interface, enough for the real client to log a run to."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml


class WandbServer:
    """What the client sent: runs by id, and of each run its configuration, history, summary and exit code."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        """What was uploaded, by name."""
        self.queries: list[str] = []
        self.sweep: dict[str, Any] = {}
        """The configuration of the sweep that was made."""
        self.proposed: list[dict[str, Any]] = []
        """Points that agents are still to run, parameter -> value; then they are told to stop."""
        self.silent = False
        """Whether connections are accepted and then never answered."""
        self.takes_nothing = False
        """Whether questions are answered and uploads are not."""
        self.released = threading.Event()
        self._http = _Quiet(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()

    def reply(self, path: str, body: bytes) -> dict[str, Any] | None:
        """The answer to a request, None where it is never answered."""
        if self.silent or (self.takes_nothing and path != "/graphql"):
            return None
        if path == "/graphql":
            request = json.loads(body)
            return {"data": self.graphql(request["query"], request.get("variables") or {})}
        if path.endswith("/file_stream"):
            self.stream(path.split("/")[-2], json.loads(body))
            return {"exitcode": None, "limits": {}}
        return {}

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else "?"
        self.queries.append(name)
        if name == "UpsertBucket":
            return {"upsertBucket": {"bucket": self._upsert(variables), "inserted": True}}
        if name == "RunResumeStatus":
            return {"model": self._status(variables["name"])}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.url}/storage/{file}"} for file in variables["files"]]
            return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": files}}
        if name == "Viewer":
            return {"viewer": {"id": "x", "entity": "someone", "username": "someone", "flags": "{}"}}
        if name == "ArtifactType":
            return {"project": None}
        if name == "CreateArtifact":  # as one that the server has already, so that its files are not sent
            self.artifacts.append(variables)
            return {"createArtifact": {"artifact": {"id": "x", "state": "COMMITTED", "artifactSequence": {"id": "x"}}}}
        return self._of_sweeps(name, variables)

    def _of_sweeps(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answers to ``wandb sweep`` and ``wandb agent``."""
        if name == "UpsertSweep":
            self.sweep = yaml.safe_load(variables["config"])
            project = {"id": "x", "name": variables["projectName"], "entity": {"id": "x", "name": "someone"}}
            return {"upsertSweep": {"sweep": {"name": "sweep1", "project": project}, "configValidationWarnings": []}}
        if name == "SweepWithRuns":
            sweep = {"id": "x", "name": "sweep1", "state": "RUNNING", "config": yaml.safe_dump(self.sweep)}
            return {"project": {"sweep": {**sweep, "runs": {"edges": []}}}}
        if name == "CreateAgent":
            return {"createAgent": {"agent": {"id": "agent1"}}}
        if name == "Heartbeat":
            return {"agentHeartbeat": {"agent": {"id": "agent1"}, "commands": json.dumps(self._commands(variables))}}
        return {}

    def _commands(self, variables: dict[str, Any]) -> list[dict[str, Any]]:
        if json.loads(variables["runState"]):  # one run at a time
            return []
        if not self.proposed:
            return [{"type": "exit"}]
        point = self.proposed.pop(0)
        arguments = {key: {"value": value} for key, value in point.items()}
        return [{"type": "run", "run_id": f"swept{len(self.runs)}", "args": arguments, "program": None}]

    def stream(self, run_id: str, body: dict[str, Any]) -> None:
        run = self.runs[run_id]
        for name, part in (body.get("files") or {}).items():
            lines = [json.loads(line) for line in part["content"]] if name.startswith("wandb-") else []
            if name == "wandb-history.jsonl":
                run["history"][part["offset"] :] = lines
            elif name == "wandb-summary.json" and lines:
                run["summary"] = lines[-1]
        if body.get("complete"):
            run["exit_code"] = body.get("exitcode")

    def _upsert(self, variables: dict[str, Any]) -> dict[str, Any]:
        new = {"history": [], "summary": {}, "config": {}, "exit_code": None}
        run = self.runs.setdefault(variables["name"], new)
        if variables.get("config"):
            run["config"] = json.loads(variables["config"])
        kept = ("project", "entity", "groupName", "sweep", "tags", "displayName")
        run.update({key: variables[key] for key in kept if variables.get(key) is not None})
        project = {"id": "x", "name": variables["project"], "entity": {"id": "x", "name": "someone"}}
        return {
            "id": base64.b64encode(variables["name"].encode()).decode(),
            "name": variables["name"],
            "displayName": variables.get("displayName"),
            "project": project,
            "historyLineCount": len(run["history"]),
        }

    def _status(self, run_id: str) -> dict[str, Any]:
        if run_id not in self.runs:
            return {"id": "x", "name": "x", "entity": {"id": "x", "name": "someone"}, "bucket": None}
        run = self.runs[run_id]
        bucket = {
            "id": "x",
            "name": run_id,
            "historyLineCount": len(run["history"]),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in run["history"][-1:]]),
            "eventsTail": "[]",
            "summaryMetrics": json.dumps(run["summary"]),
            "config": json.dumps(run["config"]),
            "tags": run.get("tags") or [],
            "wandbConfig": json.dumps({"t": run["config"].get("_wandb", {}).get("value", {}).get("t")}),
        }
        return {"id": "x", "name": "x", "entity": {"id": "x", "name": "someone"}, "bucket": bucket}


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """The client drops connections when it is done; that is not an error."""


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(server.reply(self.path, body))

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.files[self.path.removeprefix("/storage/")] = body
            self._answer({})

        def do_GET(self) -> None:
            self._answer(None if server.silent else {})

        def _answer(self, content: dict[str, Any] | None) -> None:
            if content is None:
                server.released.wait(600)
                self.close_connection = True
                return
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            return

    return Handler


@pytest.fixture
def wandb_server() -> Iterator[WandbServer]:
    server = WandbServer()
    yield server
    server.close()
