"""Overrides taken apart into what is fixed and what varies."""

from __future__ import annotations

import pytest

from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.search.space import Choices, Dimension, Interval, Space, Steps, read_space


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


@pytest.mark.parametrize(
    ("line", "dimension"),
    [
        ("algorithm=maml,anil", Choices("algorithm", ("maml", "anil"), is_group=True)),
        ("clip=glob(norm*)", Choices("clip", ("norm", "norm_per_module"), is_group=True)),
        ("model.hidden=[8],[16,8]", Choices("model.hidden", ("[8]", "[16,8]"))),
        ("model.use_batch_norm=true,false", Choices("model.use_batch_norm", (True, False))),
        ("device.task_chunk=null,4", Choices("device.task_chunk", ("null", 4))),
        ("+a=shuffle(1,2.5,'x y')", Choices("+a", (1, 2.5, r"x\ y"))),
        ("train.k_shot=range(1, 8, 2)", Steps("train.k_shot", (1, 3, 5, 7))),
        ("optimizer.lr=range(0.0, 1.0, 0.25)", Steps("optimizer.lr", (0.0, 0.25, 0.5, 0.75))),
        ("optimizer.lr=interval(0, 1)", Interval("optimizer.lr", 0.0, 1.0, integer=False, log=False)),
        ("train.k_shot=int(interval(1, 8))", Interval("train.k_shot", 1, 8, integer=True, log=False)),
        ("a=tag(log, interval(1e-4, 1))", Interval("a", 1e-4, 1.0, integer=False, log=True)),
        ("a=tag(log, int(interval(1, 64)))", Interval("a", 1, 64, integer=True, log=True)),
    ],
)
def test_the_words_of_hydra_are_read(composer: Composer, line: str, dimension: Dimension) -> None:
    space = read_space(["seed=3", line], composer)
    assert space == Space(["seed=3"], [dimension])
    for ours, theirs in zip(space.dimensions[0].ends(), dimension.ends(), strict=True):
        assert type(ours) is type(theirs), "1 and 1.0 and true are equal in Python, and different in YAML"


def test_a_point_becomes_overrides_that_hydra_reads_back(composer: Composer) -> None:
    given = ["seed=3", "a=true,false", "b='x y',z", "c=[1,2],null", "d=interval(0, 1)", "algorithm=maml,anil"]
    space = read_space(given, composer)
    point = (True, r"x\ y", "[1,2]", 1e-05, "anil")
    lines = space.overrides(point)
    assert lines == ["seed=3", "a=true", r"b=x\ y", "c=[1,2]", "d=1e-05", "algorithm=anil"]
    read = [composer.parse(line) for line in lines]
    assert [o if isinstance(o, str) else o.value() for o in read] == [3, True, "x y", [1, 2], 1e-05, "anil"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["seed=1"], "no key varies. Give one several values"),
        (["a=interval(2, 1)"], "a=interval(2, 1): an interval needs its lower bound first"),
        (["a=tag(log, interval(0, 1))"], "needs bounds above 0; the lower one is 0.0"),
        (["a=tag(log, choice(1, 2))"], "a logarithmic scale needs an interval"),
        (["a=tag(warm, interval(1, 2))"], "tag warm is not known; the only tag is log"),
        (["a=range(3, 3)"], "a=range(3, 3) holds no value"),
        (["algorithm=glob(zz*)"], "algorithm=glob(zz*) matches nothing"),
        (["a=1,2,1"], "a=1,2,1 names a value twice"),
        (["a=1,2", "a=3,4"], "a is given more than once"),
        (["b=1", "a=1,2", "a=3,4", "+a=5,6"], "a is given more than once"),
        (["a=1,2", "+a=3"], "a is given more than once"),
        (["hydra/launcher=basic,joblib"], "Hydra's own keys cannot vary"),
        (["a='interval(1, 2)'"], "is one text, because of its inner quotes; write 'a=interval(1, 2)'"),
        (["nonsense"], "'nonsense' is not an override"),
    ],
)
def test_what_cannot_vary_is_refused(composer: Composer, lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_space(lines, composer)
    assert message in str(caught.value)
    assert len(set(caught.value.problems)) == len(caught.value.problems)


def test_few_corners_are_all_combinations_and_of_many_each_end_is_there(composer: Composer) -> None:
    few = read_space(["a=1,2", "b=interval(0, 1)"], composer)
    assert list(few.corners()) == [(1, 0.0), (1, 1.0), (2, 0.0), (2, 1.0)]
    many = read_space([f"a{i}=1,2,3" for i in range(5)], composer)
    corners = list(many.corners())
    assert len(corners) == len(set(corners)) == 1 + 5 * 2
    assert all({corner[place] for corner in corners} == {1, 2, 3} for place in range(5))
