#!/bin/bash
# The far side of a transfer. Needs bash, and tar, find, sort and mv of GNU.
#   look PATH [make]                    what lies there, and the space that is left
#   receive FOLDER STAGE STAMP [OLD …]  puts a tar stream in place; STAGE and OLD are PARTIAL/… inside FOLDER
#   send FOLDER [NAME]                  a tar stream of the files that standard input names, each ended by NUL,
#                                       then what lies there now (in the folder, or of that name)
# Everything before a mark on standard output is the login shell's.
export LC_ALL=C
umask 077

mark() { printf 'dl4mic-hpc-mark\0'; }

# Kind, size in bytes, mtime in seconds and path of everything; the kind of what may not be read is x.
list() {
    find -H "$@" \( -type d ! \( -readable -executable \) -o -type f ! -readable \) -printf 'x\0%s\0%T@\0%p\0' -prune \
        -o -printf '%y\0%s\0%T@\0%p\0'
}

look() {
    local folder=$1 kind=folder
    [ "$2" != make ] || mkdir -p -- "$folder" || return
    [ -e "$1" ] || { printf 'dl4mic-hpc: %s: No such file or directory\n' "$1" >&2; return 66; }
    [ -d "$folder" ] || folder=${1%/*}/ kind=file
    cd -- "$folder" || return
    [ "$2" != make ] || [ -w . ] || { printf 'dl4mic-hpc: %s: Permission denied\n' "$folder" >&2; return 1; }
    [ "$2" != make ] || discard_halves
    mark
    printf '%s\0%s\0' "$kind" "$(df -Pk .)"
    if [ "$kind" = folder ]; then list . -mindepth 1; else list "./${1##*/}" -maxdepth 0; fi
}

# tar gives a file its own time when it is whole: one that is newer than its upload's beginning is half a file.
discard_halves() {
    local began
    for began in .dl4mic-hpc-partial/*/began; do
        [ ! -f "$began" ] || find "${began%began}" -type f -newer "$began" -delete
    done
}

receive() {
    local folder=$1 stage=$2 stamp=$3 from='' to='' batch=() a b name
    shift 3
    cd -- "$folder" && mkdir -p -- "$stage" && : > "$stage/began" || return
    # The first thing that tar cannot write ends it: the laptop is not to go on sending in vain.
    (
        self=$BASHPID
        exec tar --extract --file=- --directory="$stage" --no-same-owner --no-same-permissions --warning=none \
            --quoting-style=literal 2> >(IFS= read -r line && printf '%s\n' "$line" >&2 && kill "$self" && cat >&2)
    ) || {
        # tar may only say that it wrote too little; this says why.
        head -c 1048576 /dev/zero > "$stage/room"
        rm -f -- "$stage/room"
        return 1
    }
    # The list of moves comes last in the stream: without it the stream was cut off.
    [ -f "$stage/moves" ] || { echo 'dl4mic-hpc: the stream ended early' >&2; return 1; }
    while IFS= read -r -d '' a && IFS= read -r -d '' b && IFS= read -r -d '' name; do
        if [ "$a" != "$from" ] || [ "$b" != "$to" ] || [ "${#batch[@]}" -ge 500 ]; then
            move || return
            from=$a to=$b
        fi
        batch+=("$from/$name")
    done < "$stage/moves"
    move || return
    xargs -0 -r mkdir -p -- < "$stage/folders" || return
    rm -rf -- "$stage" "$@"
    rmdir --ignore-fail-on-non-empty -- "${stage%/*}"
    mark
    list . -mindepth 1
}

# Moves the batch; what has turned up in its place meanwhile is kept.
move() {
    [ "${#batch[@]}" -gt 0 ] || return 0
    mkdir -p -- "$to" && mv -f --backup=simple --suffix=" (kept $stamp)" -t "$to" -- "${batch[@]}" || return
    batch=()
}

send() {
    cd -- "$1" || return
    mark
    # sort reads all names before it writes one: the laptop need not read while it writes.
    sort -z | tar --create --file=- --blocking-factor=128 --format=pax --pax-option=delete=atime,delete=ctime \
        --hard-dereference --null --no-unquote --quoting-style=literal --files-from=-
    local code=$?
    mark
    if [ -z "$2" ]; then list . -mindepth 1; else list "./$2" -maxdepth 0; fi
    return "$code"
}

"$@"
