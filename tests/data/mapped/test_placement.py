from pathlib import Path

import pytest

from metaexp.data.mapped import placement
from metaexp.data.mapped.placement import available_memory, stays_off_device, stays_on_disk, use_placement

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         100000 kB\nMemAvailable:    8000000 kB\n"
AVAILABLE = 8_000_000 * 1024


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GB of available memory and no control group."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    monkeypatch.setattr(placement, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(placement, "_GROUP", tmp_path / "group")
    return tmp_path


def group(machine: Path, most: str, used: int, files: int) -> None:
    (machine / "group").mkdir()
    (machine / "group" / "memory.max").write_text(f"{most}\n")
    (machine / "group" / "memory.current").write_text(f"{used}\n")
    (machine / "group" / "memory.stat").write_text(f"anon 5\nfile {files}\n")


def test_data_stay_on_disk_that_would_fill_more_than_a_quarter_of_the_available_memory(machine):
    assert available_memory() == AVAILABLE
    assert not stays_on_disk(AVAILABLE // 4)
    assert stays_on_disk(AVAILABLE // 4 + 1)


def test_the_limit_of_a_container_counts_without_the_files_that_the_system_keeps_in_memory(machine):
    group(machine, "1000000", used=600_000, files=100_000)
    assert available_memory() == 500_000


def test_a_container_without_a_limit_has_the_memory_of_the_machine(machine):
    group(machine, "max", used=600_000, files=0)
    assert available_memory() == AVAILABLE


def test_a_system_without_meminfo_is_asked_for_its_memory(machine):
    (machine / "meminfo").unlink()
    found = available_memory()
    assert found is not None
    assert found > 10**6


@pytest.mark.parametrize(("chosen", "small", "large"), [("memory", False, False), ("disk", True, True)])
def test_a_placement_holds_within_its_block_whatever_the_size(machine, chosen, small, large):
    with use_placement(chosen):
        assert (stays_on_disk(1), stays_on_disk(10**15)) == (small, large)
        assert (stays_off_device(1, 10**9), stays_off_device(10**15, 10**9)) == (small, large)
    assert (stays_on_disk(1), stays_on_disk(10**15)) == (False, True)


def test_a_gpu_takes_what_fills_up_to_half_of_its_free_memory():
    assert not stays_off_device(500, 1000)
    assert stays_off_device(501, 1000)
