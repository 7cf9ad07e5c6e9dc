#!/bin/bash
# What one machine of the cluster has for images: the login node by itself, a compute node in a job.
# Answers lines of `key<TAB>value`; the last one is `end`, so that an answer that was cut short is known as such.
# $1 work folder, $2 apptainer, $3 the profile's folder for temporary files or '', further words: NAME=ADDRESS of
# a registry. Nothing that is asked here may hang for long: file systems and networks of other machines can.
export LC_ALL=C
work=$1 apptainer=$2 tmp=$3
shift 3
answer() { printf '%s\t%s\n' "$1" "$(printf '%s' "$2" | tr '\n\t' '  ')"; }
# `command -v` alone finds also what this user may not run.
has() { local found && found=$(command -v "$1") && [ -x "$found" ]; }

# A registry that wants a login (401) is reached. Certificates are not looked at: nothing is sent but the question.
reached() {
    local address=$1 scheme=${1%%:*} at code
    if has curl; then
        code=$(curl --silent --insecure --max-time 8 --output /dev/null --write-out '%{http_code}' "$address" 2> /dev/null)
        case $code in '' | 000 | 407 | 5??) return 1 ;; esac
        return 0
    fi
    at=${address#*://}
    if [ "$scheme" = https ]; then at=${https_proxy:-${HTTPS_PROXY:-$at}}; else at=${http_proxy:-$at}; fi
    at=${at#*://} at=${at##*@} at=${at%%/*}
    case $at in *:*) ;; *) at=$at:$([ "$scheme" = https ] && echo 443 || echo 80) ;; esac
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout 8 bash -c ': < "/dev/tcp/$1/$2"' bash "${at%:*}" "${at##*:}" 2> /dev/null
}
for registry in "$@"; do
    if reached "${registry#*=}"; then answer reached "${registry%%=*}"; else answer unreached "${registry%%=*}"; fi &
done

