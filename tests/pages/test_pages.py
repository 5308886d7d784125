"""The report and the notebooks' pages, as a browser shows them, to the eye, the keyboard, the phone and the printer."""

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from builders.workflows import snakemake
from playwright.sync_api import Page

PAGES = ["index", "alpha", "premise", "tables"]
PHONE, DESKTOP = 390, 1280
CONTRASTS = Path(__file__).with_name("contrasts.js").read_text(encoding="utf-8")

# What the keyboard reaches, in the document's order.
FOCUSABLE = """
  [...document.querySelectorAll("a[href], summary, [tabindex='0']")].filter(one => one.checkVisibility())
"""
# What is wider than its frame, and may be scrolled.
SCROLLING = """
  [...document.querySelectorAll("main *")].filter(
    one => one.scrollWidth > one.clientWidth && getComputedStyle(one).overflowX === "auto"
  )
"""
LINKS = "[...document.querySelectorAll('a[href]')].map(link => link.href)"
IDS = "[...document.querySelectorAll('[id]')].map(one => one.id)"


def look(browser: Page, width: int) -> None:
    """Look at the page through a window, or on a phone, of this width."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.context.new_cdp_session(browser).send("Emulation.setDeviceMetricsOverride", metrics)


def load(browser: Page, path: Path) -> None:
    """Load a page from disk as if none had been there before."""
    browser.goto("about:blank")
    browser.goto(path.resolve().as_uri())


@pytest.fixture(params=PAGES)
def page(request, study, browser, faults) -> Path:
    """One page, loaded, with everything folded."""
    path = study.paths.report.with_name(f"{request.param}.html")
    look(browser, DESKTOP)
    load(browser, path)
    return path


def test_a_page_loads_by_itself_and_without_a_complaint(page, browser, faults):
    assert faults == []
    assert browser.evaluate("document.title") and browser.evaluate("document.documentElement.lang") == "en"


def test_every_link_leads_somewhere(page, browser, project):
    broken, ids = [], {page: set(browser.evaluate(IDS))}
    for link in dict.fromkeys(browser.evaluate(LINKS)):
        address = urlsplit(link)
        target = Path(unquote(address.path))
        assert address.scheme == "file" and target.is_relative_to(project.resolve())
        if address.fragment and target not in ids and target.is_file():
            load(browser, target)
            ids[target] = set(browser.evaluate(IDS))
        if not target.is_file() or (
            address.fragment and not {address.fragment, unquote(address.fragment)} & ids[target]
        ):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_nothing_is_wider_than_the_window(page, browser, width):
    look(browser, width)
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page, browser, scheme):
    browser.emulate_media(color_scheme=scheme)
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.evaluate(CONTRASTS) == []


def test_a_reader_of_the_screen_is_told_what_everything_is(page, browser):
    """Headings are in order, ids unique, pictures shown and described, headers of tables marked and not empty."""
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(one => Number(one.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for things in (IDS, "[...document.querySelectorAll('[aria-label]')].map(one => one.ariaLabel)"):
        assert len(browser.evaluate(things)) == len(set(browser.evaluate(things)))
    pictures = browser.evaluate("[...document.images].map(one => [one.alt, one.complete && one.naturalWidth > 0])")
    assert pictures and all(alt.strip() and shown for alt, shown in pictures)
    assert browser.evaluate("[...document.querySelectorAll('th')].filter(one => !one.textContent.trim()).length") == 0
    if page.stem == "index":  # the others have tables of pandas
        assert browser.evaluate("[...document.querySelectorAll('th:not([scope])')].map(one => one.textContent)") == []
        assert browser.evaluate("[...document.querySelectorAll('table')].every(one => one.querySelector('th'))")


def test_what_scrolls_by_itself_scrolls_by_keyboard(page, browser):
    look(browser, PHONE)
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.evaluate(f"{SCROLLING}.length") > 0
    assert browser.evaluate(f"{SCROLLING}.filter(one => one.tabIndex !== 0).map(one => one.outerHTML)") == []


def test_the_keyboard_skips_to_the_contents_and_reaches_everything_in_order(page, browser):
    browser.keyboard.press("Tab")
    box = browser.evaluate(
        "document.activeElement.matches('.skip') && document.activeElement.getBoundingClientRect().toJSON()"
    )
    assert box and box["x"] >= 0 and box["y"] >= 0
    browser.keyboard.press("Enter")
    assert browser.evaluate("location.hash") == "#main"
    load(browser, page)
    reached = []
    for _ in range(browser.evaluate(f"{FOCUSABLE}.length")):
        browser.keyboard.press("Tab")
        reached.append(browser.evaluate(f"{FOCUSABLE}.indexOf(document.activeElement)"))
    assert reached == list(range(len(reached)))


def test_a_claim_unfolds_by_keyboard(study, browser):
    load(browser, study.paths.report)
    browser.evaluate("document.querySelector('.claims summary').focus()")
    browser.keyboard.press("Enter")
    assert browser.evaluate("document.querySelector('.claims table').checkVisibility()")


def test_a_number_leads_to_its_run(study, browser):
    for name in study.runs:
        load(browser, study.paths.report)
        place = f"document.getElementById('run-{name}')"
        assert not browser.evaluate(f"{place}.checkVisibility()")
        browser.evaluate(f"location.hash = '#run-{name}'")
        browser.evaluate("new Promise(requestAnimationFrame)")
        assert browser.evaluate(f"{place}.checkVisibility()")
        assert browser.evaluate(f"{place}.getBoundingClientRect().top < innerHeight")


def test_on_paper_what_was_folded_is_there(study, browser, tmp_path):
    load(browser, study.paths.report)
    browser.pdf(path=tmp_path / "report.pdf")
    done = subprocess.run(
        ["pdftotext", "-raw", "report.pdf", "-"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    text = "".join(done.stdout.split())
    for name in study.runs:
        record = study.paths.seal(name).read_text()
        assert record.partition('"weights_sha256": "')[2][:12] in text
    assert "Skiptothecontents" not in text


def test_snakemakes_own_report_has_the_notebooks_and_opens(project, browser, faults, tmp_path):
    done = snakemake(project, "--report", "report.zip")
    assert done.returncode == 0, done.stderr
    shutil.unpack_archive(project / "report.zip", tmp_path)
    load(browser, next(tmp_path.rglob("report.html")))
    assert [fault for kind, fault in faults if kind == "error"] == []  # Snakemake's own page warns of its own making
    assert browser.evaluate("document.body.innerText.includes('Notebooks')")
    assert {f"{name}.html" for name in PAGES[1:]} <= {file.name for file in tmp_path.rglob("*.html")}
