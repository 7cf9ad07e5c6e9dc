# shellcheck disable=SC2034,SC2154 # the other parts use and set variables of this one
# SPEC: who USER means, as Docker's builder looks it up in /etc/passwd and /etc/group.
dl4mic_user() {
    dl4mic_wanted=${1%%:*}
    dl4mic_login='' dl4mic_uid='' dl4mic_gid=0 dl4mic_groups='' dl4mic_home=/
    : "${dl4mic_wanted:=0}"
    if [ -f /etc/passwd ]; then
        while IFS=: read -r dl4mic_f1 _ dl4mic_f3 dl4mic_f4 _ dl4mic_f6 _ || [ -n "$dl4mic_f1" ]; do
            if [ "$dl4mic_f1" = "$dl4mic_wanted" ] || [ "$dl4mic_f3" = "$dl4mic_wanted" ]; then
                dl4mic_login=$dl4mic_f1 dl4mic_uid=$dl4mic_f3 dl4mic_gid=$dl4mic_f4 dl4mic_home=${dl4mic_f6:-/}
                break
            fi
        done < /etc/passwd
    fi
    if [ -z "$dl4mic_uid" ]; then
        dl4mic_is_number "$dl4mic_wanted" || dl4mic_stop "the image has no user named $dl4mic_wanted"
        dl4mic_uid=$dl4mic_wanted
        [ "$dl4mic_uid" != 0 ] || dl4mic_home=/root
    fi
    case $1 in
        *:?*)
            dl4mic_group "${1#*:}"
            dl4mic_login=
            ;;
        *) dl4mic_memberships ;;
    esac
}
dl4mic_is_number() {
    case $1 in
        '' | *[!0-9]*) return 1 ;;
    esac
}
dl4mic_group() {
    dl4mic_gid=
    if [ -f /etc/group ]; then
        while IFS=: read -r dl4mic_f1 _ dl4mic_f3 _ || [ -n "$dl4mic_f1" ]; do
            if [ "$dl4mic_f1" = "$1" ] || [ "$dl4mic_f3" = "$1" ]; then
                dl4mic_gid=$dl4mic_f3
                break
            fi
        done < /etc/group
    fi
    if [ -z "$dl4mic_gid" ]; then
        dl4mic_is_number "$1" || dl4mic_stop "the image has no group named $1"
        dl4mic_gid=$1
    fi
}
dl4mic_memberships() {
    if [ -z "$dl4mic_login" ] || [ ! -f /etc/group ]; then
        return 0
    fi
    while IFS=: read -r dl4mic_f1 _ dl4mic_f3 dl4mic_f4 || [ -n "$dl4mic_f1" ]; do
        case ,$dl4mic_f4, in
            *",$dl4mic_login,"*) dl4mic_groups=$dl4mic_groups,$dl4mic_f3 ;;
        esac
    done < /etc/group
}

# SPEC: as dl4mic_user, and the way to become that user, which not every image and namespace has.
dl4mic_become() {
    dl4mic_user "$1"
    dl4mic_by=
    if [ "$dl4mic_uid:$dl4mic_gid" = 0:0 ]; then
        return 0
    fi
    for dl4mic_by in setpriv chroot su guest; do
        if ( dl4mic_as true ) < /dev/null > /dev/null 2>&1; then
            return 0
        fi
    done
    dl4mic_leave
    dl4mic_by=
    dl4mic_note user-not-changed "the command runs as root instead of $1: nobody else can be become here"
}
# su knows users by their names, each with one group: for any other there is a guest while the command runs.
dl4mic_as() {
    case $dl4mic_by in
        setpriv)
            exec setpriv --reuid="$dl4mic_uid" --regid="$dl4mic_gid" --groups="$dl4mic_gid$dl4mic_groups" "$@"
            ;;
        chroot)
            exec chroot --userspec="+$dl4mic_uid:+$dl4mic_gid" --groups="$dl4mic_gid$dl4mic_groups" --skip-chdir / "$@"
            ;;
        su)
            # shellcheck disable=SC2016
            exec su -p -s /bin/sh -c 'exec "$@"' -- "${dl4mic_login:?}" sh "$@"
            ;;
        guest)
            dl4mic_leave
            dl4mic_login=dl4mic-hpc
            echo "$dl4mic_login:x:$dl4mic_uid:$dl4mic_gid::$dl4mic_home:/bin/sh" >> /etc/passwd
            dl4mic_by=su
            dl4mic_as "$@"
            ;;
        *)
            exec "$@"
            ;;
    esac
}
# Ends what may have begun with dl4mic_become.
dl4mic_leave() {
    if [ -f /etc/passwd ] && grep -q '^dl4mic-hpc:' /etc/passwd; then
        grep -v '^dl4mic-hpc:' /etc/passwd > "$dl4mic_own/passwd" || :
        cat "$dl4mic_own/passwd" > /etc/passwd
        rm -f "$dl4mic_own/passwd"
    fi
}

# SPEC: the owner that files get, as numbers; a number without a group is the group's number too, and what is left out
# before or behind a colon is 0.
dl4mic_owner() {
    dl4mic_ids=
    if [ -z "$1" ]; then
        return 0
    fi
    dl4mic_user "$1"
    case $1 in
        *:) dl4mic_gid=0 ;;
        *:*) ;;
        *) ! dl4mic_is_number "$1" || dl4mic_gid=$1 ;;
    esac
    dl4mic_ids=$dl4mic_uid:$dl4mic_gid
}
# IDS [-R] FILE: gives the file to this owner, where the build can have other owners than root.
dl4mic_chown() {
    if [ -z "$1" ] || chown -h "$@" 2> /dev/null; then
        return 0
    fi
    dl4mic_note owner-not-changed "files stay root's instead of $1's: this build can have no other owners"
}
# Without root rights Apptainer gives all files of a base image to root. Their owners matter to whoever is not.
dl4mic_restore_owners() {
    if [ -n "$dl4mic_no_owners" ]; then
        return 0
    fi
    if command -v python3 > /dev/null && python3 -I "$dl4mic_own/owners.py" /; then
        return 0
    fi
    if command -v perl > /dev/null && perl "$dl4mic_own/owners.pl" / "$(uname -m)"; then
        return 0
    fi
    dl4mic_note base-owners "the files of the base image stay root's: it has neither Python nor Perl to change that"
}
