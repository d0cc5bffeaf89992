#!/usr/bin/env python3
"""IMAP clients of the distribution at work on a user's mailboxes.

    clients.py SCENARIO HOME IMAP_PORT USER PASSWORD

Scenarios: mbsync offlineimap fetchmail imapfilter mutt alpine curl library (Python's imaplib). After each, the client and the server hold the same.
"""
import glob
import os
import random
import re
import sys
import threading

from library import library
from programs import Screen
from stage import Stage, message_id, need, same


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
    os.mkdir(box)
    config = stage.write("fetchmailrc", """poll 127.0.0.1 protocol imap port %d auth password
user "%s" password "%s" is root here sslproto "" mda "sh -c 'cat > %s/$$'"
fetchall keep
""" % (stage.port, stage.user, stage.password, box))
    stage.run("fetchmail", "-f", config, "--nodetach", "--nosyslog", "--invisible", "--pidfile", stage.path("pid"), "-i", stage.path("ids"))
    fetched = {}
    for path in glob.glob(box + "/*"):
        with open(path, "rb") as handle:
            text = handle.read()
        fetched[message_id(text)] = text
    need(set(fetched) == {name + "@sender.example" for name in names}, "not all were fetched")
    for name in names:
        # It adds fields of its own.
        (header, body), (ours, theirs) = (text.replace(b"\r\n", b"\n").split(b"\n\n", 1)
                                          for text in (fetched[name + "@sender.example"], stage.letter(name)[1]))
        need([line for line in header.split(b"\n") if line in ours.split(b"\n")] == ours.split(b"\n"), "%s: %r" % (name, header))
        need(body.rstrip() == theirs.rstrip(), "%s: %r is not %r" % (name, body, theirs))
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
    ones = ["m%d" % number for number in range(1, 51) if str(number).startswith("1")]
    rest = ["m%d" % number for number in range(1, 51) if not str(number).startswith("1")]
    stage.expect({"Lists/Ones": dict.fromkeys(ones, ["\\Seen"]), "INBOX": dict.fromkeys(rest, ["\\Seen", "\\Flagged"])})


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
    held = {"m%d" % number: ["\\Seen"] for number in range(1, 31) if number not in (3, 7)}
    held["m1"] = ["\\Seen", "\\Flagged"]
    stage.expect({"INBOX": held, "Archive": {"m5": ["\\Seen"]}, "Kept": {"m7": ["\\Seen"]}})


def alpine(stage):
    names = stage.fill("INBOX", 30)
    box = stage.log_in()
    box.create("Kept")
    box.logout()
    place = "{127.0.0.1:%d/user=%s/notls}" % (stage.port, stage.user)
    config = stage.write("pinerc", """inbox-path=%sINBOX
folder-collections=Mail %s[]
feature-list=quit-without-confirm,expunge-without-confirm,expunge-without-confirm-everywhere,enable-flag-cmd,save-will-not-delete
last-version-used=6.26
user-domain=here.example
""" % (place, place))
    screen = Screen(stage, ["alpine", "-p", config, "-i"])
    screen.expect(b"password", b"PASSWORD")
    screen.say(stage.password + "\r")
    screen.expect(b"Preserve password")
    screen.say("n")
    screen.expect(b"ViewMsg]")
    steps = [("j3\r", [b"3"]), ("d", [b"marked for deletion"]), ("j5\r", [b"5"]), ("*", [b"Important ?"]), ("\r", [b"Flagged message"]), ("j7\r", [b"7"]),
             ("s", [b"SAVE"]), ("Kept\r", [b"copied", b"DONE"])]
    for keys, shown in steps:
        screen.say(keys)
        screen.expect(*shown)
    screen.say("j9\r")
    screen.say("\r")
    screen.expect(b"Subject: ")
    screen.ends(or_say="q")
    held = {name: ["\\Seen"] for name in names if name != names[2]}
    held[names[4]] = ["\\Seen", "\\Flagged"]
    stage.expect({"INBOX": held, "Kept": {names[6]: ["\\Seen"]}})


def curl(stage):
    names = stage.fill("INBOX", 5)
    url = "imap://127.0.0.1:%d/" % stage.port
    curl = lambda *words: stage.run("curl", "-sS", "-u", "%s:%s" % (stage.user, stage.password), *words)
    need(b'"INBOX"' in curl(url), "INBOX is not listed")
    need(b"Subject: " + names[2].encode() in curl(url + "INBOX;MAILINDEX=3"), "the third is not the third")
    need(curl(url + "INBOX;UID=2;SECTION=HEADER.FIELDS%20(Subject)").strip() == b"Subject: " + names[1].encode(), "a field")
    letter = stage.write("letter", stage.letter("by-curl")[1].decode())
    curl("-T", letter, url + "Drafts")
    for number, name in enumerate(names, 1):
        need(curl(url + "INBOX;UID=%d" % number) == stage.letter(name)[1], "%s is another" % name)
    need(curl(url + "INBOX?SUBJECT%20" + names[3]).strip() == b"* SEARCH 4", "the fourth is not found")
    curl(url + "INBOX", "-X", "STORE 1 +Flags \\Deleted")
    curl(url + "INBOX", "-X", "EXPUNGE")
    # curl says \\Seen of what it uploads.
    stage.expect({"INBOX": {name: ["\\Seen"] for name in names[1:]}, "Drafts": {"by-curl": ["\\Seen"]}})


if __name__ == "__main__":
    scenario, *rest = sys.argv[1:]
    globals()[scenario](Stage(*rest))
