#!/bin/sh
# Debian's suite $2, minimal, from the mirror $1, as a tar on standard output. Needs root. For machines that
# cannot pull the image from a registry; the same packages as Debian's own slim image, and as little else.
set -eu
PATH=$PATH:/usr/sbin:/sbin

work=$(mktemp -d /var/tmp/dl4mic-base.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' INT TERM HUP

# In a mount namespace of its own: what debootstrap leaves mounted when it fails goes with it.
# The script for unstable is named because an older debootstrap has none for a newer release yet.
unshare --mount debootstrap --variant=minbase --include=ca-certificates --force-check-gpg \
    "$2" "$work/root" "$1" /usr/share/debootstrap/scripts/sid >&2

rm -rf "$work"/root/dev/* "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* "$work"/root/var/log/* \
    "$work"/root/usr/share/doc/* "$work"/root/usr/share/info/* "$work"/root/usr/share/locale/* \
    "$work"/root/usr/share/man/*
: > "$work/root/etc/resolv.conf"
rm -f "$work/root/etc/hostname"
tar --directory "$work/root" --numeric-owner --create .
