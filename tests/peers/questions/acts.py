"""Commands that change things, and what is told of it: LIST, STATUS, SELECT, STORE, COPY, MOVE, APPEND, EXPUNGE, CONDSTORE, and
what is refused. Each script is done from its first line to its last by both, in mailboxes that both made by the same commands.

A line is a command, of the session that the sign before it names, if there is one (`2>`). `{MODSEQ}`: the HIGHESTMODSEQ, or
MODSEQ, this session was told of last, `{PAST}`: the first one; `{VALIDITY}`: the UIDVALIDITY. `{+N}` and what follows is a literal.
"""
import re

from imap import Imap, Malformed

LETTER = "From: a@example.org\r\nSubject: %s\r\nDate: Sat, 1 Nov 2025 12:26:40 +0000\r\n\r\n%s\r\n"
# Of folders: two levels, names with blanks, quotes, wildcards, a slash at the end, in UTF-7.
FOLDERS = ["plain", "deep", "deep/er", "deep/er/est", "deep/other", "with blank", "&ZeVnLIqe-", "a&-b", "INBOXES", "inbox2", "Plain", "trailing",
           "x/y/z", "dot.ted", "(paren)", "#hash", "under_score", "50%-off".replace("%", ""), "q"]
PATTERNS = ["*", "%", "", "INBOX", "inbox", "iNBoX", "i*", "I*", "INB%", "%OX", "plain", "PLAIN", "p*", "deep", "deep/", "deep/%", "deep/*", "deep*", "deep%", "d%/%", "%/%",
            "%/%/%", "*/est", "%/est", "*e*", "**", "%%", "%*", "*%", "/*", "/", "//", "deep//er", "x", "x/%", "x/y", "x/y/%", "x/*", "with blank", "with*", "w% b*", "a&-b", "a*b",
            "&ZeVnLIqe-", "&*", "nowhere", "nowhere/*", "dot.*", "dot?ted", "(paren)", "(*", "~*", "#*", "INBOX/%", "INBOX*", "*Q", "q", "under_score", "d__p"]
REFERENCES = [("deep/", "%"), ("deep/", "*"), ("deep", "%"), ("deep", "/%"), ("deep/er", "*"), ("x/", "y"), ("de", "ep*"), ("nowhere/", "*"), ("INBOX", "*"), ("", "")]
EXTENDED = ['(SUBSCRIBED) "" *', '(SUBSCRIBED) "" %', '(SUBSCRIBED RECURSIVEMATCH) "" %', '(RECURSIVEMATCH) "" *', '(RECURSIVEMATCH SUBSCRIBED) "" *', '(REMOTE) "" *', '() "" *',
            '"" (plain deep/%)', '"" ("inbox" "x/*" %)', '"" (* plain)', '"" *  RETURN (SUBSCRIBED)', '"" * RETURN (SUBSCRIBED)', '"" % RETURN (CHILDREN)', '"" % RETURN ()',
            '"" % RETURN (SUBSCRIBED CHILDREN)', '(SUBSCRIBED) "" * RETURN (CHILDREN)', '"" % RETURN (STATUS (MESSAGES UIDNEXT UNSEEN))', '"" deep/* RETURN (STATUS (MESSAGES))',
            '(SUBSCRIBED) "" * RETURN (STATUS (MESSAGES))', '(NONSENSE) "" *', '"" * RETURN (NONSENSE)', '(SUBSCRIBED RECURSIVEMATCH) "" deep/%', '(SUBSCRIBED) "" nowhere',
            '(SUBSCRIBED RECURSIVEMATCH) "" (% x/%)', '"deep/" (% er/%)']


def literal(text):
    return "{%d+}\r\n%s" % (len(text.encode()), text)


def letter(name, flags="", body="text"):
    return "APPEND %s %s" % (name, flags) + (" " if flags else "") + literal(LETTER % (body, body))


def fill(name, count=6):
    return ['CREATE %s' % name] + [letter(name, body="number %d" % number) for number in range(1, count + 1)]


def quoted(name):
    return '"%s"' % name


