"""The page in a real browser, against the real service."""

from __future__ import annotations

import io

import pandas as pd
import pytest
import requests
from PIL import Image

import recbole_cadmr
from recbole_cadmr.serving.limits import Limits
from recbole_cadmr.serving.pictures import PictureSource
from tests.browser import needs_browser
from tests.serving.conftest import TITLES
from tests.serving.running import KEY, serving

pytestmark = needs_browser
WIDTHS = {"narrow": 390, "wide": 1280}


@pytest.fixture(scope="module")
def shop(linear, brief_run):
    with serving({"linear": linear, "paper": brief_run.checkpoint}, limits=Limits(rate=0)) as running:
        yield running


@pytest.fixture(scope="module")
def recommender(linear):
    return recbole_cadmr.load(linear)


def opened(browser, running, **how):
    browser.open(running.address, **how)
    browser.until(lambda: browser.items())


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_and_all_can_be_read(browser, shop, width, scheme):
    opened(browser, shop, scheme=scheme, width=width, mobile=width < 600)
    browser.until(lambda: browser.all(".why"))
    assert browser.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    outside = """[...document.querySelectorAll("main *")].filter(e => {
        const box = e.getBoundingClientRect();
        return box.width && (box.right > innerWidth + 1 || box.left < -1) && !e.closest(".hidden-title");
    }).map(e => e.outerHTML.slice(0, 80))"""
    assert browser.js(outside) == []
    # WCAG's contrast of text: 4.5 to 1.
    contrasts = """(() => {
        const rgb = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
        const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
        return [...document.querySelectorAll("main *")].filter(e => e.offsetParent && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
            .filter(e => !e.closest(":disabled") && !e.matches("option"))
            .map(e => { const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x); return [(a + .05) / (b + .05), e.tagName + " " + e.className + ": " + e.textContent.slice(0, 30)]; })
            .filter(([ratio]) => ratio < 4.5);
    })()"""  # noqa: E501
    assert browser.js(contrasts) == []
    assert browser.complaints() == []


def test_every_control_has_a_name(browser, shop):
    opened(browser, shop)
    nameless = """[...document.querySelectorAll("input, select, textarea, button, [role=listbox]")].filter(e =>
        !(e.labels && e.labels.length) && !e.getAttribute("aria-label") && !e.textContent.trim()).map(e => e.id)"""
    assert browser.js(nameless) == []
    assert browser.one("#status").get_attribute("aria-live") == "polite"
    assert browser.js("document.documentElement.lang") == "en"


def test_lists_of_two_models_with_reasons(browser, shop, recommender, brief_run):
    opened(browser, shop)
    user = browser.one("#user").get_attribute("value")
    browser.until(lambda: len(browser.items(2)) == 10)
    assert browser.items(1) == recommender.recommend([user], 10)["item_id"].tolist()
    assert browser.items(2) == recbole_cadmr.load(brief_run.checkpoint).recommend([user], 10)["item_id"].tolist()
    assert browser.status == "Items: 10 by linear, 10 by paper."
    browser.until(lambda: len(browser.all("section:nth-child(1) .why")) == 10)
    told = recommender.explain(user, item=browser.items()[0])
    best = told.by_chosen_item()["chosen_item"][:3].map(recommender.titles.get).tolist()
    assert browser.texts("li[data-item]:first-child .why li > span:first-child")[: len(best)] == best
    assert "behaviour" in browser.texts(".why .legend")[0]
    assert browser.texts("li[data-item]:first-child .title")[0] == f"1{recommender.titles[browser.items()[0]]}"


def test_one_model_alone(browser, shop):
    opened(browser, shop)
    browser.until(lambda: browser.items(2))
    browser.js("document.querySelector('#second').value = ''")
    browser.set("#k", "5")
    browser.until(lambda: len(browser.items()) == 5 and not browser.items(2))
    assert browser.status.startswith("5 by linear for u")


