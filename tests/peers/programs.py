#!/usr/bin/env python3
"""Mail programs of the distribution at work on a mailbox that Pillarbox delivers to and hands out.

    programs.py SCENARIO MAILBOX SMTP_PORT POP3_PORT PASSWORD OWNER

The mailbox is named after its user; the programs run as OWNER. Scenarios: deliver race mailx_open snail_open
mutt_declines emptied.
"""
import fcntl
import os
import poplib
import pty
import random
import re
import select
import smtplib
import subprocess
import sys
import tempfile
import termios
import threading
import time

from mail import body_of

PATIENCE = 60


class Stage:
    """The mailbox, the ways to it, and the programs' home."""

    def __init__(self, mailbox, smtp_port, pop3_port, password, owner):
        self.mailbox, self.password, self.owner = mailbox, password, owner
        self.user = os.path.basename(mailbox)
        self.smtp_port, self.pop3_port = int(smtp_port), int(pop3_port)
        self.home = tempfile.mkdtemp(prefix="home.", dir=os.path.dirname(os.path.dirname(mailbox)))
        subprocess.run(["chown", owner + ":", self.home], check=True)
        with open(self.home + "/muttrc", "w") as rc:
            rc.write("set mbox_type=mbox move=no quit=yes wait_key=no confirmappend=no mail_check=1\n")
        with open(self.home + "/mailrc", "w") as rc:
            rc.write("set hold\nset keep\nset sendwait\n")
        with open(self.home + "/procmailrc", "w") as rc:
            rc.write("DEFAULT=%s\nLOCKSLEEP=1\n" % mailbox)
        self.who = {"user": owner, "group": owner, "extra_groups": []}
        self.who["env"] = {
            "PATH": "/usr/bin:/bin", "HOME": self.home, "MAIL": mailbox, "MAILRC": self.home + "/mailrc", "TERM": "xterm",
            "USER": owner, "LOGNAME": owner, "LC_ALL": "C.UTF-8", "TMPDIR": self.home,
        }
        self.serial = 0
        self.lock = threading.Lock()

    def name(self, fate):
        with self.lock:
            self.serial += 1
            return "%s-%d" % (fate, self.serial)

    def letter(self, name):
        text = "From: sender@sender.example\nTo: %s@relay.example\nSubject: %s\nX-Name: %s\n\n" % (self.user, name, name)
        return (text + body_of(name) + "\n").encode()

    def send(self, names):
        """By SMTP."""
        with smtplib.SMTP("127.0.0.1", self.smtp_port, local_hostname="client.example", timeout=PATIENCE) as talk:
            for name in names:
                talk.sendmail("sender@sender.example", [self.user + "@relay.example"], self.letter(name).replace(b"\n", b"\r\n"))

    def run(self, *command, given=b""):
        return subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE,
                              cwd=self.home, **self.who)

    def pop3(self):
        """A session; waits while another has the maildrop."""
        end = time.monotonic() + PATIENCE
        while True:
            box = poplib.POP3("127.0.0.1", self.pop3_port, timeout=PATIENCE)
            try:
                box.user(self.user)
                box.pass_(self.password)
                return box
            except poplib.error_proto as error:
                box.close()
                if not is_busy(error) or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def listed(self, box):
        """Number, name and UIDL of every message; each is looked at as a whole."""
        uidl = dict(line.split(b" ") for line in box.uidl()[1])
        for number in range(1, box.stat()[0] + 1):
            message = b"\n".join(box.retr(number)[1]) + b"\n"
            head, _, body = message.partition(b"\n\n")
            name = re.search(rb"(?m)^X-Name: (\S+)$", head)
            need(name, "this was never sent: %r" % message[:300])
            name = name.group(1).decode()
            wanted = body_of(name).encode()
            if body.rstrip(b"\n") != wanted.rstrip(b"\n"):
                at = len(os.path.commonprefix([body, wanted]))
                sys.exit("%s is altered: at byte %d of %d (now %d) it goes on %r, not %r"
                         % (name, at, len(wanted), len(body), body[at:at + 200], wanted[at:at + 200]))
            yield number, name, uidl[b"%d" % number].decode()

    def uidls(self):
        """Names and UIDLs, of which none is there twice."""
        box = self.pop3()
        found = {}
        for _, name, uidl in self.listed(box):
            need(name not in found, "%s is there twice" % name)
            found[name] = uidl
        box.quit()
        need(len(set(found.values())) == len(found), "two messages have one UIDL")
        return found

    def remove(self, names):
        """By POP3."""
        box = self.pop3()
        for number, name, _ in self.listed(box):
            if name in names:
                box.dele(number)
        box.quit()

    def mutt(self, keys, purge="yes"):
        command = ["mutt", "-n", "-F", self.home + "/muttrc", "-f", self.mailbox]
        screen = Screen(self, command + ["-e", "set delete=" + purge, "-e", 'push "%s"' % keys])
        # What finds nothing makes mutt forget the rest of the keys.
        screen.ends(or_say="q")

    def file(self):
        with open(self.mailbox, "rb") as handle:
            return handle.read()


