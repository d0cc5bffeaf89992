#!/usr/bin/python3
"""A message of 4 KiB with a DKIM signature (RSA-2048), and what DNS has to say of its sender: SPF, its key, DMARC.

    signed.py DIR NETWORK        DIR/message, sent from NETWORK; its subject is @SUBJECT@, which is not signed
                                 DIR/dnsmasq.conf, for dnsmasq
"""

import base64
import os
import subprocess
import sys

import dkim  # the distribution's python3-dkim

DOMAIN = "sender.example"


def main():
    directory, network = sys.argv[1:]
    os.makedirs(directory)
    secret, public, message, zone = (os.path.join(directory, name) for name in ("secret.pem", "public.der", "message", "dnsmasq.conf"))
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", secret, "2048"], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "rsa", "-in", secret, "-pubout", "-outform", "DER", "-out", public], check=True, stderr=subprocess.DEVNULL)
    with open(secret, "rb") as file:
        key = file.read()
    with open(public, "rb") as file:
        published = base64.b64encode(file.read()).decode()

    head = "From: <sender@%s>\r\nTo: <users@test.example>\r\nDate: Sat, 28 Nov 2026 09:00:00 +0000\r\n" % DOMAIN
    head += "Message-ID: <1@%s>\r\nSubject: @SUBJECT@\r\n" % DOMAIN
    line = "X" * 78 + "\r\n"
    plain = (head + "\r\n" + line * (4096 // len(line))).encode()
    fields = [b"from", b"to", b"date", b"message-id"]
    signature = dkim.sign(plain, b"bench", DOMAIN.encode(), key, canonicalize=(b"relaxed", b"relaxed"), include_headers=fields)
    with open(message, "wb") as file:
        file.write((signature + plain).replace(b"\r\n", b"\n"))

    # A string in a TXT record is no longer than 255 bytes.
    halves = "v=DKIM1; k=rsa; p=" + published[:200], published[200:]
    with open(zone, "w") as file:
        file.write("no-resolv\nno-hosts\nlisten-address=127.0.0.1\nbind-interfaces\nlocal=/example/\nlocal-ttl=300\nneg-ttl=300\n")
        file.write('txt-record=%s,"v=spf1 ip4:%s -all"\n' % (DOMAIN, network))
        file.write('txt-record=bench._domainkey.%s,"%s","%s"\n' % ((DOMAIN,) + halves))
        file.write('txt-record=_dmarc.%s,"v=DMARC1; p=reject"\n' % DOMAIN)


if __name__ == "__main__":
    main()
