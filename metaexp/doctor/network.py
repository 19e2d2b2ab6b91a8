"""Examines a network of your own: what algorithms and records rely on, on examples of several shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import nn

from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError
from metaexp.doctor.finding import SAME, Finding, does_not_apply, format_error, gap, ok, wrong
from metaexp.doctor.network_subject import N_EXAMPLES, N_OUTPUTS, MakeNetwork, NetworkSubject
from metaexp.doctor.report import Part
from metaexp.doctor.subject import fix_noise
from metaexp.models.base import Network
from metaexp.models.batch_norm import normalise_with
from metaexp.models.checks.inspection import maps_over_tasks
from metaexp.models.checks.made_again import ADVICE, unlike

SHAPES: Mapping[str, tuple[int, ...]] = {
    "grey images, 1 x 28 x 28": (1, 28, 28),
    "colour images, 3 x 84 x 84": (3, 84, 84),
    "sequences, 10 x 1": (10, 1),
    "vectors, 1": (1,),
}
"""The shapes of examples that a network is examined on; it may refuse all but one."""
_STEPS = 60
_RATES = (0.01, 0.001, 0.1)


def runs(subject: NetworkSubject) -> Finding:
    """Check that it can be built and gives finite scores."""
    with normalise_with("batch"), torch.no_grad():
        out = subject.build()(subject.examples())
    if not out.isfinite().all():
        return wrong("runs", "scores of ordinary examples are not finite")
    return ok("runs", f"it gives {N_OUTPUTS} scores per example", parameters=_size(subject.raw()))


def features(subject: NetworkSubject) -> Finding:
    """Check that it can be built without a head."""
    try:
        with normalise_with("batch"), torch.no_grad():
            out = subject.build(None)(subject.examples())
    except (ConfigError, TypeError, ValueError) as error:
        return does_not_apply(
            "features",
            f"with n_outputs=None it {format_error(error)}; algorithms that ask for features, such as proto_net, "
            "cannot use it. Leave out the last layer where n_outputs is None",
        )
    if len(out) != N_EXAMPLES or not out.isfinite().all():
        return wrong("features", f"with n_outputs=None it gives {tuple(out.shape)} for {N_EXAMPLES} examples")
    return ok("features", f"with n_outputs=None it gives features of shape {tuple(out.shape[1:])}")


def no_state(subject: NetworkSubject) -> Finding:
    """Check that a call changes nothing in the network but stored batch-norm statistics."""
    network = subject.build().train()
    x = subject.examples()
    with torch.no_grad(), normalise_with("batch"):
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        with fix_noise(1):
            first = network(x)
        with fix_noise(1):
            second = network(x)
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    if changed:
        return wrong("no state", f"a call changes {listed(changed, 3)}; keep nothing on the network")
    if gap(first, second) > SAME:
        return wrong("no state", "the second call gives other scores than the first", gap=gap(first, second))
    return ok("no state", "a call changes nothing, and the next one gives the same")


def no_randomness(subject: NetworkSubject) -> Finding:
    """Check that nothing is random in evaluation mode."""
    network = subject.build().eval()
    outs = []
    for seed in (1, 2):
        with fix_noise(seed), torch.no_grad(), normalise_with("batch"):
            outs.append(network(subject.examples()))
    if gap(*outs) > SAME:
        return wrong("no randomness", "in evaluation mode scores are random", gap=gap(*outs))
    return ok("no randomness", "scores in evaluation mode are not random")


def initialisation(subject: NetworkSubject) -> Finding:
    """Check that the seed of the run, and nothing else, decides the initial weights."""
    first, again, other = (subject.build(seed=seed) for seed in (0, 0, 1))
    if changed := unlike(first, again):
        return wrong("initialisation", f"the same seed gives other initial values in {listed(changed, 3)}. {ADVICE}")
    if first.state_dict() and not unlike(first, other):
        return does_not_apply("initialisation", "the initial weights do not depend on the seed")
    return ok("initialisation", "the seed decides the initial weights")


def parameters_reached(subject: NetworkSubject) -> Finding:
    """Check that every parameter has a gradient."""
    network = subject.build().train()
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not parameters:
        return does_not_apply("parameters reached", "it has no parameters to train")
    with fix_noise(0), normalise_with("batch"):
        loss = network(subject.examples()).square().sum()
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    missed = [name for name, g in zip(parameters, gradients, strict=True) if g is None]
    if missed:
        return wrong("parameters reached", f"the scores do not depend on {listed(missed, 3)}")
    return ok("parameters reached", "the scores depend on every parameter", tensors=len(parameters))


def second_derivatives(subject: NetworkSubject) -> Finding:
    """Check that gradients can be differentiated, as MAML does."""
    network = subject.build().train()
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        return does_not_apply("second derivatives", "it has no parameters to train")
    try:
        with fix_noise(0), normalise_with("batch"):
            loss = F.cross_entropy(network(subject.examples()), torch.arange(N_EXAMPLES) % N_OUTPUTS)
            first = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
            norm = sum((g.square().sum() for g in first if g is not None), torch.zeros(()))
            second = torch.autograd.grad(norm, parameters, allow_unused=True)
    except RuntimeError as error:
        return does_not_apply("second derivatives", f"it has none ({error}); use algorithm.first_order=true")
    if not all(g.isfinite().all() for g in second if g is not None):
        return wrong("second derivatives", "second derivatives of the loss are not finite")
    return ok("second derivatives", "gradients can be differentiated, as MAML does")


def several_tasks(subject: NetworkSubject) -> Finding:
    """Check whether several tasks can be computed at once."""
    if not maps_over_tasks(subject.build()):
        return does_not_apply(
            "several tasks", "torch cannot compute several tasks at once, so they are taken one by one"
        )
    return ok("several tasks", "several tasks can be computed at once")


def body_and_head(subject: NetworkSubject) -> Finding:
    """Check that a network with a body and a head gives scores by both."""
    if not isinstance(subject.raw(), Network):
        return does_not_apply(
            "body and head",
            "it is a plain nn.Module; an algorithm that tells body from head, such as anil, needs a class derived from "
            "metaexp.models.base.Network",
        )
    network = subject.build()
    heads = [name for name, _ in network.named_parameters() if name.startswith("head.")]
    with torch.no_grad(), normalise_with("batch"):
        difference = gap(network.head(network.features(subject.examples())), network(subject.examples()))
    if difference > SAME:
        return wrong("body and head", "head(features(x)) is not what the network gives", gap=difference)
    if not heads:
        return wrong(
            "body and head", "no parameter's name begins with head., so algorithms that adapt the head do nothing"
        )
    return ok("body and head", "head(features(x)) is what it gives")


def save_and_load(subject: NetworkSubject) -> Finding:
    """Check that saved weights give the same scores in another object."""
    first, second = subject.build(seed=0).eval(), subject.build(seed=1).eval()
    second.load_state_dict(first.state_dict())
    with torch.no_grad(), normalise_with("batch"):
        difference = gap(second(subject.examples()), first(subject.examples()))
    if difference > SAME:
        return wrong(
            "save and load",
            "loaded weights give other scores; keep all numbers in parameters and buffers",
            gap=difference,
        )
    return ok("save and load", "saved weights give the same scores")


def learning(subject: NetworkSubject) -> Finding:
    """Check that gradient steps fit a few labelled examples."""
    x, y = subject.examples(), torch.arange(N_EXAMPLES) % N_OUTPUTS
    best = (float("inf"), float("inf"))
    for rate in _RATES:
        network = subject.build().train()
        parameters = [p for p in network.parameters() if p.requires_grad]
        if not parameters:
            return does_not_apply("learning", "it has no parameters to train")
        optimizer, losses = torch.optim.Adam(parameters, lr=rate), []
        for _ in range(_STEPS):
            optimizer.zero_grad()
            with fix_noise(0), normalise_with("batch"):
                loss = F.cross_entropy(network(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        best = min(best, (losses[-1] / losses[0], rate))
        if best[0] < 0.7:
            return ok(
                "learning", f"{_STEPS} steps fit {N_EXAMPLES} examples", loss_before=losses[0], loss_after=losses[-1]
            )
    return wrong("learning", f"{_STEPS} steps of Adam hardly change the loss on {N_EXAMPLES} examples", ratio=best[0])


CHECKS: Mapping[str, Callable[[NetworkSubject], Finding]] = {
    "runs": runs,
    "features": features,
    "no state": no_state,
    "no randomness": no_randomness,
    "initialisation": initialisation,
    "parameters reached": parameters_reached,
    "second derivatives": second_derivatives,
    "several tasks": several_tasks,
    "body and head": body_and_head,
    "save and load": save_and_load,
    "learning": learning,
}
"""Name -> check, in the order of a report. If the first finds something wrong, the others are not made."""


def examine_network(name: str, make: MakeNetwork, watch: Callable[[str, str], None] = lambda *_: None) -> list[Part]:
    """Make every check on examples of every shape.

    If a network works on one shape and fails at once on another, it counts as not meant for the other.

    Args:
        name: The name of the network.
        make: Makes it.
        watch: Called with the shape and the name of each check, before it is made.
    """
    parts = [_part(NetworkSubject(name, make, shape), heading, watch) for heading, shape in SHAPES.items()]
    if any(part.findings and part.findings[0].verdict == "ok" for part in parts):
        parts = [part if part.refusal or part.findings[0].verdict == "ok" else _not_meant(part) for part in parts]
    elif any(part.findings for part in parts):
        parts = [part for part in parts if part.findings][:1]
    else:
        raise ConfigError(parts[0].refusal)
    return parts


def _part(subject: NetworkSubject, heading: str, watch: Callable[[str, str], None]) -> Part:
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        watch(heading, name)
        try:
            findings.append(check(subject))
        except Exception as error:
            if name == "runs" and isinstance(error, ConfigError):
                return Part(heading, [], str(error))
            findings.append(wrong(name, format_error(error)))
        if findings[0].verdict == "wrong":
            break
    return Part(heading, findings)


def _not_meant(part: Part) -> Part:
    return Part(
        part.heading,
        [],
        f"it {part.findings[0].sentence}. If it is not meant for such examples, let its constructor say so: raise a "
        "ConfigError that names the input_shape it takes",
    )


def _size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
