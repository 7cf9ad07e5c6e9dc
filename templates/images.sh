# The images in the work folder and in the folders that others keep. $1 what to do, $2 the work folder; then
# look AGE FOLDER…: facts in blocks of fields; AGE in seconds or '': how long a cached file was not read to be counted
# check FILE…: `SHA-256<TAB>sif or other<TAB>file` for each, as it comes
# remove AGE NAME.sif…, clear AGE PATH…: what has been done, one `word<TAB>name` each, PATH below the work folder
# A job is asked for after the files that name it were read: one that began meanwhile is known then.
verb=$1 work=$2
shift 2

jobs_of_mine() { timeout 30 squeue --noheader --me --format='%i|%j|%T' 2>&1; }

# The one line of a file, in $text.
line() {
    text=
    [ ! -r "$1" ] || IFS= read -r text < "$1"
}

# The job in sbatch's answer ("7" or "7;cluster"), in $text: a site's notices may stand before it.
job_in() { text=$(sed -n 's/^[0-9][0-9]*\(;.*\)\{0,1\}$/&/p' "$1" 2> /dev/null | tail -n 1); }

# What others wrote cannot end a field.
plain() { tr -d '\035\036'; }
entries() { stat -L --format='%a|%U|%s|%Y|%n' -- "$@" 2> /dev/null | plain; }

above() {
    set -- "$1" "$1"
    while [ "$2" != / ] && [ -n "$2" ]; do
        entries "$2"
        set -- "$1" "${2%/*}"
    done
    entries /
}

# Cached files that nobody has read since $1, by find's words; the two small files that name a cache's layout stay.
old_in_cache() {
    since=$1
    shift
    find "$work/cache/apptainer" -type f ! -name index.json ! -name oci-layout ! -newermt "@$since" ! -newerat "@$since" "$@"
}
total() { awk '{ all += $1 } END { printf "%.0f", all }'; }

# Of each thing in the folder $1: its bytes, and when something in it was last written.
sizes() {
    find "$1" -mindepth 1 -printf '%P\t%y\t%s\t%T@\n' 2> /dev/null | awk -F '\t' '
        { split($1, part, "/"); name = part[1]; size[name] += ($2 == "f") * $3; if ($4 > last[name]) last[name] = $4 }
        END { for (name in size) printf "%s\t%.0f\t%.0f\n", name, size[name], last[name] }'
}

# The folders of builds that have not ended and convert the downloaded image $1.
builds_with() {
    grep -lF -- "/cache/layouts/${1##*/}" "$work"/builds/*/build.sh 2> /dev/null | while IFS= read -r script; do
        [ -e "${script%/*}/exit.json" ] || printf '%s\n' "${script%/*}"
    done
}

look() {
    age=$1
    shift
    now=$(date +%s)
    printf '\035now\036%s\036%s' "$now" "$(id -un)"
    for folder in "$work/images" "$@"; do
        printf '\035folder\036%s\036' "$folder"
        entries "$folder"/*
        printf '\036'
        [ ! -d "$folder" ] || above "$(cd -P -- "$folder" && pwd -P)"
        for image in "$folder"/*.sif; do
            [ -h "$image" ] || continue
            printf '\035link\036%s\036' "$image"
            real=$(readlink -f -- "$image")
            above "${real%/*}"
        done
        for record in "$folder"/*.json; do
            [ ! -f "$record" ] || { printf '\035record\036%s\036' "$record"; head -c 65536 -- "$record" 2> /dev/null | plain; }
        done
    done
    for lock in "$work"/images/*.lock; do
        [ -d "$lock" ] || continue
        line "$lock/job"
        printf '\035lock\036%s\036%s' "$lock" "$text"
    done
    for folder in "$work"/builds/*/; do
        [ -d "$folder" ] || continue
        job_in "$folder/job.id"
        printf '\035build\036%s\036%s' "${folder%/}" "$text"
    done
    printf '\035sizes\036'
    sizes "$work/builds"
    printf '\036'
    sizes "$work/cache/layouts"
    for folder in "$work"/cache/layouts/*/; do
        [ -d "$folder" ] || continue
        printf '\035download\036%s\036' "${folder%/}"
        builds_with "${folder%/}" | while IFS= read -r folder; do
            job_in "$folder/job.id"
            printf '%s\n' "${text:-none}"
        done
    done
    printf '\035cache\036%s\036' "$(find "$work/cache/apptainer" -type f -printf '%s\n' 2> /dev/null | total)"
    [ -z "$age" ] || old_in_cache "$((now - age))" -printf '%s\n' 2> /dev/null | total
    for record in "$work"/sessions/*/session.json; do
        [ -s "$record" ] && [ ! -e "${record%/*}/exit.json" ] || continue
        job_in "${record%/*}/job.id"
        image=$(sed -n 's/^ *"image": "\([^"\\]*\)",*$/\1/p' "$record")
        printf '\035session\036%s\036%s\036' "$text" "$(readlink -f -- "$image")"
        cat "$record"
    done
    said=$(jobs_of_mine)
    printf '\035jobs\036%s\036%s\035end' "$?" "$said"
}

