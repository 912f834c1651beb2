"""The report works in a real browser: quiet, offline, by mouse and by keyboard, in the dark, on a telephone."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from stages.outputs import write_csv
from stages.report import write_report
from tests.stages.evaluated import write_data

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Enough long names that the matrix can't fit a telephone; the first two would take over a careless page.
LABELS = [
    "<b>bold</b>",
    "</script><script>alert(1)</script>",
    *(f"a_breed_with_a_long_name_{n:02d}" for n in range(22)),
]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    write_data(data, LABELS, num_images=3, skill=3.5)
    write_report(data / "eval", prepared=data / "prepared", split=data / "split", train=data / "train")
    return data / "eval" / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Open]:
    """Open the report; when the test ends, fail if a page complained or asked for anything but itself."""
    complaints: list[str] = []
    contexts = []

    def page_of(**settings: object) -> Page:
        context = browser.new_context(**settings)
        contexts.append(context)
        context.set_default_timeout(5000)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        return page

    requests: list[str] = []
    yield page_of
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()] * len(contexts)


def in_panel(page: Page) -> list[str]:
    """Return the numbers of the pictures that the open cell shows."""
    uses = page.locator("#cell-pictures use")
    return [str(uses.nth(number).get_attribute("href")) for number in range(uses.count())]


def test_report_opens_without_a_complaint_and_asks_for_nothing_else(opened: Open) -> None:
    page = opened()

    expect(page.locator("h1")).to_contain_text("test images named right")
    assert page.locator("main b", has_text=re.compile("^bold$")).count() == 0


def test_a_click_on_a_cell_shows_its_pictures_and_what_was_said(opened: Open) -> None:
    page = opened()
    cell = page.locator("#matrix td[class^=wrong]").first

    cell.click()

    panel = page.locator("#cell-pictures")
    expect(panel).to_be_visible()
    expect(panel.locator("h4")).to_contain_text(f": {cell.inner_text()} of 3")
    assert len(in_panel(page)) == int(cell.inner_text())
    expect(panel.locator("figcaption").first).to_contain_text("said")
    assert panel.locator("svg.photo").first.evaluate("photo => photo.getBoundingClientRect().width") > 100


def test_the_pictures_of_a_cell_are_really_drawn(opened: Open) -> None:
    page = opened()

    page.locator("#matrix td[class^=right]").first.click()

    shot = page.locator("#cell-pictures svg.photo").first.screenshot()
    assert len(set(shot)) > 50
    assert len(shot) > 1500


def test_the_keyboard_alone_moves_in_the_matrix_and_opens_a_cell(opened: Open) -> None:
    page = opened()
    page.locator("#matrix td[tabindex='0']").focus()

    for key in ("Control+Home", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown", "Enter"):
        page.keyboard.press(key)

    expect(page.locator("#cell-2-2")).to_be_focused()
    expect(page.locator("#cell-2-2")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#cell-pictures h4")).to_contain_text("a breed with a long name 00 named rightly")
    assert in_panel(page)


def test_the_arrow_keys_stop_at_the_edges_and_home_and_end_reach_them(opened: Open) -> None:
    page = opened()
    page.locator("#matrix td[tabindex='0']").focus()

    for key in ("Control+End", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    expect(page.locator("#cell-23-23")).to_be_focused()
    for key in ("Home", "ArrowLeft", "End"):
        page.keyboard.press(key)

    expect(page.locator("#cell-23-23")).to_be_focused()


def test_the_matrix_is_one_stop_of_the_tab_key(opened: Open) -> None:
    assert opened().locator("#matrix [tabindex='0']").count() == 1


def test_escape_closes_the_pictures_and_gives_the_focus_back(opened: Open) -> None:
    page = opened()
    cell = page.locator("#matrix td[class^=wrong]").first
    cell.click()

    page.keyboard.press("Escape")

    expect(page.locator("#cell-pictures")).to_be_hidden()
    expect(cell).to_be_focused()


def test_an_empty_cell_says_that_it_is_empty(opened: Open) -> None:
    page = opened()

    page.locator("#matrix tbody td:not([id])").first.click()

    expect(page.locator("#cell-pictures")).to_contain_text("No test image is in this cell.")


def test_a_confused_pair_leads_to_its_cell_also_the_second_time(opened: Open) -> None:
    page = opened()
    link = page.locator(".pairs a").first
    target = str(link.get_attribute("href"))

    link.click()
    expect(page.locator(target)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    link.click()

    expect(page.locator("#cell-pictures")).to_be_visible()
    expect(page.locator(target)).to_be_in_viewport()


# What lies on top in the middle of the cell that has the focus.
ON_TOP = """() => {
  const cell = document.activeElement;
  const box = cell.getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return top === cell ? "the cell" : top?.closest("#cell-pictures") ? "its pictures" : String(top?.tagName);
}"""


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (360, 740), (320, 450)])
def test_the_pictures_of_a_cell_never_cover_it(opened: Open, width: int, height: int) -> None:
    page = opened(viewport={"width": width, "height": height}, reduced_motion="reduce")

    on_top = {}
    for link in page.locator(".pairs a").all():
        link.click()
        expect(page.locator(str(link.get_attribute("href")))).to_have_attribute("aria-selected", "true")
        on_top[link.get_attribute("href")] = page.evaluate(ON_TOP)
    for key in ("Control+Home", "Enter", *["ArrowDown", "ArrowRight"] * 23, "Enter", "Home", "Enter"):
        page.keyboard.press(key)
        on_top[f"{len(on_top)} {key}"] = page.evaluate(ON_TOP)

    assert {place: what for place, what in on_top.items() if what != "the cell"} == {}
    panel = page.locator("#cell-pictures").bounding_box()
    assert panel
    assert panel["height"] <= 0.4 * height + 1


def test_a_link_to_a_cell_shows_its_heads_too_where_they_fit(opened: Open) -> None:
    page = opened(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")

    page.locator(".pairs a").first.click()

    expect(page.locator("#matrix thead")).to_be_in_viewport(ratio=1)


def test_the_way_from_a_cell_to_its_pictures_moves_nothing(opened: Open) -> None:
    page = opened(reduced_motion="reduce")
    page.locator(".pairs a").first.click()
    expect(page.locator("#matrix [aria-selected]")).to_be_focused()
    before = page.evaluate("scrollY")

    page.keyboard.press("Tab")

    expect(page.locator("#cell-pictures button")).to_be_focused()
    assert page.evaluate("scrollY") == before


def test_a_cell_of_nearly_all_images_of_its_row_is_not_called_all(opened: Open) -> None:
    page = opened()
    cell = page.locator("#cell-2-2")
    cell.evaluate("cell => { cell.textContent = '299'; cell.parentElement.dataset.total = '300'; }")

    cell.hover()

    expect(page.locator("#cell-words")).to_have_text("a breed with a long name 00 named rightly: 299 of 300 (99.7 %)")


def test_labels_that_are_markup_stay_text(opened: Open) -> None:
    page = opened()

    page.locator("#matrix tbody tr").nth(1).locator("td[id]").first.click()

    expect(page.locator("#cell-pictures h4")).to_contain_text("</script><script>alert(1)</script>")


def test_a_heading_sorts_the_breeds_by_its_numbers_and_turns_round_the_second_time(opened: Open) -> None:
    table = opened().locator("#breed-table")
    recall = table.get_by_role("button", name="recall")
    cells = table.locator("tbody td:nth-child(3)")

    recall.click()
    falling = [float(cell.split("\N{NO-BREAK SPACE}")[0]) for cell in cells.all_inner_texts()]
    recall.click()
    rising = [float(cell.split("\N{NO-BREAK SPACE}")[0]) for cell in cells.all_inner_texts()]

    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(rising)
    expect(table.locator("thead th").nth(2)).to_have_attribute("aria-sort", "ascending")


def test_a_breed_without_a_share_sorts_below_those_of_zero(opened: Open) -> None:
    table = opened().locator("#breed-table")
    cells = table.locator("tbody td:nth-child(2)")
    cells.nth(3).evaluate("cell => { cell.dataset.value = ''; cell.textContent = '–'; }")
    cells.last.evaluate("cell => { cell.dataset.value = '0.0'; cell.textContent = '0.0'; }")

    table.get_by_role("button", name="precision").click()

    shares = cells.all_inner_texts()
    assert shares.index("0.0") < shares.index("–")
    assert shares[-1] == "–"


def test_the_breeds_sort_by_name_again(opened: Open) -> None:
    table = opened().locator("#breed-table")
    table.get_by_role("button", name="recall").click()

    table.get_by_role("button", name="breed").click()

    names = [name for name in table.locator("tbody th").all_inner_texts() if "<" not in name]
    assert names == [f"a breed with a long name {number:02d}" for number in range(22)]


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_follows_the_system_until_the_button_is_pressed(opened: Open, system: str) -> None:
    page = opened(color_scheme=system)
    brightness = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) > 128 ? 'light' : 'dark'"

    before = page.evaluate(brightness)
    page.locator("#theme").click()
    after = page.evaluate(brightness)

    assert (before, after) == (system, "light" if system == "dark" else "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(opened: Open, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    page.locator("#matrix td[class^=wrong]").first.click()

    faint = page.evaluate(CONTRAST)

    assert faint == []


# WCAG's contrast of the colour of each selector's first element with that of the next.
STEPS = """([property, ...selectors]) => {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (selector) => {
    const its = selector === ".panel" ? "backgroundColor" : property;
    probe.fillStyle = getComputedStyle(document.querySelector(selector))[its];
    probe.fillRect(0, 0, 1, 1);
    const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const all = selectors.map(luminance);
  return all.slice(1).map((one, place) => Math.max(one, all[place]) / Math.min(one, all[place]));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_parts_of_a_bar_are_told_apart_without_seeing_colours(opened: Open, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    parts = [f".balance .part.{kind}" for kind in "abc"]

    steps = page.evaluate(STEPS, ["fill", *parts])
    from_ground = [page.evaluate(STEPS, ["fill", part, ".panel"])[0] for part in parts]
    edge = page.evaluate(STEPS, ["stroke", parts[0], ".panel"])

    assert min(steps) > 1.7
    assert min(from_ground) > 3
    assert edge == [1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("forced", ["none", "active"])
def test_the_larger_its_share_of_the_row_the_stronger_is_a_cells_colour(opened: Open, scheme: str, forced: str) -> None:
    page = opened(color_scheme=scheme, forced_colors=forced)
    cells = page.locator("#matrix tbody tr").first.locator("td")
    for place in range(1, 10):
        cells.nth(place).evaluate("(cell, name) => { cell.className = name; }", f"wrong-{place}")

    shades = [page.evaluate(STEPS, ["backgroundColor", ".panel", f"#matrix .wrong-{n}"])[0] for n in range(1, 10)]

    assert shades == sorted(set(shades))
    assert "the stronger the colour" in page.locator(".legend").inner_text()


def test_forced_colours_leave_the_legend_its_colours_and_show_which_cell_is_chosen(opened: Open) -> None:
    page = opened(forced_colors="active")
    chosen = page.locator("#matrix td[class^=right]").first
    chosen.click()
    page.locator("#cell-pictures button").focus()

    right, wrong = (page.locator(f".legend .{kind}-7") for kind in ("right", "wrong"))

    ground = "one => getComputedStyle(one).backgroundColor"
    assert right.evaluate(ground) != wrong.evaluate(ground)
    assert chosen.evaluate("cell => getComputedStyle(cell).outlineStyle") == "solid"


def test_the_numbers_of_a_chart_stand_in_a_table_too(opened: Open) -> None:
    page = opened()
    balance, reliability = (page.locator(f"{place} .figures") for place in ("#data", "#calibration"))
    for one in (balance, reliability):
        one.locator("summary").click()

    heads = balance.locator("thead th").all_inner_texts()
    assert heads == ["breed", "train", "valid", "test", "all"]
    assert balance.locator("tbody tr").count() == len(LABELS)
    assert balance.locator("tbody tr").last.locator("td").all_inner_texts() == ["3", "3", "3", "9"]
    dots = page.locator("#calibration circle title").all_text_contents()
    assert [re.findall(r"[\d.]+ %", dot)[::-1] for dot in dots] == [
        row.locator("td").all_inner_texts()[:2] for row in reliability.locator("tbody tr").all()
    ]


def test_a_telephone_scrolls_the_matrix_but_never_the_page_sideways(opened: Open) -> None:
    page = opened(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    page.locator("#matrix td[class^=wrong]").first.tap()

    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    box = page.locator(".matrix-box").evaluate("box => [box.scrollWidth, box.clientWidth]")

    assert widths == [360, 360]
    assert box[0] > box[1]


def test_a_telephone_keeps_breeds_readable_and_their_scores_in_sight(opened: Open) -> None:
    table = opened(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True).locator("#breed-table")

    name = table.locator("tbody th").last.bounding_box()
    f1 = table.locator("tbody tr").last.locator("td").nth(2).bounding_box()

    assert name
    assert name["height"] < 90
    assert f1
    assert f1["x"] + f1["width"] <= 350


def test_paper_shows_what_the_screen_folds_away(opened: Open) -> None:
    page = opened()

    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert page.locator("details:not([open])").count() == 0
    expect(page.locator(".bar")).to_be_hidden()
    cut = "all => all.filter((one) => one.scrollHeight > one.clientHeight + 1).map((one) => one.ariaLabel)"
    assert page.locator(".scroll, .tall, .short, .files").evaluate_all(cut) == []


def test_paper_cuts_no_pictures_of_a_chosen_cell(opened: Open) -> None:
    page = opened(viewport={"width": 360, "height": 400})
    page.locator("#matrix td[class^=right]", has_text="3").first.click()
    expect(page.locator("#cell-pictures figure")).to_have_count(3)

    page.emulate_media(media="print")

    cut = "all => all.map((one) => [one.scrollWidth - one.clientWidth, one.scrollHeight - one.clientHeight])"
    sizes = page.locator("#cell-pictures, #cell-pictures .photos").evaluate_all(cut)
    assert max(map(max, sizes)) <= 1


def test_paper_shows_a_matrix_that_fits_and_names_the_file_of_one_that_does_not(
    browser: Browser, tmp_path: Path
) -> None:
    ends, told, balance = {}, {}, {}
    for num in (40, 41):
        write_data(tmp_path / str(num), [f"a_breed_with_a_very_long_name_{n:02d}" for n in range(num)], num_images=1)
        page = written(browser, tmp_path / str(num))
        page.set_viewport_size({"width": 718, "height": 1000})  # A4 with margins of a centimetre
        page.emulate_media(media="print")
        box = page.locator("#matrix").bounding_box()
        ends[num] = box and box["x"] + box["width"]
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        balance[num] = [page.locator(f"#data {part}").is_visible() for part in (".balance", ".figures table")]
        told[num] = page.locator(".on-paper").all_inner_texts()
        page.close()

    assert ends[40]
    assert ends[40] <= 718
    assert ends[41] is None
    assert balance == {40: [True, True], 41: [False, False]}  # that of 150 labels took five pages
    assert told == {
        40: [],
        41: [
            "The balance over 41 breeds is too long for paper; train.csv, valid.csv and test.csv have each image.",
            "The matrix of 41 breeds is too wide for paper; confusion.csv has it.",
        ],
    }


def test_on_paper_no_title_stands_apart_from_what_it_names(opened: Open) -> None:
    page = opened()
    page.emulate_media(media="print")

    broken = page.evaluate("""() => {
      const apart = (all, rule) =>
        [...document.querySelectorAll(all)].filter((one) => !getComputedStyle(one)[rule].startsWith("avoid"));
      const titles = apart("h2, h3, h3 + p, .title, caption, summary, .legend", "breakAfter");
      const wholes = apart("h3 + p, figure, .chart, .numbers, .matrix-box, thead", "breakInside");
      return [...titles, ...wholes].map((one) => one.outerHTML.slice(0, 60));
    }""")

    assert broken == []


def test_a_long_head_ends_in_dots_and_says_all_on_hovering(browser: Browser, tmp_path: Path) -> None:
    long = "a_breed_with_a_name_that_is_so_very_long_that_no_head_of_a_column_has_room_for_it"
    write_data(tmp_path, [long, "pug", "beagle"], num_images=2)
    page = written(browser, tmp_path)

    heads = page.locator("#matrix th[scope=col]")

    style = "one => [getComputedStyle(one).textOverflow, one.scrollHeight > one.clientHeight]"
    assert heads.first.locator("span").evaluate(style) == ["ellipsis", True]
    assert [head.get_attribute("title") for head in heads.all()] == [long.replace("_", " "), None, None]
    assert page.locator("#matrix tbody th").first.get_attribute("title") == long.replace("_", " ")
    page.close()


# Texts whose contrast with the nearest painted ground is below WCAG's AA: 4.5, or 3 for large ones.
CONTRAST = """() => {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    probe.clearRect(0, 0, 1, 1); probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("script, style, title, defs") || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const svg = element.namespaceURI.endsWith("svg");
    const [a, b] = [luminance(rgba(svg ? style.fill : style.color)), luminance(ground(element))].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24;
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < (large ? 3 : 4.5)) faint.add(`${element.outerHTML.slice(0, 80)}: ${contrast.toFixed(2)}`);
  }
  return [...faint];
}"""


def test_a_matrix_of_chosen_labels_without_an_answer_in_common_is_one_stop_of_the_tab_key_too(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.report.MAX_CHARTED", 2)
    monkeypatch.setattr("stages.report.NUM_MISTAKEN", 1)
    write_data(tmp_path, ["Bengal", "Siamese", "beagle"], num_images=3, skill=-20.0)
    write_report(tmp_path / "eval", prepared=tmp_path / "prepared", split=tmp_path / "split", train=tmp_path / "train")
    errors: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "eval/report.html").as_uri())

    assert page.locator("#matrix td[class]").count() == 0
    assert page.locator("#matrix [tabindex='0']").count() == 1
    assert errors == []
    page.close()


# What stands in an element from left to right, line by line, whatever the order of its letters in the file is.
SEEN = """(element) => {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const seen = [];
  for (let node; (node = walker.nextNode()); ) {
    for (let place = 0; place < node.length; place++) {
      const range = document.createRange();
      range.setStart(node, place);
      range.setEnd(node, place + 1);
      const box = range.getBoundingClientRect();
      if (box.width > 0) seen.push([Math.round(box.top / 8), box.left, node.data[place]]);
    }
  }
  return seen.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , letter]) => letter).join("");
}"""
HEBREW = ["חתול", "כלב", "ארנב"]


def written(browser: Browser, folder: Path) -> Page:
    """Write the report of what lies in a folder, and open it."""
    write_report(folder / "eval", prepared=folder / "prepared", split=folder / "split", train=folder / "train")
    page = browser.new_page()
    page.goto((folder / "eval/report.html").as_uri())
    return page


def test_a_label_written_from_right_to_left_keeps_its_number(browser: Browser, tmp_path: Path) -> None:
    write_data(tmp_path, HEBREW, num_images=4, skill=0.5)
    write_csv(tmp_path / "prepared/conflicts.csv", ["group", "labels", "sources"], [["0", "חתול כלב", "חתול/1.jpg"]])
    page = written(browser, tmp_path)
    page.locator("#data summary", has_text="conflict").click()
    page.locator("#matrix td[class^=wrong]").first.click()

    wrong = {}
    for one in page.locator(".said, .pairs li, #cell-words, h4").all():
        text = "".join(str(one.text_content()).split())
        expected = re.sub("[א-ת]+", lambda label: label[0][::-1], text)
        if (seen := "".join(one.evaluate(SEEN).split())) != expected:
            wrong[text] = seen

    assert wrong == {}
    labels, sources = page.locator(".files bdi").evaluate_all(
        "all => all.slice(-2).map((one) => one.getBoundingClientRect())"
    )
    assert labels["right"] <= sources["left"]
    page.close()


def test_a_label_of_both_directions_is_written_alike_in_heads_and_words(browser: Browser, tmp_path: Path) -> None:
    write_data(tmp_path, ["חתול_a_(b)", "כלב", "Bengal"], num_images=3)
    page = written(browser, tmp_path)
    page.locator("#matrix td").nth(1).hover()

    said = page.locator("#cell-words bdi").first.evaluate(SEEN)
    heads = page.locator("#matrix tbody th, table.sortable th[scope=row]").filter(has_text="(b)")

    assert {one.evaluate(SEEN) for one in heads.all()} == {said}
    page.close()


def test_heads_of_wide_characters_lie_on_their_side_as_others_do(browser: Browser, tmp_path: Path) -> None:
    write_data(tmp_path, ["Bengal", "猫は可愛い", "חתול"], num_images=3)
    page = written(browser, tmp_path)

    heads = [box["height"] for one in page.locator("#matrix thead span").all() if (box := one.bounding_box())]
    widths = page.locator("#matrix tbody th").evaluate_all(
        "rows => rows.map((row) => { const all = document.createRange(); all.selectNodeContents(row);"
        " return all.getBoundingClientRect().width; })"
    )

    assert heads == pytest.approx(widths, abs=1)
    page.close()