def folders():
    yield from ("CREATE %s" % quoted(name) for name in FOLDERS)
    yield from ("SUBSCRIBE %s" % quoted(name) for name in ("plain", "deep/er/est", "x/y/z", "with blank", "&ZeVnLIqe-", "INBOX", "q"))
    for command in ("LIST", "LSUB"):
        yield from ('%s "" %s' % (command, quoted(pattern)) for pattern in PATTERNS)
        yield from ("%s %s %s" % (command, quoted(name), quoted(pattern)) for name, pattern in REFERENCES)
    yield from ("LIST " + words for words in EXTENDED)


def renamed():
    yield from ["CREATE r1", "CREATE r1/kid", "CREATE r1/kid/grand", letter("r1/kid"), "SUBSCRIBE r1/kid", "RENAME r1 r2", 'LIST "" r*', 'LSUB "" r*', "STATUS r2/kid (MESSAGES)",
                "RENAME r2/kid r3/new/deep", 'LIST "" r*', "STATUS r3/new/deep (MESSAGES UIDNEXT)", "RENAME nowhere r9", "RENAME r2 r3", "RENAME r2 r2",
                "CREATE r2", "CREATE inbox", "CREATE r5/", 'LIST "" r5*', "CREATE r5/kid", "CREATE \"\"", "CREATE *", "CREATE %", "CREATE a//b", "CREATE /a", "CREATE ~tilde", "DELETE ~tilde", "DELETE r5", 'LIST "" r5*',
                "DELETE r5/kid", "DELETE nowhere", "DELETE INBOX", "DELETE r2", "DELETE r2", 'LIST "" r2*', "UNSUBSCRIBE r1/kid", "UNSUBSCRIBE nowhere", "SUBSCRIBE nowhere",
                'LSUB "" *w*', "UNSUBSCRIBE nowhere", 'LSUB "" %', "CREATE r6", "RENAME r6 INBOX"]


def states():
    items = "MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN".split()
    yield from fill("st", 3)
    yield from ["STATUS st (%s)" % item for item in items]
    yield from ["STATUS st (%s)" % " ".join(items), "STATUS st (%s)" % " ".join(items[::-1]), "STATUS st (MESSAGES MESSAGES)", "STATUS ST (MESSAGES)", "STATUS \"st\" (SIZE)",
                "STATUS st ()", "STATUS st", "STATUS st MESSAGES", "STATUS st (NONSENSE)", "STATUS nowhere (MESSAGES)", "STATUS st (HIGHESTMODSEQ)", "STATUS inbox (MESSAGES)",
                "STATUS st (messages Unseen)", "STATUS * (MESSAGES)", "EXAMINE st", "STATUS st (RECENT UNSEEN)", "SELECT st", "STATUS st (MESSAGES RECENT)", "STORE 1 FLAGS (\\Seen)",
                "STATUS st (UNSEEN)", "CLOSE", "STATUS st (RECENT UNSEEN)", "STATUS st (DELETED)"]


def opened():
    yield from fill("op", 4)
    yield from ["EXAMINE op", "FETCH 1:* FLAGS", "STORE 1 +FLAGS (\\Seen)", "STORE 1 +FLAGS.SILENT (\\Seen)", "FETCH 1 BODY[TEXT]", "FETCH 1 FLAGS", "EXPUNGE", "UID EXPUNGE 1",
                "COPY 1 op", "CLOSE", "SELECT op", "SEARCH RECENT", "SEARCH NEW", "SEARCH OLD", "STORE 2 +FLAGS (\\Seen)", "SEARCH NEW", "SEARCH RECENT UNSEEN",
                "SEARCH NOT RECENT", "SEARCH NOT NEW", "SEARCH NOT OLD", "UID SEARCH OR OLD NEW", "SEARCH RETURN (COUNT) RECENT", "FETCH 1:* FLAGS", "2>SELECT op", "2>SEARCH RECENT",
                "2>SEARCH NEW", "2>SEARCH OLD", "2>FETCH 1:* FLAGS", "2>" + letter("op"), "2>NOOP", "NOOP", "2>SEARCH RECENT", "2>CLOSE", "SELECT op", "SEARCH RECENT", "SEARCH OLD", "UNSELECT",
                "SELECT op", "SEARCH RECENT", "SEARCH OLD", "SELECT nowhere", "FETCH 1 FLAGS", "SELECT op", "SELECT op (CONDSTORE)", "EXAMINE op (CONDSTORE)", "UNSELECT", "UNSELECT", "CLOSE", "SELECT op (NONSENSE)",
                "SELECT op ()", "UNSELECT", "SELECT", "x>SELECT op op", "SELECT \"op", "EXAMINE INBOX/", "EXAMINE \"op\"", "STORE 1 FLAGS ()", "CHECK", "NOOP", "CLOSE",
                "SELECT op", "STORE 1 +FLAGS (\\Deleted)", "UNSELECT", "STATUS op (MESSAGES)", "EXAMINE op", "CLOSE", "STATUS op (MESSAGES)", "SELECT op", "CLOSE", "STATUS op (MESSAGES)", "EXAMINE op", "MOVE 1 st", "CLOSE"]


