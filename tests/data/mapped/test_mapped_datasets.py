"""Examples that stay on disk: the same bits as those in memory, and no memory for them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from changed_caches import change_only
from PIL import Image
from small_image_folder import image_folder as dataset

from metaexp.core.disk.user_cache import user_cache
from metaexp.core.errors import DataError
from metaexp.core.shapes import TaskShape
from metaexp.data.cache import prepared as cache
from metaexp.data.cache.prepared import HELD, Prepared, cached
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.example_store import LargeStore
from metaexp.data.mapped import example_file
from metaexp.data.mapped.example_file import map_examples, new_examples, offer_file
from metaexp.data.mapped.placement import use_placement
from metaexp.data.mini_imagenet import MiniImageNet

SHAPE = TaskShape(2, 1, 3)


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    generator = np.random.default_rng(0)
    for name in "abcdefgh":
        (tmp_path / "data" / "images" / name).mkdir(parents=True)
        for i in range(5):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / "images" / name / f"{i}.png")
    return tmp_path / "data"


def load(data: Path, placement: str, lines: list[str] | None = None, **changes: object) -> ClassDataset:
    with use_placement(placement):
        loaded = dataset(**changes).load(data, (lambda _: None) if lines is None else lines.append)
    assert isinstance(loaded, ClassDataset)
    return loaded


def cache_files(data: Path) -> list[str]:
    return sorted(path.name for path in (data / "cache").iterdir())


CHOICES = [
    {},
    {"invert": True},
    {"normalise": [[0.4, 0.5, 0.6], [0.2, 0.3, 0.1]], "invert": True},
    {"rotations": "per_class"},
    {"rotations": "per_episode", "rotations_in": "train", "invert": True},
    {"rotations": "classes"},
]


@pytest.mark.parametrize("changes", CHOICES, ids=str)
@pytest.mark.parametrize("first", ["disk", "memory"])
def test_episodes_and_hashes_are_the_same_to_the_bit(data, changes, first):
    loaded = {first: load(data, first, **changes)}  # prepares
    other = "memory" if first == "disk" else "disk"
    loaded[other] = load(data, other, **changes)
    on_disk, in_memory = loaded["disk"], loaded["memory"]
    assert (on_disk.in_memory, in_memory.in_memory) == (False, True)
    assert on_disk.digest == in_memory.digest
    assert on_disk.origin == in_memory.origin
    assert on_disk.n_bytes == in_memory.n_bytes
    assert on_disk.class_ids("test") == in_memory.class_ids("test")
    for split in ("train", "val", "test"):
        one, two = (found.tasks(SHAPE, 3) for found in (on_disk, in_memory))
        assert one.bank_hash(split, 9) == two.bank_hash(split, 9)
        a, b = (tasks.episodes(split, torch.arange(9)) for tasks in (one, two))
        assert torch.equal(a.support.x, b.support.x)
        assert torch.equal(a.query.x, b.query.x)
        assert torch.equal(a.query.y, b.query.y)
        other_images = load(data, "disk", **{**changes, "invert": not changes.get("invert", False)})
        assert not torch.equal(other_images.tasks(SHAPE, 3).episodes(split, torch.arange(9)).query.x, b.query.x)
    batches = [found.batches(6, 1).episodes("train", torch.arange(4)).support for found in (on_disk, in_memory)]
    assert torch.equal(batches[0].x, batches[1].x)
    assert torch.equal(batches[0].y, batches[1].y)


def test_a_cache_that_was_written_piece_by_piece_is_the_cache_that_was_written_at_once(data):
    load(data, "disk")
    [name] = cache_files(data)
    on_disk, metadata = map_examples(data / "cache" / name)
    (data / "cache" / name).unlink()
    load(data, "memory")
    in_memory, others = map_examples(data / "cache" / name)
    assert cache_files(data) == [name]
    assert torch.equal(on_disk, in_memory)
    assert metadata == others


def test_preparation_writes_into_the_file_and_leaves_no_other(data, monkeypatch):
    made = []
    new = example_file.ExampleFile
    monkeypatch.setattr(example_file, "ExampleFile", lambda *a: made.append(new(*a)) or made[-1])
    load(data, "memory")
    assert not made
    (data / "cache" / cache_files(data)[0]).unlink()
    load(data, "disk")
    assert [file.array.shape for file in made] == [(40, 3, 8, 8)]
    assert len(cache_files(data)) == 1


def test_an_interrupted_preparation_leaves_nothing(data, monkeypatch):
    (data / "images" / "h" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="broken"):
        load(data, "disk")
    assert cache_files(data) == []


def test_a_full_disk_leaves_the_examples_in_memory_where_they_fit(data, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(example_file, "available_memory", lambda: 10**9)
    with offer_file(data / "x.tmp"), use_placement("disk"):
        assert new_examples((2, 3), {"a": 2}).shape == (2, 3)
        monkeypatch.setattr(example_file, "available_memory", lambda: 5)
        with pytest.raises(DataError, match=r"take 0\.0 GB, and cannot be kept there: No space left on device\. Make"):
            new_examples((2, 3), {"a": 2})
    assert not (data / "x.tmp").exists()


def test_files_of_killed_preparations_are_removed_after_a_day(data):
    (data / "cache").mkdir()
    with use_placement("disk"):
        dataset().load(data, print)
    [name] = cache_files(data)
    (data / "cache" / name).unlink()
    old, new, other = (data / "cache" / f for f in (f".{name}.1.2.tmp", f".{name}.3.4.tmp", ".other.1.2.tmp"))
    for file in (old, new, other):
        file.write_bytes(b"half")
    for file in (old, other):
        os.utime(file, (1, 1))
    load(data, "disk")
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)


@pytest.mark.parametrize("time", [1, 4e9])  # after the clock jumped forwards, and of a clock that was ahead
def test_a_file_that_another_process_is_writing_is_not_removed_whatever_its_time_is(data, time):
    path = data / ".x.safetensors.1.2.tmp"
    left, mine = data / ".x.safetensors.3.4.tmp", data / ".x.safetensors.5.6.tmp"
    with offer_file(path), use_placement("disk"):
        new_examples((2, 3), {"a": 2})
        left.write_bytes(b"half")
        for file in (path, left):
            os.utime(file, (time, time))
        with offer_file(mine):
            new_examples((2, 3), {"a": 2})
        assert path.exists()
        assert not left.exists()
    assert [file.name for file in data.iterdir() if ".tmp" in file.name] == []


def test_a_file_that_was_checked_is_not_read_again_until_it_changes(data, monkeypatch):
    load(data, "disk")
    times = []
    checksum = cache.checksum_of
    monkeypatch.setattr(cache, "checksum_of", lambda examples: times.append(1) or checksum(examples))
    load(data, "disk")
    assert not times
    load(data, "memory")
    assert len(times) == 1
    change_only(data / "cache")
    lines: list[str] = []
    load(data, "disk", lines)
    assert any("damaged; building it again" in line for line in lines)


def test_a_file_of_another_user_is_prepared_again(data):
    load(data, "disk")
    for file in (user_cache() / "receipts").iterdir():
        file.unlink()
    lines: list[str] = []
    load(data, "disk", lines)
    assert any("was not prepared by this user" in line for line in lines)


def test_examples_of_training_and_test_that_are_equal_are_told_of_each_time(data):
    for name in "abcdefgh":
        (data / "images" / name / "same.png").write_bytes((data / "images" / "a" / "0.png").read_bytes())
    for _ in range(3):
        lines: list[str] = []
        load(data, "disk", lines)
        assert sum("in the train split, too, byte for byte" in line for line in lines) == 2


def test_the_jobs_of_a_sweep_take_the_mapping_of_their_parent(data):
    load(data, "disk")
    path = data / "cache" / cache_files(data)[0]
    with use_placement("disk"):
        assert HELD.fill(lambda progress: dataset().load(data, progress)) == path
        held = HELD._held[path].contents.examples
        loaded = dataset().load(data, print)
    assert isinstance(loaded._store, LargeStore)
    assert loaded._store._examples.data_ptr() == held.data_ptr()
    HELD._held.clear()


def test_float_examples_are_mapped_too(data):
    x = torch.randn(6, 5)

    def build() -> Prepared:
        made = new_examples((6, 5), {"a": 6}, "float32")
        made[:] = x.numpy()
        return Prepared(torch.from_numpy(made), {"a": 6}, "d")

    with use_placement("disk"):
        assert torch.equal(cached("floats", {}, data, build, print).examples, x)
        again = cached("floats", {}, data, lambda: pytest.fail("built twice"), print)
    assert torch.equal(again.examples, x)
    assert again.version is not None


_LOAD = """
import os, resource, sys, json
from pathlib import Path
import torch
from metaexp.core.shapes import TaskShape
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Origin, Pixels
from metaexp.data.cache.prepared import Prepared, cached
from metaexp.data.mapped.example_file import new_examples
from metaexp.data.mapped.placement import use_placement

