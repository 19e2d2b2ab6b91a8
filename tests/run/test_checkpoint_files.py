"""Checkpoints: complete or not there, damage is found, the one before is used."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch

from metaexp.core.disk import files
from metaexp.core.errors import RunFolderError
from metaexp.run.checkpoint import Checkpoints, explain_misfit

VALUES = {"step": 3, "losses": [0.1, 1e-30], "best": None}


def tensors(fill: float) -> dict[str, torch.Tensor]:
    return {"weights/a": torch.full((2, 3), fill), "weights/empty": torch.zeros(0), "count": torch.tensor(7)}


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(3, tensors(3.0), VALUES)
    checkpoints.save(6, tensors(6.0), VALUES)
    return checkpoints


def test_what_is_loaded_is_what_was_saved(saved: Checkpoints) -> None:
    step, loaded, values = saved.load() or pytest.fail("nothing was loaded")
    assert step == 6
    assert values == VALUES
    assert loaded.keys() == tensors(6.0).keys()
    assert all(torch.equal(loaded[name], t) and loaded[name].dtype == t.dtype for name, t in tensors(6.0).items())
    assert not torch.equal(loaded["weights/a"], tensors(3.0)["weights/a"])


def test_an_algorithm_without_tensors_can_be_saved(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, {}, VALUES)
    assert checkpoints.load() == (0, {}, VALUES)


def test_tensors_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    shared = {"weights/a": whole.reshape(2, 3), "optimizer/0/view": whole.reshape(2, 3), "optimizer/0/part": whole[4:]}
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(3, {**shared, "weights/empty": torch.zeros(0), "optimizer/0/empty": torch.zeros(0)}, VALUES)
    found = checkpoints.load()
    assert found is not None
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in shared.items())


def test_only_the_last_two_are_kept(saved: Checkpoints) -> None:
    saved.save(9, tensors(9.0), VALUES)
    assert saved.steps() == [6, 9]
    assert len(list(saved.folder.iterdir())) == 4


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").load() is None


@pytest.mark.parametrize("name", ["step_000000006.safetensors", "step_000000006.json"])
@pytest.mark.parametrize("damage", ["one byte", "cut short", "empty", "gone"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(
    saved: Checkpoints, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved.folder / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "one byte":
        place = content.index(b"0.1") if name.endswith("json") else len(content) - 1
        content[place] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2 if damage == "cut short" else 0])
    loaded = saved.load()
    assert loaded is not None
    assert loaded.step == 3
    if not (damage == "gone" and name.endswith("json")):  # without its manifest a checkpoint does not exist
        assert "step_000000006 is damaged" in caplog.text


def test_a_good_one_is_not_called_damaged(saved: Checkpoints, caplog: pytest.LogCaptureFixture) -> None:
    assert saved.load() is not None
    assert not caplog.text


def test_when_all_are_damaged_the_message_names_them_all(saved: Checkpoints) -> None:
    for path in saved.folder.glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"no checkpoint in .* can be used: .*000003.*000006.*Start a new run"):
        saved.load()


def test_another_format_is_refused_by_number(saved: Checkpoints) -> None:
    for path in saved.folder.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(RunFolderError, match="has format 99; this version of metaexp reads 1"):
        saved.load()


def test_a_full_disk_leaves_the_old_ones_whole(saved: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            saved.save(9, tensors(9.0), VALUES)
    assert saved.steps() == [3, 6]
    loaded = saved.load()
    assert loaded is not None
    assert loaded.step == 6
    assert not list(saved.folder.glob(".*.tmp"))


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(saved: Checkpoints) -> None:
    whole = {path.name for path in saved.folder.iterdir()}
    (saved.folder / ".step_000000009.safetensors.123.tmp").write_bytes(b"half")
    (saved.folder / "step_000000009.safetensors").write_bytes(b"without a manifest")
    saved.tidy()
    assert {path.name for path in saved.folder.iterdir()} == whole


def test_a_run_can_go_on_from_its_whole_checkpoints_and_from_the_start_while_none_was_dropped(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.whole_steps() == {0}
    checkpoints.save(3, tensors(3.0), VALUES)
    assert checkpoints.whole_steps() == {0, 3}
    checkpoints.save(6, tensors(6.0), VALUES)
    assert checkpoints.whole_steps() == {3, 6}
    (tmp_path / "step_000000006.safetensors").write_bytes(b"damage")
    assert checkpoints.whole_steps() == {3}


def test_later_checkpoints_are_dropped_and_earlier_ones_kept(saved: Checkpoints) -> None:
    saved.drop_after(6)
    assert saved.steps() == [3, 6]
    saved.drop_after(5)
    assert saved.steps() == [3]


def test_a_lack_of_memory_is_not_a_misfit(tmp_path: Path) -> None:
    with pytest.raises(MemoryError, match="no memory is left"), explain_misfit(tmp_path / "step_000000003"):
        raise MemoryError("no memory is left")
    with pytest.raises(torch.OutOfMemoryError), explain_misfit(tmp_path / "step_000000003"):
        raise torch.OutOfMemoryError("no memory is left on the device")
    with pytest.raises(RunFolderError, match="step_000000003"), explain_misfit(tmp_path / "step_000000003"):
        raise RuntimeError("shapes differ")
