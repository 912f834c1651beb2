"""The gate's rules, on evidence made by hand."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from flows.artifacts import artifact_key
from flows.at_labels import regressions
from flows.errors import ChampionError
from flows.evidence import Evidence, evidence, labels_in
from flows.gate import GateParams, decide, limit_of_turn
from flows.paired import by_label
from petmodels import Registry
from petmodels.comparison import Compared
from petmodels.errors import FormatError
from petmodels.names import version_key
from petmodels.significance import mcnemar
from tests.petmodels.bundles import image_bytes, make_bundle, onnx_bytes, write_files, write_json

RULES = GateParams(max_p_value=0.05, min_images=30, max_label_fall=0.5, label_falls={}, costs={}, max_seconds_ratio=2.0,
                   max_size_ratio=2.0)  # fmt: skip
METRICS = {"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.93, "baseline_majority": 0.1,
           "baseline_logistic": 0.88}  # fmt: skip
FIRST = Evidence(metrics=METRICS, polluting=())


def records(only_champion: int, only_challenger: int, both: int = 40, label: str = "pug") -> tuple[Compared, ...]:
    """Return answers on photographs of one label: so many that one model alone gets right, and so many that both do."""
    kinds = [("pug", "x")] * only_champion + [("x", "pug")] * only_challenger + [("pug", "pug")] * both
    return tuple(
        Compared(image=f"{label}{number}", label=label, before_label=old.replace("pug", label), before_probability=0.9,
                 before_seconds=0.01, after_label=new.replace("pug", label), after_probability=0.9,
                 after_seconds=0.01)
        for number, (old, new) in enumerate(kinds)
    )  # fmt: skip


def against_champion(answers: tuple[Compared, ...]) -> Evidence:
    return Evidence(
        metrics=METRICS, polluting=(), champion="pets@1", records=answers, unseen=answers, champion_seconds=0.01,
        challenger_seconds=0.01, champion_bytes=1000, challenger_bytes=1000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("only_champion", "only_challenger", "outcome"),
    [(2, 14, "promote"), (14, 2, "refuse"), (5, 7, "keep"), (0, 0, "keep"), (0, 5, "keep"), (0, 6, "promote")],
)
def test_a_challenger_is_promoted_only_when_chance_does_not_explain_it(
    only_champion: int, only_challenger: int, outcome: str
) -> None:
    decision = decide(against_champion(records(only_champion, only_challenger)), RULES)

    assert decision.outcome == outcome


@pytest.mark.parametrize(
    ("turn", "only_challenger", "outcome"),
    [(1, 9, "promote"), (2, 9, "keep"), (2, 10, "promote"), (3, 10, "keep"), (3, 11, "promote"), (4, 11, "keep")],
)
def test_each_further_challenger_of_a_champion_is_asked_for_more(turn: int, only_challenger: int, outcome: str) -> None:
    found = replace(against_champion(records(1, only_challenger)), turn=turn)

    decision = decide(found, RULES)

    assert decision.outcome == outcome
    assert any(figure.what == "challengers of pets@1 so far" for figure in decision.figures)
    assert not any(figure.what.startswith("…") for figure in decision.figures)  # there is one part only
    if outcome == "keep":
        assert f"which may be chance at challenger {turn} of pets@1: p ≤ 0.0" in decision.sentence


@pytest.mark.parametrize(("only_champion", "outcome"), [(5, "keep"), (6, "refuse")])
def test_a_worse_challenger_is_refused_whatever_its_turn(only_champion: int, outcome: str) -> None:
    found = replace(against_champion(records(only_champion, 0)), turn=50)

    decision = decide(found, RULES)

    assert decision.outcome == outcome
    assert "gain" not in decision.sentence


@pytest.mark.parametrize(("turn", "needed"), [(1, 6), (2, 7), (3, 8), (10, 12)])
def test_a_champion_that_makes_too_few_mistakes_to_be_beaten_is_named(turn: int, needed: int) -> None:
    found = replace(against_champion(records(0, needed - 1)), turn=turn)

    decision = decide(found, RULES)

    assert decision.outcome == "keep"
    assert decision.sentence.startswith(f"kept, not promoted: {39 + needed} of {39 + needed} test images that pets@1 ")
    assert decision.sentence.endswith(
        f", and pets@1 is wrong at {needed - 1}: of fewer than {needed} mistakes chance explains any gain"
    )
    assert decide(replace(found, unseen=records(0, needed)), RULES).outcome == "promote"


def test_a_gain_on_what_came_lately_does_not_pay_for_a_loss_on_what_was_there() -> None:
    losses = [one for number in range(14) for one in records(1, 0, both=4, label=f"breed{number}")]
    older, newer = (*losses, *records(0, 2, both=2)), records(0, 30, both=10, label="beagle")
    found = replace(against_champion((*older, *newer)), older=older)

    decision = decide(found, RULES)

    assert decision.outcome == "keep"
    assert decision.sentence.endswith(
        "but only 60 of the 74 that are older than pets@1, where that has 72 right (p = 0.0042)"
    )
    assert {figure.what: (figure.champion, figure.challenger) for figure in decision.figures}.items() >= {
        "… that came before it (74)": ("97.3%", "81.1%"),
        "… that came with it or after (40)": ("25.0%", "100.0%"),
    }.items()
    assert decide(replace(found, older=older[:20]), RULES).outcome == "promote"


def test_one_answer_of_thousands_that_was_lost_is_not_shown_as_nothing() -> None:
    figures = decide(against_champion(records(1, 0, both=2099)), RULES).figures

    told = {figure.what: figure.meaning for figure in figures}
    assert told["accuracy, images the champion never saw (2100)"].startswith("-0.05% (95 %: -")
    assert told["pug (2100)"] == "-0.05%"


def test_labels_that_are_too_few_to_be_judged_are_counted() -> None:
    answers = [one for number in range(37) for one in records(0, 1, both=2, label=f"breed{number}")]

    figures = decide(against_champion((*answers, *records(0, 5, both=0))), RULES).figures

    assert [one.challenger for one in figures if one.what == "labels with fewer than 5 of them"] == ["37"]


@pytest.mark.parametrize("uneven", [10, 30, 100])
def test_equal_challengers_hardly_ever_take_a_champions_place_however_many_there_are(uneven: int) -> None:
    """Reckoned: a fair coin decides who is right on the images where one model is right and the other isn't."""

    def promoted_by_luck(limit: float) -> float:
        better = range(uneven // 2 + 1, uneven + 1)
        return sum(math.comb(uneven, won) / 2**uneven for won in better if mcnemar(uneven - won, won) <= limit)

    ever = sum(promoted_by_luck(limit_of_turn(turn, RULES)) for turn in range(1, 500))

    assert 0.01 < promoted_by_luck(RULES.max_p_value) <= ever <= RULES.max_p_value
    assert 52 * promoted_by_luck(RULES.max_p_value) > 0.5  # what a year of weekly looks at a fixed limit would be


def test_too_few_images_promote_nothing() -> None:
    decision = decide(against_champion(records(0, 10, both=10)), RULES)

    assert decision.outcome == "keep"
    assert "20 test images that pets@1 never saw are too few to decide by (30)" in decision.sentence


def test_what_lies_on_a_limit_is_within_it() -> None:
    rules = replace(RULES, max_p_value=mcnemar(0, 6), min_images=6)
    costly = replace(against_champion(records(0, 6, both=0)), challenger_seconds=0.02, challenger_bytes=2000)

    assert decide(costly, rules).outcome == "promote"
    assert decide(replace(costly, unseen=records(0, 6, both=0)[1:]), rules).outcome == "keep"
    assert decide(replace(FIRST, metrics=METRICS | {"accuracy_high": 0.88}), RULES).outcome == "promote"
    assert regressions(by_label(records(6, 0)), rules) == ["pug"]


def test_only_images_that_the_champion_never_saw_count() -> None:
    found = replace(against_champion(records(0, 20)), unseen=records(3, 2))

    assert decide(found, RULES).outcome == "keep"


def test_a_breed_that_gets_worse_keeps_a_better_challenger_from_promotion() -> None:
    answers = (*records(0, 40), *records(8, 0, both=2, label="beagle"))

    decision = decide(against_champion(answers), RULES)

    assert decision.outcome == "keep"
    assert decision.sentence.endswith("but it is worse at beagle")


def test_among_many_breeds_a_small_loss_at_one_is_chance() -> None:
    answers = [one for number in range(37) for one in records(0, 1, label=f"breed{number}")]

    assert regressions(by_label([*answers, *records(5, 0, label="beagle")]), RULES) == []


def test_a_breed_that_is_lost_altogether_keeps_a_better_challenger_back_however_many_breeds_there_are() -> None:
    answers = [one for number in range(37) for one in records(0, 2, label=f"breed{number}")]

    decision = decide(against_champion((*answers, *records(10, 0, both=0, label="beagle"))), RULES)

    assert decision.sentence.endswith("but it names none of 10 images of beagle, where pets@1 names 10")
    assert any(figure.what == "beagle (10)" for figure in decision.figures)


def test_a_challenger_that_has_forgotten_a_label_is_refused_however_good_it_is() -> None:
    found = replace(against_champion(records(0, 30)), lost_labels=("Bombay",))

    assert decide(found, RULES).sentence == "refused: it no longer knows Bombay"


def test_metrics_that_say_nothing_of_a_baseline_promote_nothing() -> None:
    found = replace(FIRST, metrics={name: value for name, value in METRICS.items() if name != "baseline_logistic"})

    assert decide(found, RULES).sentence == "refused: its metrics.json says nothing of baseline_logistic"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("challenger_seconds", 0.03, "3.0 times as long"), ("challenger_bytes", 2500, "2.5 times as large")],
)
def test_a_challenger_that_costs_too_much_is_refused_though_it_is_better(field: str, value: float, words: str) -> None:
    found = replace(against_champion(records(0, 30)), **{field: value})

    decision = decide(found, RULES)

    assert decision.outcome == "refuse"
    assert words in decision.sentence