def stored():
    yield from fill("so")
    yield from ["SELECT so", "STORE 1 FLAGS (\\Seen)", "STORE 1 FLAGS \\Seen", "STORE 1 FLAGS \\Seen \\Flagged", "STORE 1:3 +FLAGS (\\Answered)", "STORE 1:3 +FLAGS (\\Answered)",
                "STORE 2 -FLAGS (\\Answered)", "STORE 2 -FLAGS (\\Answered)", "STORE 2 FLAGS ()", "STORE 1:* FLAGS.SILENT (\\Draft)", "STORE 3 +FLAGS.SILENT (\\Draft)",
                "STORE 3 +FLAGS ($Work Mine)", "STORE 4 +FLAGS (work)", "STORE 3 -FLAGS ($work)", "STORE 1 FLAGS (\\seen \\FLAGGED)", "STORE 1 +FLAGS (\\Recent)", "STORE 1 +FLAGS (\\Nonsense)",
                "STORE 1 +FLAGS (\\*)", "STORE 1 +FLAGS ()", "STORE 1 -FLAGS ()", "STORE 0 +FLAGS (\\Seen)", "STORE 7 +FLAGS (\\Seen)", "STORE 5:7 +FLAGS (\\Seen)", "STORE 1 FLAG (\\Seen)",
                "STORE 1 +FLAGS", "STORE 1", "STORE", "STORE x FLAGS ()", "STORE 1 FLAGS (\\Seen", "STORE 1 +FLAGS.LOUD (\\Seen)", "UID STORE 1:2 +FLAGS (\\Flagged)", "UID STORE 99 +FLAGS (\\Seen)",
                "UID STORE 2,99 -FLAGS (\\Flagged)", "UID STORE 3:* FLAGS.SILENT (Mine)", "FETCH 1:* FLAGS", "STORE 1,1,1 FLAGS (\\Seen)", "STORE 3,2,1 FLAGS (\\Answered)",
                "STORE *:5 +FLAGS (\\Seen)", "2>SELECT so", "2>STORE 1:2 FLAGS (\\Flagged)", "NOOP", "2>STORE 1 FLAGS.SILENT ()", "STORE 1 +FLAGS.SILENT (\\Draft)", "NOOP", "2>NOOP", "2>CLOSE",
                "STORE 1 FLAGS (a b c d)", "STORE 1 FLAGS (a]b)", "STORE 1 FLAGS (a\"b)", "FETCH 1 FLAGS", "FETCH 2 BODY[TEXT]", "FETCH 3 RFC822.TEXT", "FETCH 4 RFC822", "FETCH 5 RFC822.HEADER",
                "FETCH 1:* FLAGS", "FETCH 1:2 FAST", "FETCH 99 FLAGS", "FETCH 0 FLAGS", "UID FETCH 99 FLAGS", "UID FETCH 1 (UID FLAGS)", "UID FETCH 1 FLAGS", "FETCH 1 (FLAGS FLAGS)", "FETCH 1 ()",
                "FETCH 1 (NONSENSE)", "FETCH 1", "FETCH 1 (FLAGS", "FETCH 1 BODY[", "FETCH 1 BODY[NONSENSE]", "FETCH 1 BODY.PEEK[0]", "FETCH 1 BODY[MIME]", "FETCH 1 BODY[HEADER.FIELDS]",
                "FETCH 1 BODY[HEADER.FIELDS ()]", "FETCH 1 BODY.PEEK[]<1>", "FETCH 1 BODY.PEEK[]<1.0>", "FETCH 1 BODY[]<-1.5>", "FETCH 1 (FAST)", "FETCH 1 FLAGS UID", "FETCH 1:2:3 FLAGS", "CLOSE"]


