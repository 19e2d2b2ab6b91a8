"""What the W&B client links into a run folder leads nowhere else."""

from __future__ import annotations

import shutil
from pathlib import Path

from metaexp.core.disk.files import refuse_links
from metaexp.tracking.wandb_files import mend_links


def test_links_to_the_folder_of_another_run_are_removed_and_others_kept(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        (folder / "wandb" / "logs").mkdir(parents=True)
        (folder / "wandb" / "core.log").write_text("log")
    (own / "wandb" / "logs" / "inside").symlink_to(own / "wandb" / "core.log")
    (own / "wandb" / "logs" / "outside").symlink_to(other / "wandb" / "core.log")
    mend_links(own)
    assert [path.name for path in (own / "wandb" / "logs").iterdir()] == ["inside"]
    assert (other / "wandb" / "core.log").read_text() == "log"
    refuse_links(own)


def test_links_of_the_client_lead_to_the_copy_where_a_folder_is_copied(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "wandb" / "run" / "logs").mkdir(parents=True)
    (own / "wandb" / "core.log").write_text("log")
    (own / "wandb" / "latest-run").symlink_to("run")
    link = own / "wandb" / "run" / "logs" / "debug-core.log"
    link.symlink_to(own / "wandb" / "core.log")
    mend_links(own)
    assert link.readlink() == Path("../../core.log")
    assert (own / "wandb" / "latest-run").readlink() == Path("run")
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(own, copy, symlinks=True)
    assert (copy / link.relative_to(own)).resolve() == copy / "wandb" / "core.log"
    refuse_links(copy)
