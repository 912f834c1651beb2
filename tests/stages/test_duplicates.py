"""Images are grouped as they arrive, and no later one changes an older one's group."""

from hypothesis import given
from hypothesis import strategies as st

from stages.duplicates import NUM_BITS, groups


def phash(*bits: int) -> str:
    """Return a perceptual hash in which these bits are set."""
    return f"{sum(1 << bit for bit in bits):064x}"


def flipped(bits: int, places: list[int]) -> int:
    for place in places:
        bits ^= 1 << place
    return bits


def test_equal_bytes_share_a_group_whatever_their_hash() -> None:
    assert groups([("a", phash()), ("a", phash(*range(200)))], 0) == ["a", "a"]


def test_a_distance_of_zero_groups_equal_hashes_only() -> None:
    assert groups([("a", phash()), ("b", phash()), ("c", phash(1))], 0) == ["a", "a", "c"]


def test_an_image_joins_the_nearest_earlier_one() -> None:
    assert groups([("a", phash()), ("b", phash(*range(10))), ("c", phash(*range(8)))], 4) == ["a", "b", "b"]


def test_a_bridge_between_two_groups_does_not_merge_them() -> None:
    assert groups([("a", phash()), ("b", phash(*range(8))), ("c", phash(*range(4)))], 4) == ["a", "b", "a"]


@given(
    first=st.integers(0, 2**NUM_BITS - 1),
    places=st.lists(st.integers(0, NUM_BITS - 1), unique=True, max_size=20),
    distance=st.integers(0, 16),
)
def test_two_images_share_a_group_exactly_when_they_are_near(first: int, places: list[int], distance: int) -> None:
    second = flipped(first, places)

    names = groups([("a", f"{first:064x}"), ("b", f"{second:064x}")], distance)

    assert (names == ["a", "a"]) == (len(places) <= distance)


@given(hashes=st.lists(st.integers(0, 2**12 - 1), max_size=40), distance=st.integers(0, 4))
def test_an_image_that_arrives_changes_no_older_group(hashes: list[int], distance: int) -> None:
    images = [(str(number), f"{value:064x}") for number, value in enumerate(hashes)]

    names = groups(images, distance)

    assert all(groups(images[:count], distance) == names[:count] for count in range(len(images)))
