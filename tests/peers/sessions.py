#!/usr/bin/env python3
"""Many IMAP sessions at once on a few mailboxes of one user, each doing what comes to its mind.

    sessions.py run PORT USER PASSWORD SECONDS [--seed N] [--sessions 50] --left FILE

Every answer is read strictly and held against what the session knows of its mailbox. At the end all sessions agree with each
other, and the mailboxes hold what was acknowledged, each message once and unaltered. FILE gets what is to be there, as JSON:
mailbox to names. That is then held against the files, and against what another server makes of them:

    sessions.py files FILE FOLDER=PATH...
    sessions.py server FILE PORT USER PASSWORD FOLDER=NAME...
"""
import argparse
import collections
import json
import mailbox as mailboxes
import random
import sys
import threading
import time
import traceback

from imap import Imap, Malformed
from ledger import Ledger, letter, name_of

FOLDERS = ["INBOX", "Archive", "Work", "Lists/One", "Trash"]
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "$Work", "$Later"]
# Beyond so many messages more is removed than added.
CROWDED = 300
MAY_FAIL = {"EXPUNGEISSUED"}


def ranges(text):
    uids = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        uids += range(int(first), int(last or first) + 1)
    return uids


def shown(numbers):
    return ",".join(map(str, numbers))


class Session:
    """One client: its connection, the mailbox it has selected, and what it knows of it."""

    def __init__(self, load, number):
        self.load, self.number = load, number
        self.rand = random.Random("%d.%d" % (load.seed, number))
        self.qresync = number % 3 == 1
        self.made, self.last = 0, "login"
        self.log_in()

    def log_in(self):
        self.imap = Imap(self.load.port, self.load.user, self.load.password)
        capabilities = {word.decode() for word in self.imap.command("CAPABILITY").must().of("CAPABILITY")[0].values}
        self.qresync &= "QRESYNC" in capabilities
        if self.qresync:
            self.imap.command("ENABLE QRESYNC").must()
        if self.number % 5 == 2 and "COMPRESS=DEFLATE" in capabilities:
            self.imap.compress()
        if self.number % 7 == 3 and "NOTIFY" in capabilities:
            self.imap.command("NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge))").must()
        self.folder, self.uids, self.flags = None, [], {}

    def select(self, folder):
        reply = self.imap.command("SELECT", '"%s"' % folder).must()
        closed = [at for at, response in enumerate(reply.untagged) if response.code == [b"CLOSED"]]
        # What is told until then is about the one before.
        for response in reply.untagged[:closed[-1] if closed else 0]:
            self.take(response)
        self.folder, self.uids, self.flags = folder, [], {}
        for response in reply.untagged[closed[-1] if closed else 0:]:
            self.take(response)
        self.learn()

    def run(self, *words, numbers_stay=False):
        """A command, and all it tells taken in. Numbers may not change during some."""
        reply = self.imap.command(*words)
        for response in reply.untagged:
            self.take(response, numbers_stay)
        if reply.status == "NO":
            code = reply.code[0].decode() if reply.code else None
            if code not in MAY_FAIL:
                raise Malformed("%r: NO %r %r" % (words, reply.code, reply.text))
        elif reply.status != "OK":
            raise Malformed("%r: %s %r" % (words, reply.status, reply.text))
        return reply

    def take(self, response, numbers_stay=False):
        if response.name == "EXISTS":
            assert response.number >= len(self.uids), "EXISTS %d, and there were %d" % (response.number, len(self.uids))
            self.uids += [None] * (response.number - len(self.uids))
        elif response.name == "EXPUNGE":
            assert not numbers_stay and not self.qresync, "EXPUNGE where numbers stay"
            assert 1 <= response.number <= len(self.uids), "EXPUNGE %d of %d" % (response.number, len(self.uids))
            self.forget(self.uids.pop(response.number - 1))
        elif response.name == "VANISHED":
            assert self.qresync and not numbers_stay, "VANISHED where numbers stay"
            for uid in ranges(response.values[-1]):
                self.vanish(uid)
        elif response.name == "FETCH":
            self.take_fetch(response)
        elif response.name == "BYE":
            raise Malformed("BYE %r" % response.values)

    def vanish(self, uid):
        if uid in self.uids:
            self.uids.remove(uid)
        else:
            # One of those whose UIDs it does not know yet, where this one would stand.
            below = [at for at, known in enumerate(self.uids) if known is not None and known < uid]
            at = self.uids.index(None, below[-1] if below else 0)
            assert all(known is None or known > uid for known in self.uids[at:]), "VANISHED %d" % uid
            del self.uids[at]
        self.forget(uid)

    def take_fetch(self, response):
        assert 1 <= response.number <= len(self.uids), "FETCH %d of %d" % (response.number, len(self.uids))
        items, at = response.items(), response.number - 1
        if "UID" in items:
            uid = int(items["UID"])
            assert self.uids[at] in (None, uid), "%d is UID %d, and was %s" % (response.number, uid, self.uids[at])
            self.uids[at] = uid
        if "FLAGS" in items and self.uids[at]:
            self.flags[self.uids[at]] = {flag.decode() for flag in items["FLAGS"]} - {"\\Recent"}
        if "BODY[]" in items:
            name = name_of(items["BODY[]"])
            if self.uids[at]:
                self.load.seen(self.folder, self.uids[at], name)

    def forget(self, uid):
        if uid is not None:
            self.flags.pop(uid, None)
            self.load.ledger.went(self.folder, uid)

    def learn(self):
        """The UIDs of new messages."""
        while None in self.uids:
            first = self.uids.index(None) + 1
            self.run("FETCH %d:%d (UID FLAGS)" % (first, len(self.uids)), numbers_stay=True)
            if None in self.uids:
                # They are gone already; their EXPUNGE comes with the next command.
                self.run("NOOP")
        assert self.uids == sorted(set(self.uids)), "UIDs do not ascend: %r" % self.uids

    def some(self, most=10):
        """Numbers of some messages."""
        if not self.uids:
            return []
        if self.rand.random() < 0.5:
            first = self.rand.randrange(len(self.uids))
            return list(range(first + 1, min(len(self.uids), first + self.rand.randrange(1, most + 1)) + 1))
        return sorted(self.rand.sample(range(1, len(self.uids) + 1), min(len(self.uids), self.rand.randrange(1, most + 1))))

    def chosen(self, most=10):
        """Messages by number or by UID: the words for a command, and the UIDs."""
        numbers = self.some(most)
        uids = [self.uids[number - 1] for number in numbers]
        by_uid = self.rand.random() < 0.5
        return ("UID " if by_uid else ""), shown(uids if by_uid else numbers), uids, not by_uid

    # ------------------------------------------------------------------------------------------ what it does

    def append(self):
        folder = self.rand.choice(FOLDERS)
        names, words = [], ["APPEND", '"%s"' % folder]
        for _ in range(self.rand.choice([1, 1, 1, 2, 3])):
            self.made += 1
            names.append("m%d.%d" % (self.number, self.made))
            size = self.rand.choice([100, 500, 3000, 20000]) if self.rand.random() < 0.97 else 200000
            words += ["(%s)" % self.rand.choice(["", "\\Seen", "$Work \\Flagged"]), letter(names[-1], size, self.rand)]
        code = self.run(*words).must().code
        assert code[0] == b"APPENDUID", code
        self.load.ledger.appended(folder, int(code[1]), ranges(code[2]), names)

    def fetch(self):
        by_uid, chosen, _, numbers_stay = self.chosen()
        if chosen:
            items = self.rand.choice(["FLAGS", "(UID FLAGS INTERNALDATE RFC822.SIZE)", "(UID ENVELOPE)", "(UID BODYSTRUCTURE)", "(UID BODY.PEEK[])",
                                      "(UID BODY.PEEK[])", "(UID BODY[TEXT]<10.50>)", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT X-LOAD)])", "(UID PREVIEW)"])
            self.run("%sFETCH %s %s" % (by_uid, chosen, items), numbers_stay=numbers_stay)

    def store(self):
        by_uid, chosen, uids, numbers_stay = self.chosen()
        if not chosen:
            return
        how = self.rand.choice(["+", "-", "+", ""])
        flags = self.rand.sample(FLAGS, self.rand.randrange(1, 3))
        if "\\Deleted" in flags and how != "-":
            self.load.ledger.will_go(self.folder, uids)
        silent = self.rand.random() < 0.3
        reply = self.run("%sSTORE %s %sFLAGS%s (%s)" % (by_uid, chosen, how, ".SILENT" if silent else "", " ".join(flags)), numbers_stay=numbers_stay)
        if silent:
            # Nobody tells it what came out; and what others did at the same time need not be told (RFC 9051 §6.4.6: SHOULD).
            self.run("UID FETCH %s (FLAGS)" % shown(uids))
        return reply

    def copy(self):
        moves = self.rand.random() < 0.5
        by_uid, chosen, uids, _ = self.chosen(5)
        if not chosen:
            return
        target = self.rand.choice([folder for folder in FOLDERS if folder != self.folder or not moves])
        if moves:
            self.load.ledger.will_go(self.folder, uids)
        source = self.folder
        reply = self.imap.command("%s%s %s" % (by_uid, "MOVE" if moves else "COPY", chosen), '"%s"' % target)
        codes = [response.code for response in reply.of("OK") if response.code] + ([reply.code] if reply.code else [])
        pairs = [code for code in codes if code[0] == b"COPYUID"]
        for code in pairs:
            self.load.ledger.copied(source, target, int(code[1]), ranges(code[2]), ranges(code[3]), moves)
        assert len(pairs) < 2 and (reply.status == "OK" or not pairs), (reply.status, pairs)
        for response in reply.untagged:
            self.take(response)
        if reply.status != "OK" and not (reply.code and reply.code[0].decode() in MAY_FAIL):
            raise Malformed("%s %r %r" % (reply.status, reply.code, reply.text))

    def expunge(self):
        if self.rand.random() < 0.5 or not self.uids:
            self.run("EXPUNGE").must()
        else:
            self.run("UID EXPUNGE %s" % shown(self.uids[number - 1] for number in self.some(20))).must()

    def search(self):
        key = self.rand.choice([["ALL"], ["SEEN"], ["UNDELETED"], ["KEYWORD $Work"], ["BODY gamma"], ["TEXT", "grün".encode()], ["SUBJECT m1"],
                                ["LARGER 1000"], ["NOT FLAGGED"], ["UID 1:50"]])
        verb = self.rand.choice(["SEARCH", "UID SEARCH", "SORT (SUBJECT) UTF-8", "THREAD REFERENCES UTF-8", "SEARCH RETURN (COUNT MAX)"])
        reply = self.run(verb, *key, numbers_stay=not verb.startswith("UID"))
        if verb == "SEARCH":
            assert all(1 <= number <= len(self.uids) for number in reply.numbers("SEARCH")), "a number that no message has"

    def idle(self):
        tag, before = self.imap.idle()
        for response in before:
            self.take(response)
        self.imap.sock.settimeout(self.rand.random())
        try:
            while True:
                self.take(self.imap.response())
        except TimeoutError:
            pass
        self.imap.sock.settimeout(self.imap.timeout)
        reply = self.imap.done(tag)
        for response in reply.untagged:
            self.take(response)
        reply.must()

    def look(self):
        self.run(self.rand.choice(["NOOP", "CHECK", 'LIST "" *', 'STATUS "%s" (MESSAGES UNSEEN UIDNEXT SIZE)' % self.rand.choice(FOLDERS)]))

    def turn(self):
        choice = self.rand.random()
        if choice < 0.2:
            self.imap.logout()
            self.log_in()
        elif choice < 0.4:
            self.run("UNSELECT")
        self.select(self.rand.choice(FOLDERS))

    def work(self):
        self.select(self.rand.choice(FOLDERS))
        acts = {self.append: 14, self.fetch: 25, self.store: 22, self.copy: 14, self.expunge: 5, self.search: 8, self.idle: 6, self.look: 6, self.turn: 2}
        while time.monotonic() < self.load.end and not self.load.failures:
            if len(self.uids) > CROWDED:
                self.thin()
            act = self.rand.choices(list(acts), list(acts.values()))[0]
            self.load.count(act.__name__)
            self.last = act.__name__
            act()
            self.learn()

    def thin(self):
        uids = [self.uids[number - 1] for number in self.some(100)]
        self.load.ledger.will_go(self.folder, uids)
        self.run("UID STORE %s +FLAGS.SILENT (\\Deleted)" % shown(uids))
        self.run("UID EXPUNGE %s" % shown(uids)).must()
        self.learn()

    def agree(self, there):
        """With what a new session sees: UID to flags."""
        self.run("NOOP").must()
        self.learn()
        assert self.uids == sorted(there), "%s: %r are not there, %r are not known" % (
            self.folder, sorted(set(self.uids) - set(there))[:10], sorted(set(there) - set(self.uids))[:10])
        for uid, flags in self.flags.items():
            assert flags == there[uid], "%s %d has %r, and is known with %r" % (self.folder, uid, there[uid], flags)


