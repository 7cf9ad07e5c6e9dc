# The logs of the session in $1, of its image's build in $2 ('' if there was none); $3 is 'follow' or ''.
dir=$1 build=$2 follow=$3
cd "$dir" || exit 1

# Prints what has come to each file since the last look; the numbers of bytes printed lie in the positions.
build_seen=0 job_seen=0 jupyter_seen=0
news() {
    [ -f "$1" ] || return 0
    size=$(wc -c < "$1")
    [ "$size" -gt "$2" ] || return 0
    [ "$2" -gt 0 ] || printf '==> %s <==\n' "${1##*/}"
    tail -c +"$(($2 + 1))" "$1" | head -c "$((size - $2))"
}
look() {
    [ -z "$build" ] || { news "$build/build.log" "$build_seen"; build_seen=${size:-$build_seen}; size=; }
    news job.log "$job_seen"; job_seen=${size:-$job_seen}; size=
    news jupyter.log "$jupyter_seen"; jupyter_seen=${size:-$jupyter_seen}; size=
}

look
while [ "$follow" = follow ] && [ ! -f exit.json ]; do
    sleep 1
    ls . > /dev/null
    look || exit 0
done
[ "$follow" != follow ] || look
exit 0
