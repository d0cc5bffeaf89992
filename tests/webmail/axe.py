"""axe-core on every kind of page, light and dark, wide and narrow: nothing that it calls serious or critical."""
import glob
import os

from letters import NEWSLETTER, html, letter, plain, wire, with_both, with_files

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
# What a frame shows is what strangers made, and runs no script. Spacing of targets is a rule that is off by itself.
RUN = """return axe.run(document, {iframes: false, resultTypes: ['violations'], rules: {'target-size': {enabled: true}}})
    .then(told => told.violations.filter(each => ['serious', 'critical'].includes(each.impact))
        .map(each => [each.id, each.impact, each.nodes.slice(0, 5).map(node => node.html.slice(0, 160) + ' ' + node.any.concat(node.all, node.none).map(check => check.message).join('; '))]))"""


def source():
    with open(glob.glob(TOP + "/target/peers/axe/*/axe.min.js")[0], encoding="utf-8") as file:
        return file.read()


def kinds(browser):
    """Each kind of page once, with something in it: its name, and the way to it."""
    def at(path):
        return lambda: browser.go(path)

    def of(subject, *links):
        def go():
            browser.open(subject)
            for link in links:
                browser.link(link)
        return go

    def opened(what):
        def go():
            browser.go("/m/INBOX")
            browser.run(what)
        return go

    def wrongly_written():
        browser.go("/compose")
        browser.write(to="nobody@here.test", subject="never sent", text="text")
        browser.press("Send")
        browser.shows("It was not sent.")

    def deleted():
        browser.open("to be deleted")
        browser.press("Delete")
        browser.shows("Undo")

    def printed():
        browser.open("with files")
        # This page runs no script, the test's neither.
        browser.tool("Page.setBypassCSP", {"enabled": True})
        browser.link("Print")
        browser.tool("Page.setBypassCSP", {"enabled": False})

    def missing():
        browser.ask("POST", "/url", {"url": browser.site + "/m/INBOX/1-1"})
        browser.shows("404 Not Found")
        browser.log()

    return [
        ("login", at("/login")), ("setup", at("/setup")), ("list", at("/m/INBOX")), ("empty list", at("/m/Junk")),
        ("search", at("/m/INBOX?q=from:bob")), ("menu", opened("document.querySelector('details.menu').open = true")),
        ("keys", opened("document.dispatchEvent(new KeyboardEvent('keydown', {key: '?', bubbles: true}))")),
        ("message", of("with files")), ("formatted", of("with both")), ("plain", of("with both", "Show as plain text")),
        ("newsletter", of("newsletter")), ("fields", of("with files", "All header fields")), ("print", printed),
        ("conversation", of("with files", "Conversation")), ("compose", at("/compose")), ("reply", of("with files", "Reply")),
        ("forward", of("with files", "Forward")), ("not sent", wrongly_written), ("undo", deleted), ("drafts", at("/m/Drafts")),
        ("folders", at("/folders")), ("folder", at("/folders?folder=Kept")), ("settings", at("/settings")),
        ("sessions", at("/sessions")), ("error", missing),
    ]


def nothing_serious_on_any_page(host):
    host.send(with_both("with both"), with_files("with files"), html("newsletter", NEWSLETTER), plain("to be deleted", "text\n"),
              wire(letter("Grüße", "> a\n> b\n> c\n> d\n> e\nanswer\n", sender="аррӏе@xn--80ak6aa92e.test")))
    browser = host.browser()
    script, found, looked = source(), [], 0
    try:
        browser.log_in()
        browser.go("/folders")
        browser.type("form.settings input[name=name]", "Kept")
        browser.press("Make it")
        for name, go in kinds(browser):
            go()
            browser.run(script)
            for width in [1280, 390]:
                browser.resize(width)
                for scheme in ["light", "dark"]:
                    browser.emulate([{"name": "prefers-color-scheme", "value": scheme}])
                    found += ["%s, %s, %d: %s (%s)\n    %s" % (name, scheme, width, rule, impact, "\n    ".join(nodes))
                              for rule, impact, nodes in browser.run(RUN)]
                    looked += 1
            browser.resize(1280)
        assert looked == 4 * len(kinds(browser)) and not found, "\n".join(found)
        # It does see what it is for.
        browser.emulate([{"name": "prefers-color-scheme", "value": "light"}])
        browser.go("/m/INBOX")
        browser.run(script)
        browser.run("document.querySelector('main').append(document.createElement('button')); document.querySelector('h1').style.color = '#bbb'")
        assert {"button-name", "color-contrast"} <= {rule for rule, _, _ in browser.run(RUN)}
    finally:
        browser.close()


TESTS = [nothing_serious_on_any_page]
