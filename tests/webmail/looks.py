"""How pages look: nothing is cut off, narrow or wide, light or dark; everything can be reached by keyboard and has a name."""
import base64

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
    for width, dark, scripts in [(1280, False, True), (390, True, True), (390, False, False), (320, False, True)]:
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


def east_asian(host):
    """In the charsets in which it comes: shown, found, and answered."""
    all_words = {"iso-2022-jp": "\u6e2f\u306e\u6f6e\u6c50", "gb18030": "\u6e2f\u53e3\u7684\u6f6e\u6c50", "big5": "\u6e2f\u53e3\u6f6e\u6c50\u8868",
                 "euc-kr": "\ud56d\uad6c\uc758 \uc870\uc218", "shift_jis": "\u6f6e\u306e\u8868"}
    for name, words in all_words.items():
        subject = base64.b64encode((words + name).encode(name)).decode()
        head = "From: x@far.test\r\nTo: alice@here.test\r\nSubject: =?%s?B?%s?=\r\nMIME-Version: 1.0\r\n" \
            "Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" % (name, subject, name)
        host.send(head.encode() + words.encode(name) + b"\r\n")
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            for name, words in all_words.items():
                alice.open(words)
                assert alice.run("return document.querySelector('.text').textContent.trim()") == words, alice.text()
                alice.link("Reply")
                assert "> " + words in alice.value("textarea") and alice.value("input[name=subject]") == "Re: " + words + name
            alice.go("/m/INBOX")
            alice.type("input[name=q]", "\uc870\uc218")
            alice.click("form.search button")
            assert alice.count("li.message") == 1
            alice.shows(all_words["euc-kr"])


def what_is_written_from_the_right(host):
    """Its field goes from the right as soon as its first letter does, and so does the message."""
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            alice.go("/compose")
            alice.write(to="alice@here.test", subject="%s %s" % (RTL, scripts), text=RTL + "\n" + CJK)
            assert alice.style("textarea", "direction") == "rtl"
            alice.press("Send")
            alice.open("%s %s" % (RTL, scripts))
            assert alice.style(".text", "direction") == "rtl"
            assert alice.run("return document.querySelector('.text').textContent.trim()") == RTL + "\n" + CJK


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


TESTS = [a_tour_of_all_pages, a_newsletter_at_390, right_to_left, east_asian, what_is_written_from_the_right, by_keyboard]
