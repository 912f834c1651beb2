"""What the 37 drawn breeds look like: a row a breed in each of three tables.

Reads and leaves nothing. The names, capital letters for cats included, are those of the Oxford-IIIT Pets. Some rows
are near each other on purpose (Birman and Ragdoll, the bull terriers, Samoyed and Great Pyrenees): so are the animals,
and a confusion matrix without confusions would teach nothing.
"""

from dataclasses import dataclass

RGB = tuple[int, int, int]

PALETTE: dict[str, RGB] = {
    "black": (40, 37, 38),
    "blue": (112, 120, 134),
    "brown": (112, 78, 52),
    "charcoal": (70, 68, 70),
    "cream": (234, 216, 186),
    "fawn": (210, 174, 128),
    "gold": (200, 150, 86),
    "grey": (150, 148, 146),
    "liver": (92, 58, 42),
    "pink": (228, 182, 164),
    "red": (194, 116, 62),
    "rust": (168, 90, 46),
    "seal": (82, 60, 50),
    "silver": (190, 190, 188),
    "tan": (190, 136, 84),
    "white": (242, 239, 232),
    "amber eyes": (206, 136, 40),
    "blue eyes": (94, 150, 206),
    "dark eyes": (70, 42, 26),
    "gold eyes": (222, 178, 60),
    "green eyes": (138, 172, 84),
}


@dataclass(frozen=True)
class Shape:
    """The animal under its coat; widths are in units of an average cat's head."""

    skull: float
    jaw: float
    muzzle: float  # 0 flat … 1 long
    ears: str  # pointed, tufted, bat, button, rose, drop or long
    ear: float
    hair: float  # 0 bald … 1 down to the floor
    build: float
    legs: float
    tail: str  # whip, plume, curl or stub


@dataclass(frozen=True)
class Coat:
    """The colours; `colourings` are those that occur, each as coat-mark-trim."""

    pattern: str  # how marks lie on the coat: solid, ticked, tabby, brindle, spots, rosettes, flecks or patches
    eyes: str
    colourings: str


@dataclass(frozen=True)
class Markings:
    """Parts that wear the mark's or the trim's colour whole.

    Parts: ears, cap, face, muzzle, blaze, brows, beard, chest, back, legs, paws, tail.
    """

    mark: str = ""
    trim: str = ""

    def role(self, part: str) -> str:
        """Return whose colour `part` wears: "mark", "trim", or "coat" for a part that isn't named."""
        if part in self.mark.split():
            return "mark"
        return "trim" if part in self.trim.split() else "coat"