class Screen:
    """A program on a terminal of its own."""

    def __init__(self, stage, command):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, b"\x18\0\x50\0\0\0\0\0")
        self.child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=stage.home, start_new_session=True,
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), **stage.who)
        os.close(slave)
        self.seen = b""

    def read(self, until):
        end = time.monotonic() + PATIENCE
        while not until():
            need(time.monotonic() < end, "%s: in vain: %r" % (self.child.args[0], self.seen[-500:]))
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    time.sleep(0.02)

    def expect(self, text):
        try:
            self.read(lambda: text in self.seen)
        finally:
            self.seen = self.seen.partition(text)[2]

    def say(self, line):
        os.write(self.master, line.encode() + b"\n")

    def ends(self, or_say=None):
        began = time.monotonic()

        def ended():
            nonlocal began
            if or_say and time.monotonic() > began + 1:
                began = time.monotonic()
                os.write(self.master, or_say.encode())
            return self.child.poll() is not None

        try:
            self.read(ended)
        finally:
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
            os.close(self.master)


def is_busy(error):
    """Another session has the maildrop, another program has locked the mailbox for long, or has taken a message away while
    it was sent, which ends the session: later, perhaps."""
    return re.match(r"-ERR (\[(IN-USE|SYS/TEMP)\]|EOF$)", os.fsdecode(error.args[0]))


def need(fine, words):
    if not fine:
        sys.exit(words)


def side_by_side(*tasks):
    """Runs them at once; what one complains of ends the scenario."""
    wrong = []

    def guarded(task):
        try:
            task()
        except (Exception, SystemExit) as error:
            wrong.append("%s: %r" % (task.__name__, error))

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    need(not wrong, "; ".join(wrong))


def deliver(stage):
    """The daemon, procmail, and formail with procmail deliver side by side, while POP3 reads."""
    names = {way: [stage.name(way) for _ in range(30)] for way in ("smtp", "procmail", "formail")}

    def procmail():
        for name in names["procmail"]:
            done = stage.run("procmail", stage.home + "/procmailrc", given=b"From a@b Sat Nov 21 00:00:00 2026\n" + stage.letter(name))
            need(done.returncode == 0, "procmail: %r" % done.stdout)

    def formail():
        quoted = [re.sub(rb"(?m)^(>*From )", rb">\1", stage.letter(name)) for name in names["formail"]]
        mbox = b"".join(b"From a@b Sat Nov 21 00:00:00 2026\n" + text + b"\n" for text in quoted)
        done = stage.run("formail", "-s", "procmail", stage.home + "/procmailrc", given=mbox)
        need(done.returncode == 0, "formail: %r" % done.stdout)

    def smtp():
        stage.send(names["smtp"])

    def reader():
        before, end = {}, time.monotonic() + PATIENCE
        while len(before) < 90:
            need(time.monotonic() < end, "%d of 90 arrived" % len(before))
            now = stage.uidls()
            need(before.items() <= now.items(), "a UIDL changed")
            before = now

    side_by_side(procmail, formail, smtp, reader)
    need(set(stage.uidls()) == set(sum(names.values(), [])), "not what was sent")


def race(stage):
    """While mail comes in, mailx, s-nail, mutt and POP3 each delete those that are theirs.

    The three take turns, at any time of the daemon's: mailx reads without a lock, so it writes back torn what another of
    them rewrites just then. That is between them.
    """
    fates = ["keep", "mailx", "snail", "mutt", "pop"]
    rounds = int(os.environ.get("PILLARBOX_PROGRAM_ROUNDS", 12))
    over, sent, kept, turn = threading.Event(), {fate: [] for fate in fates}, {}, threading.Lock()

    def until_over(act):
        # Pauses, as people make them: programs that wait for a lock look for it every few seconds only.
        while not over.wait(random.uniform(0.1, 0.6)):
            act()
        act()

    def in_turn(act):
        def alone():
            with turn:
                act()
        until_over(alone)

    def mailx():
        in_turn(lambda: stage.run("bsd-mailx", "-n", "-N", given=b"delete /mailx-\nquit\n"))

    def snail():
        in_turn(lambda: stage.run("s-nail", "-:/", "-N", "-S", "hold", "-S", "keep", given=b'delete "/snail-"\nquit\n'))

    def mutt():
        in_turn(lambda: stage.mutt("<delete-pattern>~s mutt-<enter><tag-pattern>~s keep<enter><tag-prefix><flag-message><quit>"))

    def pop():
        def act():
            box = stage.pop3()
            try:
                for number, name, uidl in stage.listed(box):
                    if name.startswith("keep"):
                        need(kept.setdefault(name, uidl) == uidl, "%s was %s, is %s" % (name, kept[name], uidl))
                    if name.startswith("pop"):
                        box.dele(number)
                box.quit()
            except poplib.error_proto as error:
                box.close()
                need(is_busy(error), "POP3: %r" % error)
        until_over(act)

    def senders():
        try:
            for _ in range(rounds):
                names = [stage.name(fate) for fate in fates]
                for name in names:
                    sent[name.partition("-")[0]].append(name)
                stage.send(names)
                time.sleep(0.5)
        finally:
            over.set()

    side_by_side(senders, pop, mailx, snail, mutt)
    found = stage.uidls()
    missing = [name for name in sent["keep"] if name not in found]
    need(not missing, "lost: %s" % missing)
    for name, uidl in kept.items():
        need(found[name] == uidl, "%s was %s, is %s" % (name, uidl, found[name]))
    print("  %d kept; left of those to be deleted: %s" % (len(sent["keep"]), sorted(set(found) - set(sent["keep"]))))


