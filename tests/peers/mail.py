#!/usr/bin/env python3
"""Sends numbered mail and looks whether each message arrived once and unaltered.

    mail.py send PORT RECORD --to ADDRESS... [--count N] [--threads T] [--from ADDRESS] [--tls]
    mail.py check RECORD --mbox PATTERN | --pop3 PORT PASSWORD [--quoted]   [--seconds S]
    mail.py wait MBOX TEXT [--seconds S]

RECORD remembers what was accepted, a JSON line each. PATTERN holds {user}. --quoted: that server hands
out the lines of an mbox as they are, with the > before From.
"""
import argparse
import hashlib
import json
import os
import poplib
import random
import re
import smtplib
import sys
import threading
import time


def body_of(name):
    rng = random.Random(name)
    size = rng.choice([0, 3, 40, 400, 9000])
    lines = ["%s %d %s" % (name, number, "x" * rng.randint(0, 90)) for number in range(size)]
    for place in range(0, len(lines), 7):
        lines[place] = rng.choice([".", "..", ".dot", "", "From me to you", "Käse"])
    return "\n".join(lines + ["end of " + name])


def send(args):
    record, lock, failures = open(args.record, "a"), threading.Lock(), []

    def worker(number):
        talk = smtplib.SMTP("127.0.0.1", args.port, local_hostname="client.example", timeout=60)
        if args.tls:
            talk.starttls()
        for serial in range(number, args.count, args.threads):
            to = args.to[serial % len(args.to)]
            name = "%s-%d-%d" % (os.path.basename(args.record), os.getpid(), serial)
            text = "From: %s\r\nTo: %s\r\nSubject: peers\r\nX-Name: %s\r\nMIME-Version: 1.0\r\n" % (args.sender, to, name)
            text += "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            text += body_of(name).replace("\n", "\r\n") + "\r\n"
            talk.sendmail(args.sender, [to], text.encode(), mail_options=["BODY=8BITMIME"])
            with lock:
                record.write(json.dumps({"name": name, "to": to}) + "\n")
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
            data = handle.read()
    except FileNotFoundError:
        return
    for part in re.split(rb"(?m)^From [^\n]*\n", b"\n" + data)[1:]:
        yield unquoted(part)


def unquoted(text):
    return re.sub(rb"(?m)^>(>*From )", rb"\1", text)


def messages_of_pop3(port, user, password):
    box = poplib.POP3("127.0.0.1", port, timeout=60)
    box.user(user)
    box.pass_(password)
    for number in range(1, box.stat()[0] + 1):
        yield b"\n".join(box.retr(number)[1]) + b"\n"
    box.quit()


def check(args):
    with open(args.record) as handle:
        wanted = {entry["name"]: entry["to"].split("@")[0] for entry in map(json.loads, handle)}
    users = sorted(set(wanted.values()))
    end = time.monotonic() + args.seconds
    while True:
        count = {}
        for user in users:
            if args.pop3:
                found = messages_of_pop3(int(args.pop3[0]), user, args.pop3[1])
                if args.quoted:
                    found = map(unquoted, found)
            else:
                found = messages_of_mbox(args.mbox.format(user=user))
            for message in found:
                head, _, body = message.partition(b"\n\n")
                name = re.search(rb"(?m)^X-Name: (\S+)", head)
                name = name.group(1).decode() if name else None
                if name not in wanted:
                    continue
                count[name] = count.get(name, 0) + 1
                if wanted[name] != user:
                    sys.exit("%s came to %s" % (name, user))
                if body.rstrip(b"\n") != body_of(name).encode().rstrip(b"\n"):
                    was, now = hashlib.sha256(body_of(name).encode()), hashlib.sha256(body)
                    sys.exit("%s is altered: %s, now %s" % (name, was.hexdigest(), now.hexdigest()))
        twice = [name for name, times in count.items() if times > 1]
        if twice:
            sys.exit("arrived more than once: " + " ".join(twice[:5]))
        if len(count) == len(wanted):
            print("  all %d arrived, once and unaltered" % len(wanted))
            return
        if time.monotonic() > end:
            missing = [name for name in wanted if name not in count]
            sys.exit("%d of %d never arrived: %s" % (len(missing), len(wanted), " ".join(missing[:5])))
        time.sleep(0.3)


def wait(args):
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        try:
            with open(args.mbox, "rb") as handle:
                if args.text.encode() in handle.read():
                    return
        except FileNotFoundError:
            pass
        time.sleep(0.2)
    sys.exit("not in %s: %s" % (args.mbox, args.text))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("send")
    sub.add_argument("port", type=int)
    sub.add_argument("record")
    sub.add_argument("--to", nargs="+", required=True)
    sub.add_argument("--count", type=int, default=100)
    sub.add_argument("--threads", type=int, default=20)
    sub.add_argument("--from", dest="sender", default="sender@sender.example")
    sub.add_argument("--tls", action="store_true")
    sub = commands.add_parser("check")
    sub.add_argument("record")
    sub.add_argument("--mbox")
    sub.add_argument("--pop3", nargs=2)
    sub.add_argument("--quoted", action="store_true")
    sub.add_argument("--seconds", type=float, default=60)
    sub = commands.add_parser("wait")
    sub.add_argument("mbox")
    sub.add_argument("text")
    sub.add_argument("--seconds", type=float, default=30)
    args = parser.parse_args()
    {"send": send, "check": check, "wait": wait}[args.command](args)


if __name__ == "__main__":
    main()
