#!/usr/bin/python3
"""SPF, DKIM, DMARC and ARC beside other implementations: pyspf, dkimpy, authheaders, authres (the distribution's Python).

    trust.py zone DIR                                   make keys, and what dnsmasq is to know
    trust.py received DIR SMTP MAILBOX COUNT            send messages, and compare what we found with what they find
    trust.py sent SUBMISSION USER PASSWORD MAILBOX COUNT
                                                        submit messages, and have the signatures verified
    trust.py onward DIR SMTP SINK COUNT                 have messages forwarded to a sink here, and the seals verified
    trust.py copies SUBMISSION USER PASSWORD LIST SINK COUNT
                                                        post to a list with two members at a sink here, and have the signature of
                                                        each copy verified, over the link that is that member's own

SUBMISSION, SMTP and SINK are ports. SMTP takes the PROXY protocol: so messages come from anywhere. All ask the name server of
resolv.conf.
"""
import base64, itertools, mailbox, os, random, re, shutil, smtplib, socket, subprocess, sys, threading, time
import authheaders, authres, dkim, spf
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

OURS = "pillarbox.example"
DOMAINS = ["plain.org", "strict.org", "sub.plain.org", "none.org", "a.co.org", "quiet.org"]
IPS = ["192.0.2.%d" % n for n in range(1, 13)]
WORDS = "lorem ipsum dolor sit amet consectetur  adipiscing\telit sed do".split(" ")


def records():
    """Of SPF, by domain: every mechanism, and every failure. What is not under org. is refused by the server."""
    host = lambda n: "h%d.org" % n
    some = {
        "plain.org": "v=spf1 ip4:192.0.2.1 -all", "strict.org": "v=spf1 a:h2.org mx ~all", "sub.plain.org": "v=spf1 include:plain.org ?all",
        "a.co.org": "v=spf1 redirect=plain.org", "quiet.org": "v=spf1 +all",
        "bits.org": "v=spf1 a:h3.org/30 -all", "exists.org": "v=spf1 exists:%{ir}.%{v}._spf.org -all", "local.org": "v=spf1 exists:%{l}.users.org -all",
        "helo.org": "v=spf1 exists:%{h}.helos.org ~all", "digits.org": "v=spf1 exists:%{d2}.helos.org exists:%{dr-}.helos.org -all",
        "ptr.org": "v=spf1 ptr -all", "ptrname.org": "v=spf1 ptr:other.org ?all", "loop.org": "v=spf1 include:loop.org -all",
        "deep.org": "v=spf1 include:d1.org -all", "eleven.org": "v=spf1 " + " ".join("a:" + host(n) for n in range(20, 31)) + " ip4:192.0.2.1 -all",
        "ten.org": "v=spf1 " + " ".join("a:" + host(n) for n in range(20, 30)) + " ip4:192.0.2.1 -all",
        "void.org": "v=spf1 a:v1.org a:v2.org a:v3.org ip4:192.0.2.1 -all", "twovoid.org": "v=spf1 a:v1.org a:v2.org ip4:192.0.2.1 -all",
        "bad.org": "v=spf1 ip4:192.0.2.300 -all", "unknown.org": "v=spf1 foo:bar -all", "modifier.org": "v=spf1 foo=bar ip4:192.0.2.1 -all",
        "noinclude.org": "v=spf1 include:nothing.org -all", "noredirect.org": "v=spf1 redirect=nothing.org", "two.org": "v=spf1 -all",
        "refused.org": "v=spf1 include:x.outside -all", "late.org": "v=spf1 ip4:192.0.2.1 include:x.outside -all", "case.org": "V=SPF1 IP4:192.0.2.1 -ALL",
        "mxmany.org": "v=spf1 mx ip4:192.0.2.1 -all", "v6.org": "v=spf1 ip6:2001:db8::/32 -all", "version.org": "v=spf10 -all", "empty.org": "v=spf1",
    }
    some.update({"d%d.org" % n: "v=spf1 include:d%d.org -all" % (n + 1) for n in range(1, 12)})
    return some


