# The logs of the session in $1, of its image's build in $2 ('' if there was none); $3 is 'follow' or ''.
# $4 the session's job, or ''; $5 the only log that is wanted, or ''.
dir=$1 build=$2 follow=$3 job=$4 only=$5
cd "$dir" || exit 1

# Prints what has come to each file since the last look; the numbers of bytes printed lie in the positions.
build_seen=0 job_seen=0 jupyter_seen=0 run_seen=0
news() {
    [ -f "$1" ] || return 0
    size=$(wc -c < "$1")
    [ "$size" -gt "$2" ] || return 0
    [ "$2" -gt 0 ] || [ -n "$only" ] || printf '==> %s <==\n' "${1##*/}"
    tail -c +"$(($2 + 1))" "$1" | head -c "$((size - $2))"
}
look() {
    if [ -n "$only" ]; then
        news "$only" "$run_seen"; run_seen=${size:-$run_seen}; size=
        return
    fi
    [ -z "$build" ] || { news "$build/build.log" "$build_seen"; build_seen=${size:-$build_seen}; size=; }
    news job.log "$job_seen"; job_seen=${size:-$job_seen}; size=
    news jupyter.log "$jupyter_seen"; jupyter_seen=${size:-$jupyter_seen}; size=
    news run.log "$run_seen"; run_seen=${size:-$run_seen}; size=
}

# A job that was killed outright leaves no exit.json: Slurm is asked once a minute whether it is still there.
round=0 patience=5
over() {
    [ ! -f exit.json ] || return 0
    [ -n "$job" ] || return 1
    round=$((round + 1))
    [ "$((round % 60))" -eq 0 ] || return 1
    said=$(squeue --noheader --jobs="$job" --states=PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING --format=%i 2>&1)
    case $said in
        '' | *'Invalid job id'*) ;;
        *) return 1 ;;
    esac
    # Its last words may reach this node a little later than Slurm's.
    while [ ! -f exit.json ] && [ "$patience" -gt 0 ]; do
        sleep 1
        ls . > /dev/null
        patience=$((patience - 1))
    done
}

look
while [ "$follow" = follow ] && ! over; do
    sleep 1
    ls . > /dev/null
    look || exit 0
done
[ "$follow" != follow ] || look
exit 0
