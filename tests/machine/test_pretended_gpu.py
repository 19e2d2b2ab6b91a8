"""Every algorithm runs on a device that has no float64 and does not mix with the CPU, as an Apple GPU.

The device is compiled from support/pretended_gpu/device.cpp, which takes half a minute. It says nothing about the
arithmetic of a real one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sampling import only_exhaustive

from metaexp.results.display.names import ALGORITHMS
from metaexp.results.record import read_record

pytestmark = [
    only_exhaustive,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (shutil.which("g++") and shutil.which("ninja")), reason="needs g++ and ninja to compile"),
]
TINY = [
    "train.steps=2", "train.eval_every=2", "train.eval_episodes=4", "eval.episodes=4", "train.meta_batch_size=2",
    "tracker=files",
]  # fmt: skip
OF_CLASSES = {"matching_net", "proto_net"}
OWN = """
import torch
from metaexp import Algorithm

class Own(Algorithm):
    model_output = "embedding"
    fixed_way = False
    classes_needed = True
    batch_norm = "none"

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def adapt(self, support):
        embedded = self.model({line})
        one_hot = torch.nn.functional.one_hot(support.y, support.n_way).to(embedded)
        return one_hot.T @ embedded / one_hot.sum(0).unsqueeze(1)

    def predict(self, adapted, x):
        return -torch.cdist(self.model(x), adapted)
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("build")


def test_every_algorithm_trains_and_is_tested_on_the_same_tasks(build: Path, tmp_path: Path) -> None:
    wanted = [(name, data) for name in ALGORITHMS for data in ("glyphs", "sinusoid")]
    wanted = [(name, data) for name, data in wanted if data == "glyphs" or name not in OF_CLASSES]
    commands = [["train", f"algorithm={a}", f"dataset={d}", *TINY] for a, d in wanted]
    on_cpu = [["train", f"dataset={data}", "device=cpu", *TINY] for data in ("glyphs", "sinusoid")]
    code, printed = run(build, tmp_path, [*commands, *on_cpu])
    assert code == 0, printed
    assert "was not checked" not in printed
    records = [read_record(path) for path in sorted((tmp_path / "outputs").iterdir())]
    there = [r for r in records if r.device is not None and r.device.accelerator == "pretended"]
    assert sorted((r.algorithm, r.dataset) for r in there) == sorted(wanted)
    assert len(records) == len(there) + len(on_cpu)
    assert {r.status for r in records} == {"completed"}
    for data in ("glyphs", "sinusoid"):
        assert len({r.episode_bank for r in records if r.dataset == data}) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("support.x", ""),
        ("support.x.double().float()", "the pretended GPU has no float64"),
        ("torch.cat([support.x, torch.zeros(1, *support.x.shape[1:])])[1:]", "tensors on two devices"),
    ],
)
def test_what_an_apple_gpu_refuses_is_refused(line: str, message: str, build: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN.format(line=line))
    (tmp_path / "conf" / "algorithm").mkdir(parents=True)
    (tmp_path / "conf" / "algorithm" / "own.yaml").write_text("_target_: own.Own\n")
    options = ["--config-dir", "conf", "--trust", "own", "algorithm=own", "model=mlp", *TINY]
    code, printed = run(build, tmp_path, [["train", *options]])
    assert (code == 0) == (not message), printed
    assert message in printed


def run(build: Path, cwd: Path, commands: list[list[str]]) -> tuple[int, str]:
    """Run commands on the device; return the exit code and what was printed."""
    program = Path(__file__).parents[1] / "support" / "pretended_gpu" / "with_device.py"
    done = subprocess.run(
        [sys.executable, str(program), str(build)], input="\n".join(map(json.dumps, commands)), cwd=cwd,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout
