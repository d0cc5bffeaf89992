"""Python's imaplib at work: every method it has, and after each what the server then holds."""
import imaplib
import re
import time

from stage import PATIENCE, need


def ok(answer, wanted="OK"):
    status, data = answer
    need(status == wanted, "%s where %s was wanted: %r" % (status, wanted, data))
    return data


def fails(ask):
    """What the server does not know it refuses, and the session goes on."""
    try:
        status, _ = ask()
    except imaplib.IMAP4.error as error:
        need(not isinstance(error, imaplib.IMAP4.abort), "it ended the session: %s" % error)
        status = "BAD"
    need(status in ("NO", "BAD"), "it did what it can't do: %s" % status)


def numbers(data):
    return [int(number) for line in data if line for number in line.split()]


class Look:
    """What was fetched, by number: flags, and what else there is."""

    def __init__(self, data):
        self.lines = [part if isinstance(part, bytes) else b"".join(part) for part in data if part]

    def flags(self):
        return [set(re.search(rb"FLAGS \(([^)]*)\)", line).group(1).decode().split()) - {"\\Recent"} for line in self.lines if b"FLAGS" in line]


def library(stage):
    names = stage.fill("INBOX", 20)
    held = {"INBOX": {name: ["\\Seen"] for name in names}}
    box = stage.log_in()
    entrance(stage, box)
    folders(box)
    marks(stage, box, held, names)
    copies(stage, box, held, names)
    appends(stage, box, held)
    searches(stage, box, names)
    removals(stage, box, held, names)
    others(stage)
    news(stage, box, held)
    ok(box.logout(), "BYE")
    stage.expect(held)


def entrance(stage, box):
    need("IMAP4REV1" in box.capabilities and box.PROTOCOL_VERSION == "IMAP4REV1", "capabilities: %r" % (box.capabilities,))
    need(b"IDLE" in ok(box.capability())[0].split(), "no IDLE")
    ok(box.noop())
    need(ok(box.namespace())[0] == b'(("" "/")) NIL NIL', "namespace")
    wrong = imaplib.IMAP4("127.0.0.1", stage.port, timeout=PATIENCE)
    fails(lambda: wrong.login(stage.user, "wrong"))
    ok(wrong.authenticate("PLAIN", lambda _: b"\0%s\0%s" % (stage.user.encode(), stage.password.encode())))
    ok(wrong.enable("UTF8=ACCEPT"))
    ok(wrong.logout(), "BYE")
    with imaplib.IMAP4("127.0.0.1", stage.port, timeout=PATIENCE) as again:
        # Not announced, and refused.
        fails(lambda: again.login_cram_md5(stage.user, stage.password))
    fails(lambda: box.proxyauth("u2"))


def folders(box):
    ok(box.create("Work"))
    fails(lambda: box.create("Work"))
    ok(box.create("Old"))
    ok(box.create("Old/Deep"))
    ok(box.subscribe("Work"))
    need(any(line.endswith(b'"Work"') or line.endswith(b" Work") for line in ok(box.lsub())), "Work is not subscribed")
    ok(box.unsubscribe("Work"))
    need(not any(b"Work" in line for line in ok(box.lsub())), "Work is subscribed")
    ok(box.rename("Old", "New"))
    listed = ok(box.list('""', "New*"))
    need(len(listed) == 2 and listed[1].endswith(b"New/Deep") or b"New/Deep" in listed[1], "listed: %r" % listed)
    ok(box.delete("New/Deep"))
    ok(box.delete("New"))
    fails(lambda: box.delete("New"))
    need(ok(box.list('""', "New*")) == [None], "New is there still")


