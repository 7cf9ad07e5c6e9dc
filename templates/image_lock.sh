# Submits the job that makes an image, unless one is on its way already. Answers one line, fields by tabs:
#   there                   somebody has made the image meanwhile
#   submitted JOB FOLDER    by this call
#   building JOB FOLDER     by another one, still pending or running
# $1 image, $2 this call's build folder, staged; $3 SIZE:TIME of the image that is to be replaced, or ''.
# The lock only spares a second build: jobs write to files of their own and rename, so a wrong guess harms nothing.
image=$1 build=$2 again=$3
lock=${image%.sif}.lock
record=${image%.sif}.json
umask 077

# Whether Slurm still has the job: pending, running, ending. Where Slurm does not answer, it is not denied.
alive() {
    said=$(squeue --noheader --jobs="$1" --states=all --format=%T 2>&1)
    case $said in
        COMPLETED | CANCELLED | FAILED | TIMEOUT | NODE_FAIL | PREEMPTED | OUT_OF_MEMORY | BOOT_FAIL | DEADLINE | '' | *'Invalid job id'*) return 1 ;;
    esac
}
there() {
    [ -s "$image" ] && [ -s "$record" ] && [ "$(stat --format=%s:%Y "$image")" != "$again" ]
}
answer() {
    printf '%s\t%s\t%s\n' "$1" "$2" "$3"
    exit 0
}

waited=0
while [ "$waited" -lt 300 ]; do
    if mkdir "$lock" 2> /dev/null; then
        if there; then
            rm -rf "$lock" "$build"
            answer there
        fi
        printf '%s\n' "$build" > "$lock/build_dir"
        said=$(cd "$build" && sbatch --parsable build.sh)
        code=$?
        if [ "$code" = 0 ]; then
            printf '%s\n' "$said" > "$build/job.id"
            job=$(sed -n 's/^\([0-9][0-9]*\).*/\1/p' "$build/job.id" | tail -n 1)
            printf '%s\n' "$job" > "$lock/job"
            answer submitted "$job" "$build"
        fi
        rm -rf "$lock"
        exit "$code"
    fi
    [ -d "$lock" ] || { echo "the folder ${image%/*} cannot be written to" >&2; exit 97; }
    job=$(cat "$lock/job" 2> /dev/null)
    other=$(cat "$lock/build_dir" 2> /dev/null)
    if [ -n "$job" ]; then
        if alive "$job"; then
            # Whoever would cancel that job sees that others wait for it.
            [ ! -d "$other" ] || : > "$other/joined"
            rm -rf "$build"
            answer building "$job" "$other"
        fi
        dead=yes
    else
        # Another launch is about to submit, or was killed before it could.
        dead=
        [ "$waited" -lt 240 ] || dead=yes
        [ -z "$(find "$lock" -maxdepth 0 -mmin +3 2> /dev/null)" ] || dead=yes
    fi
    if [ -n "$dead" ]; then
        # Only one of several can rename it, and only if it is still the one that was looked at.
        if mv "$lock" "$lock.$$" 2> /dev/null; then
            if [ "$(cat "$lock.$$/job" 2> /dev/null)" = "$job" ]; then
                [ -z "$other" ] || rm -f "$other/login"
                rm -rf "$lock.$$"
            else
                mv "$lock.$$" "$lock"
            fi
        fi
        continue
    fi
    waited=$((waited + 1))
    sleep 0.2
done
echo "another launch holds ${lock##*/} and submits nothing" >&2
exit 98
