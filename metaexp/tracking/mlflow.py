"""MLflow as a view of a run. The only file that imports ``mlflow``, and only when a run starts.

The client by itself reports its use to a server of its makers, asks a server that does not answer again for minutes,
and puts figures into the current folder. Here it reports nothing unless the user has set MLFLOW_DISABLE_TELEMETRY,
waits a bounded time for a server, and keeps figures beside the database.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from metaexp.core.disk.files import encode_text, read_regular, write_atomically
from metaexp.core.disk.locks import hold_lock
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.extras import install_command
from metaexp.core.fields import NonNegativeFloat, PositiveFloat
from metaexp.core.json_lines import METRICS_FILE, read_lines
from metaexp.tracking.base import Outcome, RunInfo, Tracker
from metaexp.tracking.bounded import ends_within, server_answers
from metaexp.tracking.environment import environment_or_key, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

log = logging.getLogger(__name__)

FOLDER = "mlflow"
"""Folder in a run folder with the id of its MLflow run."""
_SQLITE = "sqlite:///"
_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
_STATUS: dict[Outcome, str] = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_LAST_STEP = "metaexp.last_step"
"""Tag of the MLflow run: the last step whose numbers were all sent."""
_NOT_IN_NAMES = re.compile(r"[^\w\-. /:]")
_MOST_METRICS, _MOST_PARAMETERS = 1000, 100
"""What the server takes in one request."""
_LONGEST_KEY, _LONGEST_VALUE = 250, 500
_LONGEST_ID_FILE = 256
_T = TypeVar("_T")


class MlflowTracker(Tracker):
    """One MLflow run per job.

    A resumed run goes on in the same MLflow run, whose id is in its run folder; steps that are there already are left
    out. MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME in the environment come before the arguments, with a
    warning where they differ: ``mlflow.set_tracking_uri`` sets the first one, which a notebook's user may not know.

    Args:
        uri: where MLflow keeps its runs: ``sqlite:///FILE`` or the address of a server.
        experiment: the MLflow experiment that the run is filed in; it is made if it is not there.
        artifacts: whether to keep the record, metrics and configuration of the run there, beside its figures.
        flush_seconds: seconds between requests during training.
        timeout: seconds to wait for a server that does not answer. The run then goes on without MLflow.

    Raises:
        ConfigError: The package mlflow is not installed, or MLflow would not take ``uri`` or ``experiment``. This is
            found before anything runs.
    """

    def __init__(
        self, uri: str, experiment: str, artifacts: bool, flush_seconds: NonNegativeFloat, timeout: PositiveFloat
    ) -> None:
        self.uri = environment_or_key("MLFLOW_TRACKING_URI", "tracker.mlflow.uri", uri)
        self.experiment = environment_or_key("MLFLOW_EXPERIMENT_NAME", "tracker.mlflow.experiment", experiment)
        self.artifacts = artifacts
        self.flush_seconds = flush_seconds
        self.timeout = timeout
        if find_spec("mlflow") is None:
            raise ConfigError(
                "tracker=mlflow needs the package mlflow, which is not installed. "
                f"Install it with: {install_command('mlflow')}, or choose tracker=wandb or tracker=files."
            )
        problems = _uri_problems(self.uri)
        if not self.experiment.strip():
            problems.append(f"tracker.mlflow.experiment={experiment!r} is empty; give a name, for instance metaexp.")
        if problems:
            raise ConfigError(problems)
        self._client: MlflowClient | None = None
        self._id = ""
        self._seen = self._step = -1
        self._waiting: list[Metric] = []
        self._sent_at = time.monotonic()

    def start(self, run: RunInfo) -> None:
        """Open the MLflow run: a new one, or on resume the one whose id is in the run folder."""
        if self.uri.startswith(("http:", "https:")) and not server_answers(self.uri, self.timeout):
            raise TimeoutError(f"no server answers at {without_password(self.uri)} within {self.timeout:g} seconds")
        self._client = client = _open_client(self.uri)
        found = self._bounded(lambda: self._find(client, run))
        self._id = found or self._bounded(lambda: self._create(client, run))
        if run.resumed_at is not None:
            for step, values in read_lines(run.folder / METRICS_FILE):
                self.scalars(step, values)
        log.info("MLflow: run %s of the experiment %s in %s", self._id, self.experiment, without_password(self.uri))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show the numbers; those of many steps are sent in one request."""
        if step <= self._seen:
            return
        if step != self._step and time.monotonic() - self._sent_at >= self.flush_seconds:
            self._send()
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [Metric(_name(name), value, now, step) for name, value in values.items()]
        self._step = step

    def figure(self, name: str, path: Path) -> None:
        """Keep the figure with the run, in ``plots``."""
        self._bounded(lambda: self._opened().log_artifact(self._id, str(path), "plots"))

    def finish(self, outcome: Outcome, summary: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        """Send the rest, and the summary as ``summary/<name>`` at the last step; close the run with its status."""
        if self._client is None:
            return
        client = self._client
        self._seen = -1
        self.scalars(max(self._step, 0), {f"summary/{name}": value for name, value in summary.items()})
        self._send()
        if self.artifacts:
            for path in artifacts.values():
                self._bounded(partial(client.log_artifact, self._id, str(path)))
        self._bounded(lambda: client.set_terminated(self._id, _STATUS[outcome]))
        self._client = None

    def _opened(self) -> MlflowClient:
        if self._client is None:
            raise RuntimeError("the MLflow tracker is used before start() or after finish()")
        return self._client

    def _send(self) -> None:
        """Send what waits. All numbers of a step are sent together, so that a resumed run knows what is there."""
        from mlflow.entities import RunTag

        client, waiting, self._waiting = self._opened(), self._waiting, []
        tag = RunTag(_LAST_STEP, str(self._step))
        for first in range(0, len(waiting), _MOST_METRICS):
            part, is_last = waiting[first : first + _MOST_METRICS], first + _MOST_METRICS >= len(waiting)
            tags = [tag] if is_last else []
            self._bounded(partial(client.log_batch, self._id, metrics=part, tags=tags))
        self._sent_at = time.monotonic()

    def _find(self, client: MlflowClient, run: RunInfo) -> str:
        """Go on with the MLflow run of a run folder and return its id; return "" if it has none."""
        from mlflow.exceptions import MlflowException

        known = _read_id(run.folder)
        if not known or run.resumed_at is None:
            return ""
        try:
            found = client.get_run(known)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            log.warning("MLflow has no run %s in %s; this run is a new one there", known, without_password(self.uri))
            return ""
        if found.info.lifecycle_stage != "active":
            log.warning("run %s was deleted in MLflow; this run is a new one there", known)
            return ""
        self._seen = int(found.data.tags.get(_LAST_STEP, -1))
        client.update_run(known, status="RUNNING")
        _log_config(client, known, run)
        return known

    def _create(self, client: MlflowClient, run: RunInfo) -> str:
        """Make an MLflow run, keep its id in the run folder and return it."""
        from mlflow.entities import Param

        tags = {"group": run.group, "tags": ", ".join(run.tags), "mlflow.note.content": run.notes}
        made = client.create_run(
            self._experiment_id(client), run_name=run.name, tags={key: value for key, value in tags.items() if value}
        )
        identity = str(made.info.run_id)
        (run.folder / FOLDER).mkdir(exist_ok=True)
        write_atomically(run.folder / FOLDER / "run-id", encode_text(identity))
        parameters = [Param(*item) for item in _flat({**run.config, "choices": run.choices, "facts": run.facts})]
        for first in range(0, len(parameters), _MOST_PARAMETERS):
            client.log_batch(identity, params=parameters[first : first + _MOST_PARAMETERS])
        _log_config(client, identity, run)
        return identity

    def _experiment_id(self, client: MlflowClient) -> str:
        """The id of the experiment, which is made if it is not there; another process may make it meanwhile."""
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return str(client.create_experiment(self.experiment, artifact_location=_artifacts_folder(self.uri)))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = client.get_experiment_by_name(self.experiment)
        return str(found.experiment_id)

    def _bounded(self, action: Callable[[], _T]) -> _T:
        """Call the client, for a bounded time unless it only writes to a file of this machine."""
        if self.uri.startswith("sqlite:"):
            return action()
        results: list[_T] = []
        if not ends_within(self.timeout, lambda: results.append(action())):
            raise TimeoutError(f"no answer from {without_password(self.uri)} within {self.timeout:g} seconds")
        return results[0]


def _open_client(uri: str) -> MlflowClient:
    """A client that reports nothing to its makers and prints nothing but warnings."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow import MlflowClient

    if not uri.startswith(_SQLITE):
        return MlflowClient(tracking_uri=uri)
    database = Path(uri.removeprefix(_SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(database.with_name(f".{database.name}.lock"), wait=True):  # two clients that make one database fail
        return MlflowClient(tracking_uri=uri)


def _artifacts_folder(uri: str) -> str | None:
    """Where files of the runs of a database on this machine are kept; a server decides it itself."""
    if not uri.startswith(_SQLITE):
        return None
    database = Path(uri.removeprefix(_SQLITE)).resolve()
    return (database.parent / f"{database.stem}-files").as_uri()


def _read_id(folder: Path) -> str:
    """The id of the MLflow run of a run folder; "" if it has none.

    Raises:
        RunFolderError: The file of the id is a link, or holds no id.
    """
    path = folder / FOLDER / "run-id"
    if not os.path.lexists(path):
        return ""
    found = read_regular(path, most=_LONGEST_ID_FILE).decode("utf-8", "replace").strip()
    if not re.fullmatch(r"[\w-]+", found):
        raise RunFolderError(f"{path} holds {found!r}, which is not an id of an MLflow run. Remove the file.")
    return found


def _log_config(client: MlflowClient, identity: str, run: RunInfo) -> None:
    """Keep the configuration as a file. Unlike parameters, which never change, it is that of the last session."""
    client.log_text(identity, yaml.safe_dump(json.loads(json.dumps(run.config, default=str))), "config.yaml")


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a nested configuration under its dotted name, as text."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            short = text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
            yield _name(f"{prefix}{key}")[:_LONGEST_KEY], short


def _name(name: str) -> str:
    """A name that MLflow takes: other characters become ``_``."""
    return _NOT_IN_NAMES.sub("_", name)


def _uri_problems(uri: str) -> list[str]:
    """What is wrong with the address of the store."""
    source = "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else "tracker.mlflow.uri"
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else ""
    plugins = {point.name for point in entry_points(group="mlflow.tracking_store")}
    if scheme == "sqlite" and (not uri.startswith(_SQLITE) or uri == _SQLITE):
        what = "names no file"
    elif scheme in {*_SCHEMES, *plugins}:
        return []
    elif uri and scheme in ("", "file"):
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
            return []
        what = "is a folder, which MLflow no longer takes"
    else:
        what = "begins with no kind of store that MLflow knows"
    return [
        f"{source}={without_password(uri)!r} {what}; write {_SQLITE}FILE, for instance {_SQLITE}outputs/mlflow.db, or "
        "the address of a server, for instance http://localhost:5000."
    ]
