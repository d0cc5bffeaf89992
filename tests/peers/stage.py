"""Where IMAP clients work: a user's mailboxes on the server, and the client's home; and whether both hold the same."""
import glob
import imaplib
import os
import random
import re
import subprocess
import threading

PATIENCE = 120
imaplib._MAXLINE = 1 << 30


def need(condition, why):
    if not condition:
        raise SystemExit("FAILED: " + why)


class Stage:
    def __init__(self, home, port, user, password):
        self.home, self.port, self.user, self.password = home, int(port), user, password
        os.makedirs(home, exist_ok=True)
        self.who = {"env": {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": home, "LC_ALL": "C.UTF-8", "TERM": "xterm", "USER": "root", "PYTHONPATH": ""}}
        self.serial = 0
        self.lock = threading.Lock()

    def path(self, name):
        return os.path.join(self.home, name)

    def write(self, name, text, mode=0o600):
        with open(self.path(name), "w") as handle:
            handle.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def log_in(self):
        box = imaplib.IMAP4("127.0.0.1", self.port, timeout=PATIENCE)
        box.login(self.user, self.password)
        return box

    def letter(self, name=None):
        with self.lock:
            self.serial += name is None
            name = name or "m%d" % self.serial
        lines = ["From: sender@sender.example", "To: %s@here.example" % self.user, "Subject: %s" % name,
                 "Message-ID: <%s@sender.example>" % name, "Date: Thu, 26 Nov 2026 10:00:00 +0000", ""]
        rand = random.Random(name)
        choices = ["", ".", "From the beginning", ">From quoted", "x" * 70, "ümlaut", "trailing blank "]
        lines += [rand.choice(choices) for _ in range(rand.randrange(1, 40))]
        return name, ("\r\n".join(lines) + "\r\n").encode()

    def fill(self, folder, count):
        """Appends many at once, as only a pipeline can."""
        box = self.log_in()
        names = []
        for start in range(0, count, 100):
            parts = []
            for _ in range(min(100, count - start)):
                name, letter = self.letter()
                names.append(name)
                parts.append(b" (\\Seen) {%d+}\r\n%s" % (len(letter), letter))
            box.send(b"x%d APPEND %s" % (start, folder.encode()) + b"".join(parts) + b"\r\n")
            reply = box.readline()
            while not reply.startswith(b"x%d " % start):
                reply = box.readline()
            need(b" OK " in reply, "APPEND: %r" % reply)
        box.logout()
        return names

    def folders(self):
        box = self.log_in()
        names = [re.search(rb'"/" (.*)$', line).group(1).decode().strip('"') for line in box.list()[1] if b"\\Noselect" not in line]
        box.logout()
        return names

    def held(self, folder):
        """Message-ID to flags and bytes of all that the server has there."""
        box = self.log_in()
        status, told = box.select('"%s"' % folder, readonly=True)
        need(status == "OK", "SELECT %s: %r" % (folder, told))
        found = {}
        if int(told[0]):
            for part in box.fetch("1:*", "(FLAGS BODY.PEEK[])")[1]:
                if isinstance(part, tuple):
                    flags = set(re.search(rb"FLAGS \(([^)]*)\)", part[0]).group(1).decode().split()) - {"\\Recent"}
                    found.setdefault(message_id(part[1]), []).append((flags, part[1]))
        box.logout()
        return found

    def all_held(self):
        """That of all folders that hold something."""
        found = {folder: self.held(folder) for folder in self.folders()}
        return {folder: messages for folder, messages in found.items() if messages}

    def expect(self, folders):
        """The server has these, and no more: folder to name to flags; the bytes are those of `letter`."""
        there = self.all_held()
        need(set(there) == set(folders), "there is mail in %s" % sorted(there))
        for folder, names in folders.items():
            wanted = {message_id(self.letter(name)[1]): [(set(flags), self.letter(name)[1])] for name, flags in names.items()}
            need(set(there[folder]) == set(wanted), "%s has %s, not %s" % (folder, sorted(there[folder]), sorted(wanted)))
            for name, wants in wanted.items():
                # Who appends may end it with a line end more, or none.
                held = [(flags, text.rstrip()) for flags, text in there[folder][name]]
                need(held == [(flags, text.rstrip()) for flags, text in wants], "%s: %s is %r" % (folder, name, there[folder][name]))

    def run(self, *command, codes=(0,), **more):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, cwd=self.home,
                              stdin=subprocess.DEVNULL, **self.who, **more)
        need(done.returncode in codes, "%s: status %d: %s" % (command, done.returncode, done.stdout.decode(errors="replace")))
        return done.stdout


def message_id(text):
    found = re.search(rb"^Message-ID: <([^>]*)>", text, re.M | re.I)
    return found.group(1).decode() if found else None


MAILDIR_FLAGS = {"S": "\\Seen", "R": "\\Answered", "F": "\\Flagged", "D": "\\Draft", "T": "\\Deleted"}


def maildir(path):
    """The same of a Maildir."""
    found = {}
    for name in glob.glob(path + "/cur/*") + glob.glob(path + "/new/*"):
        flags = {MAILDIR_FLAGS[flag] for flag in name.partition(":2,")[2] if flag in MAILDIR_FLAGS}
        with open(name, "rb") as handle:
            text = handle.read()
        found.setdefault(message_id(text), []).append((flags, text))
    return found


def same(stage, folder, path):
    """Both hold the same messages, as often, with the same flags and bytes."""
    there, here = stage.held(folder), maildir(path)
    need(set(there) == set(here), "%s: only there: %s; only here: %s" % (folder, set(there) - set(here), set(here) - set(there)))
    strip = lambda text: re.sub(rb"(?m)^X-TUID: .*\n|^X-OfflineIMAP: .*\n", b"", text.replace(b"\r\n", b"\n"))
    plain = lambda found: sorted((sorted(flags), strip(text)) for flags, text in found)
    for name in there:
        need(plain(there[name]) == plain(here[name]), "%s: %s:\n%s\n%s" % (folder, name, plain(there[name]), plain(here[name])))
    return len(there)