def marks(stage, box, held, names):
    need(ok(box.select("INBOX")) == [b"20"], "20 messages")
    need(box.response("UIDVALIDITY")[1] and box.response("FLAGS")[1], "what SELECT tells")
    told = ok(box.status("INBOX", "(MESSAGES UNSEEN UIDNEXT)"))[0]
    need(all(word in told for word in (b"MESSAGES 20", b"UNSEEN 0", b"UIDNEXT 21")), "STATUS tells %r" % told)
    need(Look(ok(box.store("1:3", "+FLAGS", "(\\Flagged Mine)"))).flags() == [{"\\Seen", "\\Flagged", "Mine"}] * 3, "STORE tells")
    need(Look(ok(box.uid("STORE", "2", "-FLAGS", "(\\Flagged)"))).flags() == [{"\\Seen", "Mine"}], "UID STORE tells")
    ok(box.store("4", "FLAGS", "(\\Draft)"))
    ok(box.store("5", "+FLAGS.SILENT", "(\\Answered)"))
    held["INBOX"].update({names[0]: ["\\Seen", "\\Flagged", "Mine"], names[1]: ["\\Seen", "Mine"], names[2]: ["\\Seen", "\\Flagged", "Mine"], names[3]: ["\\Draft"],
                          names[4]: ["\\Seen", "\\Answered"]})
    stage.expect(held)
    for number, name in enumerate(names, 1):
        parts = ok(box.fetch(str(number), "(UID RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        texts = [part[1] for part in parts if isinstance(part, tuple)]
        letter = stage.letter(name)[1]
        need(texts[0] == letter and texts[1] == b"Subject: %s\r\n\r\n" % name.encode(), "%s: %r" % (name, texts))
        need(b"RFC822.SIZE %d" % len(letter) in parts[0][0], "size: %r" % parts[0][0])
        need(ok(box.fetch(str(number), "BODY.PEEK[]<5.20>"))[0][1] == letter[5:25], "a piece of %s" % name)
    ok(box.check())
    # Of IMAP before it was 4 (RFC 1176).
    fails(lambda: box.partial("1", "RFC822", "1", "10"))
    fails(lambda: box.store("99", "+FLAGS", "(\\Seen)"))


def copies(stage, box, held, names):
    ok(box.copy("1:2", "Work"))
    ok(box.uid("COPY", "3", "Work"))
    fails(lambda: box.copy("1", "Nowhere"))
    held["Work"] = {name: held["INBOX"][name] for name in names[:3]}
    stage.expect(held)
    ok(box.uid("MOVE", "6:7", "Archive"))
    held["Archive"] = {name: held["INBOX"].pop(name) for name in names[5:7]}
    stage.expect(held)


def appends(stage, box, held):
    name, letter = stage.letter("by-imaplib")
    ok(box.append("Work", "(\\Flagged Later)", imaplib.Time2Internaldate(1700000000), letter))
    held["Work"][name] = ["\\Flagged", "Later"]
    stage.expect(held)
    fails(lambda: box.append("Nowhere", None, None, letter))
    ok(box.select("Work"))
    need(imaplib.Internaldate2tuple(ok(box.fetch("4", "INTERNALDATE"))[0]) == time.localtime(1700000000), "INTERNALDATE")
    ok(box.unselect())


def searches(stage, box, names):
    need(ok(box.select("INBOX", readonly=True)) == [b"18"], "18 are left")
    left = [name for name in names if name not in names[5:7]]
    need(numbers(ok(box.search(None, "ALL"))) == list(range(1, 19)), "SEARCH ALL")
    need(numbers(ok(box.search(None, "KEYWORD", "Mine", "FLAGGED"))) == [1, 3], "SEARCH of flags")
    need(numbers(ok(box.search("UTF-8", "SUBJECT", '"%s"' % names[9]))) == [left.index(names[9]) + 1], "SEARCH SUBJECT")
    lit = [number for number, name in enumerate(left, 1) if "ümlaut" in stage.letter(name)[1].decode()]
    box.literal = "ÜMLAUT".encode()
    need(numbers(ok(box.search("UTF-8", "BODY"))) == lit, "SEARCH BODY by a literal")
    need(numbers(ok(box.uid("SEARCH", None, "UID", "6:8"))) == [8], "UID SEARCH")
    by_subject = sorted(range(1, 19), key=lambda number: left[number - 1])
    need(numbers(ok(box.sort("(SUBJECT)", "UTF-8", "ALL"))) == by_subject, "SORT")
    need(numbers(ok(box.sort("(REVERSE ARRIVAL)", "UTF-8", "1:5"))) == [5, 4, 3, 2, 1], "SORT by arrival")
    need(len(re.findall(rb"\d+", ok(box.thread("REFERENCES", "UTF-8", "ALL"))[0])) == 18, "THREAD")
    fails(lambda: box.store("1", "+FLAGS", "(\\Seen)"))
    ok(box.close())


def removals(stage, box, held, names):
    ok(box.select("INBOX"))
    ok(box.store("1,3", "+FLAGS", "(\\Deleted)"))
    # Each number is of those that are left then.
    need(numbers(ok(box.expunge())) in ([1, 2], [3, 1]), "EXPUNGE tells")
    del held["INBOX"][names[0]], held["INBOX"][names[2]]
    stage.expect(held)
    ok(box.store("1:2", "+FLAGS", "(\\Deleted)"))
    ok(box.uid("EXPUNGE", "2"))
    del held["INBOX"][names[1]]
    held["INBOX"][names[3]] = ["\\Draft", "\\Deleted"]
    stage.expect(held)
    ok(box.close())
    del held["INBOX"][names[3]]
    stage.expect(held)


def others(stage):
    """What is refused, and what is there only to be asked. In a session of its own: who errs often is thrown out."""
    box = stage.log_in()
    ok(box.select("INBOX"))
    fails(lambda: box.getacl("INBOX"))
    fails(lambda: box.setacl("INBOX", "u2", "lr"))
    fails(lambda: box.deleteacl("INBOX", "u2"))
    fails(lambda: box.myrights("INBOX"))
    fails(lambda: box.getannotation("INBOX", '"/comment"', '"value.shared"'))
    fails(lambda: box.setannotation("INBOX", '"/comment"', '("value.shared" "x")'))
    fails(lambda: box.setquota('""', "(STORAGE 1)"))
    imaplib.Commands["ID"] = ("NONAUTH", "AUTH", "SELECTED")
    ok(box.xatom("ID", "NIL"))
    need(box.response("ID")[1] is not None, "ID")
    # No limit is set here: there is no root.
    ok(box.getquotaroot("INBOX"))
    ok(box.unselect())
    ok(box.logout(), "BYE")


def news(stage, box, held):
    """Somebody else appends while this one looks."""
    count = int(ok(box.select("INBOX"))[0])
    name = stage.fill("INBOX", 1)[0]
    held["INBOX"][name] = ["\\Seen"]
    ok(box.noop())
    need(box.response("EXISTS")[1][-1] == b"%d" % (count + 1), "EXISTS")
    ok(box.recent())
    idle(stage, box, held)


def idle(stage, box, held):
    """It has no method for it; what it has to send and to read suffices."""
    tag = box._new_tag()
    box.send(tag + b" IDLE\r\n")
    while not box.readline().startswith(b"+"):
        pass
    held["INBOX"][stage.fill("INBOX", 1)[0]] = ["\\Seen"]
    line = box.readline()
    need(re.fullmatch(rb"\* \d+ EXISTS\r\n", line), "in IDLE came %r" % line)
    box.send(b"DONE\r\n")
    while not line.startswith(tag):
        line = box.readline()
    need(line.startswith(tag + b" OK"), "IDLE ended with %r" % line)
    box.tagged_commands.pop(tag, None)
    ok(box.noop())
