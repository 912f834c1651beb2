"""The flows' sections of params.yaml are read as strictly as the stages'."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from unicodedata import normalize

import pytest
import yaml

from flows.errors import RequestError
from flows.gate import GateParams
from flows.ingest import IngestParams
from flows.params import section
from flows.watch import WatchParams

ROOT = Path(__file__).parents[2]
SECTIONS = {"gate": GateParams, "ingest": IngestParams, "watch": WatchParams}


@pytest.fixture
def change(tmp_path: Path) -> Callable[[str, str], Path]:
    def changed(old: str, new: str) -> Path:
        text = (ROOT / "params.yaml").read_text()
        assert old in text
        path = tmp_path / "params.yaml"
        path.write_text(text.replace(old, new))
        return path

    return changed


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("gate", "max_p_value: 0.05", "max_p_vale: 0.05", "gate: unknown key 'max_p_vale'; known keys: max_p_value, "),
        ("gate", "  max_p_value: 0.05\n", "", "params.yaml of this revision lacks: gate.max_p_value (a diff"),
        (
            "gate",
            "max_p_value: 0.05",
            "max_p_value: '0.05'",
            "gate: max_p_value: input should be a valid number: '0.05'",
        ),
        ("gate", "max_size_ratio: 2.0", "max_size_ratio: .nan", "max_size_ratio: input should be a finite number: nan"),
        ("gate", "max_size_ratio: 2.0", "[a, b]: 2.0", "gate: a key is no plain word"),
        ("gate", "  costs: {}", "  costs: {defect: 0}", "gate: costs.defect: input should be greater than or eq"),
        (
            "gate",
            "  costs: {}",
            "  costs: {defect: 1.0e-308}",
            "gate: costs.defect: input should be greater than or eq",
        ),
        ("gate", "label_falls: {}", "label_falls: {defect: 5}", "gate: label_falls.defect: input should be less than"),
        ("gate", "gate:", "gates:", "params.yaml of this revision has no section: gate"),
        ("gate", "gate:", "gate: [", "params.yaml of this revision is no YAML: "),
        (
            "ingest",
            "new_labels: false",
            "new_labels: yes",
            "ingest: new_labels: input should be a valid boolean: 'yes'",
        ),
        ("ingest", "max_bytes: 50000000", "max_bytes: 0.5", "ingest: max_bytes: input should be a valid integer"),
        ("watch", "max_images: 500", "max_images: 0", "watch: max_images: input should be greater than or equal to 1"),
        (
            "watch",
            "max_images: 500",
            "max_images: 29",
            "watch: max_images is less than min_images, 30, so that nothing ",
        ),
    ],
)
def test_a_mistake_is_told_by_its_section_and_key(
    change: Callable[[str, str], Path], name: str, old: str, new: str, told: str
) -> None:
    path = change(old, new)

    with pytest.raises(RequestError) as caught:
        section(path, name, SECTIONS[name])

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_keys_that_a_revisions_params_yaml_lacks_are_named_at_once_with_what_they_mean(tmp_path: Path) -> None:
    values = asdict(section(ROOT / "params.yaml", "ingest", IngestParams))
    for key in ("max_bytes", "min_images_to_retrain"):
        del values[key]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": values}))

    with pytest.raises(RequestError) as caught:
        section(tmp_path / "params.yaml", "ingest", IngestParams)

    assert str(caught.value) == (
        "params.yaml of this revision lacks: ingest.min_images_to_retrain (so many images since the newest version "
        "call for a retraining); ingest.max_bytes (a larger file goes to quarantine without being opened)"
    )


def test_a_wrong_value_is_told_before_a_key_that_is_missing(tmp_path: Path) -> None:
    values = asdict(section(ROOT / "params.yaml", "ingest", IngestParams)) | {"max_bytes": "many"}
    del values["min_images_to_retrain"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": values}))

    with pytest.raises(RequestError, match=r"^params\.yaml: ingest: max_bytes: input should be .*: 'many'$"):
        section(tmp_path / "params.yaml", "ingest", IngestParams)


def test_a_params_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"gate: \xff\n")

    with pytest.raises(RequestError, match=r"params\.yaml of this revision is no YAML: unacceptable character #x00ff"):
        section(path, "gate", GateParams)


TOO_DEEP = """
from flows.errors import RequestError
from flows.pipeline import values_of
for opening in ("[", "{a: ", "- ", "? "):
    try:
        values_of(opening * 30_000, "params.yaml")
    except RequestError as error:
        print(error)
"""


def test_files_that_are_nested_too_deeply_end_no_process() -> None:
    """In a process of its own: libyaml takes the one that reads such a file along."""
    done = subprocess.run([sys.executable, "-c", TOO_DEEP], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "params.yaml is nested too deeply\n" * 4), done.stderr


def test_labels_of_the_gates_rules_are_spelled_as_the_models_are(change: Callable[[str, str], Path]) -> None:
    path = change("costs: {}", f"costs: {{{normalize('NFD', 'Bär')}: 20, 7: 2.5}}")

    assert section(path, "gate", GateParams).costs == {normalize("NFC", "Bär"): 20, "7": 2.5}


def test_a_rule_on_a_label_that_is_spelt_in_two_ways_is_refused(change: Callable[[str, str], Path]) -> None:
    path = change("costs: {}", f"costs: {{{normalize('NFD', 'Bär')}: 20, {normalize('NFC', 'Bär')}: 2}}")

    with pytest.raises(RequestError, match=r"gate: costs: a label stands there twice, .*Bär"):
        section(path, "gate", GateParams)


def test_a_whole_number_will_do_where_a_number_is_asked(change: Callable[[str, str], Path]) -> None:
    assert section(change("max_size_ratio: 2.0", "max_size_ratio: 2"), "gate", GateParams).max_size_ratio == 2
