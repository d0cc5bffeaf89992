"""What somebody writes is kept, whatever happens to the daemon, to the line and to the window."""
import os
import time

from driver import until
from host import SlowLine


def drafts_outlive_a_crash(host):
    """Saved within five seconds of the last key, and there after `kill -9`; without a script once it is saved by hand."""
    for scripts in [True, False]:
        subject = "half a thought %s" % scripts
        with host.visit(scripts=scripts) as alice:
            alice.go("/compose")
            alice.write(subject=subject, text="not yet")
            alice.type("textarea", " the end")
            begun = time.monotonic()
            if scripts:
                alice.shows("Saved")
            else:
                alice.press("Save draft")
            assert time.monotonic() - begun < 5
            host.kill()
            host.start_again()
        with host.visit(scripts=scripts) as alice:
            alice.open(subject, "Drafts")
            assert alice.value("textarea").strip() == "not yet the end", alice.value("textarea")
            assert alice.text().count("Discard") == 1


def what_is_typed_while_the_daemon_is_away_is_saved_later(host):
    with host.visit() as alice:
        alice.go("/compose")
        alice.write(subject="in the dark", text="typed before")
        alice.shows("Saved")
        host.kill()
        alice.type("textarea", ", typed meanwhile")
        alice.shows("Not saved")
        host.start_again()
        # The visit ended with the daemon: another tab begins a new one.
        alice.shows("you were logged out")
        writing = alice.ask("GET", "/window")
        alice.ask("POST", "/window", {"handle": alice.ask("POST", "/window/new", {"type": "tab"})["handle"]})
        # The browser complains of a host that was not there.
        alice.ask("POST", "/url", {"url": host.site + "/login"})
        alice.type("input[name=name]", "alice")
        alice.type("input[name=password]", "secret")
        alice.touch("css selector", "button.first")
        until("the login", lambda: alice.url() == host.site + "/m/INBOX")
        alice.ask("DELETE", "/window")
        alice.ask("POST", "/window", {"handle": writing})
        alice.shows("Saved")
        assert alice.value("textarea").strip() == "typed before, typed meanwhile"
        alice.log()
        alice.open("in the dark", "Drafts")
        assert alice.value("textarea").strip() == "typed before, typed meanwhile"


def uploads_show_how_far_they_are_and_can_be_cancelled(host):
    line = SlowLine(host.https)
    path = os.path.join(host.home, "big picture.bin")
    with open(path, "wb") as file:
        file.write(os.urandom(12 << 20))
    alice = host.browser()
    try:
        alice.site = line.site
        alice.log_in()
        alice.go("/compose")
        alice.write(subject="with a big file", text="the words stay")
        alice.shows("Saved")
        line.pause = 0.02
        alice.type("input[name=file]", path)
        shown = "return document.querySelector('progress')?.value ?? 0"
        until("some of it", lambda: 0 < alice.run(shown) < 1)
        some = alice.run(shown)
        until("more of it", lambda: some < alice.run(shown) < 1)
        alice.touch("xpath", "//button[.='Cancel']")
        alice.shows("The upload was cancelled.")
        assert alice.count("progress") == 0 and alice.count("input[name=keep]") == 0
        line.pause = 0
        alice.type("input[name=file]", path)
        until("the file", lambda: alice.count("input[name=keep]") == 1)
        assert alice.value("textarea").strip() == "the words stay"
        # What broke off is in no draft.
        alice.open("with a big file", "Drafts")
        assert alice.count("input[name=keep]") == 1
        alice.go("/m/Drafts")
        assert alice.text().count("with a big file") == 1
    finally:
        alice.close()


def two_tabs_without_scripts_and_a_discard(host):
    """A draft that was thrown away in one tab is saved anew by the other, which says so."""
    for scripts in [True, False]:
        subject = "thrown away %s" % scripts
        with host.visit(scripts=scripts) as alice:
            alice.go("/compose")
            alice.write(subject=subject, text="first")
            alice.press("Save draft")
            draft, first = alice.url().split("&")[0], alice.ask("GET", "/window")
            alice.ask("POST", "/window", {"handle": alice.ask("POST", "/window/new", {"type": "tab"})["handle"]})
            alice.go(draft)
            alice.press("Discard")
            alice.ask("POST", "/window", {"handle": first})
            alice.write(text="second")
            alice.press("Send" if not scripts else "Save draft")
            alice.shows("another draft")
            alice.go("/m/Sent")
            alice.lacks(subject)
            alice.open(subject, "Drafts")
            assert alice.value("textarea").strip() == "second"


TESTS = [drafts_outlive_a_crash, what_is_typed_while_the_daemon_is_away_is_saved_later,
         uploads_show_how_far_they_are_and_can_be_cancelled, two_tabs_without_scripts_and_a_discard]
