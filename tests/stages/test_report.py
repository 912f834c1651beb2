"""The report says what the files say, shows what it should, and lets no label become markup."""

import csv
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import album, axes, charts, figures, svg
from stages.outputs import read_csv, write_csv
from stages.report import write_report
from tests.stages.evaluated import change_json, read_json, write_data

LABELS = ["Bengal", "Siamese", "beagle", "pug"]


def reported(data: Path) -> str:
    """Write the report of a data folder and return its text."""
    write_report(data / "eval", prepared=data / "prepared", split=data / "split", train=data / "train")
    return (data / "eval" / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_data(tmp_path, LABELS)
    return tmp_path


def cells_of(page: str) -> dict[str, list[dict[str, float]]]:
    """Return the page's own list of the pictures in each cell of the matrix."""
    found = re.search(r'<script type="application/json" id="cells">(.*?)</script>', page, re.DOTALL)
    assert found
    cells: dict[str, list[dict[str, float]]] = json.loads(found[1])["cells"]
    return cells


def test_report_begins_with_the_accuracy_and_its_interval(data: Path) -> None:
    metrics = read_json(data / "eval" / "metrics.json")
    shares = [
        f"{100 * float(str(metrics[key])):.1f}\N{NO-BREAK SPACE}%"
        for key in ("accuracy", "accuracy_low", "accuracy_high")
    ]

    page = reported(data)

    assert f'<span class="big">{shares[0]}</span> of 24 test images' in page
    assert f"between {shares[1]} and {shares[2]}" in page


def test_report_is_the_same_to_the_byte_on_a_second_run(data: Path) -> None:
    assert reported(data) == reported(data)


def test_the_originals_of_all_pictures_in_the_report_are_listed_and_no_others(data: Path) -> None:
    page = reported(data)

    with (data / "eval/shown_images.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    with (data / "split/test.csv").open(encoding="utf-8", newline="") as file:
        digests = {row["path"]: row["sha256"] for row in csv.DictReader(file)}
    with (data / "eval/predictions.csv").open(encoding="utf-8", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    pictured = {int(number) for number in re.findall(r'id="picture-(\d+)"', page)}
    heated = {path.name for path in (data / "eval/heatmaps").rglob("*.jpg")}
    shown = {digests[path] for number, path in enumerate(paths) if number in pictured or Path(path).name in heated}
    assert pictured
    assert heated
    assert [one["sha256"] for one in listed] == sorted(shown)


def doubtful_section(page: str) -> str:
    return page.partition('<section id="doubtful">')[2].partition("</section>")[0].replace("\N{NO-BREAK SPACE}", " ")


def test_report_shows_the_labels_to_look_at_first_with_the_command_that_corrects_each(data: Path) -> None:
    page = reported(data)

    section = doubtful_section(page)
    rows = read_csv(data / "eval/doubtful.csv")
    commands = [f"python -m stages.correct --label {row['suggested']} {row['sha256'][:16]}" for row in rows]
    assert re.findall("<code>(.*?)</code>", section) == commands
    assert {row["side"] for row in rows} == {"train", "valid", "test"}
    assert len(re.findall(r'<img class="photo" src="data:image/jpeg;base64,', section)) == len(rows) == 3
    assert "Of the 72 images of all three sides, a head that never saw the image," in section
    assert "names another label than its own for 3.\n    These are candidates, not mistakes" in section
    assert "doubtful.csv has them all" not in section


def test_report_shows_the_first_doubtful_labels_alone_and_says_how_many_there_are(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.report.MAX_DOUBTFUL", 2)
    paths = [album.file_name(row) for row in read_csv(data / "eval/doubtful.csv")]

    section = doubtful_section(reported(data))

    assert "names another label than its own for 3.\n" in section
    assert "come first, and doubtful.csv has them all." in section
    assert re.findall("<bdi>([^<]*_[^<]*)</bdi></span><code>", section) == paths[:2]


def test_report_says_so_where_no_label_is_doubtful(data: Path) -> None:
    header = (data / "eval/doubtful.csv").read_text().splitlines(keepends=True)[0]
    (data / "eval/doubtful.csv").write_text(header)

    section = doubtful_section(reported(data))

    assert "<p>None: a head that never saw the image, a logistic regression on the frozen features, names" in section
    assert "stages.correct" not in section


def test_a_label_with_a_blank_is_one_word_of_the_command(tmp_path: Path) -> None:
    write_data(tmp_path, ["beagle", "wire fox", "pug"])

    section = doubtful_section(reported(tmp_path))

    assert html.unescape(section).count("--label 'wire fox' ") == 3


def test_a_published_report_names_and_shows_no_doubtful_label_and_is_else_the_same(data: Path) -> None:
    page = reported(data)

    theirs = (data / "eval" / "published_report.html").read_text(encoding="utf-8")

    ours = r' *<a href="#doubtful">.*?</a>\n|<section id="doubtful">.*?</section>\n\n'
    assert theirs == re.sub(ours, "", page, flags=re.DOTALL)
    names = [f">{album.file_name(row)}<" for row in read_csv(data / "eval/doubtful.csv") if row["side"] != "test"]
    told = ["#doubtful", 'id="doubtful"', "stages.correct", *names]
    assert len(names) == 2
    assert [words for words in told if words not in page] == []
    assert [words for words in told if words in theirs] == []
    assert theirs.count("data:image/jpeg") == page.count("data:image/jpeg") - 3


def test_report_asks_the_network_for_nothing(data: Path) -> None:
    page = reported(data)

    addresses = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert {address[:1] if address[:1] == "#" else address[:5] for address in addresses} == {"#", "data:"}
    assert "@import" not in page
    assert "url(" not in page


def test_report_names_no_folder_of_this_machine(data: Path) -> None:
    assert str(data) not in reported(data)


def test_report_escapes_labels_that_look_like_markup(tmp_path: Path) -> None:
    label = '</script><b onclick="alert(1)">&amp;'
    write_data(tmp_path, [label, "beagle", "pug"], skill=0.5)

    page = reported(tmp_path)

    assert "<b onclick" not in page
    assert page.count("</script>") == 2
    assert html.escape(label).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page


def test_report_lets_only_its_own_script_run(data: Path) -> None:
    page = reported(data)

    assert re.search(
        r"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]+='", page
    )


def test_every_cell_with_images_has_its_pictures(data: Path) -> None:
    page = reported(data)

    with (data / "eval" / "confusion.csv").open(newline="") as file:
        counted = {(row["actual"], row["predicted"]) for row in csv.DictReader(file)}
    shown = cells_of(page)
    assert {(LABELS[int(a)], LABELS[int(p)]) for a, p in (key.split("-") for key in shown)} == counted
    assert all(f'id="picture-{image["picture"]}"' in page for images in shown.values() for image in images)


def assert_each_link_leads_somewhere(page: str) -> None:
    ids = set(re.findall(r' id="([^"]*)"', page))
    assert {link for link in re.findall(r'href="#([^"]*)"', page) if link not in ids} == set()


def test_each_link_of_the_report_of_a_very_bad_model_leads_somewhere(tmp_path: Path) -> None:
    write_data(tmp_path, LABELS, skill=-20.0)

    page = reported(tmp_path)

    assert 'class="right-' not in page.partition('<table id="matrix"')[2].partition("</table>")[0]
    assert_each_link_leads_somewhere(page)


def test_each_link_leads_somewhere_where_a_label_has_no_test_image(tmp_path: Path) -> None:
    write_data(tmp_path, LABELS, untested="pug")

    page = reported(tmp_path)

    assert '<a href="#cell-3-3"><bdi>pug</bdi></a>' in page
    assert_each_link_leads_somewhere(page)


def test_every_picture_is_embedded_once(data: Path) -> None:
    pictures = re.findall(r'<image id="picture-(\d+)"', reported(data))

    assert len(pictures) == len(set(pictures))


def test_report_says_so_where_nothing_went_wrong(tmp_path: Path) -> None:
    write_data(tmp_path, LABELS, skill=40)
    (tmp_path / "prepared" / "rejects.csv").write_text("source,reason\n")

    page = reported(tmp_path)

    assert "No image was misnamed." in page
    assert "No file was rejected." in page
    assert "no answer is called “unsure”" in page
    assert "What the model looked at" not in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (0.5, "+30.0 points over a logistic regression on the frozen features, which lies below the interval."),
        (
            0.78,
            "+2.0 points over a logistic regression on the frozen features, which lies inside the interval: the gain",
        ),
        (0.8, "A logistic regression on the frozen features names just as many right."),
        (0.83, "regression on the frozen features, which lies inside the interval: the difference may be chance."),
        (0.95, "which lies above the interval: <strong>fine-tuning brought nothing here</strong>."),
    ],
)
def test_report_calls_a_difference_to_the_baseline_real_only_beyond_the_interval(
    data: Path, baseline: float, expected: str
) -> None:
    numbers = {"accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9, "baseline_logistic": baseline}
    metrics = read_json(data / "eval" / "metrics.json") | numbers
    (data / "eval" / "metrics.json").write_text(json.dumps(metrics))

    page = reported(data)

    assert expected in page
    assert ("brought nothing" in page) == (baseline > 0.9)


@pytest.mark.parametrize(("num_labels", "shown"), [(5, False), (6, True)])
def test_report_speaks_of_five_guesses_only_where_there_are_more_breeds(
    tmp_path: Path, num_labels: int, shown: bool
) -> None:
    write_data(tmp_path, [f"breed_{number}" for number in range(num_labels)], num_images=3)

    page = reported(tmp_path)

    assert ("Right breed among five" in page) == shown
    assert (">top 5 accuracy<" in page) == shown
    assert "top_5_accuracy" in read_json(tmp_path / "eval" / "metrics.json")


def test_report_of_a_model_from_scratch_speaks_of_no_fine_tuning(data: Path) -> None:
    trained = read_json(data / "train/train.json") | {"weights": "none"}
    (data / "train/train.json").write_text(json.dumps(trained))
    metrics = read_json(data / "eval" / "metrics.json") | {"baseline_logistic": 1.0}
    (data / "eval" / "metrics.json").write_text(json.dumps(metrics))

    page = reported(data)

    assert "the features of the network as it was drawn at random" in page
    assert "<strong>training brought nothing here</strong>" in page


def test_report_without_listed_pairs_does_not_claim_that_nothing_is_wrong(data: Path) -> None:
    (data / "eval/confused_pairs.csv").write_text("actual,predicted,count\n")

    page = reported(data)

    assert "No image was misnamed." not in page
    assert "Most confused pairs" not in page


def test_report_says_what_calibration_error_chance_alone_would_show(data: Path) -> None:
    share = read_json(data / "eval/calibration.json")["ece_by_chance"]

    page = reported(data)

    assert f"would show\n    {100 * float(str(share)):.1f}\N{NO-BREAK SPACE}% on so few images" in page
    assert "ece_by_chance" not in read_json(data / "eval/metrics.json")


def test_report_says_on_how_many_images_the_share_of_right_answers_rests(data: Path) -> None:
    sure = {"num_images": 84, "num_right": 75, "accuracy_low": 0.808754, "accuracy_high": 0.9426}
    changed = {"metrics": {"unsure_below": 0.69, "sure_accuracy": 75 / 84}, "calibration": {"test_sure": sure}}
    for name, changes in changed.items():
        content = read_json(data / f"eval/{name}.json") | changes
        (data / f"eval/{name}.json").write_text(json.dumps(content))

    page = reported(data).replace("\N{NO-BREAK SPACE}", " ").replace("&nbsp;", " ")

    base = '<dd class="base">75 of 84, 95 %: 81 % to 94 %</dd><dd class="base">wished: 95.0 %</dd>'
    assert f"<dd>89.3 %</dd>{base}" in page
    assert "89.3 % of the other answers are right:\n    75 of 84, 95 % interval 80.9 % to 94.3 %. <strong>That" in page
    assert (
        "<strong>That is less than the 95.0 % that were wished for</strong>: all of the interval lies below.\n" in page
    )


def test_a_report_without_a_threshold_says_what_the_test_side_says_of_it(data: Path) -> None:
    sure = {"num_images": 38, "num_right": 32, "accuracy_low": 0.695935, "accuracy_high": 0.925605}
    change_json(data / "eval/metrics.json", {"unsure_below": 0.0, "sure_accuracy": 32 / 38})
    flattered = {"unsure_below": 0.0, "valid_sure_accuracy": 1.0, "valid_reckoned_accuracy": 0.96, "test_sure": sure}
    change_json(data / "eval/calibration.json", flattered)

    page = reported(data).replace("\N{NO-BREAK SPACE}", " ").replace("&nbsp;", " ")

    assert '<dd>never</dd><dd class="base">right: 84.2 %, wished: 95.0 %</dd>' in page
    assert "On the valid side 100.0 % of all answers were right (wished: 95.0 %): so no answer" in page
    assert "84.2 % are right:\n    32 of 38, 95 % interval 69.6 % to 92.6 %. <strong>That is less than" in page


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (0.101, ("makes", "worse, from 5.6 % to 10.1 %", "images, so that this difference may be chance.")),
        (0.201, ("makes", "worse, from 5.6 % to 20.1 %", "images.")),
        (0.051, ("takes", "from 5.6 % to 5.1 %", "images.")),
    ],
)
def test_the_report_says_where_the_temperature_made_it_worse(data: Path, after: float, told: tuple[str, ...]) -> None:
    change_json(data / "eval/metrics.json", {"ece_uncalibrated": 0.056, "ece": after})
    change_json(data / "eval/calibration.json", {"ece_by_chance": 0.08})

    page = reported(data).replace("\N{NO-BREAK SPACE}", " ")

    verb, change, end = told
    change = re.escape(change)
    assert re.search(rf"valid side alone, {verb} the calibration error on the test side\n +{change}; by chance", page)
    assert f"8.0 % on so few {end}\n" in page


def test_the_report_calls_nothing_worse_that_reads_the_same(data: Path) -> None:
    change_json(data / "eval/metrics.json", {"ece_uncalibrated": 0.056, "ece": 0.056004})

    page = reported(data).replace("\N{NO-BREAK SPACE}", " ")

    assert re.search(r"valid side alone, leaves the calibration error on the test side\n +at 5\.6 %; by chance", page)


def test_a_threshold_that_metrics_round_to_1_is_not_called_100_per_cent(data: Path) -> None:
    for name, threshold in (("metrics", 1.0), ("calibration", 0.9999998)):
        change_json(data / f"eval/{name}.json", {"unsure_below": threshold})

    page = reported(data).replace("\N{NO-BREAK SPACE}", " ")

    assert "<dt>Says “unsure” below</dt><dd>99.99998 %</dd>" in page
    assert "Below a confidence of 99.99998 % the model" in page
    assert "unsure below 99.99998 %<" in page


def test_a_gain_of_one_answer_among_thousands_is_not_called_0_points(data: Path) -> None:
    change_json(data / "eval/metrics.json", {"accuracy": 0.999524, "baseline_logistic": 0.999048})

    assert "That is +0.05 points over a logistic regression" in reported(data)


def test_report_says_where_a_threshold_does_not_reach_the_wish(data: Path) -> None:
    changed = {
        "metrics": {"unsure_below": 0.69},
        "calibration": {"unsure_below": 0.69, "valid_sure_accuracy": 0.955, "valid_reckoned_accuracy": 0.945},
    }
    for name, changes in changed.items():
        content = read_json(data / f"eval/{name}.json") | changes
        (data / f"eval/{name}.json").write_text(json.dumps(content))

    page = reported(data).replace("\N{NO-BREAK SPACE}", " ")

    told = (
        "95.5 % of the remaining answers were right, with one mistake more than was seen 94.5 % (wished: 95.0 %, which"
    )
    assert f"{told} no threshold reaches)." in page


def test_report_says_where_no_threshold_reaches_the_wish(data: Path) -> None:
    changes = {"unsure_below": 0.0, "valid_sure_accuracy": 0.667, "valid_reckoned_accuracy": 0.66}
    for name in ("metrics", "calibration"):
        content = read_json(data / f"eval/{name}.json") | changes
        (data / f"eval/{name}.json").write_text(json.dumps(content))

    assert re.search(
        r"95.0.%\), and those above no threshold do better: so no answer is called “unsure”", reported(data)
    )


def test_report_shows_conflicts_and_every_reason_for_a_reject(data: Path) -> None:
    rejects = [["source/a.jpg", "truncated"], ["source/b.jpg", "truncated"], ["source/<c>.jpg", "not an image"]]
    write_csv(data / "prepared" / "rejects.csv", ["source", "reason"], rejects)
    write_csv(data / "prepared" / "conflicts.csv", ["group", "labels", "sources"], [["0", "pug beagle", "x.jpg y.jpg"]])

    page = reported(data)

    assert "2 files: truncated" in page
    assert "1 file: not an image" in page
    assert "source/&lt;c&gt;.jpg" in page
    assert "1 conflict for a person to settle" in page


@pytest.mark.parametrize(
    ("num_groups", "told"),
    [
        (30, "2 duplicates were grouped."),
        (9, "2 duplicates were grouped, and with prepare.group_pattern there are 9 groups."),
    ],
)
def test_report_calls_no_image_a_duplicate_for_its_subject(data: Path, num_groups: int, told: str) -> None:
    facts = {"num_images": 32, "num_duplicates": 2, "num_groups": num_groups}
    path = data / "prepared" / "prepare.json"
    path.write_text(json.dumps(read_json(path) | facts))

    assert told in reported(data)


def test_report_manages_without_epochs_finder_and_species(data: Path) -> None:
    (data / "train" / "history.csv").write_text("epoch,phase,train_loss,valid_loss,learning_rate\n")
    (data / "train" / "learning_rate.csv").write_text("learning_rate,loss\n")
    metrics = read_json(data / "eval" / "metrics.json")
    del metrics["species_accuracy"]
    (data / "eval" / "metrics.json").write_text(json.dumps(metrics))

    page = reported(data)

    assert "This method trains no epochs." in page
    assert "Right species" not in page
    assert "Learning-rate finder" not in page


def test_report_lists_the_exact_parameters_and_versions(data: Path) -> None:
    page = reported(data)

    for key, value in [
        ("max_ratio", "200"),
        ("label_pattern", "^(.+)_\\d+\\.jpg$"),
        ("valid_share", "0.25"),
        ("early_stopping", "none"),
        ("scratch_baseline", "false"),
        ("fastai", "2.8"),
        ("resize", "short_side 64, filter lanczos"),
    ]:
        assert f"<code>{key}</code></th><td>{value}</td>" in page


def test_report_gives_no_precision_where_a_breed_was_never_answered(data: Path) -> None:
    table = "label,precision,recall,f1,images\nBengal,1.0,1.0,1.0,4\nSiamese,,0.0,0.0,4\nbeagle,,,,0\npug,0.0,,0.0,0\n"
    (data / "eval/breeds.csv").write_text(table)

    page = reported(data)

    found = re.findall(r'<td class="number[^"]*" data-value="[^"]*">(?:<svg.*?</svg><span>)?([^<]*)<', page)
    shares = [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in found]
    assert [shares[at : at + 4] for at in range(0, 16, 4)] == [
        ["100.0 %", "100.0 %", "100.0 %", "4"],
        ["–", "0.0 %", "0.0 %", "4"],
        ["–", "–", "–", "0"],
        ["0.0 %", "–", "0.0 %", "0"],
    ]
    assert "never answered (precision)" in page


def test_report_says_how_much_one_image_weighs_where_a_breed_has_few(data: Path) -> None:
    assert "with 6, the fewest here, it moves the recall by 17 points." in reported(data)


def test_report_keeps_quiet_where_each_breed_has_ten_test_images_and_was_answered(data: Path) -> None:
    rows = "".join(f"{label},0.5,0.5,0.5,10\n" for label in LABELS)
    (data / "eval/breeds.csv").write_text(f"label,precision,recall,f1,images\n{rows}")

    page = reported(data)

    assert "the fewest here" not in page
    assert "never answered" not in page


def test_report_of_a_head_fitted_at_once_draws_no_curve_of_one_point(data: Path) -> None:
    columns = "epoch,phase,train_loss,valid_loss,accuracy,learning_rate"
    (data / "train" / "history.csv").write_text(f"{columns}\n0,probe,0.0134,0.2349,0.973,0.0\n")

    page = reported(data)

    assert "The head was fitted at once" in page
    assert "training longer" not in page
    assert "Loss in each epoch" not in page


def test_report_of_a_model_that_is_never_unsure_says_so(data: Path) -> None:
    for name in ("metrics", "calibration"):
        content = read_json(data / f"eval/{name}.json") | {"unsure_below": 0.0}
        (data / f"eval/{name}.json").write_text(json.dumps(content))

    page = reported(data)

    assert "<dt>Says “unsure”</dt><dd>never</dd>" in page
    assert "unsure below 0 %" not in page


def test_each_cell_gives_a_picture_before_any_gives_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album, "MAX_PICTURES", 3)
    wrong = [{"label": "a", "predicted": "b", "loss": str(loss)} for loss in (9, 8, 7)]
    other = [{"label": "b", "predicted": "a", "loss": "1"}, {"label": "a", "predicted": "a", "loss": "0.1"}]

    assert album.chosen([*wrong, *other], 0) == [0, 1, 3]


