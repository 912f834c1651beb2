"""Which stages train depends on is read from dvc.yaml, so that one that somebody adds goes the way of the others."""

import pytest
import yaml

from flows.errors import RequestError
from flows.graph import inputs_of, last_before, stages_before
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
