"""What goes back and forth: conversations, who writes as whom, when a message leaves, and what is odd about one that came."""
import time

from driver import until
from letters import in_mbox, letter, plain, wire


def source(host, browser):
    return host.fetch(browser, browser.url().split("?")[0] + "/source").read().decode()


def conversations_unfold(host):
    for scripts in [True, False]:
        name = "supper %s" % scripts
        first = letter(name, "word " * 200 + "\nthe end of the first\n")
        second = letter("Re: " + name, "the second\n", **{"In-Reply-To": first["Message-ID"], "References": first["Message-ID"]})
        host.send(wire(first), wire(second), plain(name, "of another supper\n"))
        with host.visit(scripts=scripts) as alice:
            until("all", lambda: alice.go("/m/INBOX?q=%%22%s%%22" % name.replace(" ", "%20")) or alice.count("li.message") == 3)
            alice.click("//li[contains(., 'word word')]//a", "xpath")
            alice.open("Re: " + name)
            alice.link("Conversation")
            alice.shows("2 messages")
            alice.shows("the second")
            alice.lacks("of another supper")
            # The one that was read is folded, and can be unfolded and folded again.
            alice.lacks("the end of the first")
            alice.tick("details.part summary")
            alice.shows("the end of the first")
            alice.tick("details.part summary")
            alice.lacks("the end of the first")


def one_writes_as_whom_one_is(host):
    """Two addresses, each with its name; a signature; importance; a report of the delivery."""
    for scripts in [True, False]:
        subject = "from the office %s" % scripts
        with host.visit("carol", scripts=scripts) as carol, host.visit("bob", scripts=scripts) as bob:
            carol.go("/settings")
            names = "return [...document.querySelectorAll('input[name=name]')].map(each => each.labels[0].textContent)"
            assert ["carol@here.test" in carol.run(names)[0], "office@here.test" in carol.run(names)[1]] == [True, True]
            carol.run("document.querySelectorAll('input[name=name]').forEach((each, at) => each.value = ['Carol Ems', 'Harbour Office'][at])")
            carol.fill("textarea[name=signature]", "Carol\nPier 3")
            carol.press("Save")
            carol.go("/compose")
            assert carol.value("textarea").strip() == "-- \nCarol\nPier 3", carol.value("textarea")
            carol.set("select[name=from]", "office@here.test")
            carol.write(to="bob@here.test", subject=subject)
            carol.tick("details.manner summary")
            carol.set("select[name=importance]", "high")
            carol.press("Send")
            carol.shows("The message was sent.")
            bob.open(subject)
            bob.shows("Harbour Office <office@here.test>")
            bob.shows("Pier 3")
            assert "\r\nImportance: high\r\n" in source(host, bob)
            # A report, when it is asked for.
            carol.go("/compose")
            carol.write(to="bob@here.test", subject="tell me %s" % scripts)
            carol.tick("details.manner summary")
            carol.tick("input[name=report]")
            carol.press("Send")
            until("a report", lambda: carol.go("/m/INBOX") or carol.count("li.unread") == 1)
            carol.click("li.unread a")
            assert "Action: delivered" in source(host, carol)
            # Those one wrote to are offered.
            carol.go("/compose")
            offered = carol.run("const field = document.querySelector('input[name=to]'); return [...field.list.options].map(each => each.value)")
            assert "bob@here.test" in offered, offered


