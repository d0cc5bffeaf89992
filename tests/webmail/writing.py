"""What is written, where it goes, and what becomes of it when it can't."""
import time

from driver import until
from letters import letter, plain, wire


def with_two(host, scripts, go):
    """Alice's browser and Bob's."""
    alice, bob = host.browser(scripts=scripts), host.browser(scripts=scripts)
    try:
        alice.log_in("alice")
        bob.log_in("bob")
        go(alice, bob)
    finally:
        alice.close()
        bob.close()


def source_of(host, browser):
    return host.fetch(browser, browser.url().split("?")[0] + "/source").read().decode()


def flags(browser, subject, folder="INBOX"):
    browser.go("/m/%s" % folder)
    script = "return [...document.querySelectorAll('.message')].filter(li => li.textContent.includes(arguments[0])).map(li => " \
        "[...li.querySelectorAll('.mark')].map(mark => mark.title).join())"
    return browser.run(script, subject)


def answers(host):
    for scripts in [True, False]:
        subject = "question %s" % scripts
        sent = wire(letter(subject, "When is high water?\n", to="Alice <alice@here.test>, Carl <carl@far.test>", Cc="bob@here.test",
                           sender="bob@here.test"))
        host.send(sent)
        with_two(host, scripts, lambda alice, bob: answer(host, alice, bob, subject, sent))


def answer(host, alice, bob, subject, sent):
    alice.open(subject)
    alice.link("Reply to all")
    assert alice.value("input[name=to]") == "bob@here.test"
    assert alice.value("input[name=cc]") == "Carl <carl@far.test>"
    assert alice.value("input[name=subject]") == "Re: " + subject
    assert alice.value("textarea").rstrip().endswith("wrote:\n> When is high water?"), alice.value("textarea")
    # To Bob alone, and to herself where nobody sees it.
    alice.write(cc="", bcc="alice@here.test", text="At noon.\n\n> When is high water?\n")
    alice.press("Send")
    alice.shows("The message was sent.")
    assert "answered" in flags(alice, subject)[-1], flags(alice, subject)
    bob.open("Re: " + subject)
    bob.shows("At noon.")
    got = source_of(host, bob)
    own = [line.split(": ")[1] for line in sent.decode().split("\r\n") if line.startswith("Message-ID: ")][0]
    assert "\r\nIn-Reply-To: %s\r\n" % own in got and "\r\nReferences: %s\r\n" % own in got, got
    assert "Bcc" not in got and "alice@here.test" not in got.split("\r\nTo: ")[1].split("\r\n")[0], got
    # The blind copy came, and the one among the sent ones tells of it.
    alice.go("/m/INBOX")
    alice.shows("Re: " + subject)
    alice.open("Re: " + subject, "Sent")
    assert "\r\nBcc: alice@here.test\r\n" in source_of(host, alice)
    alice.go("/m/Drafts")
    alice.lacks(subject)


def forwards(host):
    host.send(plain("passed on", "these words\n"))

    def go(alice, bob):
        alice.open("passed on")
        here = alice.url()
        alice.link("Forward")
        assert "these words" in alice.value("textarea") and alice.value("input[name=subject]") == "Fwd: passed on"
        alice.write(to="bob")
        alice.press("Send")
        alice.go(here)
        alice.link("Forward as a file")
        alice.shows("passed on.eml")
        alice.write(to="bob", subject="as a file")
        alice.press("Send")
        bob.open("Fwd: passed on")
        bob.shows("these words")
        bob.open("as a file")
        bob.shows("passed on message, ")
        assert "Content-Type: message/rfc822" in source_of(host, bob)

    for scripts in [True, False]:
        with_two(host, scripts, go)


def what_fails_stays_a_draft(host):
    for scripts in [True, False]:
        browser = host.browser(scripts=scripts)
        try:
            browser.log_in()
            browser.go("/compose")
            browser.write(to="nobody@here.test, bob@here.test", subject="lost? %s" % scripts, text="a long text, and no copy of it")
            browser.press("Send")
            browser.shows("It was not sent.")
            browser.shows("nobody@here.test")
            assert browser.value("textarea").strip() == "a long text, and no copy of it"
            browser.open("lost? %s" % scripts, "Drafts")
            assert browser.value("textarea").strip() == "a long text, and no copy of it"
            assert browser.value("input[name=to]") == "nobody@here.test, bob@here.test"
            browser.go("/m/Sent")
            browser.lacks("lost? %s" % scripts)
            # Mended, it goes.
            browser.open("lost? %s" % scripts, "Drafts")
            browser.write(to="bob@here.test")
            browser.press("Send")
            browser.shows("The message was sent.")
            browser.go("/m/Sent")
            browser.shows("lost? %s" % scripts)
        finally:
            browser.close()


def two_windows_lose_nothing(host):
    """The same draft in two tabs: the second save is another draft, and says so."""
    browser = host.browser(scripts=False)
    try:
        browser.log_in()
        browser.go("/compose")
        browser.write(subject="two tabs", text="first")
        browser.press("Save draft")
        draft = browser.url()
        first = browser.ask("GET", "/window")
        other = browser.ask("POST", "/window/new", {"type": "tab"})["handle"]
        browser.ask("POST", "/window", {"handle": other})
        browser.go(draft)
        browser.write(text="second")
        browser.press("Save draft")
        browser.ask("POST", "/window", {"handle": first})
        browser.write(text="third")
        browser.press("Save draft")
        browser.shows("another draft")
        browser.go("/m/Drafts")
        until("both", lambda: browser.text().count("two tabs") == 2)
    finally:
        browser.close()


def sends_later(host):
    """A draft keeps when it is to leave; then it waits, is taken back, and sent at once."""
    at = time.strftime("%Y-%m-%dT%H:%M", time.localtime(time.time() + 3 * 3600))

    def go(alice, bob):
        subject = "later, " + alice.url()[-4:] + str(alice.scripts)
        alice.go("/compose")
        alice.write(to="bob@here.test", subject=subject, text="Not yet.")
        alice.touch("css selector", "details.manner summary")
        alice.tick("input[name=report]")
        alice.run("document.querySelector('input[name=at]').value = arguments[0]", at)
        alice.press("Save draft")
        alice.open(subject, "Drafts")
        assert alice.value("input[name=at]") == at and alice.count("input[name=report]:checked") == 1
        alice.press("Send")
        alice.shows("The message waits to be sent.")
        alice.link("Scheduled")
        alice.shows(subject)
        alice.press("Edit")
        assert alice.value("textarea").strip() == "Not yet." and alice.value("input[name=at]") == at
        alice.press("Send")
        alice.link("Scheduled")
        alice.press("Send now")
        alice.shows("It is being sent.")
        alice.shows("Nothing waits to be sent.")
        bob.open(subject)
        bob.shows("Not yet.")

    for scripts in [True, False]:
        with_two(host, scripts, go)


TESTS = [answers, forwards, what_fails_stays_a_draft, two_windows_lose_nothing, sends_later]
