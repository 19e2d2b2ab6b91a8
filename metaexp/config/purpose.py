"""What a configuration is checked for, which decides what the check asks of it. Torch is not imported."""

from __future__ import annotations

from enum import Enum


class Purpose(Enum):
    """What will be done with a configuration."""

    TRAIN = "train a new run on this machine"
    PLAN = "train a new run, perhaps on another machine"
    LOOK = "look at the dataset, whether or not the task fits it, and train nothing"
    EXAMINE = "find out what is wrong with a dataset of one's own"
    CONTINUE = "train on, on this machine, what an earlier run or a frozen job has"
    PLAN_FURTHER = "train on, perhaps on another machine, what an earlier run has"
    TEST = "test a finished run on this machine"
    READ = "read the settings of a finished run, wherever it was made"

    @property
    def is_here(self) -> bool:
        """Whether it happens on this machine, so that the accelerator must be here."""
        return self in (Purpose.TRAIN, Purpose.CONTINUE, Purpose.TEST)

    @property
    def is_new(self) -> bool:
        """Whether the configuration was composed now.

        Then the file of ``model.weights`` must exist, and the files of the dataset must be right. An earlier run may
        not need them any more.
        """
        return self in (Purpose.TRAIN, Purpose.PLAN, Purpose.LOOK)

    @property
    def needs_training(self) -> bool:
        """Whether something may be trained, so that what training needs matters."""
        return self not in (Purpose.TEST, Purpose.READ)

    @property
    def needs_tasks(self) -> bool:
        """Whether a run makes tasks of the dataset, so that fixed test episodes must fit, and validation can choose."""
        return self not in (Purpose.LOOK, Purpose.EXAMINE)
