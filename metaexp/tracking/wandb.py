"""Weights & Biases as a view of a run. The only file that imports ``wandb``, and only when a run starts.

What the client does by itself would stop or litter a run: it asks for a key at the terminal, waits for a server
without end, and writes to the home folder. Here it is offline unless told otherwise, waits at most ``timeout``
seconds for a server before it goes offline, and keeps its files in the run folder.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from metaexp.core.errors import ExitCode
from metaexp.core.fields import PositiveFloat
from metaexp.core.json_lines import METRICS_FILE, read_lines
from metaexp.tracking.base import Outcome, RunInfo, Tracker

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

Mode = Literal["offline", "online", "disabled"]
_MODES: tuple[Mode, ...] = ("offline", "online", "disabled")
_OWN_PROCESS_TIMEOUT = 90.0
"""Seconds for the client to start a process of its own, all that it waits for offline; slow on a busy machine."""

_EXIT_CODES: dict[Outcome, int] = {
    "completed": ExitCode.OK,
    "failed": ExitCode.BUG,
    "interrupted": ExitCode.INTERRUPTED,
}


class WandbTracker(Tracker):
    """One W&B run per job.

    mode: offline writes files for ``wandb sync``; online uploads, and goes offline when there is no key or no
    server. WANDB_MODE in the environment comes first; under ``wandb agent`` the run is online.
    project, entity, group, tags: where the run is filed; WANDB_PROJECT, WANDB_ENTITY, WANDB_RUN_GROUP and WANDB_TAGS
    come first. group None is the run's own group.
    artifacts: keep the files that the run hands over at its end as a W&B artifact.
    system_metrics: sample the load of the machine.
    timeout: seconds to wait for the server when the run starts. upload_timeout: seconds to wait at its end for what
    is still to be uploaded; the files stay and ``wandb sync`` finishes the job.

    A resumed run keeps its id. Offline it is written anew from ``metrics.jsonl``, so that the last offline folder
    holds the whole run; online, meta-updates that the server has already are passed over.
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
        mode = self._resolved_mode()
        if mode == "disabled":
            return
        (run.folder / "wandb").mkdir(exist_ok=True)
        with _files_in(run.folder / "wandb", mode):
            self._run = self._open_online(run) if mode == "online" else None
        if self._run is None:
            with _files_in(run.folder / "wandb", "offline"):
                self._run = self._open(run, "offline", suffix="-offline" if self._id_taken else "")
        self._define_metrics()
        if self._run.settings._offline:
            self._replay(run)
            identity = f"--id {self._run.id.removesuffix('-offline')} " if self._id_taken else ""
            log.info("W&B is offline. To upload this run: wandb sync %s%s", identity, self._run.settings.sync_dir)
        else:
            self._seen = _last_step(self._run) if run.resumed_at is not None else -1
            log.info("W&B: %s", self._run.url)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log ``values`` against our own step, which may repeat and need not be dense."""
        if self._run is not None and step > self._seen:
            self._run.log({"step": step, **values})

    def picture(self, name: str, path: Path) -> None:
        """Show the picture in the run's media panel."""
        if self._run is not None:
            import wandb

            self._run.log({name: wandb.Image(str(path))})

    def finish(self, outcome: Outcome, summary: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        """Set the summary, hand over the files, close the run with the exit code of ``outcome``."""
        run, info, self._run = self._run, self._info, None
        if run is None or info is None:
            return
        with _files_in(info.folder / "wandb", "offline" if run.settings._offline else "online"):
            try:
                run.summary.update({**summary, "outcome": outcome})
                if self.artifacts and artifacts:
                    self._log_artifact(run, artifacts)
            finally:
                self._close(run, _EXIT_CODES[outcome])

    def _resolved_mode(self) -> Mode:
        """The key ``mode``, unless the environment says otherwise."""
        wanted: Mode = "online" if os.environ.get("WANDB_SWEEP_ID") else self.mode
        given = os.environ.get("WANDB_MODE", "").strip().lower()
        given = {"dryrun": "offline", "run": "online", "shared": "online"}.get(given, given)
        if not given:
            return wanted
        if given not in _MODES:
            log.warning("WANDB_MODE=%s is none of %s; using %s", given, ", ".join(_MODES), wanted)
            return wanted
        if given != wanted:
            log.info("WANDB_MODE=%s in the environment comes before tracker.wandb.mode=%s", given, self.mode)
        return given

    def _open_online(self, run: RunInfo) -> wandb.Run | None:
        """An online run, or None after saying why there is none."""
        import wandb

        try:
            if not wandb.login(prompt=False, verify=False):
                log.warning("W&B has no API key (WANDB_API_KEY or `wandb login`); going offline")
                return None
            self._id_taken = True  # the client's service holds on to the id of a run that it could not start
            return self._open(run, "online")
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning("W&B cannot be reached (%s); going offline", reason)
            return None

    def _open(self, run: RunInfo, mode: Mode, suffix: str = "") -> wandb.Run:
        import wandb

        environment = os.environ
        return wandb.init(
            dir=run.folder,
            mode=mode,
            id=(environment.get("WANDB_RUN_ID") or _stored_id(run.folder / "wandb" / "run-id")) + suffix,
            resume="allow" if mode == "online" else None,
            name=environment.get("WANDB_NAME") or run.name,
            project=environment.get("WANDB_PROJECT") or self.project,
            entity=environment.get("WANDB_ENTITY") or self.entity,
            group=environment.get("WANDB_RUN_GROUP") or self.group or run.group,
            tags=[tag for tag in environment.get("WANDB_TAGS", "").split(",") if tag] or [*self.tags, *run.tags],
            config={**run.config, **_held_by_sweep(run.config), "facts": dict(run.facts)},
            settings=self._settings(mode),
        )

    def _settings(self, mode: Mode) -> wandb.Settings:
        """Settings of the client."""
        import wandb

        return wandb.Settings(
            console="off",  # the run has its own log, and progress bars do not survive being captured
            silent=True,  # what matters is said through logging
            reinit="create_new",  # a job must never write into the run of an earlier, failed one
            init_timeout=self.timeout if mode == "online" else max(self.timeout, _OWN_PROCESS_TIMEOUT),
            finish_timeout=self.upload_timeout,
            finish_timeout_raises=True,
            x_disable_stats=not self.system_metrics,
        )

    def _define_metrics(self) -> None:
        assert self._run is not None
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def _replay(self, run: RunInfo) -> None:
        """Write what a resumed run recorded before into its new offline folder."""
        if run.resumed_at is not None:
            for step, values in read_lines(run.folder / METRICS_FILE):
                self.scalars(step, values)

    def _close(self, run: wandb.Run, exit_code: int) -> None:
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            folder = run.settings.sync_dir
            log.warning("W&B: not all was uploaded in %g s. The rest: wandb sync %s", self.upload_timeout, folder)

    def _log_artifact(self, run: wandb.Run, files: Mapping[str, Path]) -> None:
        import wandb

        artifact = wandb.Artifact(f"run-{run.id}", type="run")
        for path in files.values():
            artifact.add_file(str(path), name=path.name, skip_cache=True)
        run.log_artifact(artifact)


def _held_by_sweep(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sections that a sweep of W&B varies as a whole (``algorithm: maml``), under a second name.

    Under an agent the client keeps the sweep's value under the first, and drops ours.
    """
    path = Path(os.environ.get("WANDB_SWEEP_PARAM_PATH", ""))
    if not os.environ.get("WANDB_SWEEP_ID") or not path.is_file():
        return {}
    held = yaml.safe_load(path.read_bytes()) or {}
    return {f"{name}_settings": config[name] for name in held if isinstance(config.get(name), Mapping)}


def _stored_id(path: Path) -> str:
    """The run's W&B id: made once, kept in the run folder, so that a resumed run is the same run."""
    if not path.exists():
        path.write_text(secrets.token_hex(4))
    return path.read_text().strip()


def _last_step(run: wandb.Run) -> int:
    """The last meta-update that the server has of a resumed run, -1 if none."""
    summary: Any = run.summary  # a mapping without types, and without "in"
    return int(summary["step"]) if "step" in list(summary.keys()) else -1


@contextmanager
def _files_in(folder: Path, mode: Mode) -> Iterator[None]:
    """Let the client write its caches into ``folder`` instead of the home folder, where the user has not said where.

    The user's own W&B settings are in the home folder, so online they are still read from there.
    """
    wanted = {"WANDB_CACHE_DIR": folder / "cache", "WANDB_DATA_DIR": folder / "data"}
    if mode != "online":
        wanted["WANDB_CONFIG_DIR"] = folder / "config"
    added = {name: str(path) for name, path in wanted.items() if name not in os.environ}
    if "WANDB_SILENT" not in os.environ:
        added["WANDB_SILENT"] = "true"
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