def copied():
    yield from [*fill("co"), "CREATE target", "SELECT co", "STORE 2 FLAGS (\\Seen Mine)", "STORE 3 FLAGS (\\Deleted)", "COPY 2 target", "COPY 1:3 target", "COPY 3,1 target", "UID COPY 6,5 target",
                "COPY 1 co", "COPY 1 nowhere", "COPY 99 target", "UID COPY 99 target", "UID COPY 4,99 target", "COPY 1", "COPY", "COPY target 1", "COPY 0 target",
                "NOOP", "2>SELECT target", "2>FETCH 1:* (UID FLAGS)", "MOVE 2 target", "2>NOOP", "MOVE 1:2 target", "2>NOOP", "UID MOVE 6,99 target", "UID MOVE 99 target", "MOVE 1 nowhere", "MOVE 99 target",
                "MOVE 1", "MOVE 1 co", "2>NOOP", "2>FETCH 1:* (UID FLAGS)", "FETCH 1:* (UID FLAGS)", "2>CLOSE", "MOVE 1:* target", "NOOP", "STATUS co (MESSAGES UIDNEXT)", "STATUS target (MESSAGES UIDNEXT)", "COPY 1 target",
                "MOVE 1:* target", "CLOSE"]


def appended():
    yield from ["CREATE ap", letter("ap"), letter("ap", "(\\Seen)"), letter("ap", "(\\Seen $Work Mine)"), letter("ap", '"01-Nov-2025 12:26:40 +0200"'), letter("ap", '() " 1-Nov-2025 12:26:40 -0700"'),
                letter("ap", '(\\Draft) "29-Feb-2024 00:00:00 +0000"'), "g>" + letter("ap", "(\\Recent)"), "a>" + letter("ap", "(\\Nonsense)"), "CREATE ap2", "b>" + letter("ap2", '"32-Nov-2025 12:26:40 +0000"'),
                "c>" + letter("ap", '"01-Nov-2025"'), "d>" + letter("ap", '"nonsense"'), letter("nowhere"), letter("inbox"), "APPEND ap " + literal(""), "APPEND ap " + literal("no header\r\n"), "APPEND ap",
                "APPEND ap (\\Seen)", "APPEND ap \"text\"", "APPEND ap text", "APPEND ap " + literal(LETTER % ("a", "a")) + " (\\Seen) " + literal(LETTER % ("b", "b")),
                "SELECT ap", "FETCH 1:* (UID FLAGS INTERNALDATE)".replace(" INTERNALDATE", ""), "FETCH 4:6 INTERNALDATE", letter("ap"), "NOOP", "2>" + letter("ap"), "NOOP",
                letter("\"\""), "CLOSE", "e>" + letter("other place"), "f>" + letter("*"),
                "h>APPEND ap " + literal(LETTER % ("a", "a")) + " nonsense"]


def expunged():
    yield from [*fill("ex", 10), "SELECT ex", "EXPUNGE", "STORE 2,4,6 +FLAGS (\\Deleted)", "2>SELECT ex", "EXPUNGE", "2>FETCH 1:3 UID", "2>NOOP", "STORE 1:2 +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE 1", "UID EXPUNGE 5:99",
                "UID EXPUNGE 99", "UID EXPUNGE", "UID EXPUNGE x", "2>STORE 1 +FLAGS (\\Flagged)", "2>NOOP", "EXPUNGE", "NOOP", "2>UID FETCH 1:* (FLAGS)", "2>NOOP", "STORE 1:3 +FLAGS (\\Deleted)", "2>NOOP", "CLOSE", "2>NOOP",
                "2>FETCH 1:* (UID FLAGS)", "2>CLOSE", "STATUS ex (MESSAGES UIDNEXT)", "EXAMINE ex", "EXPUNGE", "UNSELECT", "EXPUNGE", "UID EXPUNGE 1"]