def test_a_polluted_test_side_is_refused_whatever_it_says() -> None:
    found = replace(FIRST, polluting=("source/images/pug_1.jpg", "source/images/pug_2.jpg"))

    decision = decide(found, RULES)

    assert decision.outcome == "refuse"
    assert "2 of its test images were used to train it, the first: source/images/pug_1.jpg" in decision.sentence


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.85, 0.93, "promote"), (0.8, 0.89, "promote"), (0.8, 0.87, "refuse"), (0.05, 0.9, "refuse")],
)
def test_a_first_version_is_above_the_commonest_label_and_not_below_the_logistic_regression(
    low: float, high: float, outcome: str
) -> None:
    found = replace(FIRST, metrics=METRICS | {"accuracy_low": low, "accuracy_high": high})

    assert decide(found, RULES).outcome == outcome


def test_any_models_name_makes_a_key_that_prefect_takes() -> None:
    assert artifact_key("my.pets_2", "Production", "history") == "my-pets-2-production-history"


def test_a_refusal_for_the_time_that_an_image_took_holds_for_the_moment_alone() -> None:
    slow = replace(against_champion(records(0, 30)), challenger_seconds=0.03)
    large = replace(slow, challenger_bytes=2500)

    assert [decide(one, RULES).is_lasting for one in (slow, large)] == [False, True]


