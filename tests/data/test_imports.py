import subprocess
import sys
from pathlib import Path

CONF = Path(__file__).parents[2] / "conf" / "dataset"

MAKE_ALL = """
import importlib, sys, pathlib
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.yaml")):
    target = next(line for line in file.read_text().splitlines() if line.startswith("_target_:")).split()[1]
    module, name = target.rsplit(".", 1)
    assert hasattr(importlib.import_module(module), name), target
    print(target)
print(*sorted({"torch", "PIL", "matplotlib", "safetensors"} & set(sys.modules)))
"""


def test_descriptions_of_datasets_are_imported_without_torch_or_image_libraries():
    done = subprocess.run([sys.executable, "-c", MAKE_ALL, str(CONF)], capture_output=True, text=True, check=True)
    *targets, imported = done.stdout.splitlines()
    assert len(targets) == len(list(CONF.glob("*.yaml"))) >= 9
    assert imported == ""
