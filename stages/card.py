"""Describe a model for those who will use it: model-card fields as JSON, and the same for reading.

Reads what the stages before left; leaves nothing itself.
"""

from collections.abc import Mapping
from typing import Any

from stages.hub import header, num_later
from stages.making import in_effect, is_balanced, made
from stages.published_params import published_training
from stages.shares import percent


def card(
    *,
    about: Mapping[str, Any],
    metrics: Mapping[str, float],
    calibration: Mapping[str, Any],
    texts: Mapping[str, Any],
    num_arrived: int,
    test_by_label: Mapping[str, Mapping[str, int]],
    export_versions: Mapping[str, str],
) -> dict[str, Any]:
    """Return the card's fields; `about` is train.json, `texts` the words of params.yaml's section export.

    `num_arrived` images, on the three sides together, aren't the source's, whose name and licence the words tell.
    `test_by_label` is what `stages.tested` has counted. The stages may run on several machines: `export_versions` are
    those of the packages where the card is written.
    """
    settings = in_effect(published_training(about["params"]))
    return {
        "format": 1,
        "license": texts["weights_license"],
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "onnx", "fastai"],
        **_of(about, "architecture", "method"),
        **_of(texts, "data_name", "data_license", "data_url", "data_citation"),
        "photographs_in": [*(["self_test/"] if texts["num_self_test_images"] else []), "report.html"],
        **_of(texts, "intended_use", "limits"),
        **_of(about, "labels", "num_train", "num_valid"),
        "num_test": metrics["num_test"],
        "num_arrived": num_arrived,
        "test_by_label": {label: dict(its) for label, its in test_by_label.items()},
        "metrics": dict(metrics),
        **_of(calibration, "unsure_precision", "unsure_below", "valid_sure_accuracy", "valid_reckoned_accuracy"),
        **_of(calibration, "ece_by_chance", "test_sure", "rare_labels"),
        "learning_rate": about["learning_rate"] if "learning_rate" in settings else None,
        **_of(about, "device", "precision"),
        "training": settings,
        **_of(about, "weights_sha256", "versions"),
        "export_versions": dict(export_versions),
    }


def _of(facts: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: facts[name] for name in names}


def markdown(fields: Mapping[str, Any]) -> str:
    """Return the card as Markdown with the YAML header that the Hugging Face Hub reads."""
    return f"""---
{header(fields)}
---

# {len(fields["labels"])} labels from one photograph

{_summary(fields)}

## Intended use

{fields["intended_use"]}

## Limits

{fields["limits"]}

{_unsure(fields)}

{_label_mix(fields)}

## How to use it

{_usage(fields)}

## Numbers

| metric | test side |
|---|---|
{_numbers(fields)}

## Training

{made(fields)}

## Licences

Weights: {fields["license"]}.
{_photographs(fields)}
"""


def _summary(fields: Mapping[str, Any]) -> str:
    metrics = fields["metrics"]
    low, high, simple = metrics["accuracy_low"], metrics["accuracy_high"], metrics["baseline_logistic"]
    beaten = ""
    if simple >= metrics["accuracy"]:
        beaten = f"""
It doesn't beat a logistic regression on the features of its body before any training: {percent(simple)}%."""
    others = " and of others that came later" if fields["num_arrived"] else ""
    return f"""A {fields["architecture"]}, trained on {fields["num_train"]} images of {fields["data_name"]}{others}.
On {fields["num_test"]} test images that neither training nor any choice that the pipeline makes
has seen it is right in {percent(metrics["accuracy"])}% of the cases
(95 % interval {percent(low)}% to {percent(high)}%).{beaten}{"".join(map(_rare, fields["rare_labels"]))}
`report.html` has the numbers of each label and what was taken for what."""


def _rare(one: Mapping[str, Any]) -> str:
    """Return how often a rare label is found, which the share of all right answers doesn't show."""
    named, label = one["as_named"]["test"], one["label"]
    low, high = percent(named["recall_low"]), percent(named["recall_high"])
    right = f"{named['num_found']} of its {named['num_named']} answers `{label}` are right"
    missed = one["num_missed_surely"]
    surely = f'\n{missed} that it misses it calls by another name without being "unsure".' if missed else ""
    return f"""
It finds {named["num_found"]} of the {named["num_images"]} test images of the rare label `{label}`
(95 % interval {low}% to {high}%); {right if named["num_named"] else f"it never answers `{label}`"}.{surely}
The probabilities of `{label}` on all test images add up to {one["num_expected"]}."""


