"""Weights & Biases as a view of a run. The only file that imports ``wandb``, and only when a run starts.

The client by itself would stop or litter a run: it asks for a key at the terminal, waits for a server without end, and
writes to the home folder. Here it is offline by default, waits a bounded time for a server at the start and
at the end, and keeps its files in the run folder.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metaexp.core.errors import first_line
from metaexp.core.fields import PositiveFloat
from metaexp.tracking.base import Outcome, RunInfo, Tracker
from metaexp.tracking.bounded import done_by_server, ends_within, server_answers
from metaexp.tracking.earlier import earlier_rows, set_earlier_aside
from metaexp.tracking.tables import shown_rows
from metaexp.tracking.wandb_files import (
    held_by_sweep,
    is_new_id_of_environment,
    mend_links,
    run_id,
    take_own_id,
    write_files_in,
)
from metaexp.tracking.wandb_names import (
    Mode,
    check_names,
    mode_in_force,
    mode_of_environment,
    shorten,
    tags_of_environment,
)
from metaexp.tracking.wandb_start import begin_sooner

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

_OWN_PROCESS_TIMEOUT = 90.0
"""Seconds that the client's own process may take offline, to start and to write its files, on a busy machine."""
_SHORT_WAIT = 3.0
"""Seconds to wait for uploads where the server does not answer or the user has stopped the run."""

_EXIT_CODES: dict[Outcome, int] = {"completed": 0, "failed": 1, "interrupted": 130}