def zone(directory):
    os.makedirs(directory)
    lines = ["local=/org/", "local=/in-addr.arpa/", "no-resolv", "no-hosts", "bind-interfaces"]
    text = lambda name, what: lines.append("txt-record=%s,%s" % (name, ",".join(what[n:n + 250] for n in range(0, len(what), 250))))
    pem = dict(encoding=serialization.Encoding.PEM, format=serialization.PrivateFormat.PKCS8, encryption_algorithm=serialization.NoEncryption())
    for name, key in [("rsa", rsa.generate_private_key(65537, 2048)), ("small", rsa.generate_private_key(65537, 1024)), ("ed", ed25519.Ed25519PrivateKey.generate())]:
        path = os.path.join(directory, name + ".pem")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as out:
            out.write(key.private_bytes(**pem))
        if name == "ed":
            raw = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
            open(os.path.join(directory, "ed.raw"), "wb").write(base64.b64encode(raw))
            public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        else:
            # dkimpy reads this form.
            pkcs1 = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
            open(os.path.join(directory, name + ".pkcs1"), "wb").write(pkcs1)
            public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        kind = "ed25519" if name == "ed" else "rsa"
        for domain in DOMAINS + ["relay.example"]:
            text("%s._domainkey.%s" % (name, domain), "v=DKIM1; k=%s; p=%s" % (kind, base64.b64encode(public).decode()))
    lines.append("local=/relay.example/")
    text("revoked._domainkey.plain.org", "v=DKIM1; p=")
    text("odd._domainkey.plain.org", "v=DKIM1; k=rsa; h=sha1; p=AAAA")
    for name, record in records().items():
        text(name, record)
    text("two.org", "v=spf1 +all")
    text("_dmarc.plain.org", "v=DMARC1; p=reject; sp=quarantine")
    text("_dmarc.strict.org", "v=DMARC1; p=quarantine; adkim=s; aspf=s")
    text("_dmarc.co.org", "v=DMARC1; p=none")
    text("_dmarc.quiet.org", "v=DMARC1; p=none; rua=mailto:x@quiet.org")
    for n in range(1, 40):
        lines.append("host-record=h%d.org,192.0.2.%d" % (n, n))
    for n in range(1, 12):
        lines.append("mx-host=mxmany.org,h%d.org,10" % (n + 20))
    lines += ["mx-host=strict.org,h4.org,10", "host-record=4.2.0.192.in-addr._spf.org,127.0.0.2", "host-record=u1.users.org,127.0.0.2",
              "host-record=mx.ptr.org.helos.org,127.0.0.2", "host-record=digits.org.helos.org,127.0.0.2", "host-record=mx.ptr.org,192.0.2.5",
              "ptr-record=5.2.0.192.in-addr.arpa,mx.ptr.org", "ptr-record=6.2.0.192.in-addr.arpa,mx.ptr.org", "ptr-record=7.2.0.192.in-addr.arpa,x.other.org",
              "host-record=x.other.org,192.0.2.7"]
    open(os.path.join(directory, "dnsmasq.conf"), "w").write("\n".join(lines) + "\n")


