#!/usr/bin/env python3
"""Messages that hide another one behind what some servers take for the end of a message, and others do not.

    smuggle.py send PORT DOMAIN RECORD      by SMTP, each in a connection of its own; each way of ending a line is tried
    smuggle.py hand SENDMAIL DOMAIN RECORD  the same texts as the body of a message that sendmail hands in
    smuggle.py check RECORD MBOX...         none of the hidden messages lies in these mailboxes

RECORD holds a JSON line for each: its name, the way its end is written, what the server made of it. A server that takes the
text apart itself has made two messages of it; whom it sends them to are not to blame, and are not.
"""
import glob
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time

from mail import PATIENCE, messages_of_mbox

ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r", b"\n\n", b"\r\r", b"\0\n", b"\r\0\n", b"\0\r\n", b"\r\n\0", b"\x0b", b"\x0c",
        b"\xc2\x85", b"\xe2\x80\xa8"]
DOTS = [b".", b"..", b".\0", b"\0."]


def ways():
    """Every pair of line ends around a dot, but for the true one, and some other dots between true ends."""
    for before, after in itertools.product(ENDS, ENDS):
        if (before, after) != (b"\r\n", b"\r\n"):
            yield before + b"." + after
    for dot in DOTS[1:]:
        yield b"\r\n" + dot + b"\r\n"
        yield b"\n" + dot + b"\n"


def text(name, way, domain):
    """A message, and behind that way of ending it what would be another, to the end of both."""
    recipient = b"u1@" + domain.encode()
    return (b"From: carol@sender.example\r\nTo: %s\r\nX-Name: %s\r\n\r\ntext" % (recipient, name)
            + way + b"MAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\nFrom: admin@%s\r\nX-Name: hidden-%s\r\n\r\nhidden"
            % (recipient, domain.encode(), name))


def reply(stream):
    """A whole reply; empty at the end."""
    whole = b""
    while True:
        line = stream.readline()
        whole += line
        if not line or line[3:4] != b"-":
            return whole


def send(port, domain, record):
    told = []
    for number, way in enumerate(ways()):
        name = b"%s-%d" % (os.path.basename(record).encode(), number)
        with socket.create_connection(("127.0.0.1", int(port)), PATIENCE) as talk, talk.makefile("rwb") as stream:
            reply(stream)
            for command in (b"EHLO client.example", b"MAIL FROM:<>", b"RCPT TO:<u1@%s>" % domain.encode(), b"DATA"):
                stream.write(command + b"\r\n")
                stream.flush()
                answer = reply(stream)
                if answer[:1] not in (b"2", b"3"):
                    sys.exit("%s: %s" % (command, answer))
            replies = b""
            try:
                stream.write(text(name, way, domain) + b"\r\n.\r\nQUIT\r\n")
                stream.flush()
                while answer := reply(stream):
                    replies += answer
            except OSError:
                # It closed on us.
                pass
        apart = re.search(rb"(?m)^354", replies) is not None
        told.append({"name": name.decode(), "way": repr(way), "apart": apart, "taken": replies[:1] == b"2"})
    write(record, told)


def hand(sendmail, domain, record):
    told = []
    for number, way in enumerate(ways()):
        name = b"%s-%d" % (os.path.basename(record).encode(), number)
        given = text(name, way, domain) + b"\r\n.\r\n"
        done = subprocess.run(sendmail.split() + ["-i", "-f", "<>", "u1@" + domain], input=given, timeout=PATIENCE)
        told.append({"name": name.decode(), "way": repr(way), "apart": False, "taken": done.returncode == 0})
    write(record, told)


def write(record, told):
    with open(record, "w") as handle:
        handle.writelines(json.dumps(one) + "\n" for one in told)
    count = lambda key: sum(one[key] for one in told)
    print("  %d ways: %d taken, %d taken apart there" % (len(told), count("taken"), count("apart")))


def check(record, boxes):
    """Waits for what was taken, then looks for what was hidden in it."""
    with open(record) as handle:
        told = [json.loads(line) for line in handle]
    wanted = {one["name"] for one in told if one["taken"]}
    # What a server took apart it sends on as two messages that it has.
    whole = {one["name"] for one in told if not one["apart"]}
    before, end = -1, 0
    while True:
        heads = [message.partition(b"\n\n")[0] for pattern in boxes for path in glob.glob(pattern) for message in messages_of_mbox(path)]
        names = [found.group(1).decode() for head in heads if (found := re.search(rb"(?m)^X-Name: (\S+)\r?$", head))]
        hidden = {name.removeprefix("hidden-") for name in names if name.startswith("hidden-")} & whole
        if hidden:
            sys.exit("born: %s" % [one for one in told if one["name"] in hidden])
        missing = wanted - set(names)
        if not missing:
            break
        if len(names) != before:
            # What is refused further on never comes: the sender is nobody, so no report does.
            before, end = len(names), time.monotonic() + 8
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    print("  %d of %d came, none of the hidden" % (len(wanted - missing), len(wanted)))


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    {"send": send, "hand": hand, "check": lambda record, *boxes: check(record, boxes)}[command](*rest)