answer node "${SLURMD_NODENAME:-$(uname -n)}"
answer kernel "$(uname -r)"
answer machine "$(uname -m)"
answer system "$(sed -n 's/^PRETTY_NAME="*\([^"]*\)"*$/\1/p' /etc/os-release 2> /dev/null)"
answer cpus "$(getconf _NPROCESSORS_ONLN)"
answer memory_kib "$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
answer shared_memory_kib "$(timeout 5 df -Pk /dev/shm 2> /dev/null | awk 'NR == 2 { print $2 }')"

libexec=''
if command -v "$apptainer" > /dev/null; then
    answer version "$("$apptainer" --version 2> /dev/null | tail -n 1)"
    for verb in build exec; do
        answer "flags_$verb" "$("$apptainer" "$verb" --help 2> /dev/null \
            | sed -nE 's/^ *(-[A-Za-z][,|] *)?(--[a-z][a-z-]*).*/\2/p' | sort -u)"
    done
    built=$("$apptainer" buildcfg 2> /dev/null)
    libexec=$(printf '%s\n' "$built" | sed -n 's/^LIBEXECDIR=//p')
    program=$(readlink -f "$(command -v "$apptainer")")
    libexec=${libexec:-${program%/bin/*}/libexec}
    configuration=$(printf '%s\n' "$built" | sed -n 's/^[A-Z]*_CONF_FILE=//p')
    for starter in "$libexec"/apptainer/bin/starter-suid "$libexec"/singularity/bin/starter-suid; do
        [ -u "$starter" ] && [ "$(stat -c %u "$starter")" = 0 ] || continue
        ! grep -Eqs '^ *allow setuid *= *no' "$configuration" || continue
        ! grep -qs '^NoNewPrivs:.*1' /proc/self/status || continue
        answer suid yes
    done
fi

PATH=$libexec/apptainer/bin:$libexec/singularity/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin
for name in mksquashfs squashfuse_ll squashfuse fuse2fs fakeroot fakeroot-sysv newuidmap newgidmap; do
    ! has "$name" || answer program "$name"
done

# The answer of the kernel itself counts, where it can be asked: a site may forbid in several places.
if has unshare; then
    ! unshare --user --map-root-user true 2> /dev/null || answer user_namespaces yes
elif [ "$(cat /proc/sys/user/max_user_namespaces 2> /dev/null)" != 0 ] \
    && [ "$(cat /proc/sys/kernel/unprivileged_userns_clone 2> /dev/null)" != 0 ]; then
    answer user_namespaces yes
fi

# Apptainer reads these two files itself, whatever else the system asks; an entry has a name or a number.
range() {
    awk -F: -v name="$(id -un)" -v uid="$(id -u)" '($1 == name || $1 == uid) && $3 + 0 > count { start = $2; count = $3 + 0 }
        END { print start + 0, count + 0 }' "$1" 2> /dev/null
}
read -r first subuids <<< "$(range /etc/subuid)"
read -r _ subgids <<< "$(range /etc/subgid)"
answer subuids "${subuids:-0}"
answer subgids "${subgids:-0}"
# newuidmap needs to be root's and set-user-ID, or to have a capability: whether it works is tried.
if [ "${subuids:-0}" -gt 0 ] && has newuidmap && has unshare; then
    unshare --user sleep 10 2> /dev/null &
    sleeper=$!
    for _ in {1..100}; do
        [ "$(readlink "/proc/$sleeper/ns/user")" = "$(readlink /proc/self/ns/user)" ] || break
        sleep 0.02
    done
    ! newuidmap "$sleeper" 0 "$(id -u)" 1 1 "$first" "$subuids" 2> /dev/null || answer newuidmap works
    kill "$sleeper" 2> /dev/null
    wait "$sleeper" 2> /dev/null
fi
# shellcheck disable=SC2188 # opened, and nothing else
! (<> /dev/fuse) 2> /dev/null || answer fuse yes

# Type and options of the file system that a folder lies on: the longest bind above it, the latest if there are two.
file_system() {
    awk -v path="$(cd "$1" && pwd -P)/" '{ gsub(/\\040/, " ", $2); point = $2 == "/" ? "/" : $2 "/" }
        index(path, point) == 1 && length(point) >= longest { longest = length(point); kind = $3; options = "," $4 "," }
        END { printf "%s\t", kind
              split("ro nodev noexec", names, " ")
              for (n = 1; n <= 3; n++) if (index(options, "," names[n] ",")) printf "%s ", names[n] }' /proc/self/mounts
}
folder() {
    [ -n "$2" ] && [ -d "$2" ] || return
    local mine writable=no runs=no
    if mine=$(mktemp -d "$2/dl4mic-probe.XXXXXXXX" 2> /dev/null); then
        writable=yes
        printf '#!/bin/sh\n' > "$mine/x" && chmod 700 "$mine/x" && "$mine/x" 2> /dev/null && runs=yes
        rm -rf "$mine"
    fi
    printf 'folder\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$(timeout 5 df -Pk "$2" 2> /dev/null | awk 'NR == 2 { print $4 }')" \
        "$writable" "$runs" "$(file_system "$2")"
}
[ -z "$tmp" ] || folder "$tmp" "$tmp"
# In the order in which build.sh goes through them. The names are remembered: the values differ from job to job.
# shellcheck disable=SC2016
{
    folder '$SLURM_TMPDIR' "${SLURM_TMPDIR-}"
    folder '$TMPDIR' "${TMPDIR-}"
}
for name in /tmp /var/tmp /local /localscratch /scratch/local /scratch; do
    folder "$name" "$name"
done

answer free_kib "$(timeout 5 df -Pk "$work" 2> /dev/null | awk 'NR == 2 { print $4 }')"
answer free_inodes "$(timeout 5 df -Pi "$work" 2> /dev/null | awk 'NR == 2 { print $4 }')"
device=$(timeout 5 df -Pk "$work" 2> /dev/null | awk 'NR == 2 { print $1 }')
answer quota_kib "$({ timeout 5 quota -w | awk -v device="$device" '$1 == device { print $2, $3, $4 }'
    timeout 5 lfs quota -q -u "$(id -un)" "$work" | awk 'NF > 4 { print $2, $3, $4 }'; } 2> /dev/null | head -n 1)"
wait
answer end ok