class Made:
    """A message, by chance, and how it comes."""

    def __init__(self, directory, chance, number):
        key = lambda name: open(os.path.join(directory, name), "rb").read()
        self.number, self.ip, self.helo = number, chance.choice(IPS), chance.choice(["mx.ptr.org", "h1.org", "plain.org", "nothing.org", "bad.org"])
        author = chance.choice(DOMAINS)
        self.sender = "u%d@%s" % (chance.randint(1, 2), chance.choice([author] * 3 + list(records()) + ["nothing.org"]))
        lines = "\r\n".join(" ".join(chance.choices(WORDS, k=chance.randint(0, 9))) for _ in range(chance.randint(0, 30)))
        head = "From: A <a@%s>\r\nTo:  b@relay.example\r\nSubject: number %d  of\r\n many\r\nMessage-ID: <%d@x.org>\r\n" % (author, number, number)
        head += "Date: Sat, 28 Nov 2026 10:00:00 +0000\r\n" + "X-Twice: %d\r\n" % chance.randint(1, 3) * chance.randint(0, 2)
        message = (head + "\r\n" + lines + "\r\n" * chance.randint(0, 3)).encode()
        for _ in range(chance.choice([0, 1, 1, 1, 2])):
            name = chance.choice(["rsa", "rsa", "small", "ed", "ed", "revoked", "odd", "missing"])
            secret = key("ed.raw") if name == "ed" else key("small.pkcs1" if name == "small" else "rsa.pkcs1")
            names = [b"from", b"to", b"subject"] + chance.choice([[], [b"from", b"subject"], [b"x-twice", b"x-twice", b"x-absent"]])
            domain = chance.choice([author, author, "plain.org", "strict.org"])
            message = dkim.sign(message, name.encode(), domain.encode(), secret, canonicalize=tuple(chance.choices([b"relaxed", b"simple"], k=2)),
                                signature_algorithm=b"ed25519-sha256" if name == "ed" else b"rsa-sha256", include_headers=names) + message
        for _ in range(chance.choice([0, 0, 1])):
            message = chance.choice([
                lambda m: m.replace(b"\r\n\r\n", b"\r\n\r\nadded\r\n", 1), lambda m: m.replace(b"Subject: number", b"Subject: Number"),
                lambda m: m.replace(b"  of\r\n many", b" of many"), lambda m: m.rstrip(b"\r\n") + b"\r\n\r\n\r\n", lambda m: m.replace(b"lorem", b"lorem "),
                lambda m: b"Subject: first\r\n" + m, lambda m: m.replace(b"To:  b", b"TO: b"), lambda m: re.sub(rb"bh=(.)", b"bh=A", m, count=1),
                lambda m: re.sub(rb"\bb=(.)", b"b=A", m, count=1), lambda m: m.replace(b"v=1", b"v=2", 1),
            ])(message)
        self.message = message if message.endswith(b"\r\n") else message + b"\r\n"

    def send(self, port, to):
        with socket.create_connection(("127.0.0.1", int(port)), 60) as connection:
            connection.sendall(b"PROXY TCP4 %s 192.0.2.99 40000 25\r\n" % self.ip.encode())
            file = connection.makefile("rb")

            def reply():
                while True:
                    line = file.readline()
                    if line[3:4] != b"-":
                        return line

            stuffed = re.sub(rb"(?m)^\.", b"..", self.message)
            assert reply().startswith(b"220")
            for line, code in [("EHLO " + self.helo, b"250"), ("MAIL FROM:<%s>" % self.sender, b"250"), ("RCPT TO:<%s>" % to, b"250"), ("DATA", b"354")]:
                connection.sendall(line.encode() + b"\r\n")
                answer = reply()
                assert answer.startswith(code), (line, answer)
            connection.sendall(stuffed + b".\r\n")
            answer = reply()
            assert answer.startswith(b"250"), answer

    def theirs(self):
        """The verdicts of the others: SPF of the sender and of the name, DKIM of each signature, DMARC."""
        by_sender, by_helo = spf.check2(self.ip, self.sender, self.helo)[0], spf.check2(self.ip, "", self.helo)[0]
        signed = []
        count = len(re.findall(rb"(?mi)^dkim-signature:", self.message.split(b"\r\n\r\n")[0]))
        for index in range(count):
            verifier = dkim.DKIM(self.message)
            try:
                good = verifier.verify(index)
            except dkim.DKIMException:
                good = False
            signed.append((good, (verifier.domain or b"?").decode()))
        found = []
        for good, domain in signed or [(False, "?")]:
            by_spf = authres.SPFAuthenticationResult(result=by_sender, smtp_mailfrom=self.sender)
            by_dkim = authres.DKIMAuthenticationResult(result="pass" if good else "fail", header_d=domain)
            found.append(authheaders.check_dmarc(self.message, by_spf, by_dkim).result)
        by_dmarc = "pass" if "pass" in found else found[0]
        return [by_sender, by_helo, [good for good, _ in signed], by_dmarc]


