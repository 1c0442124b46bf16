"""The report in a real browser: no errors, and what a reader clicks, types and pulls does what it says."""

import dataclasses
import shutil

import numpy as np
import pytest

from tfmedcai.reports.document import Stack
from tfmedcai.reports.html import write_report
from tfmedcai.reports.pages import search_report
from tfmedcai.reports.run_comparison import comparison_report

NARROW, WIDE = 400, 1400  # px
STILL = "--force-prefers-reduced-motion"  # else what is to be clicked is still on its way


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install selenium")
    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in paths:
        pytest.skip("no Chromium with its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", STILL):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(paths[1]))
    yield driver
    driver.quit()


def stack():
    images = [np.full((40, 30, 3), 40 * number, np.uint8) for number in range(5)]
    return Stack(images, ["3", "5", "7", "9", "11"], "worst: anna", "worst: anna: slice", start=2)


@pytest.fixture(scope="module")
def report(tmp_path_factory, run):
    """A whole report, and a whole comparison."""
    folder = tmp_path_factory.mktemp("reports")
    data = dataclasses.replace(run(2), cases=[*run(1).cases, stack()], tensorboard="tensorboard --logdir a")
    counts = {"snapnet": np.array([[90, 10], [5, 45]])}
    data = dataclasses.replace(data, confusions=counts, classes=["background", "screw"])
    paths = {"run": write_report(folder / "run.html", search_report(data))}
    paths["comparison"] = write_report(folder / "comparison.html", comparison_report([data, run(1)]))
    return paths


def opened(browser, path, width=WIDE, scripts=True):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    return browser


def column(browser, name):
    """Texts of a column of the trials, of the rows that are shown, and its heading."""
    return browser.execute_script(
        "const table = document.querySelector('table[data-interactive]');"
        "const heads = [...table.tHead.rows[0].cells];"
        "const place = heads.findIndex(head => head.textContent.startsWith(arguments[0]));"
        "const rows = [...table.tBodies[0].rows].filter(row => row.checkVisibility());"
        "return [rows.map(row => row.cells[place].textContent), heads[place]];",
        name,
    )


@pytest.mark.parametrize("name", ["run", "comparison"])
def test_the_page_is_small_says_no_error_and_loads_its_pictures(browser, report, name):
    assert report[name].stat().st_size < 5_000_000
    opened(browser, report[name])
    assert browser.get_log("browser") == []
    widths = browser.execute_script("return [...document.images].map(image => [image.complete, image.naturalWidth])")
    assert all(complete and width for complete, width in widths)
    assert browser.execute_script("return [...document.querySelectorAll('svg')].every(s => s.clientHeight > 50)")


@pytest.mark.parametrize("name", ["run", "comparison"])
def test_a_narrow_window_scrolls_in_tables_not_as_a_page(browser, report, name):
    opened(browser, report[name], NARROW)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= NARROW
    inner = "return [...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth)"
    assert browser.execute_script(inner)


def test_a_heading_sorts_both_ways_and_says_so(browser, report):
    opened(browser, report["run"])
    before, head = column(browser, "seconds")
    for direction, reverse in (("ascending", False), ("descending", True)):
        head.find_element("tag name", "button").click()
        after, _ = column(browser, "seconds")
        numbers = [float(text) for text in after if text != "-"]
        assert numbers == sorted(numbers, reverse=reverse) and len(after) == len(before)
        assert head.get_attribute("aria-sort") == direction
    _, other = column(browser, "oracle")
    other.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") is None
    names, _ = column(browser, "oracle")
    assert names == sorted(names)


def test_words_and_choices_filter_the_trials(browser, report):
    opened(browser, report["run"])
    told = browser.find_element("css selector", ".filter output")
    everything = told.text
    browser.find_element("css selector", ".filter input").send_keys("latent conv3x3")
    oracles, _ = column(browser, "oracle")
    texts, _ = column(browser, "architecture")
    assert set(oracles) == {"latent"} and all("conv3x3" in text for text in texts) and texts
    assert told.text == f"{len(texts)} of {everything.split()[-2]} rows"
    browser.find_element("css selector", ".filter input").clear()
    state = browser.find_element("xpath", "//label[starts-with(., 'state')]/select")
    state.send_keys("F")
    states, _ = column(browser, "state")
    assert set(states) == {"FAILED"}


def test_the_slider_goes_through_the_slices(browser, report):
    opened(browser, report["run"])
    slider = browser.find_element("css selector", ".stack input[type=range]")
    shown = "return [...document.querySelectorAll('.stack img')].filter(i => i.checkVisibility()).map(i => i.alt)"
    assert browser.execute_script(shown) == ["worst: anna: slice 7"]
    slider.send_keys("\ue014\ue014")  # the arrow to the right
    assert browser.execute_script(shown) == ["worst: anna: slice 11"]
    assert slider.get_attribute("aria-valuetext") == "11"
    assert slider.accessible_name.startswith("slice")


def test_without_scripts_there_is_a_plain_table_and_one_slice(browser, report):
    opened(browser, report["run"], scripts=False)
    try:
        assert not browser.find_elements("css selector", ".filter, thead button, .stack input")
        assert len([i for i in browser.find_elements("css selector", ".stack img") if i.is_displayed()]) == 1
        assert len(browser.find_elements("css selector", "table[data-interactive] tbody tr")) == 120
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_dark_and_print_forms_have_their_colours(browser, report):
    opened(browser, report["run"])
    back = "return getComputedStyle(document.body).backgroundColor"
    colours = {}
    for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "dark")):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        colours[media, scheme] = browser.execute_script(back)
    assert colours["print", "dark"] == colours["screen", "light"] == "rgb(255, 255, 255)" != colours["screen", "dark"]
    assert not browser.find_element("css selector", ".filter").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
