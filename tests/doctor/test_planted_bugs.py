"""The doctor finds every planted bug, by the check that is meant for it, and nothing wrong with what is sound."""

from __future__ import annotations

import inspect
import itertools
from functools import cache

import planted
import pytest
import torch

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.doctor.examine import CHECKS, PURITY, examine, section
from metaexp.doctor.finding import Finding
from metaexp.doctor.learning import _move_buffers, few_tasks, learning
from metaexp.doctor.subject import Subject
from metaexp.doctor.symmetry import _NO_SUM
from metaexp.doctor.tiny import Kind

QUICK = {name: check for name, check in CHECKS.items() if name != "learning"}

SOUND = [
    "Gradient",
    "Prototypes",
    "NoisyInTraining",
    "TableThatGrows",
    "CollectsInTraining",
    "HeadForTraining",
    "StartsFromMeans",
    "StartsFromMeansOneByOne",
    "ReadsLabels",
    "ReadsLabelsFirst",
    "CornersForClasses",
]

BUGS = {
    "MissingCreateGraph": {"meta-gradient"},
    "SecondOrderUnclaimed": {"meta-gradient"},
    "UnsaidInnerGradient": {"meta-gradient"},
    "DetachedFastWeights": {"meta-gradient", "parameters reached"},
    "DetachedStart": {"meta-gradient", "parameters reached"},
    "DetachedPrototypes": {"meta-gradient"},
    "ScaledByFloat32": {"meta-gradient"},
    "RoundedEmbedding": {"meta-gradient"},
    "UnusedHead": {"parameters reached"},
    "RootOfZero": {"meta-gradient", "parameters reached", "vectorised"},
    "PositionsForLabels": {"support used", "labels", "support order"},
    "WrongClassSums": {"labels"},
    "ReadsLabelsAsNumbers": {"labels"},
    "FixedLabelMap": {"labels"},
    "SupportIgnored": {"support used"},
    "LearnsFromQueries": {"support used"},
    "SequentialSteps": {"support order"},
    "PositionOfQueries": {"query order", "labels", "batch norm", "without batch norm"},
    "WrongSign": {"loss"},
    "SaysInductive": {"batch norm"},
    "SaysTransductive": {"batch norm"},
    "SaysTransductiveAnyway": {"without batch norm"},
    "SaysNothingNormalised": {"batch norm"},
    "CentredQueries": {"batch norm", "without batch norm"},
    "StatisticsUpdatedAtTest": {"nothing overwritten", "no state"},
    "PrototypesKept": {"no state"},
    "WaySwapped": {"no state"},
    "FastWeightsOnParameters": {"no state"},
    "History": {"no state"},
    "UnresetLSTM": {"no state"},
    "WritesParameters": {"nothing overwritten", "no state"},
    "WritesInputs": {"nothing overwritten"},
    "LastingTableThatGrows": {"nothing overwritten", "no state"},
    "CountsAtTest": {"nothing overwritten"},
    "DropoutAtTest": {"no randomness"},
    "NumpyNoise": {"no randomness"},
    "StopsEarly": {"vectorised"},
    "NativeBatchNorm": {"vectorised"},
    "WayHardCoded": {"ways and shots"},
    "OneShotOnly": {"ways and shots"},
    "LostTensor": {"save and load"},
    "ForgetsWhatTestsRead": {"save and load"},
    "ForgetsAChoice": {"save and load"},
    "ForgetsWhatIsNotThere": {"save and load"},
    "AdaptationPathWithoutEnd": {"adaptation path"},
    "AdaptationPathWithoutStart": {"adaptation path"},
    "StartsAfterMeans": {"adaptation path"},
    "MadeElsewhere": {"runs"},
    "ReturnsTwo": {"runs"},
}
"""Class -> all the checks that find something wrong with it, on classification."""


MARKS = {"ScaledByFloat32": "scaled = self.log_scale", "RoundedEmbedding": ".bfloat16()"}
"""Class -> what is written where its numbers lose digits."""