def test_top_losses_always_have_their_pictures() -> None:
    rows = [{"label": "a", "predicted": "a", "loss": str(loss)} for loss in range(9)]

    assert album.chosen(rows, 7) == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.13, 2.1, [0, 0.5, 1, 1.5, 2, 2.5]), (97, 97.3, [97, 97.1, 97.2, 97.3])],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, expected: list[float]) -> None:
    assert axes.ticks(low, high) == pytest.approx(expected)


def test_ticks_of_a_single_value_still_enclose_it() -> None:
    found = axes.ticks(0, 0)

    assert found[0] < 0 < found[-1]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_an_axis_of_shares_names_no_impossible_ones(share: float) -> None:
    named = axes.ticks_on(axes.Axis(title="right (%)", percent=True), [share, share])

    assert 0 <= named[0] <= share <= named[-1] <= 1
    assert len(named) > 2


def test_every_metric_has_its_line() -> None:
    names = ("accuracy", "error_rate", "top_5_accuracy", "macro_f1")
    history = [{"epoch": str(epoch), "phase": "unfrozen", **dict.fromkeys(names, "0.5")} for epoch in range(3)]

    drawn = str(figures.metrics(history))

    assert all(name.replace("_", " ") in drawn for name in names)
    assert 'class="line d"' in drawn
    assert max(float(x) for x in re.findall(r'<text[^>]* x="([\d.]+)"', drawn)) < svg.WIDTH


