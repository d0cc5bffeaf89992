# Pillarbox. The targets for people: demo, check, install; see README.

PREFIX     = /usr/local
SYSCONFDIR = /etc
CARGO      = cargo
MANDIR     = $(PREFIX)/share/man

# The demo takes the release build if there is one; else a debug build is ready sooner.
DEMO_PROFILE = $(if $(wildcard target/release/pillarbox),release,dev)
DEMO_DIR     = target/$(if $(filter release,$(DEMO_PROFILE)),release,debug)

all: toolchain
	$(CARGO) build --release --locked

demo: toolchain
	@$(CARGO) build --locked --quiet --profile $(DEMO_PROFILE)
	@etc/demo.sh $(DEMO_DIR)

# Format, lints, all tests; each test tells its seconds.
check: toolchain deps
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --check; else echo "check: skipped: format (rustfmt is not installed)"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then $(CARGO) clippy --locked --all-targets --quiet -- -D warnings; else echo "check: skipped: lints (clippy is not installed)"; fi
	@$(CARGO) --config "target.'cfg(unix)'.runner = '$(CURDIR)/tests/timed.sh'" test --locked

# Real servers, load, long crash runs.
check-peers: toolchain
	tests/deps.sh --peers
	$(CARGO) build --release --locked
	tests/peers/run.sh

# Figures beside Postfix and Dovecot.
bench: toolchain
	tests/deps.sh --peers
	$(CARGO) build --release --locked
	tests/bench/run.sh

# Hours of kill -9, of odd input, and of mail programs at one mailbox; these say how long.
ROUNDS         = 2000
SECONDS        = 1800
PROGRAM_ROUNDS = 200
MESSAGES       = 100000
soak: toolchain deps
	PILLARBOX_CRASH_ROUNDS=$(ROUNDS) PILLARBOX_FUZZ_SECONDS=$(SECONDS) PILLARBOX_SHARED_SECONDS=$(SECONDS) $(CARGO) test --locked --test integration -- crash restart fuzz shared
	PILLARBOX_QUEUE_MESSAGES=$(MESSAGES) $(CARGO) test --locked --test integration -- load::living
	PILLARBOX_MODEL_SECONDS=$(SECONDS) PILLARBOX_FUZZ_SECONDS=$(SECONDS) $(CARGO) test --locked --lib -- --include-ignored mailbox::tests::model mailbox::tests::fuzzing
	$(CARGO) test --locked --lib -- --ignored at_length
	tests/deps.sh --peers
	$(CARGO) build --release --locked
	PILLARBOX_PROGRAM_ROUNDS=$(PROGRAM_ROUNDS) tests/peers/run.sh four_writers alpine_writes
	PILLARBOX_SESSION_SECONDS=600 tests/peers/run.sh sessions

# What the tests need: programs, and the crates, so that everything after it runs offline.
deps: toolchain
	@tests/deps.sh
	@$(CARGO) fetch --locked --quiet || $(CARGO) fetch --locked --quiet --offline

toolchain:
	@command -v $(CARGO) >/dev/null || { echo "Cargo is missing: Rust 1.85 or newer is needed, see https://rustup.rs" >&2; exit 1; }
	@rustc --version | awk '{ split($$2, v, "."); if (v[1] == 1 && v[2] < 85) { print "Rust 1.85 or newer is needed, this is " $$2 ": say rustup update" > "/dev/stderr"; exit 1 } }'
	@command -v cc >/dev/null || { echo "A C compiler is missing: install gcc or clang (Debian: apt install gcc)" >&2; exit 1; }

install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(MANDIR)/man8
	install -m 755 target/release/pillarbox target/release/pillarboxctl $(DESTDIR)$(PREFIX)/sbin
	ln -sf pillarboxctl $(DESTDIR)$(PREFIX)/sbin/sendmail
	ln -sf ../sbin/pillarboxctl $(DESTDIR)$(PREFIX)/bin/mailq
	install -m 644 man/*.1 $(DESTDIR)$(MANDIR)/man1
	install -m 644 man/*.5 $(DESTDIR)$(MANDIR)/man5
	install -m 644 man/*.7 $(DESTDIR)$(MANDIR)/man7
	install -m 644 man/*.8 $(DESTDIR)$(MANDIR)/man8
	install -d $(DESTDIR)$(SYSCONFDIR)/pillarbox $(DESTDIR)$(SYSCONFDIR)/init.d
	install -m 755 etc/init.d/pillarbox $(DESTDIR)$(SYSCONFDIR)/init.d
	test -e $(DESTDIR)$(SYSCONFDIR)/pillarbox/pillarbox.conf || install -m 644 etc/pillarbox.conf $(DESTDIR)$(SYSCONFDIR)/pillarbox

# Mail, users and configuration stay.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/pillarbox $(DESTDIR)$(PREFIX)/sbin/pillarboxctl
	rm -f $(DESTDIR)$(PREFIX)/sbin/sendmail $(DESTDIR)$(PREFIX)/bin/mailq
	rm -f $(DESTDIR)$(MANDIR)/man1/mailq.1 $(DESTDIR)$(MANDIR)/man5/pillarbox.conf.5 $(DESTDIR)$(MANDIR)/man5/pillarbox-mailbox.5 $(DESTDIR)$(MANDIR)/man7/pillarbox-imap.7 $(DESTDIR)$(SYSCONFDIR)/init.d/pillarbox
	cd $(DESTDIR)$(MANDIR)/man8 && rm -f pillarbox.8 pillarboxctl.8 sendmail.8

clean:
	$(CARGO) clean

.PHONY: all demo check check-peers bench soak deps toolchain install uninstall clean
