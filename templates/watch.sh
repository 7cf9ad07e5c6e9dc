# Waits on the login node until a session's files say something new, so that the laptop need not ask again and again.
# $1 session folder, $2 build folder or '', $3 what was seen last, $4 rounds, $5 seconds between rounds.
dir=$1 build=$2 seen=$3 rounds=$4 pause=$5
while :; do
    # Reading the folder makes an NFS client look again.
    ls "$dir" > /dev/null 2>&1 || { printf 'gone'; exit 0; }
    text=$(cat "$dir/connection.json" 2> /dev/null; printf '\036'; cat "$dir/exit.json" 2> /dev/null
        printf '\036'; [ -z "$build" ] || cat "$build/exit.json" 2> /dev/null; printf '.')
    now=$(printf '%s' "$text" | cksum)
    [ "$now" = "$seen" ] && [ "$rounds" -gt 0 ] || break
    rounds=$((rounds - 1))
    sleep "$pause"
done
printf '%s\036%s\036' "$now" "${text%.}"
[ -z "$build" ] || tail -n 1 "$build/build.log" 2> /dev/null
exit 0
