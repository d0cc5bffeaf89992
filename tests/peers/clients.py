#!/usr/bin/env python3
"""IMAP clients of the distribution at work on a user's mailboxes.

    clients.py SCENARIO HOME IMAP_PORT USER PASSWORD

Scenarios: mbsync offlineimap fetchmail imapfilter mutt curl. After each, the client and the server hold the same.
"""
import glob
import imaplib
import os
import random
import re
import subprocess
import sys
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
            self.serial += 1
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
        names = [re.search(rb'"/" (.*)$', line).group(1).decode().strip('"') for line in box.list()[1]]
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

    def run(self, *command, codes=(0,), **more):
        env = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": self.home, "LC_ALL": "C.UTF-8", "TERM": "xterm", "USER": "root",
               "PYTHONPATH": ""}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, cwd=self.home, env=env,
                              stdin=subprocess.DEVNULL, **more)
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


def change_there(stage, folder, other, rand):
    """What another client does."""
    box = stage.log_in()
    count = int(box.select('"%s"' % folder)[1][0])
    for number in rand.sample(range(1, count + 1), count // 20):
        box.store(str(number), rand.choice(["+FLAGS", "-FLAGS"]), rand.choice(["\\Seen", "\\Flagged", "\\Answered"]))
    gone = rand.sample(range(1, count + 1), count // 50)
    box.store(",".join(map(str, gone)), "+FLAGS", "\\Deleted")
    box.expunge()
    box.copy("1:%d" % min(5, count // 2), '"%s"' % other)
    box.logout()


def change_here(path, rand):
    names = glob.glob(path + "/cur/*")
    rand.shuffle(names)
    for name in names[: len(names) // 50]:
        os.unlink(name)
    for name in names[len(names) // 50 : len(names) // 20]:
        base, _, flags = name.partition(":2,")
        flags = "".join(sorted(set(flags) ^ {rand.choice("FRS")}))
        os.rename(name, base + ":2," + flags)


def mbsync(stage):
    stage.fill("INBOX", 2000)
    config = stage.write("mbsyncrc", """IMAPStore remote
Host 127.0.0.1
Port %d
User %s
Pass %s
SSLType None
AuthMechs LOGIN

MaildirStore local
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns *
Create Both
Expunge Both
SyncState *
""" % (stage.port, stage.user, stage.password, stage.path("md"), stage.path("md")))
    os.makedirs(stage.path("md"))
    sync = lambda: stage.run("mbsync", "-q", "-c", config, "all")
    sync()
    need(same(stage, "INBOX", stage.path("md/INBOX")) == 2000, "not all arrived")
    rand = random.Random(7)
    for turn in range(3):
        change_here(stage.path("md/INBOX"), rand)
        names = [stage.letter()[0] for _ in range(20)]
        for name in names:
            with open(stage.path("md/INBOX/new/%s.x.y" % name), "wb") as handle:
                handle.write(stage.letter(name)[1].replace(b"\r\n", b"\n"))
        busy = threading.Thread(target=change_there, args=(stage, "INBOX", "Archive", rand))
        busy.start()
        sync()
        busy.join()
        sync()
        sync()
        for folder in ("INBOX", "Archive"):
            same(stage, folder, stage.path("md/" + folder))


def offlineimap(stage):
    stage.fill("INBOX", 300)
    config = stage.write("offlineimaprc", """[general]
accounts = one
ui = quiet
metadata = %s
[Account one]
localrepository = here
remoterepository = there
[Repository here]
type = Maildir
localfolders = %s
[Repository there]
type = IMAP
remotehost = 127.0.0.1
remoteport = %d
remoteuser = %s
remotepass = %s
ssl = no
starttls = no
auth_mechanisms = PLAIN
""" % (stage.path("meta"), stage.path("md"), stage.port, stage.user, stage.password))
    os.makedirs(stage.path("md"))
    sync = lambda: stage.run("offlineimap", "-c", config, "-o")
    sync()
    need(same(stage, "INBOX", stage.path("md/INBOX")) == 300, "not all arrived")
    rand = random.Random(8)
    change_here(stage.path("md/INBOX"), rand)
    change_there(stage, "INBOX", "Archive", rand)
    sync()
    sync()
    for folder in ("INBOX", "Archive"):
        same(stage, folder, stage.path("md/" + folder))


def fetchmail(stage):
    names = set(stage.fill("INBOX", 100))
    box = stage.path("fetched")
    config = stage.write("fetchmailrc", """poll 127.0.0.1 protocol imap port %d auth password
user "%s" password "%s" is root here sslproto "" mda "cat >> %s"
fetchall keep
""" % (stage.port, stage.user, stage.password, box))
    stage.run("fetchmail", "-f", config, "--nodetach", "--nosyslog", "--invisible", "--pidfile", stage.path("pid"), "-i", stage.path("ids"))
    with open(box, "rb") as handle:
        text = handle.read()
    need(set(re.findall(rb"(?m)^Message-ID: <([^>@]*)@", text)) == {name.encode() for name in names}, "not all were fetched")
    need(len(stage.held("INBOX")) == 100, "they were to be kept")
    # And again, to take them away.
    stage.write("fetchmailrc", open(config).read().replace("fetchall keep", "fetchall nokeep"))
    stage.run("fetchmail", "-f", config, "--nodetach", "--nosyslog", "--invisible", "--pidfile", stage.path("pid"), "-i", stage.path("ids"))
    need(not stage.held("INBOX"), "they were to be taken away")


def imapfilter(stage):
    stage.fill("INBOX", 50)
    config = stage.write("filter.lua", """options.create = true
options.starttls = false
account = IMAP { server = '127.0.0.1', port = %d, username = '%s', password = '%s' }
found = account.INBOX:contain_subject('m1')
found:move_messages(account['Lists/Ones'])
rest = account.INBOX:is_seen()
rest:mark_flagged()
""" % (stage.port, stage.user, stage.password))
    stage.run("imapfilter", "-c", config)
    moved = {"m%d@sender.example" % n for n in range(1, 51) if str(n).startswith("1")}
    need(set(stage.held("Lists/Ones")) == moved, "moved: %s" % set(stage.held("Lists/Ones")))
    rest = stage.held("INBOX")
    need(len(rest) == 50 - len(moved) and all("\\Flagged" in found[0][0] for found in rest.values()), "the rest is not flagged")


def mutt(stage):
    stage.fill("INBOX", 30)
    config = stage.write("muttrc", """set imap_user="%s" imap_pass="%s" folder="imap://127.0.0.1:%d/" spoolfile="+INBOX"
set ssl_starttls=no ssl_force_tls=no move=no delete=yes quit=yes wait_key=no confirmappend=no confirmcreate=no confirmcopy=no
set header_cache="" record="" sort=mailbox-order
set imap_authenticators="plain:login"
""" % (stage.user, stage.password, stage.port))
    push = "<first-entry><flag-message><next-entry><delete-message>5<enter><copy-message>=Archive<enter>" \
           "7<enter><save-message>=Kept<enter><quit>"
    stage.run("script", "-qec", "mutt -n -F %s -f imap://127.0.0.1:%d/INBOX -e 'push \"%s\"'" % (config, stage.port, push), "/dev/null")
    inbox = stage.held("INBOX")
    need("\\Flagged" in inbox["m1@sender.example"][0][0], "the first is not flagged")
    need("m3@sender.example" not in inbox and "m7@sender.example" not in inbox, "the third and the seventh are there still")
    need(len(inbox) == 28, "there are %d" % len(inbox))
    need(set(stage.held("Archive")) == {"m5@sender.example"}, "Archive has %s" % list(stage.held("Archive")))
    need(set(stage.held("Kept")) == {"m7@sender.example"}, "Kept has %s" % list(stage.held("Kept")))


def curl(stage):
    names = stage.fill("INBOX", 5)
    url = "imap://127.0.0.1:%d/" % stage.port
    curl = lambda *words: stage.run("curl", "-sS", "-u", "%s:%s" % (stage.user, stage.password), *words)
    need(b'"INBOX"' in curl(url), "INBOX is not listed")
    need(b"Subject: " + names[2].encode() in curl(url + "INBOX;MAILINDEX=3"), "the third is not the third")
    need(curl(url + "INBOX;UID=2;SECTION=HEADER.FIELDS%20(Subject)").strip() == b"Subject: " + names[1].encode(), "a field")
    letter = stage.write("letter", stage.letter("by-curl")[1].decode())
    curl("-T", letter, url + "Drafts")
    need(set(stage.held("Drafts")) == {"by-curl@sender.example"}, "Drafts")
    curl(url + "INBOX", "-X", "STORE 1 +Flags \\Deleted")
    curl(url + "INBOX", "-X", "EXPUNGE")
    need(len(stage.held("INBOX")) == 4, "one was to be removed")


if __name__ == "__main__":
    scenario, *rest = sys.argv[1:]
    globals()[scenario](Stage(*rest))
