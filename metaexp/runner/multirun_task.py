"""One job of ``metaexp train -m``, in whatever process a launcher runs it."""

from __future__ import annotations

import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metaexp.core.errors import MetaexpError
from metaexp.results.record import RunRecord
from metaexp.results.wording import say_score
from metaexp.runner.check import check
from metaexp.runner.compose import Composed, Job, chosen_files, deviations, hydra_files
from metaexp.runner.describe import Origin
from metaexp.runner.identity import run_name
from metaexp.runner.job import run_job
from metaexp.runner.multirun import Finished, line
from metaexp.runner.overrides import first_line
from metaexp.runner.resolving import resolve_all
from metaexp.runner.schema import Settings
from metaexp.runner.signals import Interrupted
from metaexp.runner.targets import trust


class Task:
    """What a launcher calls, in whatever process, with the configuration of one job.

    packages: those that the user trusts. swept: the keys that differ between jobs.
    published: experiment -> its configuration without overrides, as it was when the sweep started.
    """

    def __init__(self, packages: tuple[str, ...], swept: frozenset[str], published: dict[str, dict[str, Any]]) -> None:
        self.packages = packages
        self.swept = swept
        self.published = published

    def __call__(self, config: DictConfig) -> dict[str, Any]:
        """Run the job. An error ends this job alone; being told to stop ends the sweep."""
        hydra = cast(DictConfig, HydraConfig.get())
        what = " ".join(o for o in hydra.overrides.task if o.partition("=")[0].lstrip("+") in self.swept)
        finished = Finished(int(hydra.job.num), what, "", "", "")
        try:
            settings, composed = self._job(config, hydra)
            folder = Path(hydra.runtime.output_dir) / f"{finished.number}-{run_name(settings)}"
            finished = replace(finished, folder=str(folder))
            record = run_job(settings, self._origin(settings, composed, folder.parent.name), folder).record
            finished = replace(finished, result=result(record))
        except Interrupted as error:
            raise SystemExit(error.exit_code) from error
        except Exception as error:
            if not isinstance(error, MetaexpError):  # a bug; it ends its own job only, and is shown whole
                traceback.print_exc()
            finished = replace(finished, error=f"{type(error).__name__}: {first_line(error)}")
        print(line(finished), flush=True)
        return asdict(finished)

    def _job(self, config: DictConfig, hydra: DictConfig) -> Job:
        for package in self.packages:
            trust(package)
        composed = Composed(config, hydra, chosen_files(hydra))
        resolved, problems = resolve_all(config)
        return Job(check(resolved, composed.choices, earlier_problems=problems), composed)

    def _origin(self, settings: Settings, composed: Composed, sweep: str) -> Origin:
        published = self.published.get(settings.experiment or "")
        return Origin(
            overrides=list(composed.hydra.overrides.task),
            group=sweep,
            full_steps=published["train"]["steps"] if published else None,
            deviations=deviations(settings.resolved, published) if published else [],
            files=hydra_files(composed),
        )


def result(record: RunRecord) -> str:
    """The test metric of a run in a few words; of one that is not tested, the validation's."""
    score = record.test or record.val
    split = "test" if record.test else "validation"
    return "no result" if score is None else f"{split} {score.metric} {say_score(score)}"
