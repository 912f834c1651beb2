"""A version is judged by what came after it and it has never seen, and said to slip only for what is no luck."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from flows.arrivals import Row, corrected
from flows.newcomers import LOST, UNREAD, Answer, answers
from flows.slipping import Tally, p_value
from flows.tested import of_test_side
from flows.watch import OLDER, UNKNOWN
from flows.watched import Watched
from flows.workspace import workspace
from petmodels.errors import ImageError
from tests.flows.watching import AS_TESTED, Watching


@pytest.fixture
def place(tmp_path: Path) -> Watching:
    """A place where nothing has arrived and nothing is published; its drop is a folder."""
    return Watching.made(tmp_path)


def names(found: Watched) -> list[tuple[str, str]]:
    return [(one.row.label, one.said) for one in found.answers]


def with_right(found: Watched, num_right: int) -> Watched:
    """Return the same with so many right answers of its one label."""
    (tally,) = found.tallies
    return replace(found, tallies=[replace(tally, num_right=num_right)])


def test_a_model_that_names_as_many_rightly_as_on_its_test_side_does_as_expected(place: Watching) -> None:
    place.publish()
    place.arrive("red", 6)
    place.arrive("green", 4)

    found = place.look()

    assert found.sentence == (
        "pets@1 names 10 of 10 photographs that arrived since rightly (100 %, 72 to 100); as on its test side it would "
        "be about 10: as expected (p = 1); the test side has 80 images of these labels: a fall to below 7 of 10 right, "
        "each label alike, would have been called a slip"
    )
    assert not found.is_slipping


def test_a_model_that_slips_is_told_with_the_labels_and_the_newest_photographs(place: Watching) -> None:
    place.publish()
    (first, *_) = place.arrive("red", 5, shows="green", day="2100-01-01")
    place.arrive("green", 3, day="2100-01-02")

    found = place.look()

    sentence = (
        "pets@1 names 3 of 8 photographs that arrived since rightly (38 %, 14 to 69); as on its test side it would be "
        "about 8: it is slipping (p = 6.9e-05), by itself at red: 0 of 5 for about 5"
    )
    assert (found.sentence, found.is_slipping) == (sentence, True)
    page = found.page("s3://bucket/drop/accepted")
    assert (
        "| red | 5 | 0 | 4.8 (38 of 40 there) | below 2 of 5 |\n| green | 3 | 3 | 2.9 (38 of 40 there) | below 1 of 3 |"
    ) in page
    assert f"| 2100-01-01 | red | green | s3://bucket/drop/accepted/{first}.png |" in page
    assert found.payload == {
        "sentence": sentence, "version": "pets@1", "images": 8, "right": 3, "expected": 7.6,
        "p_value": pytest.approx(6.9e-5, rel=0.1), "labels": ["red"],
    }  # fmt: skip


def test_what_is_worse_by_little_may_be_chance(place: Watching) -> None:
    place.publish()
    place.arrive("red", 7)
    place.arrive("red", 1, shows="blue")

    assert "about 8: the difference may be chance (p = 0.43); the test side has 40 images" in place.look().sentence


def test_watch_says_how_far_a_version_could_fall_unnoticed(place: Watching) -> None:
    place.publish()
    place.arrive("red", 8)
    place.arrive("red", 2, shows="blue")

    found = place.look()

    told = "; the test side has 40 images of these labels: a fall to below 6 of 10 right, each label alike, would have "
    assert found.sentence.endswith(f"{told}been called a slip")
    assert not with_right(found, 6).is_slipping
    assert with_right(found, 5).is_slipping


def test_a_rare_label_that_slips_by_itself_is_told_though_all_together_do_as_expected(place: Watching) -> None:
    place.publish()
    place.arrive("red", 4, shows="green")
    place.arrive("green", 36)

    found = place.look()

    assert found.is_slipping
    assert found.payload["labels"] == ["red"]
    assert found.sentence.endswith("it is slipping (p = 0.00044), by itself at red: 0 of 4 for about 4")
    assert not replace(found, fewest=41).slipping


def test_the_page_says_of_which_label_no_fall_would_be_noticed(place: Watching) -> None:
    place.publish(tested=AS_TESTED | {"red": {"num_images": 3, "num_right": 3}})
    place.arrive("red", 2, shows="green")
    place.arrive("green", 6)

    page = place.look().page("drop")

    assert "| red | 2 | 0 | 2.0 (3 of 3 there) | not even with none of 2: too few images |" in page
    assert "| green | 6 | 6 | 5.7 (38 of 40 there) | below 3 of 6 |" in page


def test_watch_says_where_no_fall_would_be_noticed(place: Watching) -> None:
    place.publish(tested={"red": {"num_images": 1, "num_right": 1}})
    place.arrive("red", 5)
    place.arrive("red", 4, shows="blue")

    found = place.look()

    told = "the test side has 1 image of these labels: even with none of 9 right it would not be called a slip"
    assert found.sentence.endswith(f"; {told}")
    assert not with_right(found, 0).is_slipping


def test_when_nothing_has_arrived_it_says_so(place: Watching) -> None:
    place.arrive("red", 3)
    place.publish()

    found = place.look()

    assert found.sentence == "no photograph that pets@1 could be judged by has arrived since it was made"
    assert not found.is_slipping


def test_few_photographs_decide_nothing(place: Watching) -> None:
    place.publish()
    place.arrive("red", 3, shows="green")

    found = place.look()

    assert found.sentence.endswith(" rightly (0 %, 0 to 56); too few to decide by (4)")
    assert not found.is_slipping


def test_the_fewest_photographs_and_the_greatest_p_value_will_do() -> None:
    its = Tally(label="red", num_images=4, num_right=0, test_images=40, test_right=38)
    given, limit = [Answer(Row("a", "0" * 64, "red", "2100-01-01"), "blue")] * 4, p_value([its])
    found = Watched(version="pets@1", answers=given, tallies=[its], without={}, lacks="", fewest=4, limit=limit)

    assert found.is_slipping
    assert not replace(found, fewest=5).is_slipping
    assert not replace(found, limit=limit * 0.999).is_slipping


def test_neither_what_was_trained_on_nor_what_lay_on_its_test_side_is_new_to_it(place: Watching) -> None:
    place.arrive("red", 2)
    trained = place.arrive("green", 1)
    place.publish(seen=trained, commit=None)
    place.arrive("blue", 1)

    assert names(place.look()) == [("blue", "blue")]

    place.publish(seen=trained, commit="")  # nobody knows the list then, but what the version has seen

    assert names(place.look()) == [("blue", "blue"), ("red", "red"), ("red", "red")]


def test_where_git_has_lost_its_commit_what_came_until_its_day_is_not_new(place: Watching) -> None:
    place.arrive("red", 2, day="2020-01-01")
    place.arrive("blue", 1)
    place.publish(commit="ab" * 20)
    place.arrive("green", 1, day=place.registry.manifest("pets@production").created[:10])
    told: list[str] = []

    assert names(place.look(told)) == [("blue", "blue")]
    assert "git has no commit that pets@1 was made of, so what came after its day counts as new" in told


def test_a_corrected_label_counts_and_a_withdrawn_photograph_does_not(place: Watching) -> None:
    place.publish()
    relabelled, withdrawn, _ = place.arrive("red", 3, shows="green")
    place.correct(relabelled, "green")
    place.correct(withdrawn, "")

    found = place.look()

    assert sorted(names(found)) == [("green", "green"), ("red", "green")]
    assert found.without == {}


def test_a_corrected_label_is_spelled_as_the_models_are(place: Watching) -> None:
    place.correct("ab" * 32, normalize("NFD", "Bär"))

    with workspace(place.settings, "watch", "main", print) as space:
        assert corrected(space) == {"ab" * 32: normalize("NFC", "Bär")}


def test_labels_that_it_does_not_know_are_counted_apart(place: Watching) -> None:
    place.publish()
    place.arrive("red", 4)
    place.arrive("purple", 2, shows="red")

    found = place.look()

    assert found.without == {UNKNOWN: 2}
    assert found.sentence.endswith(f" a slip; not counted: 2 {UNKNOWN}")


def test_labels_that_it_was_not_tested_on_are_counted_apart(place: Watching) -> None:
    place.publish(tested={"red": AS_TESTED["red"]})
    place.arrive("red", 4)
    place.arrive("blue", 2)

    found = place.look()

    assert [label for label, _ in names(found)] == ["red"] * 4
    assert found.without == {UNKNOWN: 2}


def test_bytes_that_are_lost_or_changed_or_no_image_are_counted_apart_and_stop_nothing(
    place: Watching, tmp_path: Path
) -> None:
    place.publish()
    place.arrive("red", 4)
    place.arrive("red", 1, is_kept=False)
    (changed,) = place.arrive("red", 1)
    (tmp_path / f"drop/accepted/{changed}.png").write_bytes(b"other bytes")

    found = place.look()

    assert len(found.answers) == 4
    assert found.without == {LOST: 2}


def test_an_image_that_cannot_be_read_is_counted_apart(place: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    place.publish()
    place.arrive("red", 15)  # of 31 x 30 pixels to 45 x 30
    monkeypatch.setenv("PETMODELS_MOST_PIXELS", "1300")

    found = place.look()

    assert (len(found.answers), found.without) == (13, {UNREAD: 2})


def test_the_newest_photographs_are_looked_at_and_leave_nothing_on_the_disk(place: Watching) -> None:
    place.publish()
    place.project.change(watch={"max_images": 3, "min_images": 3})
    place.arrive("red", 3, day="2100-01-01")
    place.arrive("blue", 2, day="2100-01-02")

    found = place.look()

    assert [label for label, _ in names(found)] == ["blue", "blue", "red"]
    assert found.without == {OLDER: 2}
    assert not list(place.settings.workspaces.glob("watch/build/*"))


def test_of_many_photographs_few_lie_on_the_disk_at_once(tmp_path: Path) -> None:
    class Counting:
        most = 0

        def fetch_accepted(self, _: str, path: Path) -> bool:
            return path.write_bytes(b"a photograph") > 0

        def predict_each(self, paths: list[Path], *, top: int) -> list[ImageError]:
            self.most = max(self.most, len(list(tmp_path.iterdir())))
            return [ImageError("not asked")] * len(paths) * top

    counting: Any = Counting()
    rows = [Row(f"drop/{number}.png", f"{number}", "red", "2100-01-01") for number in range(300)]

    found = answers(counting, counting, rows, tmp_path)

    assert found.without == {UNREAD: 300}
    assert 0 < counting.most < 100


def test_a_drop_that_was_moved_still_has_them(place: Watching, tmp_path: Path) -> None:
    place.publish()
    place.arrive("red", 4)
    listing = place.project.folder / "data/arrivals.csv"
    listing.write_text(listing.read_text().replace(place.settings.drop, "s3://formerly/drop"))
    place.project.push("the rows of before")

    assert len(place.look().answers) == 4


def test_what_people_list_from_elsewhere_is_not_looked_at(place: Watching) -> None:
    place.publish()
    digest = "ab" * 32
    with (place.project.folder / "data/arrivals.csv").open("a") as file:
        file.write(f"photos/new.tgz,{digest},,2100-01-01\nphotos/{'cd' * 32}.jpg,{digest[:-1]}c,red,2100-01-01\n")
    place.project.push("others")

    found = place.look()

    assert (found.answers, found.without) == ([], {})


@pytest.mark.parametrize(
    ("without", "why"),
    [({"seen": None}, "its bundle has no seen_images.csv"), ({"tested": None}, "its card.json has no test_by_label")],
)
def test_a_bundle_of_before_is_only_told_its_share(place: Watching, without: dict[str, None], why: str) -> None:
    place.publish(**without)  # type: ignore[arg-type]
    place.arrive("red", 6, shows="green")

    found = place.look()

    told = f"; nothing says whether that is less than on its test side, because {why}"
    assert found.sentence == f"pets@1 names 0 of 6 photographs that arrived since rightly (0 %, 0 to 39){told}"
    assert not found.is_slipping
    assert "| red | 6 | 0 |  |" in found.page("drop")


@pytest.mark.parametrize(
    "content", [None, [], {"red": 3}, {"red": {"num_images": 2}}, {"red": {"num_images": 2, "num_right": 3}},
                {"red": {"num_images": 0, "num_right": 0}}, {"red": {"num_images": "2", "num_right": "1"}}],
)  # fmt: skip
def test_a_card_that_counts_nothing_is_no_error(content: object) -> None:
    assert of_test_side({"test_by_label": content}) == {}