def _label_mix(fields: Mapping[str, Any]) -> str:
    if is_balanced(fields["training"]):
        return """Each label counted the same in training, however many images it has, and the temperature was fitted
on the valid images as they come: where labels are uneven, the probability of a rare one tends to be too high."""
    return "Its probabilities hold where labels are as frequent as among the training images."


def _usage(fields: Mapping[str, Any]) -> str:
    num_labels = len(fields["labels"])
    return f"""`model.onnx` takes `image`, N × 3 × height × width, float32, and gives `probabilities`, N × {num_labels},
in the order of `labels.json`. `preprocess.json` says how a photograph becomes that input. `self_test.json`, if there,
holds a few images' expected probabilities. `learner.pkl` is the same network for fastai users who trust its source:
opening it runs code. Its `predict` answers otherwise than what was judged here: it gives uncalibrated probabilities,
ignores EXIF, and cuts a square out before a bilinear resize, so that no threshold or probability of this card holds
for it."""


def _photographs(fields: Mapping[str, Any]) -> str:
    """Return the notice that licences such as CC BY-SA ask for where photographs are passed on."""
    parts = [f"Photographs: {fields['data_name']}", fields["data_citation"], fields["data_url"]]
    notice = "; ".join(part for part in parts if part)
    places = " and ".join(f"`{place}`" for place in fields["photographs_in"])
    arrived = f"{num_later(fields['num_arrived'])}, of whose licence this project knows nothing"
    others = f"\nAnd {arrived}." if fields["num_arrived"] else ""
    return f"""{notice}. Licence: {fields["data_license"]}.{others} The images here (in {places}) are
resized copies, some of them changed further, to test readers and to show what misled the model."""


def _unsure(fields: Mapping[str, Any]) -> str:
    """Return what "unsure" means for this model, and how far the threshold goes towards what was wished for."""
    wished, reached, reckoned = (
        fields[name] for name in ("unsure_precision", "valid_sure_accuracy", "valid_reckoned_accuracy")
    )
    one_more = f"with one mistake more than was seen {percent(reckoned)}%"
    if not fields["unsure_below"]:
        why = f", {one_more}, and those above no threshold do better" if reckoned < wished else ""
        return f"""No prediction is to be read as "unsure": on the valid images, {percent(reached)}% of all are right
({percent(wished)}% were wished for){why}.
On the test images {_test_side(fields)}."""
    others = f"; of the others {_test_side(fields)}" if fields["test_sure"] else ""
    missed = f"""
No threshold reaches the {percent(wished)}% of right answers that were wished for: on the valid images, where it was
chosen, this one reaches {percent(reached)}%, {one_more}."""
    return f"""A prediction with a probability below {percent(fields["unsure_below"])}% should be read as "unsure".
On the test images, {percent(fields["metrics"]["unsure_share"])}% of the predictions
are{others}.{missed if reckoned < wished else ""}"""


def _test_side(fields: Mapping[str, Any]) -> str:
    """Return how many of the sure answers are right on the test side, which had no part in choosing the threshold."""
    sure, wished = fields["test_sure"], fields["unsure_precision"]
    low, high = sure["accuracy_low"], sure["accuracy_high"]
    counted = f"""{percent(fields["metrics"]["sure_accuracy"])}% are right,
{sure["num_right"]} of {sure["num_images"]} (95 % interval {percent(low)}% to {percent(high)}%)"""
    if high >= wished:
        return counted
    return f"""{counted}. That is less than the {percent(wished)}% that were wished for:
all of the interval lies below"""


def _numbers(fields: Mapping[str, Any]) -> str:
    rows = []
    for name, value in fields["metrics"].items():
        rows.append(f"| {name} | {value:g} |")
        if name == "ece":
            rows.append(f"| ece_by_chance (of a perfectly calibrated model) | {fields['ece_by_chance']:g} |")
    return "\n".join(rows)