def test_wide_characters_are_shortened_by_their_width() -> None:
    names = ["猫" * 11, "猫" * 12, "a" + "猫" * 11, "a" * 22, "a" * 23]

    drawn = charts.stacked_bars("Balance", [(name, [1]) for name in names], ["train"])

    shown = re.findall(r'class="tick small"[^>]*>([^<]+)<', drawn)
    assert shown == ["猫" * 11, "猫" * 10 + "…", "a" + "猫" * 10 + "…", "a" * 22, "a" * 21 + "…"]


def test_a_chart_names_itself_its_axes_and_its_series() -> None:
    line = charts.Line(name="valid <loss>", points=[(1, 2.0), (2, 1.0)], kind="a")

    drawn = charts.line_chart("Loss", [line], axes.Axis(title="epoch"), axes.Axis(title="loss (nats)"))

    assert 'role="img" aria-label="Loss"' in drawn
    assert all(text in drawn for text in (">epoch<", ">loss (nats)<", ">valid &lt;loss&gt;<"))


@pytest.mark.parametrize(("low", "high", "percent"), [(0.9997, 1, True), (0.00021, 0.00034, False), (2, 3, False)])
def test_an_axis_gives_its_numbers_room_beside_its_title(low: float, high: float, *, percent: bool) -> None:
    line = charts.Line(name="valid", points=[(1, low), (2, high)], kind="a")

    drawn = charts.line_chart("Loss", [line], axes.Axis(title="epoch"), axes.Axis(title="valid", percent=percent))

    numbers = re.findall(r'<text class="tick" x="([\d.]+)" [^>]*text-anchor="end">([^<]+)<', drawn)
    assert numbers
    # 12 px of a wide font: digits are 7.7 wide, and the title's letters reach to 15.
    assert min(float(x) - 7.7 * len(number.replace(".", "")) - 3.9 for x, number in numbers) >= 15
    assert f'x1="{float(numbers[0][0]) + 6:g}"' in drawn


