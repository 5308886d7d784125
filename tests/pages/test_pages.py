"""The report and the notebooks' pages, as a browser shows them, to the eye, the keyboard, the phone and the printer."""

import base64
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from builders.workflows import snakemake

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


@pytest.fixture(params=PAGES)
def page(request, study, browser) -> Path:
    """One page, loaded, with everything folded."""
    path = study.paths.report.with_name(f"{request.param}.html")
    browser.width(DESKTOP)
    browser.scheme("light")
    browser.open(path)
    return path


def test_a_page_loads_by_itself_and_without_a_complaint(page, browser):
    assert browser.faults() == []
    assert browser.run("document.title") and browser.run("document.documentElement.lang") == "en"


def test_every_link_leads_somewhere(page, browser, project):
    broken, ids = [], {page: set(browser.run(IDS))}
    for link in dict.fromkeys(browser.run(LINKS)):
        address = urlsplit(link)
        target = Path(unquote(address.path))
        assert address.scheme == "file" and target.is_relative_to(project.resolve())
        if address.fragment and target not in ids and target.is_file():
            browser.open(target)
            ids[target] = set(browser.run(IDS))
        if not target.is_file() or (
            address.fragment and not {address.fragment, unquote(address.fragment)} & ids[target]
        ):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_nothing_is_wider_than_the_window(page, browser, width):
    browser.width(width)
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page, browser, scheme):
    browser.scheme(scheme)
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.run(CONTRASTS) == []


def test_a_reader_of_the_screen_is_told_what_everything_is(page, browser):
    """Headings are in order, ids unique, pictures shown and described, headers of tables marked and not empty."""
    levels = browser.run("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(one => Number(one.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for things in (IDS, "[...document.querySelectorAll('[aria-label]')].map(one => one.ariaLabel)"):
        assert len(browser.run(things)) == len(set(browser.run(things)))
    pictures = browser.run("[...document.images].map(one => [one.alt, one.complete && one.naturalWidth > 0])")
    assert pictures and all(alt.strip() and shown for alt, shown in pictures)
    assert browser.run("[...document.querySelectorAll('th')].filter(one => !one.textContent.trim()).length") == 0
    if page.stem == "index":  # the others have tables of pandas
        assert browser.run("[...document.querySelectorAll('th:not([scope])')].map(one => one.textContent)") == []
        assert browser.run("[...document.querySelectorAll('table')].every(one => one.querySelector('th'))")


def test_what_scrolls_by_itself_scrolls_by_keyboard(page, browser):
    browser.width(PHONE)
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.run(f"{SCROLLING}.length") > 0
    assert browser.run(f"{SCROLLING}.filter(one => one.tabIndex !== 0).map(one => one.outerHTML)") == []


def test_the_keyboard_skips_to_the_contents_and_reaches_everything_in_order(page, browser):
    browser.press("Tab")
    box = browser.run(
        "document.activeElement.matches('.skip') && document.activeElement.getBoundingClientRect().toJSON()"
    )
    assert box and box["x"] >= 0 and box["y"] >= 0
    browser.press("Enter")
    assert browser.run("location.hash") == "#main"
    browser.open(page)
    reached = []
    for _ in range(browser.run(f"{FOCUSABLE}.length")):
        browser.press("Tab")
        reached.append(browser.run(f"{FOCUSABLE}.indexOf(document.activeElement)"))
    assert reached == list(range(len(reached)))


def test_a_claim_unfolds_by_keyboard(study, browser):
    browser.open(study.paths.report)
    browser.run("document.querySelector('.claims summary').focus()")
    browser.press("Enter")
    assert browser.run("document.querySelector('.claims table').checkVisibility()")


def test_a_number_leads_to_its_run(study, browser):
    for name in study.runs:
        browser.open(study.paths.report)
        place = f"document.getElementById('run-{name}')"
        assert not browser.run(f"{place}.checkVisibility()")
        browser.run(f"location.hash = '#run-{name}'")
        browser.run("new Promise(requestAnimationFrame)")
        assert browser.run(f"{place}.checkVisibility()")
        assert browser.run(f"{place}.getBoundingClientRect().top < innerHeight")


def test_on_paper_what_was_folded_is_there(study, browser, tmp_path):
    browser.open(study.paths.report)
    printed = tmp_path / "report.pdf"
    printed.write_bytes(base64.b64decode(browser.call("Page.printToPDF", printBackground=False)["data"]))
    done = subprocess.run(["pdftotext", "-raw", printed, "-"], check=True, capture_output=True, text=True)
    text = "".join(done.stdout.split())
    for name in study.runs:
        record = study.paths.seal(name).read_text()
        assert record.partition('"weights_sha256": "')[2][:12] in text
    assert "Skiptothecontents" not in text


def test_snakemakes_own_report_has_the_notebooks_and_opens(project, browser, tmp_path):
    done = snakemake(project, "--report", "report.zip")
    assert done.returncode == 0, done.stderr
    shutil.unpack_archive(project / "report.zip", tmp_path)
    browser.open(next(tmp_path.rglob("report.html")))
    assert browser.faults(levels=("error",)) == []  # Snakemake's own page warns of its own making
    assert browser.run("document.body.innerText.includes('Notebooks')")
    assert {f"{name}.html" for name in PAGES[1:]} <= {file.name for file in tmp_path.rglob("*.html")}
