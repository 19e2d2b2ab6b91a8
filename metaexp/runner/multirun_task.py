"""One job of ``metaexp train -m``, in whatever process a launcher runs it."""

from __future__ import annotations

import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from metaexp.core.errors import MetaexpError
from metaexp.results.record import RunRecord
from metaexp.results.wording import say_score
from metaexp.runner.check import check
from metaexp.runner.compose import Composed, deviations, hydra_files
from metaexp.runner.describe import Origin
from metaexp.runner.identity import run_name
from metaexp.runner.job import run_job
from metaexp.runner.multirun import Finished, line
from metaexp.runner.overrides import first_line
from metaexp.runner.resolving import resolve_all
from metaexp.runner.signals import Interrupted
from metaexp.runner.targets import trust


class Task:
    """What a launcher calls, in whatever process, with the configuration of one job.

    published: experiment -> its configuration without overrides, as it was when the sweep started.
    """

    def __init__(self, packages: tuple[str, ...], published: dict[str, dict[str, Any]]) -> None:
        self.packages = packages
        self.published = published

    def __call__(self, config: DictConfig) -> dict[str, Any]:
        """Run the job. An error ends this job alone; being told to stop ends the sweep."""
        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        finished = Finished(list(hydra.overrides.task), "", "", "")
        try:
            finished = self._run(config, hydra, folder, finished)
        except Interrupted as error:
            raise SystemExit(error.exit_code) from error
        except Exception as error:
            if not isinstance(error, MetaexpError):  # a bug; it ends its own job only, and is shown whole
                traceback.print_exc()
            finished = replace(finished, error=f"{type(error).__name__}: {first_line(error)}")
        print(line(finished), flush=True)
        return asdict(finished)

    def _run(self, config: DictConfig, hydra: HydraConf, sweep: Path, finished: Finished) -> Finished:
        for package in self.packages:
            trust(package)
        choices = {group: name for group, name in hydra.runtime.choices.items() if name and "/" not in group}
        resolved, problems = resolve_all(config)
        settings = check(resolved, choices, earlier_problems=problems)
        published = self.published.get(settings.experiment or "")
        folder = sweep / f"{hydra.job.num}-{run_name(settings)}"
        origin = Origin(
            overrides=finished.overrides,
            group=sweep.name,
            full_steps=published["train"]["steps"] if published else None,
            deviations=deviations(settings.resolved, published) if published else [],
            files=hydra_files(Composed(config, OmegaConf.create(hydra), choices)),
        )
        record = run_job(settings, origin, folder).record
        return replace(finished, folder=str(folder), result=result(record))


def result(record: RunRecord) -> str:
    """The test metric of a run in a few words."""
    test = record.test
    return "no test" if test is None else f"test {test.metric} {say_score(test)}"