check() {
    for file in "$@"; do
        magic=$(head -c 41 -- "$file" 2> /dev/null | tail -c 9)
        kind=other
        [ "$magic" != SIF_MAGIC ] || kind=sif
        sum=$(nice -n 19 sha256sum < "$file" 2> /dev/null) || sum=
        printf '%s\t%s\t%s\n' "${sum%% *}" "$kind" "$file"
    done
}

# Whether the session in the folder $1 may still want its image; $jobs as squeue told them.
wants_it() {
    [ ! -e "$1/exit.json" ] || return 1
    job_in "$1/job.id"
    case $text in
        '' | *';'*) return 0 ;;
    esac
    lives "$text|"
}
lives() {
    case "
$jobs" in
        *"
$1"*) return 0 ;;
    esac
    return 1
}
being_built() {
    case $jobs in
        *"|dl4mic-build-$1|"*) return 0 ;;
    esac
    return 1
}

put_back() {
    [ -e "$1.sif" ] || mv -f -- "$1.gone" "$1.sif"
    [ -e "$1.json" ] || mv -f -- "$1.gone.json" "$1.json" 2> /dev/null
    rm -rf -- "$1.gone" "$1.gone.json" "$1.lock"
}

# First all are taken out of the way, so that no launch finds them; then it is seen whether somebody had found one.
remove() {
    age=$1 left=$(($# - 1))
    shift
    cd -- "$work/images" || exit
    trap '' HUP INT TERM
    while [ "$left" -gt 0 ]; do
        stem=${1%.sif} left=$((left - 1))
        shift
        if ! mkdir -- "$stem.lock" 2> /dev/null; then
            printf 'locked\t%s\n' "$stem.sif"
        elif [ -n "$age" ] && [ -n "$(find "$stem.used" -newermt "@$(($(date +%s) - age))" 2> /dev/null)" ]; then
            rmdir -- "$stem.lock"
            printf 'used\t%s\n' "$stem.sif"
        elif ! mv -f -- "$stem.sif" "$stem.gone"; then
            rmdir -- "$stem.lock"
            printf 'failed\t%s\n' "$stem.sif"
        else
            mv -f -- "$stem.json" "$stem.gone.json" 2> /dev/null
            set -- "$@" "$stem"
        fi
    done
    if ! jobs=$(jobs_of_mine); then
        for stem; do put_back "$stem"; done
        printf '%s\n' "$jobs" >&2
        exit 97
    fi
    for stem; do
        word=removed
        ! being_built "${stem##*-}" || word=locked
        for record in $(cd .. && grep -lF "/$stem.sif\"" sessions/*/session.json 2> /dev/null); do
            ! wants_it "../${record%/*}" || word=used
        done
        if [ "$word" = removed ]; then
            rm -rf -- "$stem.gone.json" "$stem.used" "$stem.gone" "$stem.lock"
        else
            put_back "$stem"
        fi
        printf '%s\t%s\n' "$word" "$stem.sif"
    done
}

old() { [ -n "$(find "$1" -maxdepth 0 -mmin "+$2")" ]; }

# Whether nobody needs the leftover $1 any more. A lock that names no job is old after five minutes, another thing after
# a day. Half an image has to rest for ten minutes, for it may be made on the login node, by a process and not by a job;
# the folder of a build for a day, for its log tells why the build failed. A downloaded image has to rest for $age
# seconds, and for a day: no job is there yet while it is downloaded.
is_dead() {
    case $1 in
        *..* | cache/layouts/*/*) return 1 ;;
        cache/layouts/sha[0-9]*-*[0-9a-f])
            [ -d "$1" ] && [ -n "$age" ] || return 1
            rest=$age
            [ "$rest" -gt 86400 ] || rest=86400
            [ -z "$(find "$1" -newermt "@$(($(date +%s) - rest))")" ] || return 1
            ! builds_with "$1" | while IFS= read -r folder; do
                job_in "$folder/job.id"
                case $text in
                    '' | *';'*) echo needed ;;
                    *) ! lives "$text|" || echo needed ;;
                esac
            done | grep -q needed
            return
            ;;
        */*/* | *.sif) return 1 ;;
        images/*)
            text=${1##*-} text=${text%%.*}
            case ${#text}$text in
                16*[!0-9a-f]*) return 1 ;;
                16*) ;;
                *) return 1 ;;
            esac
            ;;
    esac
    case $1 in
        images/*.gone*)
            [ ! -e "${1%.gone*}.lock" ]
            return
            ;;
        images/*.json | images/*.used)
            text=${1##*-}
            [ ! -e "${1%.*}.sif" ] && ! being_built "${text%.*}"
            return
            ;;
        images/*.lock)
            line "$1/job"
            [ -n "$text" ] || { old "$1" 5; return; }
            ;;
        images/*.part)
            text=${1%.part} text=${text##*.}
            old "$1" 10 || return
            ;;
        images/*) text='' ;;
        builds/*)
            old "$1" 1440 || return
            job_in "$1/job.id"
            [ ! -e "$1/exit.json" ] || return 0
            ;;
        *) return 1 ;;
    esac
    case $text in
        *';'*) return 1 ;;
        '' | *[!0-9]*) old "$1" 1440 ;;
        *) ! lives "$text|" ;;
    esac
}

clear() {
    age=$1
    shift
    cd -- "$work" || exit
    jobs=$(jobs_of_mine) || { printf '%s\n' "$jobs" >&2; exit 97; }
    for path; do
        if ! is_dead "$path"; then
            printf 'used\t%s\n' "$path"
            continue
        fi
        # The build that the lock stands for may have left its registry login.
        line "$path/build_dir"
        case $text in "$work"/builds/*) rm -f -- "$text/login" ;; esac
        # A build leaves folders without write permission where a package made them so.
        rm -rf -- "$path" 2> /dev/null || { chmod -R u+rwX -- "$path"; rm -rf -- "$path"; }
        if [ -e "$path" ]; then printf 'failed\t%s\n' "$path"; else printf 'removed\t%s\n' "$path"; fi
    done
    [ -n "$age" ] || return 0
    case $jobs in
        *'|dl4mic-build-'*) printf 'used\tcache\n' ;;
        *) printf 'cache\t%s\n' "$(old_in_cache "$(($(date +%s) - age))" -printf '%s\n' -delete 2> /dev/null | total)" ;;
    esac
}

case $verb in
    look) look "$@" ;;
    check) check "$@" ;;
    remove) remove "$@" ;;
    clear) clear "$@" ;;
esac
exit 0
