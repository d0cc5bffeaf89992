#!/bin/sh
# make deb: packs what make install installs.
#
#   etc/debian/build.sh BUILT OUT [VERSION]
#
# The programs come from BUILT, the package goes to the directory OUT, its version is that of the changelog.
set -eu
cd "$(dirname "$0")/../.."
here=etc/debian built=$1 out=$2
version=${3-$(sed -n '1s/.*(\(.*\)).*/\1/p' $here/changelog)}
[ "$("$built/pillarbox" -V)" = "pillarbox ${version%-*}" ] || { echo "$built/pillarbox is not version ${version%-*}: see $here/changelog" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
umask 022

${MAKE:-make} --silent install CARGO=true BUILT="$built" DESTDIR="$root" PREFIX=/usr SYSCONFDIR=/etc UNITDIR=/lib/systemd/system
# It gets its group when it is installed: here that could only be another one.
chmod 755 "$root/usr/sbin/pillarbox-drop"
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root"/usr/sbin/pillarbox "$root"/usr/sbin/pillarboxctl "$root"/usr/sbin/pillarbox-drop

# What every host has to itself is made from this when the package is installed.
mkdir -p "$root/usr/share/pillarbox" "$root/usr/share/doc/pillarbox" "$root/DEBIAN"
mv "$root/etc/pillarbox/pillarbox.conf" "$root/etc/aliases" "$root/usr/share/pillarbox"

doc=$root/usr/share/doc/pillarbox
cp README "$doc"
cp CHANGELOG "$doc/changelog"
cp "$here/changelog" "$doc/changelog.Debian"
gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$root"/usr/share/man/man*/*
# The licence, but for its title and the line of its holder, which stands above.
awk '/@LICENSE@/ { while ((getline line < "LICENSE") > 0) if (++n > 4) print line == "" ? " ." : " " line; next } 1' "$here/copyright" > "$doc/copyright"
${CARGO:-cargo} tree --locked --offline --edges normal --prefix none --format '{p} {l}' | sed 's/ (\*)$//; s/ ([^)]*)//' | sort -u > "$doc/crates"

# The packages of the libraries that the programs are linked with.
libraries() {
    libc=$(cat "$root"/usr/sbin/* | grep -ao 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1)
    for library in $(ldd "$root/usr/sbin/pillarbox" "$root/usr/sbin/pillarboxctl" | awk '$2 == "=>" { print $3 }' | sort -u); do
        dpkg -S "*/$(basename "$(dirname "$library")")/$(basename "$library")" | sed 's/[:,].*//'
    done | sort -u | sed "s/^libc6\$/libc6 (>= ${libc#GLIBC_})/" | paste -sd, | sed 's/,/, /g'
}

find "$root/etc" -type f | sed "s,^$root,," | sort > "$root/DEBIAN/conffiles"
(cd "$root" && find usr lib -type f | sort | xargs md5sum) > "$root/DEBIAN/md5sums"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$(dpkg --print-architecture)/" -e "s/@LIBRARIES@/$(libraries)/" \
    -e "s/@SIZE@/$(du -ks --exclude=DEBIAN "$root" | cut -f1)/" "$here/control" > "$root/DEBIAN/control"
for script in postinst prerm postrm; do
    install -m 755 "$here/$script" "$root/DEBIAN"
done
mkdir -p "$out"
dpkg-deb --root-owner-group --build "$root" "$out"
