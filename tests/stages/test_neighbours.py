"""What is found by tables of bands is what comparing all with all would find."""

import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.neighbours import near_any, nearest_earlier

MIRRORED = int("55" * 32, 16)  # the odd columns of 16 rows of 16 frequencies
hashes = st.integers(0, 2**256 - 1)


def apart(one: int, other: int, distance: int) -> int:
    differing = one ^ other
    return min(differing.bit_count(), (differing ^ MIRRORED).bit_count()) if distance else differing.bit_count()


def by_comparing_all(hashes: Sequence[int], distance: int) -> list[int | None]:
    found: list[int | None] = []
    for place, one in enumerate(hashes):
        least = min(((apart(one, other, distance), other) for other in hashes[:place]), default=(distance + 1, 0))
        found.append(least[1] if least[0] <= distance else None)
    return found


def copies(originals: Sequence[int], number: int, most: int, seed: int) -> list[int]:
    """Return the originals and copies of these and of copies, mirrored or not, each with up to `most` bits flipped."""
    draw = random.Random(seed)
    found = list(originals)
    for _ in range(number):
        copy = draw.choice(found) ^ draw.choice((0, MIRRORED))
        for place in draw.sample(range(256), draw.randint(0, most)):
            copy ^= 1 << place
        found.append(copy)
    return list(dict.fromkeys(found))


@given(
    originals=st.lists(hashes, min_size=1, max_size=6),
    distance=st.sampled_from([0, 1, 2, 11, 12, 23, 24, 25, 31, 64]),
    most=st.integers(0, 40),
    most_candidates=st.sampled_from([0, 5, 20, 50, 2000]),
    seed=st.integers(0, 2**32),
)
def test_what_is_found_is_the_nearest_of_all(
    originals: list[int], distance: int, most: int, most_candidates: int, seed: int
) -> None:
    """However few candidates make a crowd, whose hashes are compared all with all."""
    some = copies(originals, 30, most, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.neighbours.MOST_CANDIDATES", most_candidates)
        found = nearest_earlier(some, distance)

    assert found == by_comparing_all(some, distance)


@pytest.mark.parametrize("distance", [12, 24])
def test_every_copy_is_found_among_many(distance: int) -> None:
    """So many that the bands are as wide as among hundreds of thousands."""
    draw = random.Random(1)
    originals = list(dict.fromkeys(draw.getrandbits(256) for _ in range(20_000)))
    planted = copies(originals[:300], 1_000, distance, seed=2)[300:]

    found = nearest_earlier([*originals, *planted], distance)

    assert found[:20_000] == [None] * 20_000  # random ones are 60 bits apart and more
    expected = by_comparing_all([*originals[:300], *planted], distance)[300:]
    assert found[20_000:] == expected


def test_of_many_pictures_a_copy_with_its_bits_spread_over_all_bands_is_found() -> None:
    """Two bits in each of twelve bands, as many as the distance allows: only of a thirteenth is one at most."""
    draw = random.Random(3)
    originals = list(dict.fromkeys(draw.getrandbits(256) for _ in range(20_000)))
    # Each half of the bits, those that a mirror image leaves and those that it turns over, has its first bit of a band
    # in its first places, and the second six places on.
    spread = sum(1 << (255 - 2 * place - turned) for place in range(12) for turned in (0, 1))
    planted = [original ^ spread for original in originals[:50]]

    found = nearest_earlier([*originals, *planted], 24)

    assert found[20_000:] == originals[:50]


def alike(number: int, seed: int) -> list[int]:
    """Return hashes such as a fixed camera's pictures have: each of them 14 bits from one, and 28 from each other."""
    draw = random.Random(seed)
    first = draw.getrandbits(256)
    return list({first ^ sum(1 << place for place in draw.sample(range(256), 14)) for _ in range(number)})


def test_many_alike_among_others_find_their_nearest() -> None:
    """More than are compared at once."""
    crowd, others = alike(2_100, seed=3), copies([1, 2**255], 100, 30, seed=4)
    together = [*crowd[:1_000], *others, *crowd[1_000:]]

    found = nearest_earlier(together, 24)

    assert found == by_comparing_all(together, 24)


def test_pictures_of_a_fixed_camera_take_seconds() -> None:
    some = alike(10_000, seed=5)
    begun = time.process_time()

    found = nearest_earlier(some, 24)

    assert time.process_time() - begun < 20  # 1 s; by tables alone minutes
    assert found.count(None) < 100


def test_who_waits_for_a_crowd_is_told_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("stages.neighbours.MOST_CANDIDATES", 10)
    monkeypatch.setattr("stages.crowds.MANY", 20)

    nearest_earlier(alike(40, seed=6), 24)

    assert capsys.readouterr().err == (
        "40 pictures are nearly alike, as a fixed camera's are: comparing all of them with all; lower "
        "prepare.duplicate_distance if they do differ\n"
    )


@given(some=st.lists(hashes, max_size=4), most=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_near_any_says_who_has_a_near_one_among_the_others(some: list[int], most: int, seed: int) -> None:
    others = copies(some, 2, most, seed) if some else []

    assert near_any(some[:2], others[2:], 24) == [
        any(apart(one, other, 24) <= 24 for other in others[2:]) for one in some[:2]
    ]


def test_two_that_differ_by_every_bit_are_not_near() -> None:
    assert nearest_earlier([0, 2**256 - 1], 0) == [None, None]
    assert near_any([0], [2**256 - 1], 0) == [False]


def test_of_no_hashes_none_is_near() -> None:
    assert nearest_earlier([], 24) == []
    assert near_any([], [1], 24) == []
    assert near_any([1], [], 24) == [False]
