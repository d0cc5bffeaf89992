"""What a person does in a session, from the login to the logout: wide, narrow, and without JavaScript."""
import os

from driver import until
from letters import plain


def tour(browser, host, serial):
    browser.go("/")
    browser.type("input[name=name]", "alice")
    browser.type("input[name=password]", "wrong")
    browser.click("button.first")
    browser.shows("Name or password are wrong.")
    browser.type("input[name=password]", "secret")
    browser.click("button.first")
    assert browser.url() == host.site + "/m/INBOX", browser.url()
    # To oneself, with a file.
    subject = "harbour %d, größer" % serial
    browser.go("/compose")
    browser.write(to="alice@here.test", subject=subject, text="tide and time")
    path = "%s/tide tables %d.txt" % (host.home, serial)
    with open(path, "w") as file:
        file.write("high water")
    browser.type("input[name=file]", path)
    if not browser.scripts:
        browser.press("Attach")
    browser.shows(os.path.basename(path))
    browser.press("Send")
    browser.open(subject)
    browser.shows("tide and time")
    browser.shows(os.path.basename(path))
    browser.go("/m/Sent")
    browser.shows(subject)
    # An answer, as far as a draft.
    browser.go("/m/INBOX?q=subject:%d" % serial)
    browser.link(subject)
    browser.link("Reply")
    assert "alice@here.test" in browser.value("input[name=to]")
    assert browser.value("input[name=subject]") == "Re: " + subject
    assert "> tide and time" in browser.value("textarea")
    browser.press("Save draft")
    browser.go("/m/Drafts")
    browser.shows("Re: " + subject)
    # Flagged, deleted, and taken back.
    browser.go("/m/INBOX?q=subject:%d" % serial)
    browser.tick("input[name=m]")
    browser.press("Flag")
    assert browser.count("[title=flagged]") == 1
    browser.tick("input[name=m]")
    browser.press("Delete")
    browser.go("/m/INBOX")
    browser.lacks(subject)
    browser.go("/m/Trash")
    browser.shows(subject)
    browser.tick("input[name=m]")
    browser.press("Archive")
    browser.shows("Undo")
    browser.press("Undo")
    browser.go("/m/Trash")
    browser.shows(subject)
    # Moved to where it came from.
    browser.tick("input[name=m]")
    browser.run("document.querySelector('select[name=to]').value = 'INBOX'")
    browser.press("Move")
    browser.open(subject)
    # Out; and nothing is to be seen any more.
    browser.go("/m/INBOX")
    browser.tick("details.menu summary")
    browser.click("//button[normalize-space()='Log out']", "xpath")
    browser.go("/m/INBOX")
    assert browser.url().startswith(host.site + "/login"), browser.url()


def toured(host, serial, **kind):
    browser = host.browser(**kind)
    try:
        tour(browser, host, serial)
    finally:
        browser.close()


def a_wide_window(host):
    toured(host, 1001, width=1280)


def a_narrow_window(host):
    toured(host, 1002, width=390)


def without_scripts(host):
    toured(host, 1003, scripts=False)


def pages_of_a_list(host):
    """120 messages are three pages, there and back, and what is far down can be found."""
    host.send(*(plain("number %d of many" % number, "the body of %d, a %s" % (number, "unicorn" if number == 7 else "horse"))
                for number in range(120)), to="bob@here.test")
    for scripts in [True, False]:
        with host.visit("bob", scripts=scripts) as browser:
            until("all of them", lambda: browser.go("/m/INBOX") or "of 120" in browser.text())
            browser.shows("number 119 of many")
            browser.link("Older")
            browser.shows("number 69 of many")
            browser.link("Older")
            browser.shows("number 0 of many")
            assert browser.count("a[rel=next]") == 0
            browser.link("Newer")
            browser.shows("number 20 of many")
            browser.type("input[name=q]", "unicorn")
            browser.click("form.search button")
            browser.shows("number 7 of many")
            assert browser.count("input[name=m]") == 1


TESTS = [a_wide_window, a_narrow_window, without_scripts, pages_of_a_list]