def test_the_finder_is_drawn_without_its_blow_up() -> None:
    curve = [
        {"learning_rate": str(10.0**power), "loss": str(loss)}
        for power, loss in zip(range(-5, 1), (3, 3, 2, 1, 2, 90), strict=True)
    ]

    drawn = figures.finder(curve, 1e-3)

    assert drawn
    assert "1e-1" in drawn
    assert "1e0" not in drawn
    assert "taken: 1.00e-03" in drawn


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    draw = np.random.default_rng(0)
    rows = [{"label": "a", "predicted": "ab"[n % 2], "probability": str(p)} for n, p in enumerate(draw.random(3700))]

    drawn = str(figures.believed(rows, 0.5))

    points = re.findall(r'points="([^"]*)"', drawn)[0].split()
    assert len(points) < 260
    assert points[-1].startswith("328,")


def test_the_scratch_baseline_has_its_bar_only_where_it_ran() -> None:
    metrics = {
        "accuracy": 0.9,
        "accuracy_low": 0.8,
        "accuracy_high": 0.95,
        "baseline_majority": 0.1,
        "baseline_logistic": 0.8,
    }

    assert "from scratch" not in figures.against_baselines(metrics)
    assert "from scratch" in figures.against_baselines(metrics | {"baseline_scratch": 0.3})


