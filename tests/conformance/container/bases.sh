#!/bin/sh
# Makes the images that the corpus stands on, as archives in the folder $1, without any network: small roots from the
# programs of this container. Their names are base.example/<archive's name>:1, here and in the recipes. Those that have
# a SHELL or ONBUILD are Docker's archives, for OCI's form has no place for either.
set -eu
target=$1
work=$(mktemp -d /oracle/bases.XXXXXX)
trap 'rm -rf "$work"' EXIT
umask 022

folders() { # ROOT FOLDER...
    root=$1 && shift
    for folder; do mkdir -p "$root/$folder"; done
    chmod 1777 "$root/tmp" "$root/var/tmp"
    chmod 0700 "$root/root"
}

users() { # ROOT: everybody whom the recipes name
    printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin \
        www:x:33:33:www:/var/www:/usr/sbin/nologin nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin > "$1/etc/passwd"
    printf '%s\n' root:x:0: daemon:x:1: staff:x:50:www www:x:33: users:x:100: nogroup:x:65534: > "$1/etc/group"
    printf 'passwd: files\ngroup: files\n' > "$1/etc/nsswitch.conf"
    printf 'ID=conformance\nVERSION_ID=1\n' > "$1/etc/os-release"
}

with_programs() { # ROOT PROGRAM...: with the libraries that they need
    root=$1 && shift
    for program; do
        file=$(readlink -f "$(which "$program")")
        cp -a "$file" "$root/usr/bin/$program"
        ldd "$file" 2> /dev/null | grep -o '/[^ ]*' || true
    done | sort -u | while read -r library; do
        real=$(readlink -f "$library")
        mkdir -p "$root/usr/lib/x86_64-linux-gnu" "$root/usr/lib64"
        case $library in
            */ld-linux*) cp -L "$real" "$root/usr/lib64/${library##*/}" ;;
            *) cp -L "$real" "$root/usr/lib/x86_64-linux-gnu/${library##*/}" ;;
        esac
    done
}

archive() { # NAME KIND: of the image localhost/NAME
    buildah tag "$1" "base.example/$1:1"
    buildah push --quiet "$1" "$2:$target/$1.tar"
}

from_root() { # NAME ROOT KIND
    tar --directory "$2" --numeric-owner --sort=name --create . > "$work/$1.tar"
    printf 'FROM scratch\nADD %s.tar /\nCMD ["sh"]\n' "$1" > "$work/$1.Dockerfile"
    build "$1" "$work" "$3"
}

build() { # NAME CONTEXT KIND
    buildah build --quiet --isolation chroot --network host --format docker --tag "$1" --file "$work/$1.Dockerfile" "$2" > /dev/null
    archive "$1" "$3"
}

glibc=$work/glibc
folders "$glibc" dev etc home opt proc root run srv sys tmp usr/bin usr/sbin usr/lib usr/local/bin var/lib var/log var/tmp var/www
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$glibc/$folder"; done
users "$glibc"
# shellcheck disable=SC2046 # one word for each program
with_programs "$glibc" bash dash find gawk getopt mawk grep gzip sed setpriv tar useradd groupadd usermod xargs xz \
    $(dpkg -L coreutils | sed -n 's#^/\(usr/\)\?bin/##p')
ln -s dash "$glibc/usr/bin/sh"
ldconfig -r "$glibc"
from_root glibc "$glibc" oci-archive

busybox=$work/busybox
folders "$busybox" bin dev etc home proc root run sys tmp usr/bin usr/sbin var/tmp var/www
users "$busybox"
cp /usr/bin/busybox "$busybox/bin/busybox"
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$busybox/bin/$applet"
done
from_root busybox "$busybox" oci-archive

# One program, no shell: what people call distroless.
bare=$work/bare
folders "$bare" etc root tmp var/tmp usr
users "$bare"
cp /usr/bin/busybox "$bare/usr/env"
from_root bare "$bare" docker-archive

cat > "$work/rich.Dockerfile" << 'EOF'
FROM base.example/glibc:1
RUN printf '#!/bin/sh\nprintf "<%%s>\\n" rich "$PWD" "$@"\n' > /usr/local/bin/entry && chmod 0755 /usr/local/bin/entry && mkdir /srv/data
ENV PATH=/opt/rich/bin:$PATH RICH="a  b" RICH_DOLLAR='$HOME' LD_LIBRARY_PATH=/opt/rich/lib EMPTY=
LABEL rich.label="from the base" shared="base"
WORKDIR /srv/rich
USER www
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENTRYPOINT ["/usr/local/bin/entry", "of base"]
CMD ["one", "two words"]
EXPOSE 8080/tcp
VOLUME /srv/data
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD ["true"]
EOF
build rich "$work" docker-archive

cat > "$work/onbuild.Dockerfile" << 'EOF'
FROM base.example/glibc:1
ONBUILD ARG WHAT=nothing
ONBUILD RUN echo "$WHAT" > /on.build
ONBUILD COPY onbuild.txt /srv/
ONBUILD ENV FROM_TRIGGER=yes
EOF
build onbuild "$work" docker-archive

# Files of other owners, as in images that end with a user of their own; and a Perl, which Debian's images have.
mkdir -p "$work/perl/usr/bin" "$work/perl/usr/lib/x86_64-linux-gnu"
cp /usr/bin/perl "$work/perl/usr/bin/perl"
cp -R /usr/lib/x86_64-linux-gnu/perl-base "$work/perl/usr/lib/x86_64-linux-gnu/perl-base"
cp -L /usr/lib/x86_64-linux-gnu/libcrypt.so.1 "$work/perl/usr/lib/x86_64-linux-gnu/libcrypt.so.1"
cat > "$work/owned.Dockerfile" << 'EOF'
FROM base.example/glibc:1
COPY perl/ /
RUN mkdir -p /home/maria/.config && echo mine > /home/maria/file && chown -R 1000:100 /home/maria \
 && ln -s file /home/maria/link && touch /srv/staff && chown 33:50 /srv/staff && chmod 6755 /srv/staff
EOF
build owned "$work" oci-archive
