"""Messages, and what is in them."""
import os
import urllib.parse

from driver import until
from letters import PDF, PNG, SVG, letter, wire, with_both, with_files


def reading(host, look, **kind):
    browser = host.browser(**kind)
    try:
        browser.log_in()
        look(browser)
    finally:
        browser.close()


def formatted_and_plain(host):
    host.send(with_both("formatted"))
    for scripts in [True, False]:
        reading(host, both, scripts=scripts)
    assert host.asked("pictures.evil"), "nobody would have heard a picture asked for"


def both(browser):
    browser.open("formatted")
    browser.lacks("the plain words")
    frame = browser.run("return document.querySelector('iframe').getAttribute('sandbox')")
    assert frame == "allow-same-origin allow-popups allow-popups-to-escape-sandbox", frame
    browser.enter("iframe")
    browser.shows("the formatted words")
    # The picture that came with it is there, and that of another host is not.
    until("the picture", lambda: browser.run("return document.querySelector('img[alt=red]').naturalWidth") == 2)
    assert browser.count("img[src]") == 1
    browser.enter(None)
    here = browser.url()
    browser.link("Show as plain text")
    browser.shows("the plain words")
    assert browser.count("iframe") == 0
    browser.link("Show with formatting")
    assert browser.count("iframe") == 1
    # Pictures from elsewhere, when asked for.
    assert here.split("?")[0] == browser.url().split("?")[0]
    browser.touch("partial link text", "Show pictures")
    browser.enter("iframe")
    until("both pictures", lambda: browser.count("img[src]") == 2)
    browser.enter(None)
    browser.log()


def full_headers_and_source(host):
    host.send(wire(letter("Grüße", "the text\n", **{"X-Odd": "<b>odd</b>"})))

    def look(browser):
        browser.open("Grüße")
        browser.lacks("X-Odd")
        here = browser.url()
        browser.link("All header fields")
        browser.shows("X-Odd: <b>odd</b>")
        browser.shows("Received: from client.test")
        browser.go(here)
        browser.link("Source")
        browser.shows("Subject: =?utf-8?")
        browser.shows("Return-Path: <writer@far.test>")
        assert browser.run("return document.contentType") == "text/plain"
        answer = host.fetch(browser, here + "/source?download=1")
        assert answer.headers["Content-Disposition"].startswith("attachment;"), answer.headers
        assert b"the text" in answer.read()

    reading(host, look)
    reading(host, look, scripts=False)


def in_print(host):
    host.send(with_both("printed"))

    def look(browser):
        browser.open("printed")
        browser.emulate([], "print")
        for gone in ["header.top", "nav.folders", "article form.actions"]:
            assert browser.style(gone, "display") == "none", gone
        browser.emulate([], "")
        browser.link("Print")
        browser.shows("printed")
        browser.shows("Bob Baker")
        # All of it is on the page, not only what a frame has room for.
        browser.shows("the formatted words")
        assert browser.count("iframe, form, nav") == 0
        pages = browser.ask("POST", "/print", {})
        assert len(pages) > 1000, pages

    reading(host, look)
    reading(host, look, scripts=False)


def files(host):
    host.send(with_files("enclosed"))

    def look(browser):
        browser.open("enclosed")
        here = browser.url()
        for name in ["red.png", "Größe \"neu\".pdf", "drawing.svg", "page.html", "データ.bin"]:
            browser.shows(name)

        def path(name):
            return browser.run("return [...document.querySelectorAll('.files a')].find(a => a.textContent.includes(arguments[0])).href", name)

        paths = {name: path(name) for name in ["red.png", "neu", "drawing.svg", "page.html", "データ"]}
        # A picture is shown on the page, and by itself.
        until("the picture", lambda: browser.run("return document.querySelector('.files img').naturalWidth") == 2)
        browser.go(paths["red.png"])
        assert browser.run("return document.images[0].naturalWidth") == 2
        # A PDF opens in the browser's own viewer.
        browser.go(paths["neu"])
        assert browser.run("return document.contentType") == "application/pdf"
        until("the viewer", lambda: [each for each in browser.tool("Target.getTargets", {})["targetInfos"] if each["url"].startswith("chrome-extension:")])
        # What could do something only downloads: the page stays where it is.
        for name, kept, bytes_ in [("drawing.svg", "drawing.svg", SVG), ("page.html", "page.html", b"<script>top.pwned=1</script>"),
                                   ("データ", "データ.bin", b"\0\1\2" * 100)]:
            browser.go(here)
            answer = host.fetch(browser, paths[name])
            assert answer.headers["Content-Disposition"].startswith("attachment;"), answer.headers
            assert answer.headers["Content-Type"] == "application/octet-stream", answer.headers
            browser.tool("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": host.home + "/saved"})
            browser.touch("partial link text", name)
            saved = os.path.join(host.home, "saved", kept)
            until(kept + " in " + repr(os.listdir(host.home + "/saved")), lambda: open(saved, "rb").read().strip() == bytes_.strip())
            assert browser.url() == here, browser.url()
            assert browser.run("return typeof window.pwned") == "undefined"
            os.remove(saved)
        assert host.fetch(browser, paths["neu"]).read() == PDF
        assert host.fetch(browser, paths["red.png"]).read() == PNG

    reading(host, look)


