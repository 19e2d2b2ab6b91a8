import math
import random
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from metaexp.core.addressing import distinct, episode_keys, integers, permutation, subkeys, unit_floats
from metaexp.core.shapes import SPLITS

WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
TAGS = {"train": 0x7472, "val": 0x7661, "test": 0x7465}


def mix(z: int) -> int:
    """SplitMix64's finaliser in plain Python, written from the paper."""
    z &= WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def unsigned(words: torch.Tensor) -> list[int]:
    return [word & WORD for word in words.flatten().tolist()]


def keys(n: int, seed: int = 0) -> torch.Tensor:
    return episode_keys(seed, "train", torch.arange(n))


def test_the_finaliser_is_that_of_splitmix64_with_its_published_first_outputs_for_seed_zero():
    state, outputs = 0, []
    for _ in range(3):
        state = (state + GOLDEN) & WORD
        outputs.append(mix(state))
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**63 + 5])
@pytest.mark.parametrize("split", SPLITS)
def test_keys_are_the_documented_function_of_seed_split_and_index(seed, split):
    indices = [0, 1, 7, 10**12]
    root = mix(mix(seed + GOLDEN) ^ TAGS[split])
    expected = [mix(root + GOLDEN * (i + 1)) for i in indices]
    assert unsigned(episode_keys(seed, split, torch.tensor(indices))) == expected
    key = expected[2]
    words = subkeys(episode_keys(seed, split, torch.tensor(indices)), stream=3, n=5)[2]
    assert unsigned(words) == [mix((key ^ mix(3 + GOLDEN)) + GOLDEN * (i + 1)) for i in range(5)]


def test_pinned_values_never_change():
    k = keys(2)
    assert k.tolist() == [-5627672084878496874, 6520366695151931247]
    assert distinct(k, 0, 5, 1100).tolist() == [[729, 533, 449, 942, 314], [325, 534, 1046, 10, 272]]
    assert permutation(k, 1, 6).tolist() == [[3, 1, 5, 4, 0, 2], [5, 0, 4, 1, 2, 3]]
    assert integers(subkeys(k, 2, 4), 4).tolist() == [[3, 1, 2, 3], [3, 1, 3, 2]]


def test_seed_split_index_and_stream_each_change_the_key():
    base = episode_keys(0, "val", torch.tensor([4]))
    others = [
        episode_keys(1, "val", torch.tensor([4])),
        episode_keys(0, "test", torch.tensor([4])),
        episode_keys(0, "val", torch.tensor([5])),
    ]
    streams = [subkeys(base, stream, 1).item() for stream in range(50)]
    assert len({base.item(), *(k.item() for k in others), *streams}) == 54


DRAWN = random.Random(0)
"""Where values of tests come from, so that every process has the same tests."""


@pytest.mark.parametrize(
    ("indices", "seed"),
    [
        ([0], 0),
        ([2**40] * 2, 2**64),
        *[([DRAWN.randint(0, 2**40) for _ in range(n)], DRAWN.randint(0, 2**64)) for n in (1, 2, 7, 20)],
    ],
)
def test_a_key_is_the_same_in_every_batch(indices, seed):
    together = episode_keys(seed, "test", torch.tensor(indices))
    alone = torch.cat([episode_keys(seed, "test", torch.tensor([i])) for i in indices])
    assert torch.equal(together, alone)
    assert torch.equal(distinct(together, 0, 3, 9), torch.cat([distinct(k, 0, 3, 9) for k in alone.split(1)]))


@pytest.mark.parametrize(
    "high", [1, 2, 3, 2**16, 2**31 - 2, 2**31 - 1, *[DRAWN.randint(1, 2**31 - 1) for _ in range(6)]]
)
def test_integers_stay_below_their_bound_up_to_the_largest_word(high):
    extreme = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    drawn = integers(torch.cat([extreme, keys(200)]), high)
    assert drawn.min() >= 0
    assert drawn.max() < high
    assert drawn[1] == high - 1


def test_integers_are_uniform():
    counts = torch.bincount(integers(keys(60_000), 7), minlength=7)
    assert chisquare(counts.tolist()).pvalue > 1e-4


def test_unit_floats_are_uniform_multiples_in_zero_to_one():
    floats = unit_floats(torch.cat([keys(50_000), torch.tensor([-1, 0])]))
    assert floats.dtype == torch.float32
    assert floats[-2].item() == 1.0 - 2.0**-24
    assert floats[-1].item() == 0.0
    assert torch.equal(floats.double() * 2**24, (floats.double() * 2**24).round())
    assert chisquare(torch.histc(floats, 20, 0, 1).tolist()).pvalue > 1e-4


@pytest.mark.parametrize("extra", [0, 1, 5, 60])
@pytest.mark.parametrize("n", [1, 2, 3, 20, 40])
def test_distinct_draws_are_distinct_and_below_their_bound(n, extra):
    for seed in range(3):
        drawn = distinct(keys(20, seed), 0, n, n + extra)
        assert drawn.min() >= 0
        assert drawn.max() < n + extra
        assert all(len(set(row)) == n for row in drawn.tolist())


def test_independent_draws_would_not_have_been_distinct():
    drawn = integers(subkeys(keys(20), 0, 10), 12)
    assert any(len(set(row)) < 10 for row in drawn.tolist())


def test_every_ordered_selection_is_equally_likely():
    selections = Counter(map(tuple, distinct(keys(48_000), 0, 3, 4).tolist()))
    assert len(selections) == math.perm(4, 3)
    assert chisquare(list(selections.values())).pvalue > 1e-4


def test_a_shorter_selection_is_the_beginning_of_a_longer_one():
    assert torch.equal(distinct(keys(50), 0, 20, 30)[:, :5], distinct(keys(50), 0, 5, 30))


def test_selections_follow_the_bound_of_their_own_row():
    high = torch.tensor([5, 6, 9, 1000]).repeat(25)
    mixed = distinct(keys(100), 2, 5, high)
    assert (mixed < high.unsqueeze(1)).all()
    for i in range(0, 100, 7):
        assert torch.equal(mixed[i], distinct(keys(100)[i], 2, 5, int(high[i])))


def test_selections_agree_with_a_plain_fisher_yates_shuffle():
    for row, key in enumerate(keys(30)):
        words = unsigned(subkeys(key, 0, 8))
        cards = list(range(12))
        for i in range(8):
            j = i + ((words[i] >> 32) * (12 - i) >> 32)
            cards[i], cards[j] = cards[j], cards[i]
        assert distinct(keys(30), 0, 8, 12)[row].tolist() == cards[:8]


def test_permutations_hold_every_place_once_and_are_uniform():
    orders = permutation(keys(24_000), 0, 4)
    assert torch.equal(orders.sort(-1).values, torch.arange(4).expand(24_000, 4))
    counts = Counter(map(tuple, orders.tolist()))
    assert len(counts) == 24
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_same_bits():
    here, there = torch.arange(1000), torch.arange(1000, device="cuda")
    assert torch.equal(episode_keys(3, "val", here), episode_keys(3, "val", there).cpu())
    k, g = episode_keys(3, "val", here), episode_keys(3, "val", there)
    assert torch.equal(distinct(k, 0, 20, 33), distinct(g, 0, 20, 33).cpu())
    assert torch.equal(permutation(k, 0, 75), permutation(g, 0, 75).cpu())
    assert torch.equal(unit_floats(k), unit_floats(g).cpu())
