"""What the sessions of sessions.py were told, and whether the mailboxes hold that and nothing else."""
import hashlib
import threading


def letter(name, size, rand):
    """A message that knows its name and its sum."""
    words = ["alpha", "beta", "gamma", "delta", "From here", "grün", "x" * 60, ""]
    lines = []
    while sum(map(len, lines)) < size:
        lines.append(" ".join(rand.choice(words) for _ in range(rand.randrange(1, 10))))
    body = "\r\n".join(lines + ["end of it", ""]).encode()
    head = "From: load@sender.example\r\nSubject: %s\r\nX-Load: %s\r\nX-Sum: %s\r\n\r\n" % (name, name, hashlib.sha256(body).hexdigest())
    return head.encode() + body


def name_of(text):
    """Of a message in CRLF or LF form: its name. Raises if it was altered."""
    head, _, body = text.replace(b"\r\n", b"\n").partition(b"\n\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\n") if line.startswith((b"X-Load", b"X-Sum")))
    if hashlib.sha256(body.replace(b"\n", b"\r\n")).hexdigest().encode() != fields[b"X-Sum"]:
        raise AssertionError("%r was altered" % fields[b"X-Load"])
    return fields[b"X-Load"].decode()


class Ledger:
    """By mailbox: which UIDs were given to which message, which may go, which went, and where to."""

    def __init__(self, mailboxes):
        self.lock = threading.Lock()
        self.names = {mailbox: {} for mailbox in mailboxes}
        self.may_go = {mailbox: set() for mailbox in mailboxes}
        self.gone = {mailbox: set() for mailbox in mailboxes}
        self.moved = {}
        self.copies = []
        self.validity = {}

    def add(self, mailbox, validity, uid, name):
        assert self.validity.setdefault(mailbox, validity) == validity, "UIDVALIDITY of %s" % mailbox
        assert self.names[mailbox].setdefault(uid, name) == name, "%s has UID %d twice" % (mailbox, uid)

    def appended(self, mailbox, validity, uids, names):
        with self.lock:
            assert len(uids) == len(names), (uids, names)
            for uid, name in zip(uids, names):
                self.add(mailbox, validity, uid, name)

    def copied(self, source, target, validity, sources, targets, moves):
        """The name of a source may come with an answer that is on its way to another session: it is looked up at the end."""
        with self.lock:
            assert len(sources) == len(targets) and len(set(targets)) == len(targets), (sources, targets)
            assert self.validity.setdefault(target, validity) == validity
            for uid, new in zip(sources, targets):
                self.copies.append((source, uid, target, new))
                if moves:
                    assert (source, uid) not in self.moved, "%s %d was moved twice" % (source, uid)
                    self.moved[source, uid] = (target, new)
                    self.gone[source].add(uid)

    def will_go(self, mailbox, uids):
        with self.lock:
            self.may_go[mailbox].update(uids)

    def went(self, mailbox, uid):
        with self.lock:
            self.gone[mailbox].add(uid)

    def settle(self):
        """Gives copies the names of what they are copies of, and its `\\Deleted`."""
        left = self.copies
        while left:
            later = [copy for copy in left if copy[1] not in self.names[copy[0]]]
            for source, uid, target, new in left:
                if uid in self.names[source]:
                    self.add(target, self.validity[target], new, self.names[source][uid])
                    if uid in self.may_go[source]:
                        self.may_go[target].add(new)
            assert len(later) < len(left), "copies of what nobody put there: %r" % later[:5]
            left = later

    def check(self, mailbox, there):
        """What is there, UID to name, is what was put there and did not go."""
        names, gone, may_go = self.names[mailbox], self.gone[mailbox], self.may_go[mailbox]
        assert gone <= may_go, "%s: gone, and nobody asked for it: %s" % (mailbox, sorted(gone - may_go)[:10])
        for uid, name in there.items():
            assert names.get(uid) == name, "%s %d: %s is there, put there was %s" % (mailbox, uid, name, names.get(uid))
            assert uid not in gone, "%s %d: %s went, and is there again" % (mailbox, uid, name)
        # Who removes a message may not know yet that it came: then nobody need be told that it went.
        lost = names.keys() - gone - there.keys() - may_go
        assert not lost, "%s: lost: %s" % (mailbox, sorted((uid, names[uid]) for uid in lost)[:10])
