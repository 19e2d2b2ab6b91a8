"""torch's compiler is imported when something is compiled, and works then as if it had been there from the start."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from sampling import size

SUPPORT = Path(__file__).resolve().parents[1] / "support"
ALGORITHMS = sorted(path.stem for path in (SUPPORT.parents[1] / "conf" / "algorithm").glob("*.yaml"))

SETUP = """
import os, sys, torch
from torch import nn
from metaexp.models.torch_settings import set_deterministic
from metaexp.machine.compiler import put_off_compiler

def steps(optimizer_class, **more):
    torch.manual_seed(3)
    net = nn.Linear(4, 2)
    optimizer = optimizer_class(net.parameters(), lr=0.1, **more)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.ones(5, 4)).square().mean().backward()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    return [p.detach().clone() for p in net.parameters()]

def is_there():
    return [name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules]
"""


def run(script: str, *arguments: str) -> str:
    """What a Python script prints in a process of its own."""
    env = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_DETERMINISTIC"}
    env["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), str(SUPPORT.parents[1])])
    command = [sys.executable, "-c", SETUP + textwrap.dedent(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_algorithm_imports_the_compiler_in_training_or_in_tests(tmp_path: Path) -> None:
    """Nor does a check of a network, which comes first here."""
    said = run(
        """
        from metaexp.cli.main import main
        codes = [main(["check", "model=mlp", "hidden=[8]"])]
        before = is_there()
        small = ["tracker=files", "device=cpu", "train.steps=1", "train.eval_every=1", "train.eval_episodes=2",
                 "eval.test=false"]
        _, *names = sys.argv[1:]
        runs = [[f"algorithm={name}", "dataset=glyphs", "train.meta_batch_size=2"] for name in names]
        runs += [[f"experiment={name}"] for name in ("maml_sinusoid", "meta_lstm_curves")]
        for index, words in enumerate(runs):
            folder = f"{sys.argv[1]}/{index}"
            codes.append(main(["train", *words, *small, f"hydra.run.dir={folder}"]))
        print(set(map(int, codes)), before, is_there())
        """,
        str(tmp_path),
        *size(["maml", "proto_net", "fine_tune"], ALGORITHMS),
    )
    assert said.splitlines()[-1] == "{0} [] []"


def test_an_algorithm_of_ones_own_does_not_import_the_compiler_for_what_is_measured_at_its_first_step(
    tmp_path: Path,
) -> None:
    said = run(
        """
        from metaexp.cli.main import main
        code = main(["train", "--config-dir", f"{sys.argv[1]}/conf", "--trust", f"{sys.argv[1]}/my_methods",
                     "algorithm=centroids", "model=mlp", "tracker=files", "device=cpu", "train.steps=1",
                     "train.meta_batch_size=2", "eval.test=false", f"hydra.run.dir={sys.argv[2]}"])
        print(int(code), is_there())
        """,
        str(SUPPORT.parents[1] / "examples" / "algorithm"),
        str(tmp_path / "run"),
    )
    assert said.splitlines()[-1] == "0 []"


def test_without_it_the_first_optimiser_imports_the_compiler_and_other_builds_of_torch_are_left_as_they_are() -> None:
    said = run(
        """
        torch.optim.Adagrad.step = lambda self: None
        torch.optim.Optimizer.zero_grad = lambda self, set_to_none=True: None
        methods = vars(torch.optim.Adagrad)["step"], vars(torch.optim.Optimizer)["zero_grad"]
        put_off_compiler()
        print((vars(torch.optim.Adagrad)["step"], vars(torch.optim.Optimizer)["zero_grad"]) == methods)
        """
    )
    assert said == "True"
    assert "torch._dynamo" in run("steps(torch.optim.Adam); print(is_there())")


def test_every_optimiser_takes_the_steps_that_it_takes_with_the_compiler() -> None:
    said = run(
        """
        optimizers = [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad,
                      torch.optim.Adadelta, torch.optim.Adamax, torch.optim.NAdam, torch.optim.RAdam,
                      torch.optim.Rprop, torch.optim.ASGD]
        put_off_compiler()
        start = torch.ones(2, requires_grad=True)
        weights = start * 1.0
        differentiable = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.5, differentiable=True)
        differentiable.param_groups[0]["params"] = [weights]
        weights.grad = start * 1.0
        differentiable.step()
        print(torch.autograd.grad(weights.sum(), start)[0].tolist())
        before = [steps(optimizer) for optimizer in optimizers]
        print(is_there(), torch.is_grad_enabled())
        import torch._dynamo
        after = [steps(optimizer) for optimizer in optimizers]
        print([all(map(torch.equal, a, b)) for a, b in zip(before, after)] == [True] * 11, torch.is_grad_enabled())
        print(any(all(map(torch.equal, a, b)) for a, b in zip(before, after[1:])))
        """
    )
    assert said.splitlines() == ["[0.5, 0.5]", "[] True", "True True", "False"]


def test_what_is_compiled_later_is_compiled_as_ever() -> None:
    said = run(
        """
        put_off_compiler()
        steps(torch.optim.Adam)
        try:
            torch._dynamo.no_such_name  # imports it, as in torch
        except AttributeError as error:
            print("no_such_name" in str(error))
        graphs = []
        def backend(graph, inputs):
            graphs.append(len(inputs))
            return graph.forward
        net = torch.compile(nn.Linear(4, 2), backend=backend)
        print(net(torch.ones(3, 4)).shape, len(graphs))
        print(torch._dynamo is sys.modules["torch._dynamo"])
        steps(torch.optim.Adam)
        hidden = vars(torch.optim.Optimizer)["zero_grad"].__wrapped__.__dynamo_disable
        print(hasattr(hidden, "_torchdynamo_disable"))
        """
    )
    assert said.splitlines() == ["True", "torch.Size([3, 2]) 1", "True", "True"]


def test_deterministic_operations_are_asked_for_without_the_compiler_and_of_it() -> None:
    said = run(
        """
        put_off_compiler()
        for position in (True, False, True):
            set_deterministic(position)
            print(torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
        print(is_there())
        import torch._inductor.config as backend
        print(backend.deterministic)
        set_deterministic(False)
        print(torch.are_deterministic_algorithms_enabled(), backend.deterministic)
        print("TORCHINDUCTOR_DETERMINISTIC" in os.environ)  # of the processes that this one starts later
        """
    )
    assert said.splitlines() == ["True False", "False False", "True False", "[]", "True", "False False", "False"]
