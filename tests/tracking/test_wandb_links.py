"""What the W&B client links into a run folder leads nowhere else."""

from __future__ import annotations

from pathlib import Path

from metaexp.core.disk.files import refuse_links
from metaexp.tracking.wandb_files import remove_links_out_of


def test_links_to_the_folder_of_another_run_are_removed_and_others_kept(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        (folder / "wandb" / "logs").mkdir(parents=True)
        (folder / "wandb" / "core.log").write_text("log")
    (own / "wandb" / "logs" / "inside").symlink_to(own / "wandb" / "core.log")
    (own / "wandb" / "logs" / "outside").symlink_to(other / "wandb" / "core.log")
    remove_links_out_of(own)
    assert [path.name for path in (own / "wandb" / "logs").iterdir()] == ["inside"]
    assert (other / "wandb" / "core.log").read_text() == "log"
    refuse_links(own)