class WandbTracker(Tracker):
    """One W&B run per job.

    A resumed run keeps its id. Offline it is written again from ``metrics.jsonl``, so that the last offline folder
    holds the whole run, and earlier ones are set aside; online, steps that the server has already are left out.

    WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY, WANDB_RUN_GROUP, WANDB_JOB_TYPE, WANDB_NAME, WANDB_TAGS and WANDB_NOTES in
    the environment come before the arguments. Under ``wandb agent`` the run is online.
    """

    def __init__(
        self,
        mode: Literal["offline", "online", "disabled"],
        project: str,
        entity: str | None,
        group: str | None,
        tags: list[str],
        artifacts: bool,
        system_metrics: bool,
        timeout: PositiveFloat,
        upload_timeout: PositiveFloat,
    ) -> None:
        """Check the names; nothing is opened yet.

        Args:
            mode: offline writes files for ``wandb sync``. online uploads, and goes offline when there is no key or no
                server. disabled does nothing.
            project: the project that the run is filed in.
            entity: the user or team; None is the account's own default.
            group: the group of runs; None is the run's own group.
            tags: labels of the run.
            artifacts: whether to keep the files of the run as a W&B artifact.
            system_metrics: whether to sample the load of the machine.
            timeout: seconds to wait for the server when the run starts.
            upload_timeout: seconds to wait at the end for uploads. A server that does not answer, or a run that the
                user stopped, waits 3 seconds at most. The files stay, and ``wandb sync`` uploads the rest.

        Raises:
            ConfigError: The server would refuse a name or a tag, or WANDB_MODE is unknown.
        """
        mode_of_environment()
        check_names(project, entity, group, tags)
        self.mode = mode
        self.project = project
        self.entity = entity
        self.group = group
        self.tags = tags
        self.artifacts = artifacts
        self.system_metrics = system_metrics
        self.timeout = timeout
        self.upload_timeout = upload_timeout
        self._run: wandb.Run | None = None
        self._info: RunInfo | None = None
        self._seen = -1
        self._id_taken = False

    def start(self, run: RunInfo) -> None:
        """Open the W&B run; see the class for what happens without a key or a server."""
        self._info = run
        mode = mode_in_force(self.mode)
        if mode == "disabled":
            return
        (run.folder / "wandb").mkdir(exist_ok=True)
        with write_files_in(run.folder / "wandb", mode):
            self._run = self._open_online(run) if mode == "online" else None
        if self._run is None:
            with write_files_in(run.folder / "wandb", "offline"):
                self._run = self._open(run, "offline", suffix="-offline" if self._id_taken else "")
        mend_links(run.folder)
        self._define_metrics()
        if self._run.settings._offline:
            self._send_earlier(run)
            identity = f"--id {self._run.id.removesuffix('-offline')} " if self._id_taken else ""
            log.info("W&B is offline. To upload this run: wandb sync %s%s", identity, self._run.settings.sync_dir)
        else:
            self._seen = _last_step(self._run) if run.resumed_at is not None else -1
            self._send_earlier(run)
            log.info("W&B: %s", self._run.url)
        set_earlier_aside(run.folder, Path(self._run.settings.sync_dir))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log ``values`` against our own step, which may repeat and need not be dense."""
        if self._run is not None and step > self._seen:
            self._run.log({"step": step, **values})

    def figure(self, name: str, path: Path) -> None:
        """Show the figure in the run's media panel."""
        if self._run is not None:
            import wandb

            self._run.log({name: wandb.Image(str(path))})

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show the first 10,000 rows of the table; without a server that answers, as a file that is uploaded later."""
        run, info = self._run, self._info
        if run is None or info is None:
            return
        import wandb

        offline, made = run.settings._offline, partial(wandb.Table, list(columns), shown_rows(name, rows))
        with write_files_in(info.folder / "wandb", "offline" if offline else "online"):
            if offline:
                run.log({name: made()})
            elif not done_by_server(run.settings.base_url, self.timeout, lambda: run.log({name: made()})):
                bind: Any = (alone := made()).bind_to_run  # untyped; a bound table asks no server about an artifact
                bind(run, name, run.step)
                run.log({name: alone})

    def finish(self, outcome: Outcome, summary: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        """Set the summary, hand over the files, close the run with the exit code of ``outcome``."""
        run, info, self._run = self._run, self._info, None
        if run is None or info is None:
            return
        with write_files_in(info.folder / "wandb", "offline" if run.settings._offline else "online"):
            try:
                run.summary.update({**summary, "outcome": outcome})
                if self.artifacts and artifacts:
                    self._log_artifact(run, artifacts)
            finally:
                self._close(run, outcome)

    def _open_online(self, run: RunInfo) -> wandb.Run | None:
        """An online run, or None after saying why there is none."""
        import wandb

        try:
            if not wandb.login(prompt=False, verify=False):
                log.warning("W&B has no API key (WANDB_API_KEY or `wandb login`); going offline")
                return None
            self._id_taken = True  # the client's service holds on to the id of a run that it could not start
            if is_new_id_of_environment(run) and (opened := self._open_new(run)) is not None:
                return opened
            return self._open(run, "online")
        except Exception as error:
            log.warning("W&B cannot be reached (%s); going offline", first_line(error))
            return None

    def _open_new(self, run: RunInfo) -> wandb.Run | None:
        """An online run that the server does not have yet; None, and another id, where it has one."""
        import wandb

        try:
            return self._open(run, "online", is_new=True)
        except wandb.errors.UsageError:
            take_own_id(run.folder)
            return None

    def _open(self, run: RunInfo, mode: Mode, suffix: str = "", *, is_new: bool = False) -> wandb.Run:
        import wandb

        begin_sooner(wandb.Run)
        environment, chosen = os.environ, {"choices": dict(run.choices)} if run.choices else {}
        return wandb.init(
            dir=run.folder,
            mode=mode,
            id=run_id(run.folder) + suffix,
            resume=("never" if is_new else "allow") if mode == "online" else None,
            name=environment.get("WANDB_NAME") or shorten(run.name),
            project=environment.get("WANDB_PROJECT") or self.project,
            entity=environment.get("WANDB_ENTITY") or self.entity,
            group=environment.get("WANDB_RUN_GROUP") or self.group or (run.group and shorten(run.group)),
            tags=tags_of_environment() or [*self.tags, *run.tags],
            notes=environment.get("WANDB_NOTES") or run.notes,
            job_type=environment.get("WANDB_JOB_TYPE") or "train",
            config={**run.config, **held_by_sweep(run.config), **chosen, "facts": dict(run.facts)},
            settings=self._settings(mode),
        )

    def _settings(self, mode: Mode) -> wandb.Settings:
        """Settings of the client."""
        import wandb

        return wandb.Settings(
            console="off",  # the run has its own log, and progress bars do not survive being captured
            silent=True,  # what matters goes to the log
            reinit="create_new",  # a job must never write into the run of an earlier, failed one
            init_timeout=self.timeout if mode == "online" else max(self.timeout, _OWN_PROCESS_TIMEOUT),
            finish_timeout=self.upload_timeout if mode == "online" else max(self.upload_timeout, _OWN_PROCESS_TIMEOUT),
            finish_timeout_raises=True,
            x_disable_stats=not self.system_metrics,
        )

    def _define_metrics(self) -> None:
        assert self._run is not None
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        self._run.define_metric("test/*", step_metric="step", hidden=True)  # one number is not a curve

    def _send_earlier(self, run: RunInfo) -> None:
        """Log what a resumed run recorded before and the server lacks. An offline folder gets everything."""
        if run.resumed_at is not None:
            for step, values in earlier_rows(run.folder, run.resumed_at):
                self.scalars(step, values)

    def _close(self, run: wandb.Run, outcome: Outcome) -> None:
        """Finish the client's run within a bounded time, and leave no process behind that would hold our end."""
        offline, folder, code = run.settings._offline, run.settings.sync_dir, _EXIT_CODES[outcome]
        finished = ends_within(self._seconds_to_upload(run, outcome), lambda: run.finish(exit_code=code))
        if not finished:
            kind = "written" if offline else "uploaded"
            log.warning("W&B: not all was %s in time. The rest: wandb sync %s", kind, folder)
        if not finished or (offline and self._id_taken):
            _end_client_process(run)

    def _seconds_to_upload(self, run: wandb.Run, outcome: Outcome) -> float:
        """How long to wait for the client at the end."""
        if run.settings._offline:
            return max(self.upload_timeout, _OWN_PROCESS_TIMEOUT)
        if outcome == "interrupted" or not server_answers(run.settings.base_url):
            return min(self.upload_timeout, _SHORT_WAIT)
        return self.upload_timeout

    def _log_artifact(self, run: wandb.Run, files: Mapping[str, Path]) -> None:
        import wandb

        artifact = wandb.Artifact(f"run-{run.id}", type="run")
        for path in files.values():
            artifact.add_file(str(path), name=path.name, skip_cache=True)
        if run.settings._offline:
            run.log_artifact(artifact)
        elif not done_by_server(run.settings.base_url, self.timeout, lambda: run.log_artifact(artifact)):
            log.warning(
                "W&B: the server does not answer, so it has no artifact of the run; the files stay in its folder"
            )


def _last_step(run: wandb.Run) -> int:
    """The last step that the server has of a resumed run, -1 if none."""
    summary: Any = run.summary  # a mapping without types, and without "in"
    return int(summary["step"]) if "step" in list(summary.keys()) else -1


def _end_client_process(run: wandb.Run) -> None:
    """Ask the client's process to end, which would otherwise hold the end of ours until its server answers.

    It writes its files first. Nothing is done while the client has other runs open here.
    """
    from wandb.sdk import wandb_setup

    client: Any = wandb_setup.singleton()
    connection = getattr(client, "_connection", None)
    if connection is None or any(other is not run for other in getattr(client, "_active_runs", [])):
        return
    with suppress(Exception):  # the process is gone already, or this client is built otherwise
        wandb_setup._singleton = None  # a later run starts a client of its own
        ends_within(_SHORT_WAIT, lambda: connection.teardown(0))