def changed():
    yield from [*fill("cs"), "SELECT cs", "FETCH 1 MODSEQ", "FETCH 1:* (UID MODSEQ)", "STORE 1 +FLAGS (\\Seen)", "STORE 2:3 +FLAGS.SILENT (\\Flagged)", "FETCH 1:* (FLAGS) (CHANGEDSINCE {PAST})",
                "UID FETCH 1:* FLAGS (CHANGEDSINCE {MODSEQ})", "STORE 4 +FLAGS (\\Answered)", "FETCH 1:* FLAGS (CHANGEDSINCE 0)", "FETCH 1:* FLAGS (CHANGEDSINCE {PAST} NONSENSE)", "FETCH 1:* FLAGS (NONSENSE)",
                "FETCH 1 FLAGS (CHANGEDSINCE x)", "FETCH 1 FLAGS (CHANGEDSINCE 99999999999999999999)", "FETCH 1 FLAGS ()", "STORE 5 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)", "STORE 5 (UNCHANGEDSINCE 0) +FLAGS (\\Seen)",
                "STORE 6 (UNCHANGEDSINCE {MODSEQ}) +FLAGS (\\Seen)", "STORE 1:6 (UNCHANGEDSINCE {PAST}) +FLAGS.SILENT (Mine)", "UID STORE 1,2,99 (UNCHANGEDSINCE 1) FLAGS (Mine)", "STORE 1 (NONSENSE) +FLAGS (\\Seen)",
                "STORE 1 (UNCHANGEDSINCE) +FLAGS (\\Seen)", "FETCH 1:* (UID FLAGS)", "SEARCH MODSEQ 1", "SEARCH MODSEQ {MODSEQ}", "SEARCH MODSEQ 4611686018427387904", "SEARCH MODSEQ \"/flags/\\\\Seen\" all 1", "SEARCH MODSEQ \"/flags/\\\\Seen\" priv 1",
                "SEARCH MODSEQ x", "SEARCH RETURN (ALL) MODSEQ 1", "SEARCH RETURN (MIN MAX) MODSEQ 1", "SEARCH RETURN (COUNT) MODSEQ 1", "UID SEARCH NOT MODSEQ 4611686018427387904", "STATUS cs (HIGHESTMODSEQ)", "2>SELECT cs (CONDSTORE)", "2>STORE 1 +FLAGS (\\Draft)", "NOOP",
                "2>STORE 1 +FLAGS.SILENT (Yours)", "NOOP", "2>CLOSE", "CLOSE", "ENABLE CONDSTORE", "ENABLE NONSENSE", "ENABLE", "ENABLE QRESYNC", "SELECT cs (QRESYNC ({VALIDITY} {PAST}))", "SELECT cs (QRESYNC ({VALIDITY} 1 1:6))",
                "SELECT cs (QRESYNC (1 1))", "UNSELECT", "SELECT cs (QRESYNC)", "SELECT cs (QRESYNC (x y))", "SELECT cs", "STORE 2 +FLAGS (\\Deleted)", "EXPUNGE", "UID FETCH 1:* FLAGS (CHANGEDSINCE {PAST} VANISHED)", "FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)",
                "UID FETCH 1:* FLAGS (VANISHED)", "MOVE 1 target", "2>SELECT cs", "2>STORE 1 +FLAGS (\\Deleted)", "2>EXPUNGE", "NOOP", "2>CLOSE", "CLOSE", "SELECT cs (QRESYNC ({VALIDITY} 1))"]


