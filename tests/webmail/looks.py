"""How pages look: nothing is cut off, narrow or wide, light or dark; everything can be reached by keyboard and has a name."""
import access
from letters import NEWSLETTER, html, letter, plain, wire, with_both, with_files

RTL = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd"
CJK = "\u6e2f\u306e\u304a\u77e5\u3089\u305b" * 12


def pages(browser):
    """The paths of all pages there are, with something in each."""
    browser.log_in()
    found = ["/login", "/setup", "/settings", "/folders", "/sessions", "/m/INBOX", "/m/Sent", "/m/Drafts", "/m/Trash", "/m/INBOX?q=from:bob", "/m/INBOX?q=nothing-of-it", "/compose"]
    found += [path for path in browser.run("return [...document.querySelectorAll('header a, nav a')].map(a => a.getAttribute('href'))")
              if path not in found]
    for subject in ["with both", "with files", "newsletter", RTL]:
        browser.open(subject)
        found.append(browser.url())
        found += browser.run("return [...document.querySelectorAll('main a[href^=\"/\"]:not([href*=download])')].map(a => a.getAttribute('href'))")
    # What is in a message is a file, not a page.
    return [path for path in dict.fromkeys(found) if "/part/" not in path]


def a_tour_of_all_pages(host):
    """None breaks its policy, is wider than the window, or leaves something without a name."""
    host.send(with_both("with both"), with_files("with files"), html("newsletter", NEWSLETTER),
              wire(letter(RTL, RTL + "\n", sender="%s <rtl@far.test>" % RTL)), plain(CJK, CJK * 20 + "\n"),
              plain("a" * 300, "http://far.test/%s\n" % ("a" * 3000), sender="%s <long@far.test>" % ("b" * 200)))
    for width, dark, scripts in [(1280, False, True), (390, True, True), (390, False, False)]:
        browser = host.browser(width=width, dark=dark, scripts=scripts)
        try:
            for path in pages(browser):
                browser.go(path)
                # What strangers wrote has the headings they gave it.
                if browser.run("return document.contentType") == "text/html" and "/print" not in path:
                    wrong = access.faults(browser)
                    assert not wrong, "%s at %d: %s" % (path, width, "\n".join(wrong))
        finally:
            browser.close()


def a_newsletter_at_390(host):
    """600 pixels wide as it was made, and readable all the same."""
    host.send(html("newsletter again", NEWSLETTER))
    browser = host.browser(width=390)
    try:
        browser.log_in()
        browser.open("newsletter again")
        assert browser.run("return document.querySelector('iframe').getBoundingClientRect().right") <= 390
        browser.enter("iframe")
        browser.shows("Dear readers")
        wide, room = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= room, "%d in %d" % (wide, room)
        small = browser.run("return Math.min(...[...document.querySelectorAll('p, td, h1')].map(each => parseFloat(getComputedStyle(each).fontSize)))")
        assert small >= 13, small
    finally:
        browser.close()


def right_to_left(host):
    browser = host.browser()
    try:
        browser.log_in()
        browser.open(RTL)
        for what in [".text", "h1"]:
            assert browser.style(what, "direction") == "rtl", what
        browser.go("/m/INBOX")
        spans = browser.run("return [...document.querySelectorAll('.message')].filter(li => li.textContent.includes(arguments[0])).flatMap(li => "
                            "[...li.querySelectorAll('.who bdi, .subject')]).map(each => getComputedStyle(each).direction)", RTL)
        assert spans and set(spans) == {"rtl"}, spans
    finally:
        browser.close()


def by_keyboard(host):
    """Tab reaches everything in the order in which it stands, and shows where it is."""
    browser = host.browser()
    try:
        browser.log_in()
        browser.open("with files")
        seen = []
        for _ in range(12):
            browser.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
                {"type": "keyDown", "value": "\ue004"}, {"type": "keyUp", "value": "\ue004"}]}]})
            name, outline = browser.run("const on = document.activeElement; return [on.textContent || on.name, getComputedStyle(on).outlineStyle]")
            assert outline != "none", name
            seen.append(name)
        assert "Skip to the mail" in seen and len(set(seen)) > 8, seen
    finally:
        browser.close()


TESTS = [a_tour_of_all_pages, a_newsletter_at_390, right_to_left, by_keyboard]