def test_report_speaks_of_breeds_only_where_a_species_is_known(data: Path) -> None:
    def words() -> str:
        page = re.sub(r"<(script|style)\b.*?</\1>|<!--.*?-->", "", reported(data), flags=re.DOTALL)
        return re.sub(r"<[^>]*>", " ", page)

    assert "How good, breed by breed" in words()
    for side in ("train", "valid", "test"):
        path = data / f"split/{side}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row | {"species": ""} for row in csv.DictReader(file)]
        write_csv(path, list(rows[0]), (list(row.values()) for row in rows))

    told = words()

    assert "How good, label by label" in told
    assert re.findall("(?i)breed|unknown", told.partition("Parameters of")[0]) == []


COUNTS = {"num_images": 7, "num_found": 4, "num_named": 5, "recall_low": 0.25, "recall_high": 0.842}
NO_IMAGES = {"num_images": 0, "num_found": 0, "num_named": 2}
RARE = {
    "label": "tiny_crack",
    "num_test": 240,
    "num_expected": 11.9,
    "num_missed_surely": 3,
    "as_named": {"valid": COUNTS, "test": COUNTS},
    "thresholds": [{"at_least": 0.031, "valid": COUNTS, "test": COUNTS}],
}


def read_aloud(data: Path, rare: dict[str, Any]) -> str:
    """Return the words of a report with one rare label."""
    change_json(data / "eval/calibration.json", {"rare_labels": [rare]})
    page = re.sub(r"<(script|style)\b.*?</\1>", "", reported(data), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", "", page).replace("&nbsp;", " ").split())


def test_report_says_on_its_first_screen_how_often_a_rare_label_is_found(data: Path) -> None:
    told = read_aloud(data, RARE)

    first, _, _ = told.partition("With 95 % confidence the true share")
    assert first.endswith(
        "It finds 4 of the 7 test images of tiny crack (95 % interval 25.0 % to 84.2 %), which are 2.9 % of the test "
        "side; 4 of its 5 answers “tiny crack” are right. 3 that it misses it calls by another name without being "
        "“unsure”. Thresholds that find more "
    )


def test_report_gives_thresholds_that_find_more_of_a_rare_label(data: Path) -> None:
    told = read_aloud(data, RARE)

    assert "where it is the likeliest4 of 74 of 54 of 7 25 % to 84 %4 of 5" in told
    assert "from 0.031 on4 of 74 of 54 of 7 25 % to 84 %4 of 5" in told
    assert "The probabilities of tiny crack on all test images add up to 11.9; 7 bear the label." in told


def test_report_says_that_a_rare_label_is_never_answered_and_manages_without_a_threshold(data: Path) -> None:
    never = COUNTS | {"num_found": 0, "num_named": 0, "recall_low": 0.0, "recall_high": 0.354}
    told = read_aloud(data, RARE | {"as_named": {"valid": NO_IMAGES, "test": never}, "thresholds": []})

    assert "which are 2.9 % of the test side; it never answers “tiny crack”." in told
    assert "Thresholds that find more" not in told
    assert "where it is the likeliest0 of 00 of 2" in told


def test_report_speaks_of_no_rare_label_where_all_have_their_share(data: Path) -> None:
    assert "rare" not in re.sub(r"<(script|style)\b.*?</\1>", "", reported(data), flags=re.DOTALL)


def test_report_gives_each_labels_recall_its_interval(data: Path) -> None:
    table = "label,precision,recall,f1,images,recall_low,recall_high\nBengal,1.0,0.5,0.67,6,0.188,0.812\n"
    (data / "eval/breeds.csv").write_text(table)

    assert (
        '50.0\N{NO-BREAK SPACE}% <span class="quiet interval">19\N{NO-BREAK SPACE}% to 81\N{NO-BREAK SPACE}%</span>'
        in reported(data)
    )


@pytest.mark.parametrize(("balance", "told"), [("auto", "each image"), ("labels", "each label")])
def test_report_says_what_counted_the_same_in_training(data: Path, balance: str, told: str) -> None:
    change_json(data / "eval/params.json", {"train.balance": balance})

    assert f"<dt>What counts the same in training</dt><dd>{told}</dd>" in reported(data)


def test_the_matrix_of_very_many_labels_shows_those_that_are_mistaken_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [f"breed {number:02}" for number in range(30)]
    write_data(tmp_path, labels, num_images=2)
    monkeypatch.setattr("stages.report.MAX_CHARTED", 29)
    monkeypatch.setattr("stages.report.NUM_MISTAKEN", 4)

    page = reported(tmp_path)

    with (tmp_path / "eval/predictions.csv").open(encoding="utf-8", newline="") as file:
        wrong = [row for row in csv.DictReader(file) if row["label"] != row["predicted"]]
    mistakes = {label: sum(label in (row["label"], row["predicted"]) for row in wrong) for label in labels}
    matrix = page.partition('<table id="matrix"')[2].partition("</table>")[0]
    shown = re.findall(r'<th scope="row"><bdi>(.*?)</bdi></th>', matrix)
    others = [mistakes[label] for label in labels if label not in shown]
    assert len(shown) == 4
    assert shown == sorted(shown)
    assert min(mistakes[label] for label in shown) >= max(others)
    assert len(re.findall(r"<td", matrix)) == 1 + 4 * 4
    assert "Of 30 breeds the 4 that are mistaken most are here" in page
    ids = set(re.findall(r'<td id="(cell-\d+-\d+)"', matrix))
    assert {link.removeprefix("#") for link in re.findall(r'href="(#cell-[^"]*)"', page)} <= ids | {
        f"cell-{n}-{n}" for n in range(4)
    }
    assert set(cells_of(page)) <= {one.removeprefix("cell-") for one in ids}
