"""Lists: what is found, what is done to many at once and undone, and that one comes back to where one was."""
import urllib.parse

from driver import until
from letters import PDF, letter, plain, wire


def found(browser, query):
    """The subjects that a search finds."""
    browser.go("/m/INBOX?" + urllib.parse.urlencode({"q": query}))
    return set(browser.run("return [...document.querySelectorAll('.message .subject')].map(each => each.textContent)"))


def search_understands_its_words(host):
    pier = letter("the pier", "planks and nails\n", sender="Bob Baker <bob@far.test>", Cc="Zoë <zoe@x.test>")
    bill = letter("bill", "forty shillings for nails\n", sender="Carla Ems <carla@ems.test>")
    bill.add_attachment(PDF, "application", "pdf", filename="bill.pdf")
    old = letter("old times", "planks of oak\n", sender="Bob Baker <bob@far.test>")
    host.send(*(wire(each) for each in [pier, bill, old]))
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            until("all", lambda: found(alice, "subject:old") == {"old times"})
            alice.link("old times")
            for query, wanted in [
                ("from:bob", {"the pier", "old times"}), ("from:ems", {"bill"}), ("to:zoe", {"the pier"}), ("subject:pier", {"the pier"}),
                ("has:attachment", {"bill"}), ("is:unread", {"the pier", "bill"}), ("is:read", {"old times"}),
                ("before:2020-01-01", set()), ("after:2020-01-01 nails", {"the pier", "bill"}), ("nails -shillings", {"the pier"}),
                ("from:bob -is:unread", {"old times"}), ('"planks and"', {"the pier"}), ("planks from:bob", {"the pier", "old times"}),
                ("-nails", {"old times"}), ("zoë", {"the pier"}),
            ]:
                assert found(alice, query) == wanted, (query, found(alice, query))
            # As it was, for the next pass.
            found(alice, "subject:old")
            alice.tick("input[name=m]")
            alice.press("Mark unread")


def each_removal_is_undone(host):
    host.send(*(plain("removed %d" % number, "text\n") for number in range(3)))
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            until("all", lambda: len(found(alice, "removed")) == 3)
            for word in ["Delete", "Archive", "Move"]:
                alice.run("document.querySelectorAll('input[name=m]').forEach(each => each.checked = true)")
                if word == "Move":
                    alice.set("select[name=to]", "Junk")
                alice.press(word)
                alice.shows("3 messages moved to")
                assert alice.count("li.message") == 0
                alice.press("Undo")
                assert len(found(alice, "removed")) == 3, word


def one_comes_back_to_where_one_was(host):
    host.send(*(plain("place %d" % number, "words\n") for number in range(110)))
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            until("all", lambda: alice.go("/m/INBOX?q=place") or "of 110" in alice.text())
            alice.link("Older")
            here = alice.url()
            alice.run("scrollTo(0, 300)")
            at = alice.run("return scrollY")
            assert at > 100
            link = alice.run("return document.elementsFromPoint(600, 400).find(each => each.closest('li.message')).closest('li').querySelector('a').href")
            alice.click("a[href='%s']" % link[len(host.site):])
            # The browser's own way, and the page's.
            alice.back()
            assert alice.url() == here, alice.url()
            until("the same place", lambda: abs(alice.run("return scrollY") - at) < 2)
            alice.click("a[href='%s']" % link[len(host.site):])
            alice.link("← Inbox")
            assert alice.url().split("#")[0] == here, alice.url()
            # What is done in a message leads there, too.
            alice.click("a[href='%s']" % link[len(host.site):])
            alice.press("Mark unread")
            assert alice.url().split("#")[0] == here, alice.url()


def a_link_leads_through_the_login(host):
    host.send(plain("linked to", "the words\n"))
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            alice.open("linked to")
            link = alice.url()
            alice.tick("details.menu summary")
            alice.click("//button[normalize-space()='Log out']", "xpath")
            alice.go(link)
            alice.type("input[name=name]", "alice")
            alice.type("input[name=password]", "secret")
            alice.click("button.first")
            assert alice.url() == link, alice.url()
            alice.shows("the words")


TESTS = [search_understands_its_words, each_removal_is_undone, one_comes_back_to_where_one_was, a_link_leads_through_the_login]