def subject(name: str, kind: Kind = "classification") -> Subject:
    """A class of planted.py, with the arguments that its constructor takes."""
    cls: type[Algorithm] = getattr(planted, name)
    taken = inspect.signature(cls.__init__).parameters

    def make(most_steps: int, **provided: object) -> Algorithm:
        return cls(**{key: value for key, value in provided.items() if key in taken})

    return Subject(name, cls, make, kind)


@cache
def quick(name: str) -> list[Finding]:
    """The findings of all checks but the slow one, on classification."""
    return section(subject(name), checks=QUICK).findings


def wrong(findings: list[Finding]) -> set[str]:
    return {finding.name for finding in findings if finding.verdict == "wrong"}


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_wrong_with_a_sound_one(name: str) -> None:
    assert [finding.name for finding in quick(name)] == list(QUICK)
    assert {finding.verdict for finding in quick(name)} == {"ok"}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found_by_the_checks_that_are_meant_for_it_and_by_no_other(name: str) -> None:
    assert wrong(quick(name)) == BUGS[name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ForgetsWhatTestsRead", "predictions read what only_for_training names: head.bias, head.weight, model."),
        ("ForgetsAChoice", "predictions read what only_for_training names: head.bias, head.weight, sign"),
        ("LostTensor", "something that decides predictions is neither a parameter nor a buffer"),
    ],
)
def test_what_is_lost_between_saving_and_loading_is_said(name: str, said: str) -> None:
    (finding,) = [finding for finding in quick(name) if finding.name == "save and load"]
    assert finding.sentence.startswith(said)


def test_layers_that_cannot_be_mapped_are_not_wrong_where_training_does_not_map_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    findings = quick("ReadsSequences")
    assert [finding.name for finding in findings if finding.verdict != "ok"] == ["vectorised"]
    (finding,) = [finding for finding in findings if finding.name == "vectorised"]
    assert finding.verdict == "does not apply"
    assert finding.sentence == "it has layers that torch.vmap cannot map; training takes one task at a time"
    assert learning(subject("ReadsSequences")).verdict == "ok"
    monkeypatch.setattr(Algorithm, "can_be_mapped", True)
    assert CHECKS["vectorised"](subject("ReadsSequences")).verdict == "wrong"


def test_predictions_that_are_not_one_tensor_are_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert quick("ReturnsTwo")[0].sentence == "a task gives predictions of the type tuple, not one tensor"
    monkeypatch.setattr(planted.ReturnsTwo, "predict", lambda self, adapted, x: None)
    (finding,) = section(subject("ReturnsTwo"), checks=QUICK).findings
    assert finding.sentence == "a task gives predictions of the type NoneType: is return forgotten?"


def test_every_planted_class_is_tried() -> None:
    found = {name for name, cls in vars(planted).items() if inspect.isclass(cls) and cls.__module__ == planted.__name__}
    elsewhere = {
        "LearnsFromQueriesToo",
        "LearnsFromSupport",
        "LineFit",
        "NegatedMetaLoss",
        "ReadsSequences",
        "ReadsSupport",
        "RegressionUnrefused",
        "RootOfLoss",
        "SumInLoss",
        "SumOverQueries",
        "VectorsOnly",
    }
    assert found == {*SOUND, *BUGS, *elsewhere}
    assert len(BUGS) >= 15


def test_every_check_finds_some_bug() -> None:
    assert {check for checks in BUGS.values() for check in checks} == set(QUICK)


@pytest.mark.parametrize("name", ["NegatedMetaLoss", "PositionsForLabels"])
def test_what_does_not_learn_is_found_by_training_it(name: str) -> None:
    finding = learning(subject(name))
    assert finding.verdict == "wrong"
    assert finding.measured["accuracy"] < 0.4
    assert learning(subject("Prototypes")).verdict == "ok"


def test_what_learns_too_slowly_for_new_tasks_may_learn_four_by_their_supports() -> None:
    finding = learning(subject("ReadsSupport"))
    assert finding.verdict == "ok"
    assert finding.sentence.startswith("too slowly for new tasks in a short training; four fixed tasks")
    assert finding.measured["accuracy"] < 0.4 < finding.measured["on four fixed tasks"]
    assert finding.measured["on these with misleading supports"] < 0.4
    for name in ("NegatedMetaLoss", "PositionsForLabels"):
        assert learning(subject(name)).measured["on four fixed tasks"] < 0.4


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_four_tasks_differ_in_labels_alone(kind: Kind) -> None:
    task = subject("Gradient", kind).task()
    found = few_tasks(task)
    assert all(torch.equal(one.support.x, task.support.x) and torch.equal(one.query.x, task.query.x) for one in found)
    answers = [torch.cat([one.support.y, one.query.y]) for one in found]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(answers, 2))
    assert torch.equal(answers[0], torch.cat([task.support.y, task.query.y]))


