#!/usr/bin/env python3
"""Sends numbered mail and looks whether each message arrived once and unaltered.

    mail.py send PORT RECORD --to ADDRESS... [--together] [--count N] [--threads T] [--from ADDRESS] [--tls]
            [--subject TEXT] [--shown ADDRESS] [--mail PARAMETER...] [--rcpt PARAMETER...]
    mail.py check RECORD --mbox PATTERN | --pop3 PORT PASSWORD [--quoted]   [--header REGEX] [--seven-bit]
    mail.py wait MBOX TEXT...

RECORD remembers what was accepted, a JSON line each; one called big... is of big messages. --together: each message goes to
all recipients, else they take turns. --shown: what the header says instead of these. PATTERN holds {user}, without what stands behind a +. --quoted: that server hands
out the lines of an mbox as they are, with the > before From. --header: what else is in the header of each.
--seven-bit: each is ASCII, and what it was when it is decoded.
wait: until the file holds all these texts. All of them wait as long as anything new comes, and a while longer.
"""
import argparse
import email
import fcntl
import json
import os
import poplib
import random
import re
import smtplib
import sys
import threading
import time

# Seconds without anything new after which nothing more is expected: a busy machine may take its time.
PATIENCE = int(os.environ.get("PILLARBOX_PATIENCE", 120))

# Lines of a big message, which are 20 MiB.
BIG = 320000


def body_of(name):
    rng = random.Random(name)
    size = BIG if name.startswith("big") else rng.choice([0, 3, 40, 400, 9000])
    lines = ["%s %d %s" % (name, number, "x" * rng.randint(0, 90)) for number in range(size)]
    for place in range(0, len(lines), 7):
        lines[place] = rng.choice([".", "..", ".dot", "", "From me to you", "Käse"])
    return "\n".join(lines + ["end of " + name])


def send(args):
    record, lock, failures = open(args.record, "a"), threading.Lock(), []

    def worker(number):
        talk = smtplib.SMTP("127.0.0.1", args.port, local_hostname="client.example", timeout=PATIENCE)
        if args.tls:
            talk.starttls()
        for serial in range(number, args.count, args.threads):
            to = args.to if args.together else [args.to[serial % len(args.to)]]
            name = "%s-%d-%d" % (os.path.basename(args.record), os.getpid(), serial)
            head = "From: %s\nTo: %s\nSubject: %s\nX-Name: %s\n" % (args.sender, args.shown or ", ".join(to[:5]), args.subject, name)
            head += "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
            text = (head + "\n" + body_of(name) + "\n").replace("\n", "\r\n")
            refused = talk.sendmail(args.sender, to, text.encode(), ["BODY=8BITMIME"] + args.mail, args.rcpt)
            if refused:
                raise smtplib.SMTPRecipientsRefused(refused)
            with lock:
                record.writelines(json.dumps({"name": name, "to": one, "head": head}) + "\n" for one in to)
        talk.quit()

    def guarded(number):
        try:
            worker(number)
        except (OSError, smtplib.SMTPException) as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(args.threads)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record.close()
    print("  sent %d in %.1f s" % (args.count, time.monotonic() - begun))
    if failures:
        sys.exit("not sent: " + failures[0])


def messages_of_mbox(path):
    try:
        with open(path, "rb") as handle:
            # Who writes just then is not done.
            fcntl.lockf(handle, fcntl.LOCK_SH)
            data = handle.read()
    except FileNotFoundError:
        return
    for part in re.split(rb"(?m)^From [^\n]*\n", b"\n" + data)[1:]:
        yield unquoted(part)


def unquoted(text):
    return re.sub(rb"(?m)^>(>*From )", rb"\1", text)


def messages_of_pop3(port, user, password):
    box = poplib.POP3("127.0.0.1", port, timeout=PATIENCE)
    box.user(user)
    box.pass_(password)
    messages = [b"\n".join(box.retr(number)[1]) + b"\n" for number in range(1, box.stat()[0] + 1)]
    box.quit()
    return messages


def is_busy(error):
    """Another session has the maildrop, another program has locked the mailbox for long, or has taken a message away while
    it was sent, which ends the session: later, perhaps."""
    return re.match(r"-ERR (\[(IN-USE|SYS/TEMP)\]|EOF$)", os.fsdecode(error.args[0]))


