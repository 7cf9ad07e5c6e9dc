#!/bin/bash
# Pretrained weights in the work folder: WEIGHTS/<key>/<name>, with a record beside each. A file under its own name is
# whole and checked. Answers `word<TAB>key<TAB>text` lines as things happen, and `end` last.
# $1 the weights' folder, $2 what to do:
#   fetch           standard input has `set<TAB>name<TAB>value` lines for the environment, and for each file
#                   `file<TAB>key/name<TAB>sha256 or -<TAB>address<TAB>its record as JSON without the closing brace`
#   keep KEY/NAME SHA256 RECORD     standard input is the file
umask 077
folder=$1 what=$2
dead_after=120  # seconds without a sign of life; curl gives up after 60
lock='' part=''

# A laptop that is gone wants nothing more.
trap '' PIPE
trap 'exit 1' HUP INT TERM
trap '[ -z "$lock" ] || rmdir "$lock" 2> /dev/null' EXIT
tell() { printf '%s\t%s\t%s\n' "$1" "$2" "$(printf '%s' "$3" | tr '\n\t' '  ')" 2> /dev/null || exit 1; }

is_there() { [ -s "$folder/$1" ] && [ -s "$folder/${1%/*}/weights.json" ]; }

# Whether somebody is at work in the folder $1: a fetch writes all the time. Files bear the time of the disk's server,
# so what it is there now tells a new file, not the clock here.
alive() {
    local mark=$1/.now.$$ now
    : > "$mark" && now=$(stat --format=%Y "$mark") || now=$(date +%s)
    rm -f "$mark"
    [ -n "$(find "$1" -mindepth 1 ! -name '.now.*' -newermt "@$((now - dead_after))" 2> /dev/null)" ]
} 2> /dev/null

# Puts "$part" in its place; $1 key/name, $2 hash or -, $3 record. Returns 2 if it is another file than it should be.
put_in_place() {
    local file=$folder/$1 found
    found=$(sha256sum < "$part") || return 1
    found=${found%% *}
    if [ "$2" != - ] && [ "$2" != "$found" ]; then
        rm -f "$part"
        why="has the SHA-256 $found, not $2"
        return 2
    fi
    if [ "$2" = - ] && head -c 512 "$part" | tr -d '\000' | grep -qiE '^[[:space:]]*<(!doctype )?html'; then
        rm -f "$part"
        why='is a web page, not a file'
        return 2
    fi
    { sync "$part" 2> /dev/null || sync; } &&
        printf '%s, "sha256": "%s", "size": %d, "fetched": "%s"}\n' "$3" "$found" "$(wc -c < "$part")" \
            "$(date -u +%Y-%m-%dT%H:%M:%SZ)" > "$part.json" &&
        mv -f "$part.json" "${file%/*}/weights.json" && mv -f "$part" "$file"
}

# One attempt; $1 address. Goes on where "$part" ends. Addresses may hold a token, so they are on no command line.
download() {
    local protocols='=http,https'
    case $1 in https:*) protocols='=https' ;; esac
    said=$(printf 'url = "%s"\n' "$1" | curl --config - --globoff --fail --location --proto-redir "$protocols" \
        --silent --show-error --connect-timeout 10 --speed-limit 1000 --speed-time 60 \
        --continue-at - --output "$part" 2>&1)
}

size_of() { if [ -e "$1" ]; then wc -c < "$1"; else echo 0; fi; }

# $1 key/name, $2 hash or -, $3 address, $4 record
fetch() {
    local place=$folder/${1%/*} name=${1##*/} waited='' tries=0 old code host
    host=${3#*://}
    host=${host%%/*}
    is_there "$1" && { tell ready "$1" ''; return; }
    mkdir -p "$place" || { tell failed "$1" "disk: $place cannot be made"; return; }
    until mkdir "$place/lock" 2> /dev/null; do
        [ -d "$place/lock" ] || { tell failed "$1" "disk: $place cannot be written to"; return; }
        is_there "$1" && { tell ready "$1" ''; return; }
        if ! alive "$place"; then
            rmdir "$place/lock" 2> /dev/null
            continue
        fi
        [ -n "$waited" ] || tell waiting "$1" ''
        waited=yes
        sleep 1
    done
    lock=$place/lock
    if ! is_there "$1"; then
        tell fetching "$1" ''
        attempt "$@"
    else
        tell ready "$1" ''
    fi
    rmdir "$lock"
    lock=''
}

attempt() {
    part=$place/$name.$$.part
    # What an earlier fetch left is gone on with where the whole can be checked. Of two that take it, one gets it.
    for old in "$place/$name".*.part; do
        if [ "$2" != - ] && [ ! -e "$part" ]; then mv "$old" "$part" 2> /dev/null; else rm -f "$old"; fi
    done
    while :; do
        case " $silent " in *" $host "*) tell failed "$1" "network: $host does not answer"; return ;; esac
        tries=$((tries + 1))
        resumed=''
        had=$(size_of "$part")
        [ "$had" = 0 ] || resumed=yes
        download "$3"
        code=$?
        # What broke off may be gone on with, a server that sends nothing is not asked again.
        case $code in 18 | 28 | 52 | 55 | 56 | 92) [ "$(size_of "$part")" -gt "$had" ] || code=7 ;; esac
        case $code in
            0)
                put_in_place "$1" "$2" "$4"
                code=$?
                [ "$code" != 2 ] || [ -z "$resumed" ] || [ "$tries" -ge 4 ] || continue
                case $code in
                    0) tell ready "$1" '' ;;
                    2) tell failed "$1" "wrong: $why" ;;
                    *) rm -f "$part" "$part.json"; tell failed "$1" "disk: $folder cannot be written to" ;;
                esac
                return ;;
            18 | 28 | 52 | 55 | 56 | 92) [ "$tries" -ge 4 ] || { sleep 1; continue; } ;;
            22 | 33 | 36)  # what is there cannot be gone on with: anew
                [ -z "$resumed" ] || [ "$tries" -ge 4 ] || { rm -f "$part"; continue; } ;;
        esac
        case $code in
            22) tell failed "$1" "refused: ${said#curl: }" ;;
            23) rm -f "$part"; tell failed "$1" "disk: ${said#curl: }" ;;
            5 | 6 | 7) silent="$silent $host"; tell failed "$1" "network: ${said#curl: }" ;;
            *) tell failed "$1" "network: ${said#curl: }" ;;
        esac
        return
    done
}

if ! mkdir -p "$folder"; then
    tell failed '' "disk: $folder cannot be made"
elif [ "$what" = keep ]; then
    part=$folder/$3.$$.part
    mkdir -p "${part%/*}" && cat > "$part"
    code=$?
    [ "$code" != 0 ] || { put_in_place "$3" "$4" "$5"; code=$?; }
    case $code in
        0) tell ready "$3" '' ;;
        2) tell failed "$3" "wrong: $why" ;;
        *) rm -f "$part" "$part.json"; tell failed "$3" "disk: $folder cannot be written to" ;;
    esac
else
    silent=''
    exec 3<&0 < /dev/null
    while IFS=$'\t' read -r -u 3 word first second third fourth; do
        case $word in
            set) export "$first=$second" ;;
            file)
                if command -v curl > /dev/null; then
                    fetch "$first" "$second" "$third" "$fourth"
                else
                    tell failed "$first" 'network: there is no curl on the login node'
                fi ;;
        esac
    done
fi
tell end '' ''
