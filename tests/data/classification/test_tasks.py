import pytest
import torch
from class_datasets import class_of, numbers, tiny_dataset, turns
from scipy.stats import chisquare

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode
from metaexp.models.batch_norm import normalise_with
from metaexp.models.mlp import MLP

SIZES = {"train": [12] * 9, "val": [12] * 7, "test": [12, 9, 30, 11, 25, 14, 9]}
TEST_STARTS_AT = 12 * 16


def same(a: Episode, b: Episode) -> bool:
    return all(torch.equal(p.x, q.x) and torch.equal(p.y, q.y) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("n_way", "k_shot", "n_query", "seed"),
    [(1, 1, 1, 0), (7, 4, 5, 2**32), (1, 4, 5, 1), (7, 1, 1, 2), (2, 3, 1, 3), (5, 1, 5, 4), (6, 2, 3, 12345)],
)
def test_episodes_hold_distinct_classes_disjoint_sets_and_the_right_counts(n_way, k_shot, n_query, seed):
    tasks = tiny_dataset(SIZES).tasks(TaskShape(n_way, k_shot, n_query), seed)
    episodes = tasks.episodes("test", torch.arange(6))
    assert episodes.support.n_way == episodes.query.n_way == n_way
    for t in range(6):
        support, query = numbers(episodes.support.x[t]), numbers(episodes.query.x[t])
        together = torch.cat([support, query]).tolist()
        assert len(set(together)) == n_way * (k_shot + n_query)
        owner = {}
        for number, label in zip(
            together, torch.cat([episodes.support.y[t], episodes.query.y[t]]).tolist(), strict=True
        ):
            owner.setdefault(label, set()).add(int(class_of(torch.tensor(number), SIZES["test"], TEST_STARTS_AT)))
        assert all(len(classes) == 1 for classes in owner.values())
        assert len(set.union(*owner.values())) == n_way
        assert torch.equal(episodes.support.y[t].bincount(minlength=n_way), torch.full((n_way,), k_shot))
        assert torch.equal(episodes.query.y[t].bincount(minlength=n_way), torch.full((n_way,), n_query))


def test_an_episode_is_the_same_in_every_batch():
    tasks = tiny_dataset(SIZES, "per_class").tasks(TaskShape(3, 2, 2), 5)
    together = tasks.episodes("val", torch.tensor([8, 3, 3, 10**9]))
    for place, index in enumerate([8, 3, 3, 10**9]):
        alone = tiny_dataset(SIZES, "per_class").tasks(TaskShape(3, 2, 2), 5).episodes("val", torch.tensor([index]))
        assert torch.equal(alone.support.x[0], together.support.x[place])
        assert torch.equal(alone.query.y[0], together.query.y[place])
    assert not torch.equal(together.support.x[0], together.support.x[1])


def test_seed_split_and_index_choose_the_episode():
    tiny = tiny_dataset({"train": [12] * 9, "val": [12] * 9})
    shape = TaskShape(5, 1, 1)
    base = tiny.tasks(shape, 0).draw("train", torch.arange(20)).support_rows
    assert torch.equal(base, tiny.tasks(shape, 0).draw("train", torch.arange(20)).support_rows)
    assert not torch.equal(base, tiny.tasks(shape, 1).draw("train", torch.arange(20)).support_rows)
    assert not torch.equal(base, tiny.tasks(shape, 0).draw("val", torch.arange(20)).support_rows - 12 * 9)
    assert not torch.equal(base, tiny.tasks(shape, 0).draw("train", torch.arange(1, 21)).support_rows)


def test_the_first_fifty_episodes_of_four_workers_are_distinct():
    tasks = tiny_dataset(SIZES).tasks(TaskShape(5, 1, 1), 0)
    per_worker = [tasks.draw("train", torch.arange(rank, 200, 4)).support_rows for rank in range(4)]
    assert torch.unique(torch.cat(per_worker), dim=0).shape[0] == 200


def test_every_class_takes_every_label_equally_often():
    draw = tiny_dataset(SIZES).tasks(TaskShape(5, 1, 1), 0).draw("train", torch.arange(9000))
    classes = draw.support_rows // 12
    counts = torch.zeros(9, 5).index_put((classes.flatten(), draw.support_y.flatten()), torch.tensor(1.0), True)
    assert chisquare(counts.flatten().tolist()).pvalue > 1e-4


def test_every_example_of_a_class_is_support_equally_often_also_beside_smaller_classes():
    draw = tiny_dataset(SIZES).tasks(TaskShape(3, 2, 3), 0).draw("test", torch.arange(8000))
    used = torch.bincount(draw.support_rows.flatten() - TEST_STARTS_AT, minlength=sum(SIZES["test"]))
    for first, size in ((0, 12), (21, 30)):
        assert chisquare(used[first : first + size].tolist()).pvalue > 1e-4