def test_a_negated_meta_loss_is_found_by_nothing_else() -> None:
    assert wrong(quick("NegatedMetaLoss")) == set()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LearnsFromQueriesToo", f"; {_NO_SUM}"),
        ("RootOfLoss", f"; {_NO_SUM}"),
        ("LearnsFromSupport", "; training does not use the queries: is that meant?"),
        ("Prototypes", ""),
        ("NoisyInTraining", ""),
    ],
)
def test_an_unusual_use_of_queries_in_training_is_said_and_is_not_wrong(name: str, said: str) -> None:
    """Published methods do it: Reptile uses no queries, and a marginal likelihood is that of both together."""
    (finding,) = [finding for finding in quick(name) if finding.name == "support used"]
    assert finding.verdict == "ok"
    assert finding.sentence == f"labels and inputs of the support decide what is predicted{said}"
    assert wrong(quick(name)) == set()


MEAN, SUM = "a mean over examples", "not a mean over examples: learning rates depend on their number"
SUM_OF_QUERIES = "; the meta-loss is a sum over queries, so that learning rates depend on their number: is that meant?"


@pytest.mark.parametrize(
    ("name", "said", "ratio"),
    [
        ("SumOverQueries", f"{MEAN}{SUM_OF_QUERIES}", 2.0),
        ("SumInLoss", SUM, 2.0),
        ("Prototypes", MEAN, 1.0),
        ("Gradient", MEAN, 1.0),
        ("LearnsFromSupport", MEAN, 1.0),
        ("RootOfLoss", MEAN, 1.0),
        ("NoisyInTraining", MEAN, 0.0),  # cannot be told
    ],
)
def test_a_meta_loss_that_is_a_sum_over_queries_is_said_and_is_not_wrong(name: str, said: str, ratio: float) -> None:
    (finding,) = [finding for finding in quick(name) if finding.name == "loss"]
    assert (finding.verdict, finding.sentence) == ("ok", f"lower for right answers, {said}")
    assert finding.measured["meta-loss of all queries twice"] == pytest.approx(ratio, rel=1e-9)


def test_an_algorithm_for_regression_alone_is_examined_on_regression_alone() -> None:
    on_classes, on_numbers = examine(subject("LineFit"))
    assert on_classes.findings == []
    assert "n_way must be 0" in on_classes.refusal
    assert [finding.name for finding in on_numbers.findings if finding.verdict != "ok"] == ["labels"]
    assert [finding.verdict for finding in on_numbers.findings if finding.name == "labels"] == ["does not apply"]


def test_the_report_on_an_algorithm_that_fails_on_numbers_says_how_to_refuse_them() -> None:
    (finding,) = section(subject("RegressionUnrefused", "regression")).findings
    assert finding.verdict == "wrong"
    assert "planted.py, line " in finding.sentence
    on_classes, on_numbers = examine(subject("RegressionUnrefused"))
    assert wrong(on_classes.findings) == set()
    assert on_numbers.findings == []
    assert finding.sentence in on_numbers.refusal
    assert "write classes_needed = True into its class" in on_numbers.refusal


def test_an_algorithm_that_says_that_it_needs_classes_is_not_examined_on_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subject("RegressionUnrefused").cls, "classes_needed", True)
    on_classes, on_numbers = examine(subject("RegressionUnrefused"))
    assert wrong(on_classes.findings) == set()
    assert on_classes.findings
    assert on_numbers == ("regression", [], "it needs classes, as its classes_needed says.")


def test_an_algorithm_that_works_on_no_kind_of_task_is_wrong() -> None:
    sections = examine(subject("MadeElsewhere"))
    assert [part.kind for part in sections if part.refusal] == ["regression"]  # refused by its constructor
    (finding,) = sections[0].findings
    assert finding.verdict == "wrong"
    assert "take dtypes from the examples" in finding.sentence


