#!/bin/sh
# Asks Pillarbox and Dovecot what some hundred messages are made of, and compares: see structures.py.
set -eu
peers=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$peers/../.." && pwd)

if [ -z "${PILLARBOX_PEER_ROOT-}" ]; then
    dir=$(mktemp -d "${TMPDIR:-/tmp}/pillarbox-structures.XXXXXX")
    trap 'rm -rf "$dir"' EXIT
    chmod 755 "$dir"
    "$peers/structures.py" write "$dir/box"
    # Built here, so that nothing is written inside the private root.
    (cd "$top" && PILLARBOX_STRUCTURES_OF=$dir/box ${CARGO:-cargo} test --locked --quiet --lib -- --ignored --exact mailbox::tests::structures::told_to_a_file > "$dir/cargo" 2>&1) ||
        { cat "$dir/cargo"; exit 1; }
    "$peers/in_root.sh" "$0" "$dir"
    exit
fi

dir=$1
"$top/tests/bench/peers/dovecot_setup.sh" "$dir/dovecot" 143 110 "$(id -u vmail)"
install -o vmail -g vmail -m 600 "$dir/box" "$dir/dovecot/spool/box"
"$peers/structures.py" compare "$dir/box" "$dir/box.told" "$dir/dovecot/dovecot.conf"