def test_labels_stand_in_no_fixed_order_in_support_or_query():
    draw = tiny_dataset(SIZES).tasks(TaskShape(3, 2, 2), 0).draw("train", torch.arange(3000))
    for y in (draw.support_y, draw.query_y):
        for place in range(y.shape[1]):
            assert chisquare(torch.bincount(y[:, place], minlength=3).tolist()).pvalue > 1e-5


def test_what_has_seen_no_support_is_right_once_in_n_also_with_one_query_of_each_class_in_a_batch():
    """Transductive batch norm sees that a query batch is class-balanced; only an order would tell which is which."""
    query = tiny_dataset(SIZES).tasks(TaskShape(5, 1, 1), 0).episodes("train", torch.arange(2000)).query
    torch.manual_seed(0)
    network = MLP((1, 6, 6), 5, [16], True, True, 1e-3, "default", 0.01)
    with torch.no_grad(), normalise_with("batch"):
        by_network = torch.vmap(network)(query.x).argmax(-1)
    by_position = torch.arange(5).expand_as(query.y)
    for guess in (by_network, by_position):
        assert abs((guess == query.y).float().mean().item() - 0.2) < 0.02
    assert (by_position == query.y.sort(1).values).all()  # what an ordered query set would give away


def test_support_does_not_depend_on_the_number_of_queries_and_shots_are_nested():
    tiny = tiny_dataset(SIZES)
    few = tiny.tasks(TaskShape(5, 1, 1), 0).draw("train", torch.arange(30))
    more = tiny.tasks(TaskShape(5, 1, 8), 0).draw("train", torch.arange(30))
    assert torch.equal(few.support_rows, more.support_rows)
    five = tiny.tasks(TaskShape(5, 5, 1), 0).draw("train", torch.arange(30))
    assert all(set(a.tolist()) < set(b.tolist()) for a, b in zip(few.support_rows, five.support_rows, strict=True))


def test_turns_per_class_are_shared_by_support_and_query_of_a_class_and_differ_between_classes():
    episodes = tiny_dataset(SIZES, "per_class").tasks(TaskShape(5, 2, 2), 0).episodes("test", torch.arange(100))
    x, y = torch.cat([episodes.support.x, episodes.query.x], 1), torch.cat([episodes.support.y, episodes.query.y], 1)
    turned = turns(x)
    per_class = torch.stack([torch.stack([turned[t][y[t] == c] for c in range(5)]) for t in range(100)])  # (T, N, 4)
    assert (per_class == per_class[..., :1]).all()
    assert any(len(set(row.tolist())) > 1 for row in per_class[..., 0])
    assert chisquare(torch.bincount(per_class[..., 0].flatten(), minlength=4).tolist()).pvalue > 1e-4


def test_turns_per_episode_are_shared_by_all_images_of_an_episode():
    episodes = tiny_dataset(SIZES, "per_episode").tasks(TaskShape(5, 2, 2), 0).episodes("test", torch.arange(200))
    turned = turns(torch.cat([episodes.support.x, episodes.query.x], 1))
    assert (turned == turned[:, :1]).all()
    assert chisquare(torch.bincount(turned[:, 0], minlength=4).tolist()).pvalue > 1e-4


def test_turns_as_classes_make_four_classes_of_one_that_can_meet_in_a_task():
    tiny = tiny_dataset({"train": [4, 4]}, "classes")
    assert tiny.capacity()["train"].n_classes == 8
    episodes = tiny.tasks(TaskShape(8, 1, 1), 0).episodes("train", torch.arange(5))
    for t in range(5):
        of, turned = class_of(numbers(episodes.support.x[t]), [4, 4]), turns(episodes.support.x[t])
        assert sorted(zip(of.tolist(), turned.tolist(), strict=True)) == [(c, t) for c in range(2) for t in range(4)]


@pytest.mark.parametrize("kind", ["classes", "per_class", "per_episode"])
def test_turns_in_training_only_leave_other_splits_upright(kind):
    tiny = tiny_dataset(SIZES, kind, "train")
    shape = TaskShape(5, 2, 2)
    assert turns(tiny.tasks(shape, 0).episodes("train", torch.arange(20)).query.x).max() > 0
    assert turns(tiny.tasks(shape, 0).episodes("test", torch.arange(20)).query.x).max() == 0
    assert tiny.capacity()["test"].n_classes == 7


def test_without_turns_all_images_are_upright():
    assert (
        turns(tiny_dataset(SIZES).tasks(TaskShape(5, 2, 2), 0).episodes("train", torch.arange(20)).support.x).max() == 0
    )


