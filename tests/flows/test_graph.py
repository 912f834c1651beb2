"""Which stages train depends on is read from dvc.yaml, so that one that somebody adds goes the way of the others."""

from typing import Any

import pytest
import yaml

from flows.errors import RequestError
from flows.graph import inputs_of, last_before, stages_before
from flows.pipeline import outputs_of
from tests.readme import ROOT

OURS = (ROOT / "dvc.yaml").read_text(encoding="utf-8")


def with_stages(**stages: dict[str, list[object]]) -> str:
    return yaml.safe_dump({"stages": stages}, sort_keys=False)


def test_the_stages_of_the_project_are_found() -> None:
    assert stages_before(OURS, "train") == ["download", "prepare", "split"]
    assert last_before(OURS, "train") == ["split"]
    assert inputs_of(OURS, "train") == ["data/prepared", "data/split"]


def test_a_stage_that_is_added_before_train_goes_the_way_of_the_others() -> None:
    text = with_stages(
        draw={"outs": ["data/drawn"]},
        split={"deps": ["data/drawn/index.csv", "stages/split.py"], "outs": [{"data/split": {"desc": "sides"}}]},
        balance={"deps": ["data/split"], "outs": ["data/balance"]},
        weigh={"deps": ["data/split"], "metrics": ["data/weights.json"]},
        train={"deps": ["data/drawn", "data/balance", "data/weights.json"], "outs": ["data/train"]},
        export={"deps": ["data/train"], "outs": ["data/bundle"]},
    )

    assert stages_before(text, "train") == ["draw", "split", "balance", "weigh"]
    assert last_before(text, "train") == ["balance", "weigh"]
    assert inputs_of(text, "train") == ["data/drawn", "data/balance", "data/weights.json"]


@pytest.mark.parametrize("text", ["", "stages: {}", with_stages(train={"deps": ["data/mine"], "outs": ["data/train"]})])
def test_a_train_without_stages_before_it_is_refused(text: str) -> None:
    for function in (inputs_of, last_before):
        with pytest.raises(RequestError, match="has no stage train that depends on another one"):
            function(text, "train")


def test_a_path_may_be_written_in_another_way() -> None:
    text = with_stages(
        draw={"outs": ["./data/drawn"]},
        split={"deps": ["data/drawn"], "outs": ["data/split/"]},
        train={"deps": ["data/split", "./data/drawn/"], "outs": ["data/train"]},
    )
    lock = "stages: {draw: {outs: [{path: ./data/drawn, md5: a}]}, split: {outs: [{path: data/split/, md5: b}]}}"

    assert inputs_of(text, "train") == ["data/split", "data/drawn"]
    assert last_before(text, "train") == ["split"]
    assert outputs_of(lock) == {"data/drawn": "a", "data/split": "b"}


@pytest.mark.parametrize(
    "odd",
    [
        {"foreach": ["a", "b"], "do": {"deps": ["data/drawn"], "outs": ["data/split-${item}"]}},
        {"matrix": {"side": ["a", "b"]}, "deps": ["data/drawn"], "outs": ["data/split-${item.side}"]},
        {"wdir": "data", "deps": ["drawn"], "outs": ["split-a"]},
        {"deps": ["data/drawn"], "outs": ["data/split-${side}"]},
    ],
)
def test_a_stage_whose_paths_are_not_read_is_refused_unless_it_comes_after_train(odd: dict[str, list[object]]) -> None:
    others: dict[str, Any] = {
        "draw": {"outs": ["data/drawn"]},
        "train": {"deps": ["data/drawn", "data/split-a"], "outs": ["data/train"]},
    }
    after = {"foreach": ["a"], "do": {"deps": ["data/train"], "outs": ["data/eval-${item}"]}}

    for function in (inputs_of, stages_before, last_before):
        with pytest.raises(
            RequestError, match=r"^dvc\.yaml: the flows read no foreach, .* train .*; write it out: odd$"
        ):
            function(with_stages(odd=odd, **others), "train")
    assert last_before(with_stages(after=after, **others), "train") == ["draw"]


def test_a_stage_that_says_nothing_is_named() -> None:
    with pytest.raises(RequestError, match=r"^dvc\.yaml says nothing of a stage that it names: draw$"):
        stages_before("stages: {draw: , train: {deps: [data/drawn]}}", "train")