def champion_bundle(folder: Path) -> Path:
    """Write a bundle whose model saw no image."""
    return write_files(make_bundle(folder), {"seen_images.csv": b"sha256,group\n"})


def promoted(bundle: Path, folder: Path) -> Registry:
    """Return a registry in a folder, where production names a bundle."""
    registry = Registry(folder / "registry", cache=folder / "cache")
    registry.publish(bundle, "pets")
    registry.promote("pets@1", "production")
    return registry


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one test image, whose bundle is a challenger with a network of its own."""
    challenger = make_bundle(tmp_path / "data/bundle", tag="challenger", self_test=False)
    (challenger / "model.onnx").write_bytes(onnx_bytes(sharpness=3.0))
    listing = b"source,path,label,sha256,group\nred.jpg,images/red.jpg,red,00,00\n"
    write_files(tmp_path / "data", {"split/test.csv": listing, "raw/red.jpg": image_bytes("red")})
    return tmp_path


@pytest.fixture
def damaged(tmp_path: Path) -> Registry:
    """A registry whose champion has lost its network, with a copy in `backup`; the challenger is in data/bundle."""
    make_bundle(tmp_path / "data/bundle", tag="challenger")
    listing = b"source,path,label,sha256,group\nred.jpg,images/red.jpg,red,00,00\n"
    write_files(tmp_path / "data", {"split/test.csv": listing, "raw/red.jpg": image_bytes("red")})
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(make_bundle(tmp_path / "champion"), "pets")
    registry.promote("pets@1", "production")
    registry.copy("pets@1", tmp_path / "backup")
    blob = next(file.blob for file in registry.manifest("pets@1").files if file.path == "model.onnx")
    registry.storage.delete(f"pets/blobs/{blob}")
    return Registry(tmp_path / "registry", cache=tmp_path / "another cache")


def test_a_broken_champion_refuses_no_challenger(damaged: Registry, tmp_path: Path) -> None:
    """It is an error of its own, which a repair mends: a refusal would be remembered."""
    with pytest.raises(ChampionError, match=r"^what pets@production names is broken, .* repair or roll back, then run"):
        evidence(damaged, "pets", "production", tmp_path)

    damaged.repair("pets@1", tmp_path / "backup")
    assert evidence(damaged, "pets", "production", tmp_path).champion == "pets@1"


def test_a_whole_champion_that_this_client_can_not_use_is_not_called_broken(project: Path) -> None:
    champion = champion_bundle(project / "champion")
    how = json.loads((champion / "preprocess.json").read_text())
    write_json(champion / "preprocess.json", how | {"pad": "reflect"})
    registry = promoted(champion, project)

    with pytest.raises(ChampionError, match=r"^pets@1 is whole, but this .* release/manual: preprocess\.json of "):
        evidence(registry, "pets", "production", project)


@pytest.mark.parametrize("seen", [None, b"digest,cluster\nred,red\n", b"sha256,group\n\xff,red\n"])
def test_a_champion_that_does_not_say_what_it_saw_has_no_place_taken(project: Path, seen: bytes | None) -> None:
    champion = champion_bundle(project / "champion")
    (champion / "seen_images.csv").unlink()
    write_files(champion, {"seen_images.csv": seen} if seen else {})

    found = evidence(promoted(champion, project), "pets", "production", project)

    assert (len(found.records), found.unseen) == (1, ())
    decision = decide(replace(found, challenger_seconds=found.champion_seconds), RULES)
    assert decision.outcome == "keep"
    assert decision.sentence.startswith("kept, not promoted: pets@1 has no seen_images.csv that says what it was ")


def test_the_champions_own_network_is_kept_for_its_card_and_is_not_slow(project: Path) -> None:
    shutil.copytree(project / "data/bundle", project / "champion")
    write_json(project / "champion/card.json", {"title": "another"})

    found = evidence(promoted(project / "champion", project), "pets", "production", project)

    decision = decide(replace(found, challenger_seconds=9.0), RULES)
    assert decision.outcome == "keep"
    assert decision.sentence == "kept, not promoted: its network, labels and preprocessing are pets@1's own"


def test_the_champions_own_network_takes_no_turn(project: Path) -> None:
    registry = promoted(champion_bundle(project / "champion"), project)
    for tag in ("another card", "and another"):
        registry.publish(make_bundle(project / tag, tag=tag), "pets")
    registry.publish(project / "data/bundle", "pets")

    assert evidence(registry, "pets", "production", project).turn == 2  # it would be pets@5
    assert evidence(registry, "pets", "production", project, number=4).turn == 1


def test_a_broken_alias_of_somebody_else_hinders_nobody(project: Path) -> None:
    registry = promoted(champion_bundle(project / "champion"), project)
    registry.storage.create("pets/aliases/canary.jsonl", b"broken\n")

    assert evidence(registry, "pets", "production", project).champion == "pets@1"
    assert evidence(registry, "pets", "staging", project).champion == ""


def test_a_first_versions_counts_are_those_of_its_card(project: Path) -> None:
    write_json(project / "data/bundle/card.json", {"test_by_label": {"red": {"num_images": 7, "num_right": 6}}})
    write_files(project / "data", {"split/train.csv": b"source,path,label,sha256,group\ngreen.jpg,,green,01,01\n"})

    found = evidence(promoted(champion_bundle(project / "champion"), project), "pets", "staging", project)

    assert (found.champion, found.tested) == ("", {"red": (7, 6)})
    assert labels_in(project) == {"red", "green"}


def test_a_broken_challenger_is_an_error_of_the_bundle(damaged: Registry, tmp_path: Path) -> None:
    (tmp_path / "data/bundle/model.onnx").write_bytes(b"no network")

    with pytest.raises(FormatError, match=r"model\.onnx"):
        evidence(damaged, "pets", "production", tmp_path)


def test_what_the_champion_was_trained_on_does_not_count_nor_what_shows_the_same(tmp_path: Path) -> None:
    """Of three test images it saw one, and of another one a near-duplicate: one of the same group."""
    make_bundle(tmp_path / "data/bundle", tag="challenger")
    names = ("seen", "near", "new")
    rows = [f"{name}.jpg,images/{name}.jpg,red,{name}-bytes,{name}-group\n" for name in names]
    listing = "".join(["source,path,label,sha256,group\n", *rows]).encode()
    write_files(tmp_path / "data", {"split/test.csv": listing})
    write_files(tmp_path / "data/raw", {f"{name}.jpg": image_bytes("red") for name in names})
    champion = make_bundle(tmp_path / "champion")
    seen = b"sha256,group\nseen-bytes,another-group\nother-bytes,near-group\n"
    write_files(champion, {"seen_images.csv": seen})
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(champion, "pets")
    registry.promote("pets@1", "production")

    found = evidence(registry, "pets", "production", tmp_path)

    assert len(found.records) == 3
    assert [Path(record.image).stem for record in found.unseen] == ["new"]


def test_copies_of_a_picture_count_once(tmp_path: Path) -> None:
    make_bundle(tmp_path / "data/bundle", tag="challenger")
    rows = [f"{name}.jpg,images/{name}.jpg,red,{name},{name[0]}\n" for name in ("a1", "b1", "a2", "a3")]
    write_files(tmp_path / "data", {"split/test.csv": "".join(["source,path,label,sha256,group\n", *rows]).encode()})
    write_files(tmp_path / "data/raw", {f"{name}.jpg": image_bytes("red") for name in ("a1", "b1", "a2", "a3")})
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(make_bundle(tmp_path / "champion"), "pets")
    registry.promote("pets@1", "production")

    found = evidence(registry, "pets", "production", tmp_path)

    assert [Path(record.image).stem for record in found.records] == ["a1", "b1"]


def test_a_picture_counts_as_seen_if_the_champion_saw_any_other_of_its_group(tmp_path: Path) -> None:
    make_bundle(tmp_path / "data/bundle", tag="challenger")
    listing = b"source,path,label,sha256,group\nnew.jpg,,red,n,n\nold.jpg,,red,o,n\n"
    write_files(tmp_path / "data", {"split/test.csv": listing, "raw/new.jpg": image_bytes("red")})
    champion = make_bundle(tmp_path / "champion")
    write_files(champion, {"seen_images.csv": b"sha256,group\no,o\n"})
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(champion, "pets")
    registry.promote("pets@1", "production")

    found = evidence(registry, "pets", "production", tmp_path)

    assert (len(found.records), found.unseen) == (1, ())


def test_what_arrived_before_the_champions_day_is_older(tmp_path: Path) -> None:
    make_bundle(tmp_path / "data/bundle", tag="challenger")
    registry = promoted(champion_bundle(tmp_path / "champion"), tmp_path)
    today = registry.manifest("pets@1").created[:10]
    rows = [f"{day}.jpg,,red,{day},{day},{day.strip('x')}\n" for day in ("x", "2020-01-01", today)]
    listing = "".join(["source,path,label,sha256,group,arrived\n", *rows]).encode()
    write_files(tmp_path / "data", {"split/test.csv": listing})
    write_files(tmp_path / "data/raw", {f"{day}.jpg": image_bytes("red") for day in ("x", "2020-01-01", today)})

    found = evidence(registry, "pets", "production", tmp_path)

    assert [Path(record.image).stem for record in found.older] == ["x", "2020-01-01"]
    assert len(found.unseen) == 3


def test_every_version_since_the_champion_was_a_challenger_of_it(tmp_path: Path) -> None:
    make_bundle(tmp_path / "data/bundle", tag="challenger")
    listing = b"source,path,label,sha256,group\nred.jpg,images/red.jpg,red,00,00\n"
    write_files(tmp_path / "data", {"split/test.csv": listing, "raw/red.jpg": image_bytes("red")})
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    for tag in ("first", "champion", "kept", "kept, too"):
        registry.publish(make_bundle(tmp_path / tag, tag=tag), "pets")
    registry.promote("pets@2", "production")

    registry.storage.delete(version_key("pets", 3))  # pruned
    newest = version_key("pets", 4)
    data, etag = registry.storage.read(newest, 10**6)
    registry.storage.replace(newest, data[:-9], etag)  # broken, which is no fault of the challenger's

    assert evidence(registry, "pets", "production", tmp_path).turn == 3  # it would be pets@5
    assert evidence(registry, "pets", "production", tmp_path, number=3).turn == 1
    assert evidence(registry, "pets", "production", tmp_path, number=1).turn == 1  # older than the champion


def test_labels_and_sizes_are_told_of_the_model_that_they_are_of(tmp_path: Path) -> None:
    challenger = make_bundle(tmp_path / "data/bundle", tag="challenger", self_test=False)
    (challenger / "model.onnx").write_bytes(onnx_bytes(num_labels=4))
    labels = json.loads((challenger / "labels.json").read_text())
    names = ["red", "green", "grey", "black"]
    write_json(challenger / "labels.json", labels | {"labels": names, "species": dict.fromkeys(names, "")})
    listing = b"source,path,label,sha256,group\nred.jpg,images/red.jpg,red,00,00\n"
    write_files(tmp_path / "data", {"split/test.csv": listing, "raw/red.jpg": image_bytes("red")})
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(make_bundle(tmp_path / "champion"), "pets")
    registry.promote("pets@1", "production")

    found = evidence(registry, "pets", "production", tmp_path)

    assert (found.lost_labels, found.new_labels) == (("blue",), ("black", "grey"))
    assert found.champion_bytes == len(onnx_bytes()) < len(onnx_bytes(num_labels=4)) == found.challenger_bytes
    assert decide(found, RULES).sentence == "refused: it no longer knows blue"


def test_a_first_version_may_lie_below_the_logistic_regression_by_chance_alone() -> None:
    metrics = METRICS | {"accuracy": 0.87, "accuracy_high": 0.9}

    decision = decide(replace(FIRST, metrics=metrics), RULES)

    assert decision.outcome == "promote"
    assert decide(replace(FIRST, metrics=metrics | {"accuracy_high": 0.875}), RULES).outcome == "refuse"
