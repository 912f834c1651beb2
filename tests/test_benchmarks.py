"""The benchmarks' runner; what they measure is for `make bench`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import section, sections_in, subjects
from tests.benchmarks.bench_accuracy import Tried, accuracy_text
from tests.benchmarks.measure import Contender, Row, in_turns, limit_row, ratio_rows, run


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    samples = in_turns({name: Contender(lambda name=name: order.append(name)) for name in "ab"}, repeats=2)

    assert order == ["b", "a", "a", "b", "b", "a"]
    assert [len(found) for found in samples.values()] == [2, 2]


def test_a_ratio_is_the_fastest_peers_time_over_ours() -> None:
    rows = ratio_rows("pull", {"ours": [2.0], "slow": [9.0], "fast": [1.0]}, "ours", 0.95)

    assert rows[0].figure == "2.00 s (2.00 to 2.00), 0.50 × fast"
    assert [row.held for row in rows] == [False, None, None]


def test_without_a_peer_nothing_is_claimed() -> None:
    assert ratio_rows("pull", {"ours": [2.0]}, "ours", 0.95) == [
        Row(what="pull: ours", figure="2.00 s (2.00 to 2.00)", target="no peer was found")
    ]


def test_a_limit_holds_for_the_median() -> None:
    assert limit_row("start", [0.1, 0.2, 9.0], 0.2).held is True


def test_an_image_on_several_test_sides_makes_no_interval_narrower() -> None:
    once = [Tried(1.0, 8, [f"{number}.jpg" for number in range(10)])]

    assert accuracy_text(once) == "80.0% (49.0% to 94.3%; 8 of 10 answers about 10 images)"
    assert accuracy_text(once * 5) == "80.0% (49.0% to 94.3%; 40 of 50 answers about 10 images)"


def test_a_process_that_fails_says_what_it_printed() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run([sys.executable, "-c", "import sys; print('no disk'); sys.exit(3)"])

    assert failed.value.__notes__ == ["no disk\n"]


def test_a_section_stays_when_another_one_is_measured_again() -> None:
    known = subjects()
    page = "".join(f"<!-- subject {name} -->\n{section(known[name], [], 1)}\n" for name in known)

    assert sections_in(page, list(known)) == {name: section(known[name], [], 1) for name in known}
    assert sections_in(page, ["start"]).keys() == {"start"}
    assert {path.stem.removeprefix("bench_") for path in Path("tests/benchmarks").glob("bench_*.py")} == set(known)