def test_a_history_is_put_together_by_keys_alone(browser, shop, recommender):
    opened(browser, shop)
    keys = browser.keys
    browser.js("document.querySelector('input[name=who]').focus()")
    browser.type(keys.ARROW_RIGHT)  # the other of the two
    browser.until(lambda: browser.status == "Choose an item or more.")
    chosen = []
    for query, found in (("mirror", "mirror"), ("LÁMP rust", "lamp")):
        browser.type(keys.TAB) if browser.focused != "search" else None
        assert browser.focused == "search"
        browser.type(query)
        browser.until(lambda: browser.all("#search-options [role=option]"))
        browser.until(lambda found=found: found in "".join(browser.texts("#search-options .text")[:1]).lower())
        browser.type(keys.ARROW_DOWN, keys.ARROW_DOWN, keys.ARROW_UP)
        active = browser.one("#search").get_attribute("aria-activedescendant")
        chosen.append(
            browser.js("document.getElementById(arguments[0]).querySelector('small').textContent", active).strip()
        )
        browser.type(keys.ENTER)
        browser.until(lambda: len(browser.all("#history > li")) == len(chosen))
        assert not browser.one("#search-options").is_displayed()

    def expected(history):
        rows = pd.DataFrame({"user_id": "x", "item_id": history})
        return recommender.recommend_from_history(rows, 10)[0]["item_id"].tolist()

    browser.until(lambda: browser.items() == expected(chosen))
    browser.type(keys.TAB, keys.ENTER)  # the first chosen item's button
    browser.until(lambda: browser.items() == expected(chosen[1:]))
    assert len(browser.all("#history > li")) == 1
    assert browser.focused == "Remove"  # goes on where it was
    browser.driver.refresh()
    browser.until(lambda: len(browser.js("[...document.querySelectorAll('#history > li')]")) == 1)  # is kept


def test_the_focus_can_be_seen(browser, shop):
    opened(browser, shop)
    browser.until(lambda: browser.all(".why"))
    browser.js("document.activeElement.blur()")
    seen = []
    for _ in range(60):
        browser.type(browser.keys.TAB)
        where = browser.js(
            "((e, style) => [e.id || e.tagName, style.outlineStyle, parseFloat(style.outlineWidth)])"
            "(document.activeElement, getComputedStyle(document.activeElement))"
        )
        if where[0] == "BODY":
            break
        seen.append(where)
    assert {"user", "k", "diversity", "stock", "first", "second", "BUTTON"} <= {name for name, *_ in seen}
    assert all(style == "solid" and width >= 2 for _, style, width in seen)


def test_what_is_out_of_stock_is_hidden_and_that_is_kept(browser, shop):
    opened(browser, shop)
    first = browser.items()
    browser.set("#stock", f"{first[0]}\n{first[2]}\nno such, item; at all\n")
    browser.until(lambda: first[0] not in browser.items())
    assert browser.items()[:2] == [first[1], first[3]] and len(browser.items()) == 10
    assert browser.status.endswith("1 ids name no item.")
    browser.driver.refresh()
    browser.until(lambda: browser.items())
    assert browser.items()[:2] == [first[1], first[3]]


def test_the_weight_of_content_moves_the_list(browser, linear, recommender):
    with serving({"linear": linear}, limits=Limits(rate=0)) as running:
        opened(browser, running)
        user = browser.one("#user").get_attribute("value")
        for weight in (0, 2.5):
            browser.set("#weight", weight)
            expected = recommender.recommend([user], 10, content_weight=weight)["item_id"].tolist()
            browser.until(lambda expected=expected: browser.items() == expected)
            assert browser.one("#weight-value").text == str(weight)
        assert not browser.one("#models").is_displayed()


def test_a_model_without_a_weight_of_content_says_so(browser, shop):
    opened(browser, shop)
    assert not browser.one("#weight").is_enabled()
    assert browser.one("#weight-hint").text == "A model that is shown has no weight of content."


def test_similar_items_open_and_close(browser, shop, recommender):
    opened(browser, shop)
    button = browser.one("li[data-item] .actions button")
    button.click()
    browser.until(lambda: browser.all(".similar li"))
    ids = [text.strip() for text in browser.texts(".similar li small")]
    assert ids == recommender.similar_items(browser.items()[0], 5)["item_id"].tolist()
    assert button.get_attribute("aria-expanded") == "true"
    button.click()
    assert not browser.all(".similar li") and button.get_attribute("aria-expanded") == "false"


