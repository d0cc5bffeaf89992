"""What the script adds: mail that appears by itself, keys, ranges, drafts that save themselves, uploads."""
import os

from driver import until
from letters import letter, wire


def with_alice(host, go):
    alice = host.browser()
    try:
        alice.log_in()
        go(alice)
        alice.look()
    finally:
        alice.close()


def key(browser, *keys):
    """Keys as they are pressed, where the focus is."""
    for text in keys:
        actions = [{"type": "keyDown", "value": text}, {"type": "keyUp", "value": text}]
        browser.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})


def mail(subject):
    return wire(letter(subject, "Some words.\n"))


def new_mail_appears(host):
    def go(alice):
        alice.run("window.stays = 1")
        # The first word of the stream tells how all stands.
        host.send(mail("begins"))
        alice.shows("begins")
        host.send(mail("appears at once"))
        alice.shows("appears at once")
        assert alice.run("return document.querySelector('nav.folders .count').textContent") == "2"
        assert alice.run("return document.title").startswith("(2)")
        # What is selected stays so, and the page is the same one.
        alice.tick("input[name=m]")
        host.send(mail("second one"))
        alice.shows("second one")
        assert alice.count("input[name=m]:checked") == 1 and alice.run("return window.stays") == 1

    with_alice(host, go)


def keys_do_what_gmails_do(host):
    host.send(*[mail("key %d" % number) for number in range(4)])

    def go(alice):
        alice.open("key 3")
        key(alice, "u")
        until("the list", lambda: alice.url().split("#")[0].endswith("/m/INBOX"))
        key(alice, "j")
        at = "return document.activeElement.closest('li.message').textContent"
        assert "key 3" in alice.run(at)
        key(alice, "j")
        assert "key 2" in alice.run(at)
        key(alice, "k", "x")
        assert alice.count("input[name=m]:checked") == 1
        key(alice, "e")
        alice.shows("1 message moved to Archive")
        alice.lacks("key 3")
        key(alice, "z")
        alice.shows("1 message moved to")
        alice.open("key 3")
        key(alice, "r")
        until("an answer", lambda: "/compose?reply=" in alice.url())
        alice.go("/m/INBOX")
        key(alice, "?")
        alice.shows("mark unread")
        alice.run("document.querySelector('dialog').close()")
        until("the page's own keys", lambda: alice.count("dialog") == 0)
        key(alice, "g", "t")
        until("the sent ones", lambda: alice.url().endswith("/m/Sent"))
        # Where something is written keys are letters.
        alice.go("/m/INBOX")
        key(alice, "/")
        key(alice, "e", "#")
        assert alice.value("input[name=q]") == "e#"

    with_alice(host, go)


def ranges_are_selected(host):
    host.send(*[mail("range %d" % number) for number in range(5)])

    def go(alice):
        alice.go("/m/INBOX?q=subject:range")
        alice.run("""const boxes = document.querySelectorAll('input[name=m]');
            boxes[1].click();
            boxes[3].dispatchEvent(new MouseEvent('click', { shiftKey: true, bubbles: true, cancelable: true }));""")
        assert alice.run("return [...document.querySelectorAll('input[name=m]')].map(box => +box.checked).join('')") == "01110"
        alice.tick(".every input")
        assert alice.count("input[name=m]:checked") == 5
        alice.press("Mark read")
        assert alice.count(".message.unread") == 0

    with_alice(host, go)


def drafts_save_themselves(host):
    def go(alice):
        alice.go("/compose")
        alice.write(subject="saved by itself", text="unfinished words")
        alice.shows("Saved")
        # The window is lost; the draft is not.
        other = host.browser()
        try:
            other.log_in()
            other.open("saved by itself", "Drafts")
            assert other.value("textarea").strip() == "unfinished words"
            # Two windows: the one that comes second is told, and both texts stay.
            other.write(text="of the other window")
            other.shows("Saved")
            alice.type("textarea", " and more")
            alice.shows("kept as another draft")
        finally:
            other.close()
        alice.write(to="bob@here.test")
        alice.press("Send")
        alice.shows("The message was sent.")
        alice.go("/m/Drafts")
        alice.shows("of the other window")
        assert alice.count("li.message") == 1

    with_alice(host, go)


def files_are_uploaded_as_they_are_chosen(host):
    def go(alice):
        alice.go("/compose")
        path = os.path.join(host.home, "tide tables.txt")
        with open(path, "w") as out:
            out.write("high water")
        alice.type("input[name=file]", path)
        alice.shows("tide tables.txt")
        alice.run("""const data = new DataTransfer();
            data.items.add(new File(['low water'], 'dropped.txt', { type: 'text/plain' }));
            document.querySelector('form.write').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));""")
        alice.shows("dropped.txt")
        alice.write(to="alice@here.test", subject="two files")
        alice.press("Send")
        alice.shows("The message was sent.")
        alice.open("two files")
        alice.shows("tide tables.txt")
        alice.shows("dropped.txt")

    with_alice(host, go)


TESTS = [new_mail_appears, keys_do_what_gmails_do, ranges_are_selected, drafts_save_themselves, files_are_uploaded_as_they_are_chosen]