def refused():
    """In the selected state; without a mailbox; without a login (3>)."""
    bad = ["", "NONSENSE", "FETCH", "UID", "UID NONSENSE", "UID FETCH", "UID COPY", "NOOP x", "CAPABILITY x", "CHECK x", "LIST", "LIST \"\"", "LIST \"\" * x", "LSUB \"\"", "CREATE", "CREATE a b",
           "DELETE", "RENAME a", "RENAME a b c", "SUBSCRIBE", "UNSUBSCRIBE", "STATUS", "LOGIN a b", "AUTHENTICATE PLAIN", "STARTTLS", "NOOP ", " NOOP", "FETCH  1 FLAGS", "FETCH 1  FLAGS", "STORE 1  FLAGS ()", "SEARCH  ALL", "noop", "NoOp",
           "SORT", "SORT (DATE) UTF-8", "SORT (NONSENSE) UTF-8 ALL", "SORT () UTF-8 ALL", "SORT (DATE) NONSENSE ALL", "SORT DATE UTF-8 ALL", "SORT (REVERSE) UTF-8 ALL", "THREAD NONSENSE UTF-8 ALL", "THREAD", "THREAD REFERENCES UTF-8",
           "THREAD REFERENCES NONSENSE ALL", "NAMESPACE", "NAMESPACE x", "ID", "ID x", "ID NIL x", "ID (a)", "ENABLE", "COMPRESS", "COMPRESS NONSENSE", "CREATE \"a", "CREATE a\"b", "CREATE {3+}\r\na\rb",
           "GETQUOTA", "DONE", "FETCH 1 FLAGS {0+}\r\n", "LIST {0+}\r\n st", "LIST {0+}\r\n {2+}\r\nst"]
    without = ["FETCH 1 FLAGS", "STORE 1 FLAGS ()", "SEARCH ALL", "COPY 1 a", "MOVE 1 a", "EXPUNGE", "CLOSE", "CHECK", "UNSELECT", "UID FETCH 1 FLAGS", "UID SEARCH ALL", "SORT (DATE) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "UID EXPUNGE 1"]
    # Who is refused often in a row is thrown out.
    yield "SELECT so"
    for at, line in enumerate(bad):
        yield from [line] if at % 7 else ["NOOP", line]
    yield from ["UNSELECT", "SELECT {x}"]
    for at, line in enumerate(without):
        yield from [line] if at % 7 else ["NOOP", line]
    yield from ("%d>%s" % (3 + at // 2, line) for at, line in enumerate([*without, "SELECT op", "LIST \"\" *", "STATUS op (MESSAGES)", "CREATE a", "APPEND op {1+}\r\na", "IDLE", "NAMESPACE", "ENABLE CONDSTORE", "NONSENSE", "", "NOOP", "NOOP x", "LOGIN", "LOGIN a", "LOGIN a b c",
                                         "LOGIN nobody-here \"\"", "AUTHENTICATE", "AUTHENTICATE NONSENSE", "STARTTLS x", "ID NIL", "CAPABILITY x"]))


SCRIPTS = {"FOLDERS": folders, "RENAME": renamed, "STATUS": states, "SELECT": opened, "STORE": stored, "COPY": copied, "APPEND": appended,
           "EXPUNGE": expunged, "CONDSTORE": changed, "REFUSED": refused}

# Attributes of folders that say whether looking is worth it, and uses: each server has its own view.
HINTS = {b"\\Marked", b"\\UnMarked", b"\\Archive", b"\\Drafts", b"\\Junk", b"\\Sent", b"\\Trash"}
CHILDREN = {b"\\HasChildren", b"\\HasNoChildren"}
EXTENDED_LIST = re.compile(r"LIST \(|LIST .* RETURN |LIST .*\)$")
# What we make at the first login.
MADE = ["Archive", "Drafts", "Junk", "Sent", "Trash"]


class Actor:
    """A session in a script, and what it was told for later lines."""

    def __init__(self, imap, known):
        self.imap, self.known = imap, known

    def run(self, line):
        for name, value in self.known.items():
            line = line.replace("{%s}" % name, value)
        try:
            reply = self.imap.command(line)
            self.learn(reply)
            return told(line, reply)
        except EOFError:
            return "closed"
        except Malformed as error:
            return "malformed: %s" % error

    def learn(self, reply):
        for response in reply.untagged:
            code = response.code or [b""]
            if code[0] == b"HIGHESTMODSEQ":
                self.note(code[1])
            elif code[0] == b"UIDVALIDITY":
                self.known["VALIDITY"] = code[1].decode()
            elif response.name == "FETCH" and "MODSEQ" in response.items():
                self.note(response.items()["MODSEQ"][0])

    def note(self, modseq):
        modseq = modseq.decode()
        self.known.setdefault("PAST", modseq)
        self.known["MODSEQ"] = str(max(int(self.known.get("MODSEQ", 0)), int(modseq)))