class Load:
    def __init__(self, args):
        self.port, self.user, self.password, self.seed = args.port, args.user, args.password, args.seed
        self.ledger = Ledger(FOLDERS)
        self.bodies, self.lock = {}, threading.Lock()
        self.counts, self.failures = collections.Counter(), []
        self.end = time.monotonic() + args.seconds

    def count(self, act):
        with self.lock:
            self.counts[act] += 1

    def seen(self, folder, uid, name):
        """A UID is one message, whoever asks."""
        with self.lock:
            assert self.bodies.setdefault((folder, uid), name) == name, "%s %d was %s and is %s" % (folder, uid, self.bodies[folder, uid], name)

    def one(self, session):
        try:
            session.work()
        except BaseException:
            with self.lock:
                self.failures.append("session %d in %s, at %s:\n%s" % (session.number, session.folder, session.last, traceback.format_exc()))

    def look(self, folder):
        """What a new session sees: UID to flags, and to name."""
        imap = Imap(self.port, self.user, self.password)
        imap.command("EXAMINE", '"%s"' % folder).must()
        flags, names = {}, {}
        for response in imap.command("FETCH 1:* (UID FLAGS BODY.PEEK[])").of("FETCH"):
            items = response.items()
            flags[int(items["UID"])] = {flag.decode() for flag in items["FLAGS"]} - {"\\Recent"}
            names[int(items["UID"])] = name_of(items["BODY[]"])
        imap.logout()
        return flags, names