# fmt: off
SHAPES: dict[str, Shape] = {
    #                                    skull  jaw  muzzle  ears      ear  hair  build legs  tail
    "Abyssinian":                  Shape(0.92, 0.72, 0.30, "pointed", 1.20, 0.10, 0.80, 1.10, "whip"),
    "Bengal":                      Shape(0.95, 0.80, 0.34, "pointed", 0.88, 0.10, 0.92, 1.00, "whip"),
    "Birman":                      Shape(1.06, 0.90, 0.22, "pointed", 0.88, 0.66, 1.00, 0.84, "plume"),
    "Bombay":                      Shape(1.00, 0.86, 0.20, "pointed", 0.92, 0.06, 0.92, 0.95, "whip"),
    "British_Shorthair":           Shape(1.20, 1.12, 0.16, "pointed", 0.68, 0.30, 1.20, 0.78, "whip"),
    "Egyptian_Mau":                Shape(0.94, 0.78, 0.28, "pointed", 1.02, 0.10, 0.86, 1.05, "whip"),
    "Maine_Coon":                  Shape(1.04, 0.92, 0.48, "tufted",  1.18, 0.82, 1.10, 0.98, "plume"),
    "Persian":                     Shape(1.22, 1.14, 0.00, "pointed", 0.54, 0.98, 1.18, 0.66, "plume"),
    "Ragdoll":                     Shape(1.08, 0.92, 0.25, "pointed", 0.82, 0.74, 1.10, 0.88, "plume"),
    "Russian_Blue":                Shape(0.98, 0.78, 0.26, "pointed", 1.05, 0.20, 0.86, 1.08, "whip"),
    "Siamese":                     Shape(0.86, 0.58, 0.36, "pointed", 1.32, 0.08, 0.74, 1.16, "whip"),
    "Sphynx":                      Shape(0.88, 0.66, 0.24, "bat",     1.42, 0.00, 0.82, 1.08, "whip"),
    "american_bulldog":            Shape(1.18, 1.16, 0.52, "rose",    0.82, 0.06, 1.36, 0.98, "whip"),
    "american_pit_bull_terrier":   Shape(1.08, 1.02, 0.58, "rose",    0.88, 0.06, 1.14, 1.02, "whip"),
    "basset_hound":                Shape(0.98, 0.92, 0.88, "long",    1.32, 0.08, 1.30, 0.44, "whip"),
    "beagle":                      Shape(1.00, 0.86, 0.66, "drop",    1.10, 0.10, 1.00, 0.84, "whip"),
    "boxer":                       Shape(1.04, 1.10, 0.40, "drop",    0.72, 0.06, 1.14, 1.16, "stub"),
    "chihuahua":                   Shape(1.02, 0.66, 0.34, "bat",     1.26, 0.12, 0.72, 0.80, "curl"),
    "english_cocker_spaniel":      Shape(0.98, 0.82, 0.68, "long",    1.16, 0.58, 0.98, 0.84, "stub"),
    "english_setter":              Shape(0.94, 0.80, 0.84, "long",    1.02, 0.54, 1.00, 1.12, "plume"),
    "german_shorthaired":          Shape(0.96, 0.84, 0.86, "drop",    1.06, 0.06, 1.00, 1.20, "stub"),
    "great_pyrenees":              Shape(1.12, 0.96, 0.72, "drop",    0.72, 0.88, 1.32, 1.00, "plume"),
    "havanese":                    Shape(1.04, 0.88, 0.48, "drop",    0.92, 0.94, 0.96, 0.66, "curl"),
    "japanese_chin":               Shape(1.10, 0.90, 0.06, "drop",    0.94, 0.80, 0.86, 0.68, "plume"),
    "keeshond":                    Shape(1.00, 0.78, 0.60, "pointed", 0.72, 0.92, 1.14, 0.86, "curl"),
    "leonberger":                  Shape(1.10, 0.96, 0.76, "drop",    0.82, 0.82, 1.34, 1.06, "plume"),
    "miniature_pinscher":          Shape(0.88, 0.68, 0.62, "pointed", 1.02, 0.05, 0.80, 1.14, "stub"),
    "newfoundland":                Shape(1.20, 1.06, 0.70, "drop",    0.72, 0.80, 1.42, 0.98, "plume"),
    "pomeranian":                  Shape(0.98, 0.66, 0.40, "pointed", 0.52, 1.00, 1.06, 0.58, "curl"),
    "pug":                         Shape(1.18, 1.10, 0.12, "button",  0.70, 0.08, 1.14, 0.72, "curl"),
    "saint_bernard":               Shape(1.18, 1.10, 0.68, "drop",    0.82, 0.50, 1.42, 1.04, "plume"),
    "samoyed":                     Shape(1.08, 0.86, 0.64, "pointed", 0.66, 0.94, 1.22, 0.94, "curl"),
    "scottish_terrier":            Shape(0.90, 0.90, 0.88, "pointed", 0.78, 0.60, 1.04, 0.46, "whip"),
    "shiba_inu":                   Shape(1.08, 0.84, 0.58, "pointed", 0.76, 0.30, 1.02, 0.96, "curl"),
    "staffordshire_bull_terrier":  Shape(1.14, 1.08, 0.50, "rose",    0.80, 0.06, 1.22, 0.84, "whip"),
    "wheaten_terrier":             Shape(1.00, 0.98, 0.70, "button",  0.86, 0.78, 1.02, 0.96, "whip"),
    "yorkshire_terrier":           Shape(0.90, 0.76, 0.42, "pointed", 0.80, 0.92, 0.80, 0.62, "plume"),
}