def messages_of(user, args):
    if not args.pop3:
        return messages_of_mbox(args.mbox.format(user=user))
    try:
        found = messages_of_pop3(int(args.pop3[0]), user, args.pop3[1])
    except poplib.error_proto as error:
        if not is_busy(error):
            raise
        return []
    return map(unquoted, found) if args.quoted else found


def look(wanted, args):
    """How often each wanted message is there for each of its users; each is looked at as a whole."""
    count = {}
    names = {name for name, _ in wanted}
    for user in sorted({user for _, user in wanted}):
        for message in messages_of(user, args):
            head, _, body = message.partition(b"\n\n")
            name = re.search(rb"(?m)^X-Name: (\S+)", head)
            name = name.group(1).decode() if name else None
            if name not in names:
                continue
            if (name, user) not in wanted:
                sys.exit("%s came to %s" % (name, user))
            count[name, user] = count.get((name, user), 0) + 1
            if args.seven_bit:
                if not message.isascii():
                    sys.exit("%s is not ASCII" % name)
                body = email.message_from_bytes(message).get_payload(decode=True).replace(b"\r\n", b"\n")
            elif wanted[name, user].encode() not in head + b"\n":
                sys.exit("%s has not the header that was sent: %s" % (name, head.decode(errors="replace")))
            was, now = body_of(name).encode().rstrip(b"\n"), body.rstrip(b"\n")
            if was != now:
                at = len(os.path.commonprefix([was, now]))
                near = slice(max(at - 100, 0), at + 200)
                sys.exit("%s to %s is altered at %d of %d bytes, now %d: %r, now %r" % (name, user, at, len(was), len(now), was[near], now[near]))
            if args.header and not re.search(args.header.encode(), head, re.M):
                sys.exit("%s has another header: %s" % (name, head.decode(errors="replace")))
    twice = ["%s to %s" % one for one, times in count.items() if times > 1]
    if twice:
        sys.exit("arrived more than once: " + " ".join(twice[:5]))
    return count


def check(args):
    with open(args.record) as handle:
        wanted = {(entry["name"], re.split("[+@]", entry["to"])[0]): entry["head"] for entry in map(json.loads, handle)}
    before, end = -1, 0
    while True:
        count = look(wanted, args)
        if len(count) == len(wanted):
            print("  all %d arrived, once and unaltered" % len(wanted))
            return
        if len(count) != before:
            before, end = len(count), time.monotonic() + PATIENCE
        if time.monotonic() > end:
            missing = ["%s to %s" % one for one in wanted if one not in count]
            sys.exit("%d of %d never arrived: %s" % (len(missing), len(wanted), " ".join(missing[:5])))
        time.sleep(0.3)


def wait(args):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with open(args.mbox, "rb") as handle:
                held = handle.read()
        except FileNotFoundError:
            held = b""
        missing = [text for text in args.texts if text.encode() not in held]
        if not missing:
            return
        if time.monotonic() > end:
            sys.exit("not in %s: %s; it has: %s" % (args.mbox, missing, held[-5000:].decode(errors="replace")))
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("send")
    sub.add_argument("port", type=int)
    sub.add_argument("record")
    sub.add_argument("--to", nargs="+", required=True)
    sub.add_argument("--together", action="store_true")
    sub.add_argument("--count", type=int, default=100)
    sub.add_argument("--threads", type=int, default=20)
    sub.add_argument("--from", dest="sender", default="sender@sender.example")
    sub.add_argument("--tls", action="store_true")
    sub.add_argument("--subject", default="peers")
    sub.add_argument("--shown")
    sub.add_argument("--mail", nargs="+", default=[], help="parameters of MAIL")
    sub.add_argument("--rcpt", nargs="+", default=[], help="parameters of RCPT")
    sub = commands.add_parser("check")
    sub.add_argument("record")
    sub.add_argument("--mbox")
    sub.add_argument("--pop3", nargs=2)
    sub.add_argument("--quoted", action="store_true")
    sub.add_argument("--header")
    sub.add_argument("--seven-bit", action="store_true")
    sub = commands.add_parser("wait")
    sub.add_argument("mbox")
    sub.add_argument("texts", nargs="+")
    args = parser.parse_args()
    {"send": send, "check": check, "wait": wait}[args.command](args)


if __name__ == "__main__":
    main()