def run(args):
    load = Load(args)
    first = Imap(args.port, args.user, args.password)
    for folder in FOLDERS[1:]:
        first.command("CREATE", '"%s"' % folder)
    first.logout()
    sessions = [Session(load, number) for number in range(args.sessions)]
    threads = [threading.Thread(target=load.one, args=(session,), daemon=True) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(args.seconds + 120)
    stuck = sum(thread.is_alive() for thread in threads)
    print("  seed %d: %d commands: %s" % (args.seed, sum(load.counts.values()), ", ".join("%s %d" % each for each in sorted(load.counts.items()))))
    if load.failures or stuck:
        sys.exit("seed %d: %d sessions hang, %d failed:\n%s" % (args.seed, stuck, len(load.failures), "\n".join(load.failures[:5])))
    there = {folder: load.look(folder) for folder in FOLDERS}
    for session in sessions:
        session.agree(there[session.folder][0])
        session.imap.logout()
    load.ledger.settle()
    left = {}
    for folder, (_, names) in there.items():
        load.ledger.check(folder, names)
        left[folder] = sorted(names.values())
    print("  left: %s" % ", ".join("%s %d" % (folder, len(names)) for folder, names in left.items()))
    with open(args.left, "w") as handle:
        json.dump(left, handle)


def compare(expected, folder, names):
    lost = collections.Counter(expected[folder]) - collections.Counter(names)
    more = collections.Counter(names) - collections.Counter(expected[folder])
    assert not lost and not more, "%s: lost %r, more %r" % (folder, list(lost)[:10], list(more)[:10])


def files(args):
    """The files, as Python's mailbox module reads them, hold the same."""
    with open(args.left) as handle:
        expected = json.load(handle)
    for folder, path in (pair.split("=") for pair in args.folders):
        found = mailboxes.mbox(path, create=False)
        # Of a message that was removed remains, until the mailbox is compacted, something of exactly this form.
        texts = [message.as_bytes() for message in found if message["X-UID"] != "0000000000"]
        compare(expected, folder, [name_of(text.replace(b"\n>From ", b"\nFrom ")) for text in texts])
    print("  the same by Python's mailbox module")


def server(args):
    """And so another server tells of them."""
    with open(args.left) as handle:
        expected = json.load(handle)
    imap = Imap(args.port, args.user, args.password)
    for folder, name in (pair.split("=") for pair in args.folders):
        imap.select('"%s"' % name)
        texts = [response.items()["BODY[]"] for response in imap.command("FETCH 1:* BODY.PEEK[]").of("FETCH")]
        # Of what was removed it shows NULs, as 0x80 (RFC 3501 §4.3.1).
        texts = [text for text in texts if text.strip(b"\x80\r\n")]
        # It shows quoting of From lines as it stands (RFC 4155).
        compare(expected, folder, [name_of(text.replace(b"\n>From ", b"\nFrom ")) for text in texts])
    print("  the same by Dovecot")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "files", "server"):
        sub = commands.add_parser(name)
        if name != "run":
            sub.add_argument("left")
        if name != "files":
            sub.add_argument("port", type=int)
            sub.add_argument("user")
            sub.add_argument("password")
        if name == "run":
            sub.add_argument("seconds", type=float)
            sub.add_argument("--seed", type=int, default=random.randrange(1 << 32))
            sub.add_argument("--sessions", type=int, default=50)
            sub.add_argument("--left", required=True)
        else:
            sub.add_argument("folders", nargs="+")
    args = parser.parse_args()
    globals()[args.command](args)


if __name__ == "__main__":
    main()
