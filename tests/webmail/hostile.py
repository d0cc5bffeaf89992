"""Mail that wants to do something: it runs no script, opens no window, asks nobody, and paints nothing outside of its frame."""
import time

from driver import until
from letters import hostile, html, plain


def nothing_happens(host):
    tricks = hostile()
    # From one second to the next the page itself changes: of these messages only the frame does.
    host.send(*(html("trick", "<p>begins</p>%s<p>ends</p>" % trick) for trick in tricks), html("trick", "<p>begins</p><p>ends</p>"))
    browser = host.browser()
    try:
        browser.log_in()
        until("all of them", lambda: browser.go("/m/INBOX") or browser.count("input[name=m]") > len(tricks))
        links = browser.run("return [...document.querySelectorAll('.messages a')].map(a => a.href)")
        assert len(links) == len(tricks) + 1
        # Read, so that opening one changes nothing of what the page tells of the folder.
        browser.run("document.querySelectorAll('input[name=m]').forEach(each => each.checked = true)")
        browser.press("Mark read")
        looks = []
        for link in links:
            begun = time.monotonic()
            browser.go(link)
            took = time.monotonic() - begun
            assert took < (10 if host.is_slow else 1), (link, took)
            browser.enter("iframe")
            browser.shows("begins")
            alive = "script, style, svg, math, iframe, frame, form, input, button, meta, base, object, embed, link, dialog, video, audio"
            inside = browser.run("return document.body.querySelector(arguments[0])", alive)
            assert not inside, browser.run("return document.body.outerHTML")
            browser.enter(None)
            assert browser.run("return typeof window.pwned") == "undefined", link
            assert browser.url() == link and browser.windows() == 1, browser.url()
            looks.append(outside(browser))
        changed = [tricks[len(tricks) - at] for at, look in enumerate(looks) if look != looks[0]]
        assert not changed, changed
        assert not host.asked("evil"), host.asked("evil")
    finally:
        browser.close()


def outside(browser):
    """The picture of the page but for the frame, over which something is laid, and for what each message has of its own."""
    browser.run("""document.querySelectorAll('nav.beside, nav.steps, .told').forEach(each => each.remove());
        const at = document.querySelector('iframe').getBoundingClientRect();
        const over = document.body.appendChild(document.createElement('div'));
        Object.assign(over.style, {position: 'fixed', background: 'green', left: at.left + 'px', top: at.top + 'px',
                                   width: at.width + 'px', height: at.height + 'px'})""")
    return browser.picture()


def a_frame_is_seen_to_be_left(host):
    """The check above sees what it is for: a page that something is painted on."""
    host.send(plain("plain", "text\n"), html("painted", "<p>x</p>"))
    browser = host.browser()
    try:
        browser.log_in()
        browser.open("painted")
        before = outside(browser)
        browser.run("const over = document.body.appendChild(document.createElement('hr'));"
                    "Object.assign(over.style, {position: 'fixed', top: 0, left: 0, width: '20px', height: '20px', background: 'red'})")
        assert outside(browser) != before
        # And the browser's log tells of what breaks the policy.
        browser.log()
        browser.run("document.head.append(Object.assign(document.createElement('script'), {textContent: 'top.pwned=1'}))")
        until("the browser's complaint", lambda: "Content Security Policy" in str(browser.log()))
        assert browser.run("return typeof window.pwned") == "undefined"
    finally:
        browser.close()


def a_megabyte_of_tags(host):
    deep = "<p>words of it</p>" + "<div><b><table><tr><td>" * 45_000
    wide = "<p>words of it</p>" + "<p>more of it</p>" * 55_000
    host.send(html("deep tags", deep), html("many tags", wide))
    browser = host.browser()
    try:
        browser.log_in()
        for subject in ["deep tags", "many tags"]:
            browser.open(subject)
            begun = time.monotonic()
            browser.go(browser.url())
            took = time.monotonic() - begun
            if browser.count("iframe"):
                browser.enter("iframe")
                browser.shows("words of it")
                browser.enter(None)
            else:
                browser.shows("words of it")
            assert took < (10 if host.is_slow else 1), (subject, took)
    finally:
        browser.close()


TESTS = [nothing_happens, a_frame_is_seen_to_be_left, a_megabyte_of_tags]