def test_an_algorithm_for_feature_vectors_is_given_these() -> None:
    findings = quick("VectorsOnly")
    assert wrong(findings) == set()
    assert "with feature vectors, and not with feature maps" in findings[0].sentence
    assert "feature vectors" not in quick("Prototypes")[0].sentence


def test_an_algorithm_that_refuses_every_kind_of_task_is_an_error_of_the_configuration() -> None:
    def refuse(most_steps: int, **provided: object) -> Algorithm:
        raise ConfigError("alpha_min=2.0 is above alpha_max=1.0.")

    with pytest.raises(ConfigError, match="alpha_min"):
        examine(Subject("Refusing", planted.Gradient, refuse))


def test_where_a_task_leaves_traces_nothing_is_compared() -> None:
    findings = quick("DropoutAtTest")
    skipped = [finding for finding in findings if finding.verdict == "does not apply"]
    assert [finding.name for finding in skipped] == [name for name in QUICK if name not in ("runs", *PURITY)]
    assert skipped[0].sentence == "not checked until 'no randomness' is ok"


def test_the_order_is_reported_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = {name: CHECKS["meta-gradient"](subject(name)).sentence for name in ("Gradient", "Prototypes")}
    assert sentences == {"Gradient": "second order, as it says", "Prototypes": "no inner gradient, as it says"}
    monkeypatch.setattr(planted.Prototypes, "first_order", False)  # as of code that writes out an inner gradient
    said = CHECKS["meta-gradient"](subject("Prototypes"))
    assert (said.verdict, said.sentence) == ("ok", "no derivative is left out, as it says")
    monkeypatch.setattr(planted.Prototypes, "first_order", True)
    assert CHECKS["meta-gradient"](subject("Prototypes")).verdict == "wrong"
    missing = next(finding for finding in quick("MissingCreateGraph") if finding.name == "meta-gradient")
    assert missing.sentence.startswith("measured: first order")
    detached = next(finding for finding in quick("DetachedStart") if finding.name == "meta-gradient")
    assert "model.conv.weight" in detached.sentence


@pytest.mark.parametrize("name", ["DetachedPrototypes", "MissingCreateGraph"])
def test_a_gradient_that_is_meant_to_be_another_one_is_not_wrong(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    check = CHECKS["meta-gradient"]
    before = check(subject(name))
    assert before.verdict == "wrong"
    assert before.sentence.endswith("need approximates_gradient = True in the class")
    monkeypatch.setattr(getattr(planted, name), "approximates_gradient", True)
    found = check(subject(name))
    assert found.verdict == "ok"
    assert "its approximates_gradient says that it is not that of the meta-loss" in found.sentence
    assert found.measured["relative error"] == before.measured["relative error"]


@pytest.mark.parametrize(("name", "dtype"), [("ScaledByFloat32", "float32"), ("RoundedEmbedding", "bfloat16")])
def test_fewer_digits_are_not_taken_for_a_detached_gradient(name: str, dtype: str) -> None:
    sentence = CHECKS["meta-gradient"](subject(name)).sentence
    line = next(n for n, text in enumerate(inspect.getsource(planted).splitlines(), 1) if MARKS[name] in text)
    assert f"computed in {dtype} (planted.py, line {line})" in sentence
    assert "detached" not in sentence
    assert "detached" in CHECKS["meta-gradient"](subject("DetachedPrototypes")).sentence


def test_examining_draws_no_noise_for_anyone_else() -> None:
    before = torch.get_rng_state()
    quick.cache_clear()
    quick("NoisyInTraining")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_table_that_grows_in_training_alone_is_left_to_training() -> None:
    made = subject("TableThatGrows")
    algorithm = made.build()
    _move_buffers(algorithm, made.training_batch(1), dict(algorithm.named_buffers()))
    assert len(algorithm.table) == 1
    counts = subject("CollectsInTraining")
    algorithm = counts.build()
    _move_buffers(algorithm, counts.training_batch(1), dict(algorithm.named_buffers()))
    assert algorithm.seen == 1
    assert algorithm.mean != 0