def told(line, reply):
    """What a reply says, with neither the order of what has none, nor what is each server's own, nor what need not be told."""
    said, gone, left = {}, [], list(range(1, 100))
    for response in reply.untagged:
        if response.name == "EXPUNGE":
            gone.append(left.pop(response.number - 1))
        elif response.name in ("EXISTS", "RECENT"):
            if response.name == "RECENT" and not re.match("SELECT|EXAMINE", line):
                continue
            said[response.name] = response.number
        elif response.name == "FETCH":
            items = plain(response.items())
            for name in ("UID", "MODSEQ", "INTERNALDATE"):
                if name not in line:
                    items.pop(name, None)
            said.setdefault(("FETCH", left[response.number - 1]), {}).update(items)
        elif response.name == "STATUS":
            said["STATUS", inbox(response.values[0])] = plain(response.items())
        elif response.name in ("LIST", "LSUB"):
            flags, separator, name, *more = response.values
            # Without being asked a server is free to tell of children (RFC 5258 §4).
            free = HINTS if "CHILDREN" in line or not EXTENDED_LIST.match(line) else HINTS | CHILDREN
            said[response.name, inbox(name)] = [sorted(set(flags) - free), separator, more]
        elif response.code:
            name, *rest = code_of(response.code)
            if name and name != "HIGHESTMODSEQ":
                said[name] = [response.name, *rest]
        elif response.name not in ("OK", "CAPABILITY", "BYE", "ID"):
            values = response.values[1:] if response.name == "ESEARCH" else response.values
            said[response.name] = [[b"MODSEQ", b"m"] if isinstance(value, list) and value[:1] == [b"MODSEQ"] else value for value in values]
            if b"MODSEQ" in said[response.name]:
                said[response.name][said[response.name].index(b"MODSEQ") + 1] = b"m"
    if gone:
        said["EXPUNGE"] = sorted(gone)
    said["status"], said["code"] = reply.status, code_of(reply.code)
    return said


def inbox(name):
    return b"INBOX" if name.upper() == b"INBOX" else name


def plain(items):
    items = dict(items)
    for name in items:
        if name == "FLAGS":
            items[name] = sorted(items[name])
        elif name in ("MODSEQ", "HIGHESTMODSEQ", "UIDVALIDITY"):
            items[name] = "some"
    return items


def code_of(code):
    if not code:
        return [None]
    name = code[0].decode(errors="replace")
    if name in ("HIGHESTMODSEQ", "UIDVALIDITY"):
        return [name]
    if name in ("CAPABILITY", "MAILBOXID", "CLIENTBUG"):
        return [None]
    if name in ("COPYUID", "APPENDUID"):
        return [name, *code[2:]]
    return [name, *(sorted(value) if isinstance(value, list) else value for value in code[1:])]


def key_of(line):
    """A line as a name in REASONS: without blanks; a literal is left out."""
    return re.sub(r"\s", "_", re.sub(r"\{\d+\+\}\r\n.*", "{}", line, flags=re.S)) or "nothing"


def ask(port, user, password):
    """In a user's own folders, from nothing."""
    found = {}
    first = Imap(port, user, password)
    for name in MADE:
        first.command("CREATE " + name)
        first.command("SUBSCRIBE " + name)
    first.command(letter("INBOX")).must()
    first.close()
    for topic, script in SCRIPTS.items():
        known, actors = {}, {}
        for number, line in enumerate(script()):
            who, line = re.match(r"(?:(\w+)>)?(.*)", line, re.S).groups()
            if who not in actors:
                # Those from 3 on have not logged in.
                actors[who] = Actor(Imap(port, None if who and who.isdigit() and int(who) > 2 else user, password), known)
            found[topic, key_of(line), "%d: %s" % (number, line[:60].partition("\r")[0])] = actors[who].run(line)
        for actor in actors.values():
            actor.imap.close()
    return found


