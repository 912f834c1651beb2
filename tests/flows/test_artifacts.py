"""What strangers wrote is shown on Prefect's pages as it was written: it makes no link, no picture, no heading.

`markdown_it` reads Markdown here; that Prefect's own reader does the same, test_prefect_ui.py looks at in a browser.
"""

import re
from html import unescape

import pytest
from markdown_it import MarkdownIt

from flows.arrivals import Row
from flows.artifacts import shown
from flows.audit import Audit, page
from flows.figures import Figure
from flows.gate import Decision
from flows.newcomers import Answer
from flows.records import decision_page
from flows.slipping import Tally
from flows.watched import Watched
from petmodels import Alias, Step, Verified

HOSTILE = [
    "cup/<img src=http:&#47;&#47;host&#47;beacon.png>.jpg",
    "<svg onload=alert(1)>",
    "[sign in](javascript:alert(1))",
    "![](https://host/beacon.png)",
    "[approve][1]",
    "<https://host/login>",
    "\\<img src=q>",
    "\\[a](b)",
    "&lt;b&gt; &#60;b> &nosuch;",
    "!\\[](https://host/beacon.png)",
    "**bold** _slanted_ ~~gone~~ `code`",
    "a | b | c",
    "# title",
    "> quoted",
    "- item",
    "+ item",
    "7. item",
    "7) item",
    "---",
    "[x]: https://host",
    "ends in \\",
]
ORDINARY = [
    "great_pyrenees",
    "pets@2",
    "pets@2/model.onnx: its bytes are gone",
    "s3://bucket/drop/accepted/0a1b.jpg",
    "Maine Coon/IMG_0001 (2).jpg",
    "+1.2% (95 %: -0.4% to +2.8%), p = 0.04",
    "Schäferhund, 狗, \N{DOG FACE}",
    'it doesn\'t know "pug"; 7.',
    "Q&A #7 -> 8!",
]


def rendered(markdown: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)


def text_of(html: str) -> str:
    return unescape(re.sub("<[^>]*>", "", html)).strip()


@pytest.mark.parametrize("words", HOSTILE)
def test_what_would_be_markup_is_shown_as_it_is(words: str) -> None:
    html = rendered(shown(words))

    assert re.findall("<[^>]*>", html) == ["<p>", "</p>"]
    assert text_of(html) == words


@pytest.mark.parametrize("words", ORDINARY)
def test_ordinary_words_are_not_touched(words: str) -> None:
    assert shown(words) == words
    assert text_of(rendered(words)) == words


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("see HTTPS://host/login", r"see HTTPS\://host/login"),
        ("ftp://host", r"ftp\://host"),
        ("www.host.example", r"www\.host.example"),
        ("ann@host.example", r"ann\@host.example"),
    ],
)
def test_addresses_make_no_links_by_themselves(address: str, plain: str) -> None:
    """GFM makes links of them; CommonMark, which is what is read here, doesn't."""
    assert shown(address) == plain
    assert text_of(rendered(plain)) == address


def test_what_steers_the_line_is_replaced_and_line_ends_are_spaces() -> None:
    assert shown(" a\u202egpj.exe\x1b[31m\n\n    # b\u2028c\udcff ") == r"a�gpj.exe�\[31m # b�c�"


def test_a_secret_is_found_before_its_letters_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "_hunter*2_")

    assert shown("denied for _hunter*2_ at https://ann:pass@host") == r"denied for \*\*\* at https\://\*\*\*@host"


@pytest.mark.parametrize("words", HOSTILE)
def test_the_audits_page_shows_what_promoters_and_publishers_wrote(words: str) -> None:
    step = Step(serial=1, action="promote", version=1, manifest="0" * 64, previous="", at="t", note=words, id="i")
    verified = Verified(num_versions=1, num_files=1, size_bytes=1, findings=(f"pets@1/{words}: its bytes are gone",))

    html = rendered(
        page([Audit("pets", verified, (), (Alias(model="pets", name="production", steps=(step,)),), None)], words)
    )

    assert not re.search("<(a|img|svg|b|em|del|code|blockquote)[ >]", html)
    assert unescape(html).count(words) == 3


@pytest.mark.parametrize("words", HOSTILE)
def test_the_decisions_page_shows_labels(words: str) -> None:
    decision = Decision("keep", f"kept, not promoted: it is worse at {words}", (Figure(words, words, words, words),))

    html = rendered(decision_page(decision))

    assert not re.search("<(a|img|svg|b|em|strong|del|code|blockquote)[ >]", html)
    assert unescape(html).count(words) == 5


@pytest.mark.parametrize("words", HOSTILE)
def test_the_watchs_page_shows_labels_days_and_addresses(words: str) -> None:
    row = Row(f"drop/{words}", "0" * 64, words, words)
    found = Watched(
        version="pets@1", answers=[Answer(row, f"not {words}")],
        tallies=[Tally(label=words, num_images=1, num_right=0)], without={words: 1}, lacks=words, fewest=1, limit=0.001,
    )  # fmt: skip

    html = rendered(found.page("s3://bucket/drop/accepted"))

    assert not re.search("<(a|img|svg|b|em|del|code|blockquote)[ >]", html)
    assert unescape(html).count(words) >= 6