def kept_open(stage, command, prompt):
    """POP3 removes the second message and mail comes while the program is open; then it quits with a deletion."""
    names = [stage.name("old") for _ in range(6)]
    stage.send(names)
    before = stage.uidls()
    screen = Screen(stage, command)
    screen.expect(prompt)
    stage.remove({names[1]})
    new = stage.name("new")
    stage.send([new])
    screen.say("delete 4")
    screen.expect(prompt)
    screen.say("quit")
    screen.ends()
    found = stage.uidls()
    for name in [names[0], names[2], names[4], names[5]]:
        need(found.pop(name, None) == before[name], "%s is lost or has another UIDL" % name)
    need(found.pop(new, None), "the new message is lost")
    need(names[3] not in found, "what the program deleted is there")
    print("  removed by POP3, and brought back by the program: %d" % (names[1] in found))
    need(found.pop(names[1], "") != before[names[1]] and not found, "who is this: %s" % found)


def mailx_open(stage):
    kept_open(stage, ["bsd-mailx", "-n", "-N"], b"& ")


def snail_open(stage):
    kept_open(stage, ["s-nail", "-:/", "-N", "-S", "hold", "-S", "keep", "-S", "prompt=& "], b"& ")


def mutt_declines(stage):
    """Flags the first, marks the third as deleted, and declines the purge; what POP3 removed does not come back by that."""
    names = [stage.name("old") for _ in range(6)]
    stage.send(names)
    stage.remove({names[3]})
    before = stage.uidls()
    stage.mutt("1<enter><flag-message>3<enter><delete-message><quit>", purge="no")
    need(re.search(rb"(?m)^X-Status:.*F", stage.file()), "mutt has flagged nothing")
    need(stage.uidls() == before, "the mailbox is not what it was")
    stage.send([stage.name("new")])
    after = stage.uidls()
    need(before.items() <= after.items() and len(after) == 6, "the mailbox is not what it was, and one more")


def emptied(stage):
    """`: > mailbox` while POP3 sends a long message: never another's bytes, and never an old UIDL for a new message."""
    stage.send([stage.name("old")])
    with smtplib.SMTP("127.0.0.1", stage.smtp_port, local_hostname="client.example", timeout=PATIENCE) as talk:
        long = b"Subject: long\r\n\r\n" + b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n" * 320_000
        talk.sendmail("sender@sender.example", [stage.user + "@relay.example"], long)
    box = stage.pop3()
    old = [line.split(b" ")[1] for line in box.uidl()[1]]
    box.sock.sendall(b"RETR 2\r\n")
    need(box.file.readline().startswith(b"+OK"), "no RETR")
    came = box.file.read(100_000)
    os.truncate(stage.mailbox, 0)
    new = stage.name("new")
    stage.send([new])
    came += box.file.read()
    box.close()
    body = came.partition(b"\r\n\r\n")[2]
    need(long.partition(b"\r\n\r\n")[2].startswith(body.removesuffix(b".\r\n")) or re.search(rb"\r\n-ERR", body), "these bytes are not its own")
    need(not came.endswith(b"\r\n.\r\n") or len(body) > len(long) - 100, "half a message seemed whole")
    found = stage.uidls()
    need(list(found) == [new] and found[new].encode() not in old, "found %s, was %s" % (found, old))


def main():
    scenario, *rest = sys.argv[1:]
    known = {each.__name__: each for each in (deliver, race, mailx_open, snail_open, mutt_declines, emptied)}
    known[scenario](Stage(*rest))


if __name__ == "__main__":
    main()