torch.set_num_threads(1)
N, SIZE = 2000, 65536
classes = {f"c{i}": N // 20 for i in range(20)}

def build():
    images = new_examples((N, 1, 256, 256), classes)
    images[7, 0, 0, 0] = 9
    return Prepared(torch.from_numpy(images), classes, "d")

def private():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["VmData"].split()[0]) * 1024

def load(folder, placement):
    limit = private() + 60_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        with use_placement(placement):
            prepared = cached("large", {}, folder, build, lambda _: None)
            origin, splits = Origin("large", "d"), {"train": list(classes)}
            data = ClassDataset(origin, prepared.examples, prepared.classes, splits, Pixels(True))
        x = data.tasks(TaskShape(2, 1, 1), 0).episodes("train", torch.arange(3)).query.x
        print(json.dumps([list(x.shape), float(x.min())]), flush=True)
    except (MemoryError, RuntimeError) as error:
        print(json.dumps(repr(error)), flush=True)

for placement in ("disk", "disk", "memory"):  # prepares, loads again, and is too large for memory
    child = os.fork()
    if child == 0:
        os.environ["XDG_CACHE_HOME"] = sys.argv[1] + "/home of " + placement
        load(Path(sys.argv[1], placement), placement)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_made_up_images_are_drawn_into_the_file_too(data, monkeypatch):
    made = []
    new = example_file.ExampleFile
    monkeypatch.setattr(example_file, "ExampleFile", lambda *a: made.append(new(*a)) or made[-1])
    digests = {}
    for placement in ("disk", "memory"):
        place = data / placement
        place.mkdir()
        with use_placement(placement):
            loaded = MiniImageNet(8, None, stand_in=True, stand_in_images=4).load(place, print)
        digests[placement] = loaded.digest, loaded.tasks(SHAPE, 0).episodes("test", torch.arange(2)).query.x
    assert len(made) == 1
    assert digests["disk"][0] == digests["memory"][0]
    assert torch.equal(digests["disk"][1], digests["memory"][1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the private memory of a process")
def test_data_of_twice_the_memory_of_a_process_are_prepared_and_used_from_disk(tmp_path):
    """Three processes in turn, forked from one that has imported torch."""
    for placement in ("disk", "memory"):
        (tmp_path / placement).mkdir()
    done = subprocess.run([sys.executable, "-c", _LOAD, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    prepared, loaded, in_memory = map(json.loads, done.stdout.splitlines())
    assert prepared == loaded == [[3, 2, 1, 256, 256], 1.0]
    assert "alloc" in in_memory.lower() or "MemoryError" in in_memory


@pytest.mark.parametrize("rotations", ["none", "per_class"])
def test_for_another_device_rows_are_drawn_on_the_cpu_and_only_what_is_taken_is_moved(data, rotations):
    device = torch.device("meta")  # any that is not the CPU
    moved = load(data, "disk", rotations=rotations).to(device)
    assert moved.device == torch.device("cpu")
    assert not moved.in_memory
    tasks = moved.tasks(SHAPE, 0)
    episode = tasks.episodes("train", torch.arange(3))
    assert {tensor.device for part in episode for tensor in part[:2]} == {device}
    assert episode.query.x.shape == (3, 6, 3, 8, 8)
    batch = moved.batches(4, 0).episodes("train", torch.arange(2)).support
    assert (batch.x.device, batch.y.device) == (device, device)
    assert tasks.bank_hash("val", 4) == load(data, "memory", rotations=rotations).tasks(SHAPE, 0).bank_hash("val", 4)
    assert load(data, "memory", rotations=rotations).to(device).device == device