def test_somebody_unknown_is_said_to_be(browser, shop):
    opened(browser, shop)
    browser.one("#user").send_keys(browser.keys.CONTROL + "a")
    browser.type("nobody" * 50, browser.keys.ENTER)
    browser.until(lambda: "nobody" in browser.status)
    assert browser.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert not browser.items() and "error" in browser.one("#status").get_attribute("class")


def picture(colour):
    content = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(content, "PNG")
    return content.getvalue()


def test_titles_are_text_whatever_they_hold_and_pictures_are_shown(browser, micro_runs, micro_data, tmp_path):
    (tmp_path / "a.png").write_bytes(picture("red"))
    (tmp_path / "b.png").write_text("<svg onload='alert(1)'>")  # no picture
    with serving({"<b>shop</b>": micro_runs[0]}, data_path=micro_data, pictures=PictureSource(tmp_path)) as running:
        browser.open(running.address)
        browser.until(lambda: browser.status)
        browser.one("input[value=history]").click()
        browser.one("#search").send_keys("c")
        browser.until(lambda: browser.all("#search-options [role=option]"))
        browser.one("#search").clear()
        browser.one("#search").send_keys("quoted")
        browser.until(lambda: browser.texts("#search-options .text") == [f"{TITLES[2]} c"])
        browser.type(browser.keys.ENTER)
        browser.until(lambda: len(browser.items()) == 3)
        shown = dict(zip(browser.items(), browser.texts("li[data-item] .title")))
        assert {item: title[1:] for item, title in shown.items()} == {"a": TITLES[0], "b": TITLES[1], "d": "d"}
        assert browser.texts("li[data-item=a] :is(.title, .title + small) bdi") == [TITLES[0], "a"]
        assert browser.js("document.scripts.length") == 1 and not browser.all("main b")
        assert browser.texts("h3") == ["<b>shop</b>"]
        browser.until(lambda: browser.js("document.querySelector('li[data-item=a] img').naturalWidth") == 40)
        boxes = browser.js("[...document.querySelectorAll('.picture')].map(e => e.getBoundingClientRect())")
        assert all(round(box["width"]) == round(box["height"]) in (84, 32) for box in boxes if box["width"])
        browser.until(lambda: not browser.all("li[data-item=b] img") and browser.all("li[data-item=b] div.picture"))
        assert browser.js("document.querySelector('li[data-item=d] .picture').textContent") == "d"


def test_nothing_but_the_services_own_files_may_run(browser, shop):
    policy = shop.get("/").headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy and "unsafe" not in policy
    opened(browser, shop)
    for tag, field, value in (("script", "textContent", "window.ran = 1"), ("img", "src", "http://127.0.0.1:1/x.png")):
        code = (
            "document.body.append(Object.assign(document.createElement(arguments[0]), {[arguments[1]]: arguments[2]}))"
        )
        browser.js(code, tag, field, value)
    assert browser.js("window.ran") is None
    complaints = []
    browser.until(lambda: complaints.extend(browser.complaints()) or len(complaints) >= 2)
    assert all("Content Security Policy" in text for text in complaints)
    tag = shop.get("/page/page.js").headers["etag"]
    assert requests.get(shop.address + "/page/page.js", headers={"if-none-match": tag}, timeout=30).status_code == 304


def test_the_key_is_asked_for_and_kept_until_the_window_closes(browser, micro_runs, micro_data):
    with serving({"micro": micro_runs[0]}, key=KEY, data_path=micro_data) as running:
        browser.open(running.address)
        browser.until(lambda: browser.one("#key-form").is_displayed())
        assert "this service needs a key" in browser.status and browser.focused == "key"
        browser.type("no-such-key", browser.keys.ENTER)
        browser.until(lambda: "this is not the key of this service" in browser.status)
        browser.one("#key").send_keys(KEY, browser.keys.ENTER)
        browser.until(lambda: browser.items())
        browser.driver.refresh()
        browser.until(lambda: browser.items())
        assert not browser.one("#key-form").is_displayed()