def ours(message):
    """What our field says, as authres reads it."""
    value = str(message["Authentication-Results"])
    field = authres.AuthenticationResultsHeader.parse("Authentication-Results: " + re.sub(r"\s+", " ", value))
    assert field.authserv_id == OURS, value
    spfs = {("helo" if one.smtp_helo else "sender"): one.result for one in field.results if one.method == "spf"}
    dkims = [one.result == "pass" for one in field.results if one.method == "dkim" and one.result != "none"]
    (dmarc,) = [one.result for one in field.results if one.method == "dmarc"]
    return [spfs["sender"], spfs["helo"], dkims, dmarc], value


def messages(path, count):
    end = time.monotonic() + 120
    while True:
        try:
            box = list(mailbox.mbox(path, create=False))
        except mailbox.NoSuchMailboxError:
            box = []
        if len(box) >= count:
            return box
        assert time.monotonic() < end, "%d of %d messages in %s" % (len(box), count, path)
        time.sleep(0.2)


def received(directory, smtp, path, count):
    made = [Made(directory, random.Random(number), number) for number in range(int(count))]
    queue = iter(made)
    lock, wrong = threading.Lock(), []

    def sender():
        while True:
            with lock:
                one = next(queue, None)
            if one is None:
                return
            try:
                one.send(smtp, "u1@relay.example")
            except Exception as error:
                wrong.append("%d: %r" % (one.number, error))

    threads = [threading.Thread(target=sender) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong, wrong[:5]
    by_number = {int(re.search(r"<(\d+)@", message["Message-ID"]).group(1)): message for message in messages(path, len(made))}
    differ, seen = [], {}
    for one in made:
        (found, value), theirs = ours(by_number[one.number]), one.theirs()
        for kind, result in zip(("spf", "helo", "dkim", "dmarc"), found):
            for each in result if isinstance(result, list) else [result]:
                seen[kind, each] = seen.get((kind, each), 0) + 1
        # What can't be told now is refused by nobody: the others take it for a failure.
        if found[3] == "temperror" and theirs[3] in ("fail", "none"):
            found[3] = theirs[3]
        if found != theirs:
            differ.append("%d from %s (%s) as %s\n  we:   %r\n  they: %r\n  %s" % (one.number, one.ip, one.helo, one.sender, found, theirs, value))
    print("  " + ", ".join("%s %s %d" % (kind, result, count) for (kind, result), count in sorted(seen.items(), key=str)))
    for text in differ[:10]:
        print(text)
    assert not differ, "%d of %d differ" % (len(differ), len(made))


def sent(submission, user, password, path, count):
    client = smtplib.SMTP("127.0.0.1", int(submission))
    client.login(user, password)
    chance = random.Random(7)
    for number in range(int(count)):
        body = "\r\n".join(" ".join(chance.choices(WORDS + ["käse", "..", "From here"], k=chance.randint(0, 12))) for _ in range(chance.randint(1, 40)))
        head = "From: =?utf-8?q?=C3=BC?= <%s@relay.example>\r\nTo: u2@relay.example,\r\n  u3@relay.example\r\nSubject: n  %d\r\nMessage-ID: <%d@x.org>\r\n" % (user, number, number)
        client.sendmail(user + "@relay.example", ["u2@relay.example"], (head + "\r\n" + body + "\r\n").encode(), ["BODY=8BITMIME"])
    client.quit()
    for number, message in enumerate(messages(path, int(count))):
        verify(re.sub(rb"(?m)^>(>*From )", rb"\1", message.as_bytes(unixfrom=False)).replace(b"\n", b"\r\n"), 2, number < 5)
    print("  %s messages, two signatures each%s" % (count, BY_OPENDKIM))


OPENDKIM = shutil.which("opendkim-testmsg")
BY_OPENDKIM = "; five by opendkim, too" if OPENDKIM else "; no opendkim here"


def verify(raw, signatures, by_both):
    for index in range(signatures):
        verifier = dkim.DKIM(raw)
        assert verifier.verify(index), raw.decode(errors="replace")[:3000]
    # It says nothing of a message that is good, and takes two seconds for it.
    told = subprocess.run(["opendkim-testmsg"], input=raw, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) if OPENDKIM and by_both else None
    assert not told or told.returncode == 0 and not told.stdout, (told, raw.decode(errors="replace")[:3000])


def sink(port, wanted):
    """Takes messages by SMTP until there are so many."""
    listener, taken = socket.create_server(("127.0.0.1", int(port))), []

    def serve(connection):
        file = connection.makefile("rb")
        say = lambda text: connection.sendall(text + b"\r\n")
        say(b"220 sink")
        while line := file.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                say(b"354 go")
                lines = list(itertools.takewhile(lambda line: line != b".\r\n", iter(file.readline, b"")))
                taken.append(b"".join(line[1:] if line.startswith(b".") else line for line in lines))
                say(b"250 taken")
            else:
                say(b"221 bye" if verb == b"QUIT" else b"250 sink")

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return taken


def copies(submission, user, password, to, sink_port, count):
    taken = sink(sink_port, 2 * int(count))
    client = smtplib.SMTP("127.0.0.1", int(submission))
    client.login(user, password)
    chance = random.Random(9)
    for number in range(int(count)):
        body = "\r\n".join(" ".join(chance.choices(WORDS + ["..", "From here"], k=chance.randint(0, 12))) for _ in range(chance.randint(0, 40)))
        client.sendmail(user + "@relay.example", [to], "From: %s@relay.example\r\nTo: %s\r\nSubject: n  %d\r\n\r\n%s\r\n" % (user, to, number, body))
    client.quit()
    end = time.monotonic() + 120
    while len(taken) < 2 * int(count):
        assert time.monotonic() < end, "%d of %d arrived" % (len(taken), 2 * int(count))
        time.sleep(0.2)
    links = set()
    for number, message in enumerate(taken):
        # By each of the list's two keys, first over the link, then over the post, and by those of its author.
        verify(message, 6, number < 5)
        head = message.split(b"\r\n\r\n")[0].lower()
        links.update(re.findall(rb"list-unsubscribe: <([^>]*)>", head))
        signed = [re.sub(rb"\s", b"", names).split(b":") for names in re.findall(rb"dkim-signature:[^;]*;(?:.|\r\n[ \t])*?\bh=([^;]*);", head)][:2]
        assert all({b"list-unsubscribe", b"list-unsubscribe-post"} <= set(names) for names in signed) and len(signed) == 2, (signed, head)
    assert len(links) == 2, links
    print("  %d copies, each with its own link signed%s" % (len(taken), BY_OPENDKIM))


def onward(directory, smtp, sink_port, count):
    taken = sink(sink_port, int(count))
    sealed = 0
    for number in range(int(count)):
        one = Made(directory, random.Random(number), number)
        if number % 2:
            # Another forwarder has sealed it before.
            results = b"Authentication-Results: first.org; dkim=pass header.d=plain.org\r\n"
            key = open(os.path.join(directory, "rsa.pkcs1"), "rb").read()
            one.message = b"".join(dkim.arc_sign(results + one.message, b"rsa", b"strict.org", key, b"first.org", include_headers=[b"from", b"to", b"subject"])) + one.message
        one.send(smtp, "onward@relay.example")
    end = time.monotonic() + 120
    while len(taken) < int(count):
        assert time.monotonic() < end, "%d of %s arrived" % (len(taken), count)
        time.sleep(0.2)
    for message in taken:
        cv, results, why = dkim.arc_verify(message)
        assert cv == dkim.CV_Pass, "%s: %s\n%s" % (cv, why, message.decode(errors="replace")[:4000])
        sealed += len(results)
    print("  %s messages, %d seals" % (count, sealed))


if __name__ == "__main__":
    {"zone": zone, "received": received, "sent": sent, "onward": onward, "copies": copies}[sys.argv[1]](*sys.argv[2:])
