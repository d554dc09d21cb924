"""The page of `portshare matrix --html`, as a person uses it: a real browser,
real clicks. Told as not run where there is no browser; .ci/run installs it."""
import os
import shutil

import conftest
import harness
import pytest


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = harness.new_directory(tmp_path_factory, "page") / "matrix.html"
    harness.run("portshare", "matrix", "--html", "-o", path, timeout_s=300)
    return path


@pytest.fixture
def browser(request, page, tmp_path):
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        conftest.did_not_run(request, "needs python3-selenium")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        conftest.did_not_run(request, "needs chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu",
                 "--disable-dev-shm-usage", "--window-size=1280,1250",
                 f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(
        service=Service(shutil.which("chromedriver")), options=options)
    try:
        driver.get(page.as_uri())
        yield driver
        # no error of the script, nothing fetched; INFO is the browser's own
        said = [m for m in driver.get_log("browser") if m["level"] != "INFO"]
        assert said == []
    finally:
        driver.quit()


def css(browser, selector):
    return browser.find_elements("css selector", selector)


def press(browser, name):
    (button,) = css(browser, f'button[data-filter="{name}"]')
    button.click()
    assert button.get_attribute("aria-pressed") == "true"


def shown(browser):
    return int(css(browser, "#shown")[0].text)


def test_it_needs_nothing_but_itself(page):
    text = page.read_text()
    assert "<script src" not in text and "<link" not in text
    assert "http://" not in text and "https://" not in text
    assert os.uname().release in text


def test_the_filters_and_the_rule_behind_a_cell(browser):
    assert os.uname().release in css(browser, "h1")[0].text
    assert css(browser, "#differ")[0].text == "no difference"
    everything = shown(browser)
    assert everything > 600
    press(browser, "outcome:bind fails")
    refused = shown(browser)
    assert 0 < refused < everything
    outcomes = {r.get_attribute("data-outcome")
                for r in css(browser, "#cells tbody tr")}
    assert outcomes == {"bind fails"}
    assert css(browser, "#grid td.dim") and css(browser,
                                                "#grid td.o5:not(.dim)")
    press(browser, "proto:TCP")
    press(browser, "outcome:listen fails")
    assert 0 < shown(browser) < everything
    assert all("tcp" in r.text for r in css(browser, "#cells tbody tr"))
    press(browser, "outcome:all")
    press(browser, "theme:late flags")
    assert all("late flags" in r.text for r in css(browser,
                                                   "#cells tbody tr"))


def test_a_click_on_a_cell_shows_its_steps(browser):
    (cell,) = css(browser, 'td[title^="udp, a A +reuseaddr, b A +reuseaddr:"]')
    assert cell.text == "newest"
    assert not css(browser, "#detail")[0].is_displayed()
    cell.click()
    detail = css(browser, "#detail")[0]
    assert detail.is_displayed()
    assert "bind b" in detail.text
    assert "both carry SO_REUSEADDR" in detail.text
    assert "the newest takes all of it" in detail.text
    css(browser, "#detail button")[0].click()
    assert not detail.is_displayed()
    row = css(browser, "#cells tbody tr")[0]
    assert "a A, b A" in row.text
    row.click()
    assert detail.is_displayed() and "both carry" not in detail.text
    assert "neither socket carries a sharing flag" in detail.text


def test_the_picture_of_the_readme(browser, tmp_path):
    """SCREENSHOT=docs/matrix.png makes it anew."""
    css(browser, 'td[title^="udp, a 0.0.0.0 +reuseaddr, b A +reuseaddr:"]')[
        0].click()
    browser.execute_script("window.scrollTo(0, 0)")
    path = os.environ.get("SCREENSHOT", str(tmp_path / "matrix.png"))
    assert browser.save_screenshot(path)
    with open(path, "rb") as f:
        assert f.read(8) == b"\x89PNG\r\n\x1a\n"
    assert (harness.ROOT / "docs/matrix.png").exists()