def test_a_shape_is_refused_only_for_the_split_it_does_not_fit():
    tasks = tiny_dataset(SIZES).tasks(TaskShape(8, 1, 1), 0)
    assert tasks.episodes("train", torch.arange(1)).support.x.shape[1] == 8
    with pytest.raises(ConfigError, match=r"^task.n_way=8 needs 8 classes; tiny has 7 for test\.$"):
        tasks.episodes("test", torch.arange(1))


def test_too_many_shots_and_queries_are_refused_with_the_numbers():
    with pytest.raises(ConfigError) as error:
        tiny_dataset(SIZES, name="omniglot").tasks(TaskShape(50, 8, 5), 0).bank_hash("val", 3)
    assert error.value.problems == [
        "task.n_way=50 needs 50 classes; omniglot has 7 for val.",
        "task.k_shot=8 and task.n_query=5 need 13 images per class; omniglot has 12.",
    ]


def test_exactly_as_many_images_as_a_class_has_are_enough():
    episodes = tiny_dataset(SIZES).tasks(TaskShape(7, 4, 5), 0).episodes("test", torch.arange(3))
    assert episodes.query.x.shape == (3, 35, 1, 6, 6)


def test_the_bank_hash_tells_episodes_apart_but_not_how_pixels_are_delivered():
    from metaexp.data.classification.preprocessing import Pixels

    shape = TaskShape(5, 1, 1)
    base = tiny_dataset(SIZES).tasks(shape, 0).bank_hash("test", 100)
    assert base == tiny_dataset(SIZES).tasks(shape, 0).bank_hash("test", 100)
    assert base == tiny_dataset(SIZES, pixels=Pixels(invert=True)).tasks(shape, 0).bank_hash("test", 100)
    others = {
        tiny_dataset(SIZES).tasks(shape, 1).bank_hash("test", 100),
        tiny_dataset(SIZES).tasks(shape, 0).bank_hash("val", 100),
        tiny_dataset(SIZES).tasks(shape, 0).bank_hash("test", 101),
        tiny_dataset(SIZES).tasks(TaskShape(5, 1, 2), 0).bank_hash("test", 100),
        tiny_dataset(SIZES, "per_class").tasks(shape, 0).bank_hash("test", 100),
    }
    assert len(others | {base}) == 6


def test_supervised_batches_hold_different_examples_under_fixed_labels():
    batches = tiny_dataset(SIZES).batches(40, 0)
    episodes = batches.episodes("test", torch.arange(50))
    assert episodes.support.n_way == 7
    assert episodes.support.x is episodes.query.x
    shown = numbers(episodes.support.x)
    assert all(len(set(row)) == 40 for row in shown.tolist())
    assert torch.equal(class_of(shown, SIZES["test"], TEST_STARTS_AT), episodes.support.y)
    seen = torch.bincount((shown - TEST_STARTS_AT).flatten(), minlength=sum(SIZES["test"]))
    assert chisquare(seen.tolist()).pvalue > 1e-4


def test_supervised_batches_are_addressed():
    batches = tiny_dataset(SIZES, "per_class").batches(10, 3)
    assert torch.equal(
        batches.episodes("train", torch.tensor([2, 7])).support.x[1],
        batches.episodes("train", torch.tensor([7])).support.x[0],
    )
    assert batches.bank_hash("train", 5) != tiny_dataset(SIZES, "per_class").batches(10, 4).bank_hash("train", 5)


def test_supervised_labels_count_turned_classes():
    episodes = tiny_dataset(SIZES, "classes").batches(100, 0).episodes("train", torch.arange(3))
    assert episodes.support.n_way == 36
    expected = class_of(numbers(episodes.support.x), SIZES["train"]) + 9 * turns(episodes.support.x)
    assert torch.equal(episodes.support.y, expected)


def test_a_batch_larger_than_a_split_is_refused():
    with pytest.raises(ConfigError, match="a batch of 111 examples is more than the 110 that tiny has for test"):
        tiny_dataset({**SIZES, "train": [200]}).batches(111, 0).episodes("test", torch.arange(1))
    with pytest.raises(ConfigError, match="train.meta_batch_size=111 examples are more than the 108 that tiny has"):
        tiny_dataset(SIZES).batches(111, 0)  # before anything is trained


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["none", "classes", "per_class", "per_episode"])
def test_the_gpu_makes_the_same_episodes_without_waiting_for_it(kind):
    here = tiny_dataset(SIZES, kind).tasks(TaskShape(5, 2, 3), 0)
    there = tiny_dataset(SIZES, kind).to(torch.device("cuda")).tasks(TaskShape(5, 2, 3), 0)
    indices = torch.arange(64, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = there.episodes("test", indices)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = here.episodes("test", torch.arange(64))
    assert torch.equal(made.support.x.cpu(), expected.support.x)
    assert torch.equal(made.query.y.cpu(), expected.query.y)
    assert here.bank_hash("test", 64) == there.bank_hash("test", 64)
