#!/usr/bin/env python3
"""Mail programs of the distribution at work on a mailbox that Pillarbox delivers to and hands out.

    programs.py SCENARIO MAILBOX SMTP_PORT POP3_PORT PASSWORD OWNER

The mailbox is named after its user; the programs run as OWNER. Scenarios: deliver four_writers alpine_writes mailx_open
snail_open alpine_open mutt_declines emptied.
"""
import contextlib
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
import traceback

from mail import PATIENCE, body_of, is_busy

# What is torn may have long lines; it is looked at, too.
poplib._MAXLINE = 1 << 30


class Stage:
    """The mailbox, the ways to it, and the programs' home."""

    def __init__(self, mailbox, smtp_port, pop3_port, password, owner):
        self.mailbox, self.password, self.owner = mailbox, password, owner
        self.user = os.path.basename(mailbox)
        self.smtp_port, self.pop3_port = int(smtp_port), int(pop3_port)
        self.home = tempfile.mkdtemp(prefix="home.", dir=os.path.dirname(os.path.dirname(mailbox)))
        with open(self.home + "/muttrc", "w") as rc:
            rc.write("set mbox_type=mbox move=no quit=yes wait_key=no confirmappend=no mail_check=1\n")
        with open(self.home + "/mailrc", "w") as rc:
            rc.write("set hold\nset keep\nset sendwait\n")
        with open(self.home + "/procmailrc", "w") as rc:
            rc.write("DEFAULT=%s\nLOCKSLEEP=1\n" % mailbox)
        with open(self.home + "/pinerc", "w") as rc:
            rc.write("feature-list=quit-without-confirm,expunge-without-confirm,expunge-without-confirm-everywhere,"
                     "enable-aggregate-command-set\n"
                     "last-version-used=6.26\nuser-domain=relay.example\n")
        subprocess.run(["chown", "-R", owner + ":", self.home], check=True)
        self.mailx_command = ["bsd-mailx", "-n", "-N"]
        self.snail_command = ["s-nail", "-:/", "-N", "-S", "hold", "-S", "keep"]
        self.alpine_command = ["alpine", "-p", self.home + "/pinerc", "-i", "-f", mailbox]
        self.who = {"user": owner, "group": owner, "extra_groups": []}
        self.who["env"] = {
            "PATH": "/usr/bin:/bin", "HOME": self.home, "MAIL": mailbox, "MAILRC": self.home + "/mailrc", "TERM": "xterm",
            "USER": owner, "LOGNAME": owner, "LC_ALL": "C.UTF-8", "TMPDIR": self.home,
        }
        self.serial = 0
        self.lock = threading.Lock()
        # Names of messages that need not be whole any more.
        self.torn = set()

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

    def arrive(self, names):
        """Waits until they are in the file: where it was locked, delivery comes later."""
        end, left = time.monotonic() + PATIENCE, set(names)
        while left:
            with open(self.mailbox, "rb") as handle:
                held = handle.read()
            left = {name for name in left if b"\nX-Name: %s\n" % name.encode() not in held}
            need(not left or time.monotonic() < end, "never arrived: %s" % left)
            time.sleep(0.05 if left else 0)

    def run(self, *command, given=b"", may_fail=False):
        done = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE,
                              cwd=self.home, **self.who)
        need(may_fail or done.returncode == 0, "%s: status %d: %r" % (command, done.returncode, done.stdout))

    def log_in(self):
        box = poplib.POP3("127.0.0.1", self.pop3_port, timeout=PATIENCE)
        try:
            box.user(self.user)
            box.pass_(self.password)
        except poplib.error_proto:
            box.close()
            raise
        return box

    def pop3(self, act):
        """A session, from the beginning again as long as another has the maildrop. Gives what `act` gives."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                box = self.log_in()
                try:
                    told = act(box)
                    box.quit()
                    return told
                finally:
                    box.close()
            except poplib.error_proto as error:
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
            need(name, "this was never sent: %d bytes: %r" % (len(message), message[:500]))
            name = name.group(1).decode()
            wanted = body_of(name).encode()
            if body.rstrip(b"\n") != wanted.rstrip(b"\n") and name not in self.torn:
                at = len(os.path.commonprefix([body, wanted]))
                sys.exit("%s is altered: at byte %d of %d (now %d) it goes on %r, not %r"
                         % (name, at, len(wanted), len(body), body[at:at + 200], wanted[at:at + 200]))
            yield number, name, uidl[b"%d" % number].decode()

    def uidls(self):
        """Names and UIDLs, of which none is there twice."""
        def act(box):
            found = {}
            for _, name, uidl in self.listed(box):
                need(name not in found, "%s is there twice" % name)
                found[name] = uidl
            return found

        found = self.pop3(act)
        need(len(set(found.values())) == len(found), "two messages have one UIDL: %s" % found)
        return found

    def remove(self, names):
        """By POP3."""
        def act(box):
            for number, name, _ in self.listed(box):
                if name in names:
                    box.dele(number)

        self.pop3(act)

    def procmail(self, name):
        self.run("procmail", self.home + "/procmailrc", given=b"From a@b Sat Nov 21 00:00:00 2026\n" + self.letter(name))

    def formail(self, names):
        """Splits a file of messages, and runs procmail for each."""
        quoted = [re.sub(rb"(?m)^(>*From )", rb">\1", self.letter(name)) for name in names]
        mbox = b"".join(b"From a@b Sat Nov 21 00:00:00 2026\n" + text + b"\n" for text in quoted)
        self.run("formail", "-s", "procmail", self.home + "/procmailrc", given=mbox)

    @contextlib.contextmanager
    def locked(self):
        """Holds the dotlock."""
        end, lock = time.monotonic() + PATIENCE, self.mailbox + ".lock"
        while True:
            try:
                os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o644))
                break
            except FileExistsError:
                need(time.monotonic() < end, "the mailbox is always locked")
                time.sleep(0.01)
        try:
            yield
        finally:
            os.unlink(lock)

    def mutt(self, keys, purge="yes"):
        command = ["mutt", "-n", "-F", self.home + "/muttrc", "-f", self.mailbox]
        screen = Screen(self, command + ["-e", "set delete=" + purge, "-e", 'push "%s"' % keys])
        # What finds nothing makes mutt forget the rest of the keys; after some seconds it would break another's lock.
        screen.ends(or_say="q", answers={b"remove lock for": "n"})

    def mutt_zaps(self):
        self.mutt("<delete-pattern>~s zap-<enter><tag-pattern>~s keep<enter><tag-prefix><flag-message><quit>")

    # These two give up when others keep the mailbox locked.
    def mailx_zaps(self):
        """mailx reads without a lock. procmail writes the first byte of a message, waits, and writes the rest, under its lock:
        mailx would take the two for a message and what comes after it. So it reads while the mailbox is locked for it."""
        with self.locked():
            screen = Screen(self, self.mailx_command)
            found = screen.expect(b"& ", b"o mail for")
        if found == b"& ":
            screen.say("delete /zap-\nquit\n")
        screen.ends(may_fail=True)

    def snail_zaps(self):
        self.run(*self.snail_command, given=b'delete "/zap-"\nquit\n', may_fail=True)

    def alpine_zaps(self):
        """Selects by subject, deletes what that finds, and quits."""
        screen = Screen(self, self.alpine_command)
        screen.expect(b"ViewMsg]")
        for key, asked in [(";", b"SELECT criteria"), ("t", b"Select based on"), ("s", b"SUBJECT to match")]:
            screen.say(key)
            screen.expect(asked)
        screen.say("zap-\r")
        found = screen.expect(b"No messages selected", b"matched")
        screen.say("ad" if found == b"matched" else "q")
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

    def expect(self, *texts):
        """Gives the one that came."""
        self.read(lambda: any(text in self.seen for text in texts))
        found = next(text for text in texts if text in self.seen)
        self.seen = self.seen.partition(found)[2]
        return found

    def say(self, line):
        os.write(self.master, line.encode())

    def ends(self, or_say=None, answers={}, may_fail=False):
        """Waits for its end: says something each second, and what is to be answered."""
        began = time.monotonic()

        def ended():
            nonlocal began
            for question, answer in answers.items():
                if question in self.seen:
                    self.seen = b""
                    self.say(answer)
            if or_say and time.monotonic() > began + 1:
                began = time.monotonic()
                self.say(or_say)
            return self.child.poll() is not None

        try:
            self.read(ended)
        finally:
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
            os.close(self.master)
        need(may_fail or self.child.returncode == 0, "%s: status %d: %r" % (self.child.args[0], self.child.returncode, self.seen[-3000:]))


def need(fine, words):
    if not fine:
        sys.exit(words)


def side_by_side(*tasks):
    """Runs them at once; what one complains of ends the scenario."""
    wrong = []

    def guarded(task):
        try:
            task()
        except SystemExit as complaint:
            wrong.append("%s: %s" % (task.__name__, complaint))
        except Exception:
            wrong.append("%s: %s" % (task.__name__, traceback.format_exc()))

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    need(not wrong, "\n".join(wrong))


def deliver(stage):
    """The daemon, procmail, and formail with procmail deliver side by side, while POP3 reads."""
    names = {way: [stage.name(way) for _ in range(30)] for way in ("smtp", "procmail", "formail")}

    def procmail():
        for name in names["procmail"]:
            stage.procmail(name)

    def formail():
        stage.formail(names["formail"])

    def smtp():
        stage.send(names["smtp"])

    def reader():
        before, end = {}, 0
        while len(before) < 90:
            now = stage.uidls()
            need(before.items() <= now.items(), "a UIDL changed: %s, then %s" % (before, now))
            if len(now) > len(before):
                before, end = now, time.monotonic() + PATIENCE
            need(time.monotonic() < end, "%d of 90 arrived" % len(before))

    side_by_side(procmail, formail, smtp, reader)
    found, sent = set(stage.uidls()), set(sum(names.values(), []))
    need(found == sent, "not what was sent: lost %s, made up %s" % (sent - found, found - sent))


def dawdle():
    time.sleep(random.uniform(0, 0.3))


def four_writers(stage):
    """Only one program that writes the mailbox anew works at a time: mailx reads without a lock, so it would write back torn
    what another rewrites just then. And those that did not see a removal bring back what was removed: as a new message."""
    rounds_of_four(stage, [stage.mutt_zaps, stage.mailx_zaps, stage.snail_zaps], 12)


def alpine_writes(stage):
    """alpine takes nothing but additions while it has a mailbox open: when it writes the mailbox anew and finds a header
    changed, it says "header size inconsistent" and aborts with half of the mailbox written. It brings nothing back."""
    back = rounds_of_four(stage, [stage.alpine_zaps], 4)
    need(not back, "brought back: %s" % back)


def rounds_of_four(stage, programs, usual):
    """Rounds, in each of which four are at the mailbox at once: SMTP delivers; procmail and formail deliver; one of the
    programs removes what is for it (zap); a POP3 session reads all, and removes what is for it (pop). Gives what was brought
    back."""
    rounds = int(os.environ.get("PILLARBOX_PROGRAM_ROUNDS", usual))
    # For each name its UIDL; those that POP3 removed; every UIDL that was removed.
    kept, removed, dead = {}, set(), set()
    # What reads without a lock may bring back half of what was being removed.
    stage.torn = removed
    sent, back = set(), set()
    for serial in range(rounds):
        ways = {way: [stage.name(fate) for fate in ("keep", "zap", "pop")] for way in ("smtp", "procmail", "formail")}
        sent.update(sum(ways.values(), []))
        # The mailbox stays small.
        for_pop = set([name for name in kept if name.startswith("keep")][:-30])
        program = programs[serial % len(programs)]
        gone = set()

        def smtp():
            dawdle()
            stage.send(ways["smtp"])

        def others():
            dawdle()
            for name in ways["procmail"]:
                stage.procmail(name)
            stage.formail(ways["formail"])

        def zap():
            dawdle()
            program()

        def pop():
            def act(box):
                listed = list(stage.listed(box))
                there = {name: uidl for _, name, uidl in listed}
                for name, uidl in kept.items():
                    may_miss = name.startswith("zap") or (name, uidl) in gone
                    need(may_miss or there.get(name) == uidl, "%s was %s, is %s" % (name, uidl, there.get(name)))
                for number, name, uidl in listed:
                    if name.startswith("pop") or name in for_pop:
                        gone.add((name, uidl))
                        box.dele(number)

            dawdle()
            stage.pop3(act)
            removed.update(name for name, _ in gone)

        side_by_side(smtp, others, zap, pop)
        stage.arrive(name for way in ways.values() for name in way if name.startswith("keep"))
        now = stage.uidls()
        gone.update((name, uidl) for name, uidl in kept.items() if name.startswith("zap") and name not in now)
        removed.update(name for name, _ in gone)
        dead.update(uidl for _, uidl in gone)
        for name, uidl in kept.items():
            need((name, uidl) in gone or now.get(name) == uidl, "%s was %s, is %s" % (name, uidl, now.get(name)))
        lost = {name for way in ways.values() for name in way if name.startswith("keep")} - set(now)
        need(not lost, "lost: %s" % lost)
        need(set(now) <= sent, "who is this: %s" % (set(now) - sent))
        need(not dead & set(now.values()), "UIDLs of removed messages came back: %s" % (dead & set(now.values())))
        back |= removed & set(now)
        kept = now
    print("  %d rounds; removed %d, of which programs brought back %d" % (rounds, len(removed), len(back)))
    return back


def kept_open(stage, command, opened, delete, deleted, leave):
    """POP3 removes the second message and mail comes while the program is open; then it deletes the fourth and quits."""
    names = [stage.name("old") for _ in range(6)]
    stage.send(names)
    stage.arrive(names)
    before = stage.uidls()
    screen = Screen(stage, command)
    screen.expect(opened)
    stage.remove({names[1]})
    new = stage.name("new")
    stage.send([new])
    stage.arrive([new])
    screen.say(delete)
    screen.expect(deleted)
    screen.say(leave)
    screen.ends()
    found = stage.uidls()
    for name in [names[0], names[2], names[4], names[5]]:
        need(found.pop(name, None) == before[name], "%s is lost or has another UIDL" % name)
    need(found.pop(new, None), "the new message is lost")
    need(names[3] not in found, "what the program deleted is there")
    print("  removed by POP3, and brought back by the program: %d" % (names[1] in found))
    need(found.pop(names[1], "") != before[names[1]] and not found, "who is this: %s" % found)


def mailx_open(stage):
    kept_open(stage, stage.mailx_command, b"& ", "delete 4\n", b"& ", "quit\n")


def snail_open(stage):
    kept_open(stage, stage.snail_command + ["-S", "prompt=& "], b"& ", "delete 4\n", b"& ", "quit\n")


def alpine_open(stage):
    kept_open(stage, stage.alpine_command + ["-n", "4"], b"opened with", "d", b"marked for deletion", "q")


def mutt_declines(stage):
    """Flags the first, marks the third as deleted, and declines the purge; what POP3 removed does not come back by that."""
    names = [stage.name("old") for _ in range(6)]
    stage.send(names)
    stage.arrive(names)
    stage.remove({names[3]})
    before = stage.uidls()
    stage.mutt("1<enter><flag-message>3<enter><delete-message><quit>", purge="no")
    need(re.search(rb"(?m)^X-Status:.*F", stage.file()), "mutt has flagged nothing")
    after = stage.uidls()
    need(after == before, "the mailbox was %s, is %s" % (before, after))
    new = stage.name("new")
    stage.send([new])
    stage.arrive([new])
    after = stage.uidls()
    need(before.items() <= after.items() and len(after) == 6, "not one more: was %s, is %s" % (before, after))


def emptied(stage):
    """`: > mailbox` while POP3 sends a long message: never another's bytes, and never an old UIDL for a new message."""
    stage.send([stage.name("old")])
    with smtplib.SMTP("127.0.0.1", stage.smtp_port, local_hostname="client.example", timeout=PATIENCE) as talk:
        long = b"Subject: long\r\n\r\n" + b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n" * 320_000
        talk.sendmail("sender@sender.example", [stage.user + "@relay.example"], long)
    box = stage.log_in()
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
    known = {each.__name__: each for each in (deliver, four_writers, alpine_writes, mailx_open, snail_open, alpine_open, mutt_declines, emptied)}
    known[scenario](Stage(*rest))


if __name__ == "__main__":
    main()