def a_message_waits_and_is_taken_back(host):
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            # Sent later.
            alice.go("/compose")
            alice.write(to="bob@here.test", subject="tomorrow %s" % scripts, text="not today")
            alice.tick("details.manner summary")
            alice.set("input[name=at]", time.strftime("%Y-%m-%dT%H:%M", time.localtime(time.time() + 7200)))
            alice.press("Send")
            alice.shows("The message waits to be sent.")
            alice.press("Undo")
            assert alice.value("textarea").strip() == "not today"
            # A moment to think.
            alice.go("/settings")
            alice.run("document.querySelector('input[name=recall]').checked = true")
            alice.press("Save")
            alice.go("/compose")
            alice.write(to="bob@here.test", subject="too soon %s" % scripts, text="hot words")
            alice.press("Send")
            alice.shows("The message waits to be sent.")
            alice.press("Undo")
            assert alice.value("textarea").strip() == "hot words"
            alice.go("/m/Sent")
            alice.lacks("too soon")
            alice.open("too soon %s" % scripts, "Drafts")
            alice.go("/settings")
            alice.run("document.querySelector('input[name=recall]').checked = false")
            alice.press("Save")


def what_was_forgotten_is_asked_for(host):
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            alice.go("/compose")
            alice.write(to="bob@here.test", subject="the tables %s" % scripts, text="You find them attached.")
            alice.press("Send")
            alice.shows("there is no file. It was not sent")
            alice.press("Send")
            alice.shows("The message was sent.")


def odd_messages_are_told_of(host):
    """Who looks like another; what this host found of the sender, and nobody else's word for it; parts that are not there."""
    parts = letter("odd parts", "")
    del parts["Content-Type"], parts["Content-Transfer-Encoding"]
    body = "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" \
        "Content-Type: message/external-body; access-type=URL; url=\"https://far.test/\r\n big.iso\"\r\n\r\nContent-Type: x/y\r\n\r\n--x\r\n" \
        "Content-Type: message/external-body; access-type=url; url=\"javascript:top.pwned=1\"\r\n\r\nContent-Type: x/y\r\n\r\n--x\r\n" \
        "Content-Type: message/partial; id=abc; number=2; total=5\r\n\r\nhalf of it\r\n--x\r\n" \
        "Content-Type: multipart/digest; boundary=y\r\n\r\n--y\r\n\r\nSubject: first of two\r\n\r\none\r\n--y\r\n\r\nSubject: second\r\n\r\ntwo\r\n--y--\r\n--x--\r\n"
    head = wire(parts).split(b"\r\n\r\n")[0]
    host.send(head + b"\r\n" + body.encode(), plain("pay now", "quickly\n", sender="P\u0430ypal <x@far.test>"))
    found = "Authentication-Results: %s;\n\tspf=pass smtp.mailfrom=far.test;\n\tdkim=%s header.d=far.test;\n\tdmarc=%s header.from=far.test\n"
    with open(host.home + "/mail/alice", "ab") as mailbox:
        for subject, by, verdict in [("proven", "localhost", "pass"), ("forged", "localhost", "fail"), ("vouched", "mx.far.test", "pass")]:
            mailbox.write(in_mbox((found % (by, verdict, verdict)).encode() + wire(letter(subject, "text\n")), time.time()))
    for scripts in [True, False]:
        with host.visit(scripts=scripts) as alice:
            alice.open("pay now")
            alice.shows("letters that look like those of another alphabet")
            alice.open("proven")
            alice.shows("This is from far.test: signed by far.test")
            alice.open("forged")
            alice.shows("Perhaps forged: far.test does not stand behind this message.")
            alice.open("vouched")
            assert alice.count(".proof") == 0
            alice.open("odd parts")
            alice.shows("piece 2 of 5 of a bigger message")
            alice.shows("Digest of 2 messages")
            alice.shows("first of two")
            links = alice.run("return [...document.querySelectorAll('.files a')].map(each => [each.href, each.rel, each.textContent])")
            assert ["https://far.test/big.iso", "noopener noreferrer nofollow", "https://far.test/big.iso"] in links, links
            assert not [link for link in links if "javascript" in link[0]], links
            alice.shows("javascript:top.pwned=1")


TESTS = [conversations_unfold, one_writes_as_whom_one_is, a_message_waits_and_is_taken_back, what_was_forgotten_is_asked_for,
         odd_messages_are_told_of]
