"""The drawn sample is 37 breeds, the same bytes for the same seed, and says what is wrong with its address."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageStat

from stages.breeds import COATS, MARKINGS, PALETTE, SHAPES
from stages.drawing import Sample, draw_sample, parse_sample, picture
from stages.drawing_animal import TAILS
from stages.drawing_face import HANGING_EARS, UPRIGHT_EARS
from stages.errors import SourceError

CATS = {
    *("Abyssinian", "Bengal", "Birman", "Bombay", "British_Shorthair", "Egyptian_Mau", "Maine_Coon", "Persian"),
    *("Ragdoll", "Russian_Blue", "Siamese", "Sphynx"),
}
DOGS = {
    *("american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle", "boxer", "chihuahua"),
    *("english_cocker_spaniel", "english_setter", "german_shorthaired", "great_pyrenees", "havanese"),
    *("japanese_chin", "keeshond", "leonberger", "miniature_pinscher", "newfoundland", "pomeranian", "pug"),
    *("saint_bernard", "samoyed", "scottish_terrier", "shiba_inu", "staffordshire_bull_terrier"),
    *("wheaten_terrier", "yorkshire_terrier"),
}
PATTERNS = {"solid", "ticked", "tabby", "brindle", "spots", "rosettes", "flecks", "patches"}
PARTS = {
    *("ears", "cap", "face", "muzzle", "blaze", "brows", "beard"),
    *("chest", "back", "legs", "paws", "tail"),
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small pictures a breed, by file name."""
    return _drawn(tmp_path_factory.mktemp("sample"), images_per_breed=2)


def _drawn(folder: Path, *, images_per_breed: int = 1, seed: int = 1) -> dict[str, Path]:
    draw_sample(folder, images_per_breed=images_per_breed, seed=seed, image_side=64)
    return {path.name: path for path in (folder / "images").iterdir()}


@pytest.mark.slow
def test_files_are_numbered_from_one_for_each_of_the_37_breeds(sample: dict[str, Path]) -> None:
    assert set(sample) == {f"{breed}_{number}.jpg" for breed in CATS | DOGS for number in (1, 2)}


@pytest.mark.slow
def test_the_first_letters_case_tells_the_species(sample: dict[str, Path]) -> None:
    labels = {name.rpartition("_")[0] for name in sample}

    assert {label for label in labels if label[0].isupper()} == CATS
    assert {label for label in labels if label[0].islower()} == DOGS


def test_every_picture_decodes_as_rgb_jpeg_of_about_the_side_asked_for(sample: dict[str, Path]) -> None:
    for path in sample.values():
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert 64 * 0.8 < max(image.size) < 64 * 1.2
            assert min(image.size) >= 32


def test_sizes_vary_between_landscape_and_portrait(sample: dict[str, Path]) -> None:
    sizes = set()
    for path in sample.values():
        with Image.open(path) as image:
            sizes.add(image.size)

    assert len(sizes) > 30
    assert any(width > 1.2 * height for width, height in sizes)
    assert any(height > 1.2 * width for width, height in sizes)


@pytest.mark.slow
def test_the_same_seed_draws_the_same_bytes_however_many_are_asked_for(sample: dict[str, Path], tmp_path: Path) -> None:
    again = _drawn(tmp_path, images_per_breed=1)

    assert len(again) == 37
    assert all(path.read_bytes() == sample[name].read_bytes() for name, path in again.items())


@pytest.mark.slow
def test_another_seed_draws_other_pictures(sample: dict[str, Path], tmp_path: Path) -> None:
    other = _drawn(tmp_path, seed=2)

    assert not any(path.read_bytes() == sample[name].read_bytes() for name, path in other.items())


def test_no_two_pictures_are_alike(sample: dict[str, Path]) -> None:
    assert len({path.read_bytes() for path in sample.values()}) == 74


@pytest.mark.slow
def test_breeds_drawn_with_the_same_dice_differ_as_the_animals_do() -> None:
    def lightness(breed: str) -> float:
        pictures = [picture(breed, 96, np.random.default_rng(number)) for number in range(8)]
        return sum(ImageStat.Stat(drawn.convert("L")).mean[0] for drawn in pictures) / len(pictures)

    assert lightness("Bombay") + 15 < lightness("Persian")
    assert lightness("newfoundland") + 15 < lightness("samoyed")


def test_an_error_while_drawing_reaches_the_caller(tmp_path: Path) -> None:
    (tmp_path / "images" / "beagle_1.jpg").mkdir(parents=True)

    with pytest.raises(IsADirectoryError, match=r"beagle_1\.jpg"):
        _drawn(tmp_path)


def test_the_tables_use_only_names_that_the_drawing_knows() -> None:
    colours = {name for coat in COATS.values() for name in re.split(r"[|-]", coat.colourings)}
    parts = {part for worn in MARKINGS.values() for part in f"{worn.mark} {worn.trim}".split()}

    assert set(SHAPES) == set(COATS) >= set(MARKINGS)
    assert {shape.ears for shape in SHAPES.values()} <= UPRIGHT_EARS.keys() | HANGING_EARS.keys()
    assert {shape.tail for shape in SHAPES.values()} <= TAILS.keys()
    assert {coat.pattern for coat in COATS.values()} <= PATTERNS
    assert colours | {f"{coat.eyes} eyes" for coat in COATS.values()} <= PALETTE.keys()
    assert parts <= PARTS


def test_a_bare_address_means_the_defaults() -> None:
    assert parse_sample("sample:") == Sample(images_per_breed=16, seed=1, image_side=320)


def test_an_address_sets_what_it_names_and_keeps_the_rest() -> None:
    assert parse_sample("sample:seed=3, images_per_breed=20") == Sample(images_per_breed=20, seed=3, image_side=320)


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("sample:images=4", r"unknown key 'images'; known keys: images_per_breed, seed, image_side$"),
        ("sample:7", r"unknown key '7'; known keys: images_per_breed, seed, image_side$"),
        ("sample:seed=1,seed=2", r"key stands twice: seed$"),
        ("sample:seed=-1", r"seed takes a whole number from 0 to 4294967295: '-1'$"),
        ("sample:seed=", r"seed takes a whole number from 0 to 4294967295: ''$"),
        ("sample:images_per_breed=0", r"images_per_breed takes a whole number from 1 to 1000: '0'$"),
        ("sample:images_per_breed=2.5", r"images_per_breed takes a whole number from 1 to 1000: '2\.5'$"),
        ("sample:image_side=99999999999999", r"image_side takes a whole number from 64 to 2048: '9+'$"),
        ("samples:seed=1", r"not an address of the drawn sample; .*: samples:seed=1$"),
    ],
)
def test_a_wrong_address_is_refused_by_name(address: str, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        parse_sample(address)
