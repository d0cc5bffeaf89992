"""Folders, and what users set."""
from driver import until
from letters import plain


def folders(browser):
    return browser.run("return [...document.querySelectorAll('nav.folders li a span:first-child')].map(each => each.textContent)")


def folders_are_made_renamed_moved_and_deleted(host):
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            alice.go("/folders")
            alice.type("input[name=name]", "Größe & <Boats>")
            alice.press("Make it")
            assert "Größe & <Boats>" in folders(alice), folders(alice)
            alice.type("input[name=name]", "2026")
            alice.set("select[name=under]", "Größe & <Boats>")
            alice.press("Make it")
            assert "Größe & <Boats>/2026" in folders(alice)
            # Renamed, and moved to the top.
            alice.click("[title='Change Größe & <Boats>/2026']")
            alice.fill("form.settings input[name=name]", "Log")
            alice.set("select[name=under]", "")
            alice.press("Rename or move")
            assert "Log" in folders(alice) and "Größe & <Boats>/2026" not in folders(alice)
            # What is moved there is counted there.
            host.send(plain("for the log", "text\n"))
            until("it", lambda: alice.go("/m/INBOX?q=log") or alice.count("input[name=m]") == 1)
            alice.tick("input[name=m]")
            alice.set("select[name=to]", "Log")
            alice.press("Move")
            count = "return [...document.querySelectorAll('nav.folders a')].find(a => a.textContent.startsWith('Log')).querySelector('.count')?.textContent"
            until("its count", lambda: alice.run(count) == "1")
            for name in ["Log", "Größe & <Boats>"]:
                alice.go("/folders")
                alice.click("[title='Change %s']" % name)
                alice.click("button[value=delete]")
                assert name not in folders(alice), folders(alice)


def counts_live(host):
    """Of a folder that is not the one on the page, too; without a script, with the next page."""
    with host.visit() as alice, host.visit() as other, host.visit(scripts=False) as plainly:
        alice.go("/m/Sent")
        count = "return document.querySelector('nav.folders a[href=\"/m/INBOX\"] .count')?.textContent ?? '0'"
        before = int(alice.run(count))
        host.send(plain("counted", "text\n"))
        until("one more", lambda: int(alice.run(count)) == before + 1)
        plainly.go("/m/Sent")
        assert int(plainly.run(count)) == before + 1
        other.open("counted")
        until("one less", lambda: int(alice.run(count)) == before)
        plainly.go("/m/Sent")
        assert int(plainly.run(count)) == before


def a_password_is_changed(host):
    old = "secret"
    for scripts in [True, False]:
        new = "harbour 2026 %s" % scripts
        other = host.browser(scripts=scripts)
        browser = host.browser(scripts=scripts)
        try:
            for each in [browser, other]:
                each.log_in("carol", old)
            browser.go("/settings")
            for name, text in [("old", "wrong"), ("new", new), ("again", new)]:
                browser.fill("input[name=%s]" % name, text)
            browser.press("Change password")
            browser.shows("The old password is wrong.")
            browser.log()
            for name, text in [("old", old), ("new", new), ("again", new)]:
                browser.fill("input[name=%s]" % name, text)
            browser.press("Change password")
            browser.shows("The password is changed.")
            # Everywhere else one is logged out.
            other.go("/m/INBOX")
            assert "/login" in other.url(), other.url()
            other.log_in("carol", new)
        finally:
            browser.close()
            other.close()
        old = new


def send(browser, to, subject):
    browser.go("/compose")
    browser.write(to=to, subject=subject, text="text")
    browser.press("Send")
    browser.shows("The message was sent.")


def mail_is_answered_while_one_is_away(host):
    # One answer goes to each writer in some days.
    for scripts, writer in [(True, "bob"), (False, "carol")]:
        with host.visit(scripts=scripts) as alice, host.visit(writer, scripts=scripts) as other:
            alice.go("/settings")
            alice.shows("Mail is not answered.")
            alice.set("input[name=since]", "2020-01-01")
            alice.fill("form.settings input[name=subject]", "Gone fishing")
            alice.fill("textarea[name=text]", "Back on Monday.")
            alice.press("Answer mail")
            alice.shows("Mail is answered today.")
            send(other, "alice@here.test", "are you there?")
            other.open("Gone fishing")
            other.shows("Back on Monday.")
            alice.press("Do not answer any more")
            alice.shows("Mail is not answered.")


def mail_is_forwarded(host):
    for scripts in [True, False]:
        subject = "passed on %s" % scripts
        with host.visit(scripts=scripts) as alice, host.visit("bob", scripts=scripts) as bob:
            alice.go("/settings")
            alice.fill("textarea[name=to]", "bob@here.test")
            alice.run("document.querySelector('input[name=keep]').checked = false")
            alice.press("Forward")
            alice.shows("Mail is forwarded as you said.")
            host.send(plain(subject, "text\n"))
            bob.open(subject)
            alice.go("/m/INBOX")
            alice.lacks(subject)
            alice.go("/settings")
            alice.press("Do not forward any more")
            host.send(plain("kept " + subject, "text\n"))
            alice.open("kept " + subject)


TESTS = [folders_are_made_renamed_moved_and_deleted, counts_live, mail_is_answered_while_one_is_away, mail_is_forwarded, a_password_is_changed]
