#!/bin/sh
# Builds the image that this folder describes:   ./build.sh IMAGE.sif [options of `apptainer build`]
#
# Steps of a recipe clean up in /tmp and /var/tmp, so the build gets empty ones of its own. A folder named `site` beside
# this file is shown to the build and not kept: ca-certificates.crt, pip.conf, apt.sources, apt.conf, secrets/ID.
set -eu
umask 022

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}
case ${1-} in
    '' | -*) fail "name the image that is to be written: ./build.sh IMAGE.sif" ;;
    /*) image=$1 ;;
    *) image=$PWD/$1 ;;
esac
shift
program=
for name in apptainer singularity; do
    if [ -z "$program" ] && command -v "$name" > /dev/null; then
        program=$name
    fi
done
[ -n "$program" ] || fail 'Apptainer is not installed here'
cd "$(dirname "$0")"

own=$(mktemp -d "${APPTAINER_TMPDIR:-${TMPDIR:-/tmp}}/dl4mic-hpc.XXXXXX")
trap 'chmod -R u+rwX "$own" 2> /dev/null || :; rm -rf "$own"' EXIT
trap 'exit 143' HUP INT TERM
mkdir "$own/build" "$own/tmp" "$own/var_tmp" "$own/site"
chmod 1777 "$own/tmp" "$own/var_tmp"
: > "$own/tmp/.dl4mic-hpc-private"
: > "$own/var_tmp/.dl4mic-hpc-private"
if [ -d site ]; then
    cp -R site/. "$own/site"
fi
export APPTAINER_TMPDIR="$own/build" SINGULARITY_TMPDIR="$own/build"

set -- --bind "$own/tmp:/tmp" --bind "$own/var_tmp:/var/tmp" --bind "$own/site:/.dl4mic-hpc/site:ro" "$@"
if [ "$(id -u)" != 0 ]; then
    set -- --fakeroot "$@"
fi
"$program" build "$@" "$image" image.def
