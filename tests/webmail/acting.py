"""What is done to many messages at once, how one goes through them, and how one comes in."""
import re

from driver import until
from letters import plain


def in_both(host, go):
    for scripts in [True, False]:
        browser = host.browser(scripts=scripts)
        try:
            browser.log_in()
            go(browser, "heap%s" % scripts)
            browser.look()
        finally:
            browser.close()


def all_that_were_found(host):
    def go(browser, word):
        host.send(*[plain("%s %d" % (word, number), "text\n") for number in range(55)])
        browser.go("/m/INBOX?q=subject:%s" % word)
        browser.shows("All 55 messages that were found")
        host.send(plain(word + " came since", "text\n"))
        browser.tick("input[name=all]")
        browser.press("Archive")
        browser.shows("55 messages moved to Archive")
        browser.shows(word + " came since")
        assert browser.count("li.message") == 1
        browser.press("Undo")
        browser.shows("55 messages moved to Inbox")
        browser.go("/m/INBOX?q=subject:%s" % word)
        browser.shows("of 56")

    in_both(host, go)


def through_a_search(host):
    def go(browser, word):
        word = "walk" + word
        host.send(*[plain("%s %s" % (word if number % 2 else "other", number), "text of %d\n" % number) for number in range(6)])
        browser.go("/m/INBOX?q=is:unread subject:%s" % word)
        browser.click("//main//li//a[contains(., '%s 5')]" % word, "xpath")
        for number in [3, 1]:
            browser.link("Older")
            browser.shows("text of %d" % number)
        assert browser.count("nav.steps a[rel=next]") == 0
        browser.link("Newer")
        browser.shows("text of 3")
        browser.link("← Inbox")
        assert re.search(r"/m/INBOX\?p=1&q=[^#]+#m\d+$", browser.url()), browser.url()
        browser.shows("Nothing was found.")

    in_both(host, go)


def the_front_door(host):
    """The login page is there at once: a page, its style, its icon."""
    def paths():
        with open(host.home + "/log", errors="replace") as log:
            return re.findall(r' http request method=Get path="([^"]+)"', log.read())

    browser = host.browser()
    try:
        before = len(paths())
        browser.go("/")
        until("an icon", lambda: any("icon" in path for path in paths()[before:]))
        asked = paths()[before:]
        assert len(asked) == 3 and asked[0] == "/", asked
        browser.type("input[name=name]", "alice")
        browser.type("input[name=password]", "secret")
        browser.click("button.first")
        assert browser.url() == host.site + "/m/INBOX", browser.url()
    finally:
        browser.close()


TESTS = [all_that_were_found, through_a_search, the_front_door]