COATS: dict[str, Coat] = {
    #                                   pattern     eyes     colourings
    "Abyssinian":                  Coat("ticked",   "gold",  "red-rust-cream|tan-brown-cream|blue-charcoal-fawn"),
    "Bengal":                      Coat("rosettes", "green", "gold-seal-cream|tan-black-cream|silver-black-white"),
    "Birman":                      Coat("solid",    "blue",  "cream-seal-white|white-blue-white"),
    "Bombay":                      Coat("solid",    "gold",  "black-black-black"),
    "British_Shorthair":           Coat("solid",    "amber", "blue-blue-blue|blue-blue-blue|grey-charcoal-silver"),
    "Egyptian_Mau":                Coat("spots",    "green", "silver-charcoal-white|fawn-seal-cream|grey-black-silver"),
    "Maine_Coon":                  Coat("tabby",    "gold",  "brown-black-fawn|red-rust-cream|silver-charcoal-white"),
    "Persian":                     Coat("solid",    "amber", "white-cream-white|cream-fawn-white|grey-blue-silver"),
    "Ragdoll":                     Coat("solid",    "blue",  "cream-seal-white|white-blue-white"),
    "Russian_Blue":                Coat("solid",    "green", "blue-blue-blue|blue-charcoal-grey"),
    "Siamese":                     Coat("solid",    "blue",  "cream-seal-seal|white-blue-blue|cream-brown-brown"),
    "Sphynx":                      Coat("solid",    "green", "pink-fawn-pink|pink-blue-pink|grey-pink-pink"),
    "american_bulldog":            Coat("patches",  "dark",  "white-tan-white|white-tan-white|white-brown-white"),
    "american_pit_bull_terrier":   Coat("solid",    "amber", "tan-brown-white|blue-charcoal-white|red-rust-white"),
    "basset_hound":                Coat("patches",  "dark",  "white-tan-white|tan-black-white|tan-black-white"),
    "beagle":                      Coat("solid",    "dark",  "tan-black-white"),
    "boxer":                       Coat("solid",    "dark",  "fawn-black-white|red-black-white|tan-black-white"),
    "chihuahua":                   Coat("solid",    "dark",  "fawn-tan-cream|black-black-tan|cream-fawn-white"),
    "english_cocker_spaniel":      Coat("solid",    "dark",  "gold-red-gold|black-black-black|liver-liver-liver"),
    "english_setter":              Coat("flecks",   "dark",  "white-charcoal-white|white-red-white"),
    "german_shorthaired":          Coat("flecks",   "amber", "grey-liver-liver|silver-liver-liver|liver-seal-liver"),
    "great_pyrenees":              Coat("solid",    "dark",  "white-cream-white|white-fawn-white"),
    "havanese":                    Coat("patches",  "dark",  "white-fawn-white|cream-gold-cream|grey-charcoal-white"),
    "japanese_chin":               Coat("patches",  "dark",  "white-black-white|white-black-white|white-red-white"),
    "keeshond":                    Coat("ticked",   "dark",  "grey-charcoal-silver|silver-black-silver"),
    "leonberger":                  Coat("ticked",   "dark",  "gold-black-tan|red-black-gold|tan-black-fawn"),
    "miniature_pinscher":          Coat("solid",    "dark",  "black-black-rust|rust-red-red|black-black-tan"),
    "newfoundland":                Coat("solid",    "dark",  "black-black-black|black-black-white|liver-seal-liver"),
    "pomeranian":                  Coat("solid",    "dark",  "red-rust-gold|gold-red-cream|cream-fawn-white"),
    "pug":                         Coat("solid",    "dark",  "fawn-black-fawn|cream-black-cream|black-black-black"),
    "saint_bernard":               Coat("solid",    "dark",  "rust-black-white|tan-black-white"),
    "samoyed":                     Coat("solid",    "dark",  "white-cream-white"),
    "scottish_terrier":            Coat("brindle",  "dark",  "black-black-black|charcoal-black-black|fawn-fawn-fawn"),
    "shiba_inu":                   Coat("solid",    "dark",  "red-rust-cream|gold-rust-cream|black-black-cream"),
    "staffordshire_bull_terrier":  Coat("brindle",  "dark",  "black-brown-white|blue-charcoal-white|red-rust-white"),
    "wheaten_terrier":             Coat("solid",    "dark",  "fawn-gold-fawn|cream-fawn-cream|gold-tan-gold"),
    "yorkshire_terrier":           Coat("solid",    "dark",  "blue-charcoal-gold|charcoal-black-tan|blue-charcoal-tan"),
}

MARKINGS: dict[str, Markings] = {
    #                                       mark                          trim
    "Abyssinian":                  Markings("cap tail",                   "muzzle"),
    "Bengal":                      Markings("tail",                       "muzzle"),
    "Birman":                      Markings("ears face muzzle legs tail", "paws"),
    "Egyptian_Mau":                Markings("tail",                       "muzzle"),
    "Maine_Coon":                  Markings("tail",                       "muzzle chest"),
    "Ragdoll":                     Markings("ears face tail",             "muzzle blaze chest paws"),
    "Siamese":                     Markings("ears face muzzle legs tail", ""),
    "american_bulldog":            Markings("",                           "muzzle blaze chest"),
    "american_pit_bull_terrier":   Markings("",                           "chest paws"),
    "basset_hound":                Markings("ears back",                  "muzzle blaze chest legs paws"),
    "beagle":                      Markings("back tail",                  "muzzle blaze chest legs paws"),
    "boxer":                       Markings("muzzle",                     "blaze chest paws"),
    "chihuahua":                   Markings("",                           "muzzle chest"),
    "english_cocker_spaniel":      Markings("ears",                       ""),
    "english_setter":              Markings("ears",                       "blaze"),
    "german_shorthaired":          Markings("ears face muzzle",           "back"),
    "great_pyrenees":              Markings("ears",                       ""),
    "havanese":                    Markings("ears",                       "chest"),
    "japanese_chin":               Markings("ears face",                  "blaze muzzle chest"),
    "keeshond":                    Markings("ears muzzle cap",            "chest legs tail"),
    "leonberger":                  Markings("ears face muzzle",           "chest"),
    "miniature_pinscher":          Markings("",                           "muzzle brows chest paws"),
    "newfoundland":                Markings("",                           "chest"),
    "pomeranian":                  Markings("",                           "chest tail"),
    "pug":                         Markings("ears face muzzle",           ""),
    "saint_bernard":               Markings("ears",                       "muzzle blaze chest legs paws"),
    "scottish_terrier":            Markings("",                           "beard"),
    "shiba_inu":                   Markings("",                           "muzzle brows chest paws"),
    "staffordshire_bull_terrier":  Markings("",                           "chest"),
    "wheaten_terrier":             Markings("ears beard",                 ""),
    "yorkshire_terrier":           Markings("back",                       "ears face muzzle beard chest paws brows"),
}
# fmt: on
