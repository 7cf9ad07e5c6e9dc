# What a launch has to know of the cluster, in one round trip. Answers `key<TAB>value` lines.
# $1 work folder, $2 apptainer, $3 images that would do, one a line, $4 data folder or '';
# a batch script on standard input is tried with `sbatch --test-only`; further words are modules to load.
work=$1 apptainer=$2 images=$3 data=$4
shift 4
answer() { printf '%s\t%s\n' "$1" "$(printf '%s' "$2" | tr '\n\t' '  ')"; }

for module in "$@"; do
    said=$(module load "$module" 2>&1) || answer module_failed "$module: $said"
    module load "$module" > /dev/null 2>&1
done

script=$(cat)
if ! command -v sbatch > /dev/null; then
    answer sbatch missing
else
    # A launch does not wait for what only `cluster check` shows.
    if [ -n "$script" ]; then answer sbatch there; else answer sbatch "$(sbatch --version 2>&1)"; fi
    # A controller that is down answers nothing, slowly: it is asked further only if it answers this.
    if ! said=$(timeout 30 sinfo --noheader --format='%P|%l' 2>&1); then
        answer slurm_failed "${said:-no answer within 30 seconds}"
    else
        answer limits "$said"
        [ -z "$script" ] || answer gres "$(sinfo --noheader --format='%R|%G' 2> /dev/null)"
        if [ -n "$script" ]; then
            if said=$(printf '%s\n' "$script" | sbatch --test-only 2>&1 > /dev/null); then
                answer test ok
            else
                answer test refused
                answer test_said "$said"
            fi
        fi
    fi
fi

if ! command -v "$apptainer" > /dev/null; then
    answer apptainer missing
elif [ -n "$script" ]; then
    answer apptainer there
else
    answer apptainer "$("$apptainer" --version 2>&1)"
fi

if said=$({ umask 077; mkdir -p "$work/images" "$work/sessions" "$work/builds" && head -c 65536 /dev/zero > "$work/sessions/.probe.$$"; } 2>&1); then
    answer work ok
else
    answer work failed
    answer work_said "$said"
fi
rm -f "$work/sessions/.probe.$$"
answer free_kib "$(df -Pk "$work" 2> /dev/null | awk 'NR == 2 { print $4 }')"
answer user "$(id -un)"
answer cluster "$(cat "$work/cluster.json" 2> /dev/null)"
answer weights "$(cd "$work/weights" 2> /dev/null && find . -mindepth 2 -maxdepth 2 -type f -size +0 ! -name '*.part*' 2> /dev/null)"
# Of the GPUs that were proven before: driver and model.
answer drivers "$(sed -n 's/.*"gpus": \["\([^"]*\)".*"driver": "\([^"]*\)".*/\2|\1/p' "$work"/gpu/*.json 2> /dev/null | sort -u | tr '\n' '\037')"

# Of an image that is there: itself and who could put another one in its place, in one line; then its record.
# shellcheck disable=SC2016 # it is the inner shell that expands it
about='
[ -s "$1" ] && real=$(readlink -f -- "$1") || exit 0
record=${real%.sif}.json
set -- "$real"
[ ! -e "$record" ] || set -- "$@" "$record"
folder=$real
while [ "$folder" != / ]; do
    folder=$(dirname -- "$folder")
    set -- "$@" "$folder"
done
stat --format="%a|%U|%s|%Y|%n" -- "$@" 2> /dev/null | tr "\n" "\037"
echo
[ ! -f "$record" ] || head -c 65536 -- "$record" 2> /dev/null
exit 0
'
# A folder of others may lie on a disk that hangs: it is waited for once.
number=0 hung=''
printf '%s\n' "$images" | while IFS= read -r image; do
    number=$((number + 1))
    [ -n "$image" ] || continue
    case $hung in *"|${image%/*}|"*) continue ;; esac
    if ! said=$(timeout --signal=KILL 10 sh -c "$about" about "$image" < /dev/null); then
        hung="$hung|${image%/*}|"
        continue
    fi
    [ -n "$said" ] || continue
    answer "entries.$number" "$(printf '%s\n' "$said" | head -n 1)"
    answer "record.$number" "$(printf '%s\n' "$said" | tail -n +2)"
done
if [ -n "$data" ] && ! { [ -d "$data" ] && [ -r "$data" ]; }; then answer data absent; fi
exit 0
