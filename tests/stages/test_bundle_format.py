"""What docs/bundle-format.md says of a bundle must be so."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot
import onnx
import pytest
import torch

from tests.stages.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fastai")]
TEXT = (ROOT / "docs/bundle-format.md").read_text(encoding="utf-8")
FOUND = re.findall(r"<!-- run ?(\w*) -->\n```python\n(.*?)```", TEXT, flags=re.DOTALL)
BLOCKS: dict[str, str] = dict(FOUND)


def run(*blocks: str) -> dict[str, Any]:
    """Run blocks one after the other, each with the names of those before it; return all names."""
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "bundle-format.md", "exec"), names)  # noqa: S102
    return names


@pytest.fixture
def fitted(made: Path, tmp_path: Path) -> Path:
    """A bundle of a network as `probe` makes it; what it has learned is drawn."""
    from safetensors.torch import save_file

    from stages.features import Preprocessing
    from stages.model import Model
    from stages.networks import network
    from stages.onnx_file import probabilities, write_onnx
    from stages.selftest import write_self_test
    from stages.weights_file import copy_with_notes

    torch.manual_seed(0)
    drawn = network("test_resnet", "probe", 3).eval()
    drawn[1][-1].weight.data.normal_()
    rules = json.loads((made / "preprocess.json").read_text(encoding="utf-8"))
    how = Preprocessing(rules["crop"]["width"], rules["mean"], rules["std"])
    model = Model(network=drawn, labels=["a", "location", "c"], preprocessing=how, device=torch.device("cpu"))
    folder = tmp_path / "bundle"
    folder.mkdir()
    shutil.copy(made / "preprocess.json", folder)
    write_onnx(folder / "model.onnx", model, temperature=0.5, opset=18, preprocess=json.dumps(rules))
    rows = [{"path": name, "label": "a"} for name in ("01.jpg", "02.jpg")]
    expected = probabilities(folder / "model.onnx", [made / "self_test" / row["path"] for row in rows], how)
    write_self_test(folder, rows, expected, prepared=made / "self_test", number=2)
    save_file(drawn.state_dict(), tmp_path / "weights")
    notes = {"architecture": "test_resnet", "method": "probe", "temperature": "0.5"}
    copy_with_notes(tmp_path / "weights", folder / "weights.safetensors", notes)
    return folder


def keys_of(path: Path) -> set[str]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return set(content).union(*(one for one in content.get("images", []) if isinstance(one, dict)))


def test_the_page_lists_the_files_of_a_bundle_and_no_others(made: Path) -> None:
    rows = re.findall(r"^\| (`[^|]*`) \| ", TEXT, flags=re.MULTILINE)
    listed = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}

    assert listed == {path.name for path in made.iterdir()}


@pytest.mark.parametrize("name", ["labels.json", "preprocess.json", "self_test.json", "card.json"])
def test_the_page_names_every_field(made: Path, name: str) -> None:
    named = set(re.findall(r"`(\w+)(?:\.\w+)*`", TEXT))

    assert keys_of(made / name) - named == set()


def test_the_pages_reader_passes_the_self_test(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)

    run(BLOCKS[""])


def test_the_weights_of_a_fine_tuned_network_answer_the_self_test(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)

    run(BLOCKS[""], BLOCKS["fine_tune"])


def test_the_weights_of_a_fitted_head_answer_the_self_test(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fitted)

    run(BLOCKS[""], BLOCKS["probe"])


@pytest.fixture
def project(made: Path, trained: Path, sides: Path, tmp_path: Path) -> Path:
    """A project's folder after its stages."""
    (tmp_path / "data").mkdir()
    parts = {"prepared": sides / "prepared", "split": sides / "split", "train": trained, "bundle": made}
    for name, folder in parts.items():
        (tmp_path / "data" / name).symlink_to(folder)
    return tmp_path


@pytest.mark.filterwarnings("ignore:load_learner:UserWarning")
@pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning")  # fastai's finder still names it
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of tensors that matplotlib draws
def test_in_a_notebook_the_learner_is_as_good_as_train_says_and_goes_on_training(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib.use("agg")
    monkeypatch.chdir(project)
    measured = json.loads(Path("data/train/metrics.json").read_text(encoding="utf-8"))

    names = run(BLOCKS["notebook"])

    matplotlib.pyplot.close("all")
    of_train = [value for name, value in measured.items() if name.startswith("valid_")]
    assert [names["loss"], *names["metrics"]] == pytest.approx(of_train, abs=1e-5)
    judged, trained_on = (loader.one_batch()[0] for loader in (names["valid"], names["learn"].dls.valid))
    assert torch.equal(judged, trained_on[: len(judged)])


def test_a_label_with_the_word_of_models_that_name_files_stands_in_no_onnx_file(fitted: Path) -> None:
    content = (fitted / "model.onnx").read_bytes()

    notes = {one.key: one.value for one in onnx.load_from_string(content).metadata_props}
    assert b"location" not in content
    assert json.loads(notes["labels"]) == ["a", "location", "c"]


def test_the_pages_reader_fails_where_it_leaves_a_rule_aside(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    careless = BLOCKS[""].replace("ImageOps.exif_transpose(opened)", "opened.copy()")

    with pytest.raises(AssertionError, match=r"self_test/turned\.jpg"):
        run(careless)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(#([^)]+)\)", TEXT))))
def test_every_link_on_the_page_leads_to_a_heading(link: str) -> None:
    headings = re.findall(r"^##+ (.+)$", TEXT, flags=re.MULTILINE)

    assert link in {heading.lower().replace(" ", "-") for heading in headings}
