#!/usr/bin/env python3
"""The same questions to Pillarbox and to Dovecot, and the same answers.

    differ.py write MBOX                                    the messages of the corpus
    differ.py compare OUR_PORT OUR_PASSWORD THEIR_PORT THEIR_PASSWORD

Both have the corpus as INBOX of u1; u2 has nothing yet, and makes folders (PILLARBOX_DIFFER=acts: only that). A difference is a defect, or it stands in the REASONS of the module that asks (questions/),
with the section of the RFC that lets us differ. A reason that nothing needs any more is a defect too.
"""
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import corpus
from imap import Imap
from questions import acts, fetch, order, search
from questions.order import Order

SHOWN = int(os.environ.get('PILLARBOX_SHOWN', 60))


def shown(value):
    text = "NIL" if value is None else str(value) if isinstance(value, (bool, int, str)) else repr(value)[1:]
    if isinstance(value, (list, tuple)):
        text = "(" + " ".join(map(shown, value)) + ")"
    return text if len(text) < 400 else "%s..%d..%s" % (text[:190], len(text), text[-190:])


def differences(one, other, path=()):
    """Where two values differ, and both there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from differences(one.get(key), other.get(key), path + (shown(key),))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (mine, theirs) in enumerate(zip(one, other)):
            yield from differences(mine, theirs, path + (place,))
    elif one != other:
        yield ".".join(map(str, path)), shown(one), shown(other)


def both(ours, theirs, ask):
    """What each says; they are asked at the same time."""
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, session) for session in (ours, theirs)]
        return [each.result() for each in asked]


def unlike(mine, theirs):
    """Where answers differ: item, name, question, and both."""
    for key in {**mine, **theirs}:
        item, name, question = key
        one, other = mine.get(key), theirs.get(key)
        if isinstance(one, Order):
            yield from ((item, name, question, *places) for name, *places in one.differences(other))
        elif one != other:
            yield item, name, question, one, other


class Judge:
    def __init__(self):
        self.asked = self.failed = 0

    def compare(self, title, reasons, mine, theirs):
        """Reasons: items and why, to names. `*` is any item, or any name."""
        excuses = {}
        for (items, why), names in reasons.items():
            for item in items.split():
                for name in names.split():
                    excuses.setdefault((item, name), []).append(why)
        used, complaints = set(), []
        keys = {**mine, **theirs}
        for item, name, question, one, other in unlike(mine, theirs):
            found = [(why, place[1]) for place in ((item, name), (item, "*"), ("*", name)) for why in excuses.get(place, ())]
            used.update(found)
            if not found:
                complaints.append((item, name, question, list(differences(one, other))[:3]))
        for item, name, question, places in complaints[:SHOWN]:
            for place, one, other in places:
                print("%s of %s: %s differs at %s\n  Pillarbox %s\n  Dovecot   %s" % (item, name, question, place or "all", one, other))
        if len(complaints) > SHOWN:
            print("... and %d more" % (len(complaints) - SHOWN))
        stale = {(why, name) for (_, why), names in reasons.items() for name in names.split()} - used
        for why, name in sorted(stale):
            print("%s: no difference any more of %s: %s" % (title, name, why))
        self.failed += len(complaints) + len(stale)
        self.asked += len(keys)
        print("  %s: %d answers, the same but for %d messages or names with a reason" % (title, len(keys), len({name for _, name in used})))


def read(judge, servers, names):
    """What is asked of the corpus."""
    ours, theirs = (Imap(port, "u1", password) for port, password in servers)
    for session in (ours, theirs):
        reply = session.select("INBOX")
        count = reply.of("EXISTS")[0].number
        if count != len(names):
            sys.exit("%d messages, and one server sees %d" % (len(names), count))
    # FETCH comes last: what Dovecot then keeps of odd messages ends its sessions in SEARCH.
    for title, ask, reasons in (("SEARCH", search.ask, search.REASONS), ("SORT", order.sort, order.SORT_REASONS),
                                ("THREAD", order.thread, order.THREAD_REASONS)):
        judge.compare(title, reasons, *both(ours, theirs, lambda session: ask(session, names)))
    answers = both(ours, theirs, lambda session: fetch.whole(session, names))
    questions = fetch.plan(answers[0], names)
    for mine, told in zip(answers, both(ours, theirs, lambda session: fetch.sections(session, names, questions))):
        mine.update(told)
    judge.compare("FETCH", fetch.REASONS, *answers)


def compare(our_port, our_password, their_port, their_password):
    judge = Judge()
    servers = ((int(our_port), our_password), (int(their_port), their_password))
    if "acts" not in os.environ.get("PILLARBOX_DIFFER", ""):
        read(judge, servers, [name for name, _, _ in corpus.letters()])
    # Nobody has been u2 before.
    judge.compare("commands", acts.REASONS, *both(*servers, lambda server: acts.ask(server[0], "u2", server[1])))
    if judge.failed:
        sys.exit("%d of %d answers differ and should not" % (judge.failed, judge.asked))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        corpus.write(sys.argv[2])
    else:
        compare(*sys.argv[2:])