# And what is made of those that would deceive, or lie elsewhere, or be hidden, or have no room.
NAMES = {"plain.txt": None, "Größe \"neu\"; x=y.txt": None, "100% + a&b #1?.txt": None, "データ 資料.txt": None, "a'b`c$(d).sh": None,
         "no extension": None, "\u05e9\u05dc\u05d5\u05dd.txt": None, "emoji \U0001f6a4.txt": None, "\u202egnp.exe": "gnp.exe",
         "..\\..\\evil.bat": "evil.bat", ".hidden": "hidden", "x" * 200 + ".txt": "x" * 146 + ".txt"}


def files_of_any_name(host):
    """As they are written on a disk, sent to oneself, and saved again: name and content are the same (RFC 2231, RFC 6266)."""
    there = os.path.join(host.home, "there")
    os.mkdir(there)
    for number, name in enumerate(NAMES):
        with open(os.path.join(there, name), "wb") as file:
            file.write(b"%d\0\r\nof %d" % (number, len(NAMES)))
    for scripts in [True, False]:
        subject = "any name %s" % scripts
        with host.visit(scripts=scripts) as alice:
            alice.go("/compose")
            alice.write(to="alice@here.test", subject=subject)
            alice.type("input[name=file]", "\n".join(os.path.join(there, name) for name in NAMES))
            if scripts:
                until("all files", lambda: alice.count("input[name=keep]") == len(NAMES))
            alice.press("Send")
            alice.shows("The message was sent.")
            alice.open(subject)
            files = alice.run("return [...document.querySelectorAll('.files li')].map(li => [li.querySelector('bdi').textContent, "
                              "[...li.querySelectorAll('a')].pop().href])")
            assert [name for name, _ in files] == [kept or name for name, kept in NAMES.items()], files
            for number, (name, path) in enumerate(files):
                answer = host.fetch(alice, path)
                how = answer.headers["Content-Disposition"]
                assert how.startswith("attachment; filename=\"") and how.count('"') == 2 and how.isascii(), how
                assert urllib.parse.unquote(how.split("filename*=UTF-8''")[1], errors="strict") == name, how
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.read() == b"%d\0\r\nof %d" % (number, len(NAMES)), name


def names_of_others(host):
    """Names as other programs write them, and none at all."""
    parts = [('attachment; filename="plain.txt"', "plain.txt"), ("attachment; filename==?utf-8?B?R3LDtsOfZS50eHQ=?=", "Größe.txt"),
             ("attachment; filename*=iso-8859-1'de'Gr%F6%DFe.txt", "Größe.txt"), ("attachment; filename*0*=utf-8''Gr%C3%B6; filename*1=sse; filename*2*=%C3%9F.txt", "Grösseß.txt"),
             ('attachment; filename="Größe.txt"', "Größe.txt"), ('attachment; filename="a\\"b.txt"', 'a"b.txt'), ("attachment", None)]
    text = "From: x@far.test\r\nTo: alice@here.test\r\nSubject: names of others\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    for how, _ in parts:
        text += "--b\r\nContent-Type: application/x-odd\r\nContent-Disposition: %s\r\n\r\nx\r\n" % how
    host.send((text + "--b--\r\n").encode())

    def look(browser):
        browser.open("names of others")
        names = browser.run("return [...document.querySelectorAll('.files bdi')].map(each => each.textContent)")
        assert len(names) == len(parts) and all(names), names
        assert [name for name, (_, wanted) in zip(names, parts) if wanted] == [wanted for _, wanted in parts if wanted], names

    reading(host, look)
    reading(host, look, scripts=False)


def dates_and_unread(host):
    """Relative in the list, exact in the message; unread is bold until it is read."""
    host.send(wire(letter("unread one", "text\n")), wire(letter("read one", "text\n")))

    def look(browser):
        browser.open("read one")
        exact = browser.run("return [...document.querySelectorAll('dl.fields dt')].find(dt => dt.textContent == 'Date').nextElementSibling.textContent")
        assert "20" in exact and ":" in exact and exact.count(" ") >= 4, exact
        browser.go("/m/INBOX")
        weight = "return getComputedStyle([...document.querySelectorAll('.message')].find(li => li.textContent.includes(arguments[0])).querySelector('.subject')).fontWeight"
        assert (browser.run(weight, "unread one"), browser.run(weight, "read one")) == ("700", "400")
        shown = browser.run("return document.querySelector('.message time').textContent")
        assert len(shown) == 5 and shown[2] == ":", shown
        assert browser.run("return document.querySelector('.message time').title").count(" ") >= 4

    reading(host, look)


TESTS = [formatted_and_plain, full_headers_and_source, in_print, files, files_of_any_name, names_of_others, dates_and_unread]