REASONS = {
    ("*", "RFC 9051 §6.3.9: the reference and the pattern are put together; there is no other root that a slash could mean"): 'LIST_"deep"_"/%" LSUB_"deep"_"/%"',
    ("*", "RFC 5258 §3.5: the parent of a subscribed name is told where that name does not match itself"): 'LIST_(SUBSCRIBED_RECURSIVEMATCH)_""_(%_x/%)',
    ("*", "RFC 9051 §9: an astring has no wildcard"): "CREATE_* CREATE_% STATUS_*_(MESSAGES) APPEND_*_{}",
    ("*", "Dovecot has no place for a name that begins so"): "CREATE_~tilde DELETE_~tilde",
    ("*", "RFC 9051 §6.3.4: the slash says only that there will be more below"): 'LIST_""_r5* DELETE_r5',
    ("*", "RFC 9051 §6.3.7: a server may let clients subscribe to what is not there"): 'SUBSCRIBE_nowhere LSUB_""_*w*',
    ("*", "RFC 9051 §6.3.6: to an existing name nothing can be renamed"): "RENAME_r6_INBOX",
    ("*", "RFC 5530 §3: NONEXISTENT, CANNOT"): "DELETE_INBOX STATUS_ST_(MESSAGES) STATUS_nowhere_(MESSAGES) SELECT_nowhere CREATE_{} AUTHENTICATE_NONSENSE",
    ("APPEND", "RFC 5530 §3: CANNOT"): "APPEND_ap_{}",
    ("*", "RFC 3501 §6.3.10: not to be asked of a selected mailbox; what others would find recent is told"): "STATUS_st_(MESSAGES_RECENT)",
    ("*", "RFC 9051 §6.3.11: DELETED"): "STATUS_st_(DELETED)",
    ("SELECT EXPUNGE", "RFC 9051 §6.3.3: no change is permitted to a mailbox opened by EXAMINE"):
        "STORE_1_+FLAGS_(\\Seen) STORE_1_+FLAGS.SILENT_(\\Seen) STORE_1_FLAGS_() EXPUNGE UID_EXPUNGE_1 MOVE_1_st",
    ("STORE", "RFC 9051 §6.4.6: the value is returned, changed or not"):
        "STORE_1_FLAGS_\\Seen STORE_1:3_+FLAGS_(\\Answered) STORE_2_-FLAGS_(\\Answered) STORE_2_FLAGS_() STORE_1_+FLAGS_() STORE_1_-FLAGS_() UID_STORE_1:2_+FLAGS_(\\Flagged)",
    ("STORE", "RFC 9051 §9: store-att-flags, flag-keyword, section-part, partial"): "STORE_1_+FLAGS STORE_1_FLAGS_(a]b) FETCH_1_BODY.PEEK[0] FETCH_1_BODY.PEEK[]<1> FETCH_1_BODY.PEEK[]<1.0>",
    ("*", "RFC 9051 §9: a date has days that are"): 'APPEND_ap2_"32-Nov-2025_12:26:40_+0000"_{}',
    ("*", "RFC 9051 §6.3.12: the date that was given, with its zone"): "FETCH_4:6_INTERNALDATE",
    ("EXPUNGE", "RFC 2180 §4.1.2, RFC 5530 §3 (EXPUNGEISSUED): of what is gone nothing is told but that"): "FETCH_1:3_UID STORE_1_+FLAGS_(\\Flagged) UID_FETCH_1:*_(FLAGS)",
    ("*", "RFC 7162 §3.1.5: NOT turns it round"): "UID_SEARCH_NOT_MODSEQ_4611686018427387904",
    ("*", "RFC 5161 §3.2: ENABLED is told, and be it of nothing"): "ENABLE_NONSENSE",
    ("CONDSTORE", "RFC 7162 §3.2.7: HIGHESTMODSEQ comes with EXPUNGE, and need not with other commands"): "EXPUNGE NOOP",
    ("*", "RFC 9051 §9: nothing may follow, and there is one blank between words; what has a word must have it"):
        'SELECT_op_op NOOP_x CAPABILITY_x CHECK_x CREATE_a_b RENAME_a_b_c NOOP_ FETCH__1_FLAGS FETCH_1__FLAGS STORE_1__FLAGS_() SEARCH__ALL NAMESPACE_x ENABLE '
        'LIST_""_*__RETURN_(SUBSCRIBED)',
    ("*", "RFC 2971 §3.1: pairs, or NIL"): "ID ID_x ID_NIL_x ID_(a)",
    ("*", "RFC 5256 §3: BADCHARSET may tell which there are"): "SORT_(DATE)_NONSENSE_ALL THREAD_REFERENCES_NONSENSE_ALL",
    ("REFUSED", "RFC 7888 §4: what a stranger would append is not read, so the connection ends"): "APPEND_op_{} IDLE",
    ("REFUSED", "RFC 5161 §3.1: only after the login"): "ENABLE_CONDSTORE",
}
