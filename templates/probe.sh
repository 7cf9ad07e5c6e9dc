# What a launch has to know of the cluster, in one round trip. Answers `key<TAB>value` lines.
# $1 work folder, $2 apptainer, $3 image or '', $4 name of the build job or '', $5 data folder or '';
# a batch script on standard input is tried with `sbatch --test-only`; further words are modules to load.
work=$1 apptainer=$2 image=$3 build=$4 data=$5
shift 5
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
        if [ -n "$script" ]; then
            if said=$(printf '%s\n' "$script" | sbatch --test-only 2>&1 > /dev/null); then
                answer test ok
            else
                answer test refused
                answer test_said "$said"
            fi
        fi
        [ -z "$build" ] || [ -s "$image" ] || answer build_job "$(squeue --noheader --me --states=PENDING,RUNNING --name="$build" --format="%i|%Z" 2> /dev/null | head -n 1)"
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
if [ -n "$image" ] && [ -s "$image" ]; then answer image there; fi
if [ -n "$data" ] && ! { [ -d "$data" ] && [ -r "$data" ]; }; then answer data absent; fi
exit 0
