"""What the record says about the starts of a run: its network, a file of weights, the checkpoint of another run."""

from __future__ import annotations

from dataclasses import dataclass, field

from metaexp.results.reading import ADDED

NO_NETWORK = "none"
"""``model`` in the record of a run whose algorithm takes no network. Earlier records have the name that was chosen."""


@dataclass(frozen=True)
class InitialWeights:
    """The file that the network's initial weights came from (``model.weights``), and what of it was taken."""

    file: str
    """The name of the file, or of the run folder."""
    sha256: str
    """SHA-256 of the file, hex."""
    prefix: str
    """What stands before the network's names in the file."""
    matched: list[str]
    """Parameters and buffers of the network that were taken from it."""
    missing: list[str]
    """Those that the file lacks, which stayed as they were initialised."""
    other_shape: list[str]
    """Those that the file has in another shape, which stayed, too."""
    left_over: list[str]
    """Tensors of the file that were not used."""


@dataclass(frozen=True)
class ParentRun:
    """The run whose checkpoint a run continued from (``from=RUN``)."""

    name: str
    """The name of its folder."""
    config_hash: str
    record_sha256: str
    """SHA-256 of its record.json, hex."""
    step: int
    """The step of the checkpoint."""
    steps: int
    """How many steps it was to make (``train.steps``)."""
    weights_sha256: str
    """SHA-256 of the checkpoint's file of tensors, hex: weights, the best so far, and the optimiser's state."""
    not_from_start: list[str] = field(default_factory=list)
    """Why the run is not what a run of as many steps from the start would be; empty where it is the same."""

    @property
    def identity(self) -> list[str | int]:
        """What distinguishes it from another parent."""
        return [self.config_hash, self.step, self.weights_sha256]

    @property
    def branch(self) -> str | None:
        """What sets its children apart from runs from the start: ``step 100 of 200``; None where nothing does."""
        return f"step {self.step:,} of {self.steps:,}" if self.not_from_start else None


@dataclass(frozen=True)
class InexactResume:
    """A resume that could not be bit for bit, because something had changed, or was not in the checkpoint."""

    step: int
    """The step of the checkpoint that it went on from."""
    changed: list[str]
    """What had changed, such as ``threads was 2 and is 1``, and what no checkpoint holds."""
    own_code_before: str | None
    """The user's own code up to there: the first 12 digits of its digest; null where it had none or it is not known."""
    own_code: str | None
    """The user's own code from there on."""


@dataclass(frozen=True)
class Git:
    """The commit of the checkout that metaexp ran from, and whether files differed from it."""

    commit: str
    dirty: bool


@dataclass(frozen=True)
class OwnCodeRecord:
    """The user's own code that a run was made with. The run folder has a copy in ``code/``."""

    digest: str
    """SHA-256 (hex) of the names and contents of its source files."""
    git: dict[str, Git | None]
    """Top-level package or module -> the commit of the checkout that tracks it; null where none does."""
    files: dict[str, str] = field(default_factory=dict, metadata=ADDED)
    """Source file -> SHA-256 (hex) of its content; empty in older records."""
