# Waits on the login node until a session's files say something new, so that the laptop need not ask again and again.
# $1 session folder, $2 build folder or '', $3 what was seen last, $4 rounds, $5 seconds between rounds.
# Many wait here at a time: a round starts no program but `sleep`.
dir=$1 build=$2 seen=$3 rounds=$4 pause=$5

# The one line of a file, in $text.
line() {
    text=
    [ ! -r "$1" ] || IFS= read -r text < "$1"
}

while :; do
    # Reading the folder makes an NFS client look again.
    set -- "$dir"/*
    [ -d "$dir" ] || { printf 'gone'; exit 0; }
    line "$dir/connection.json"
    connection=$text
    line "$dir/exit.json"
    ended=$text
    line "$dir/gpu.json"
    gpu=$text
    built=
    if [ -n "$build" ]; then
        set -- "$build"/*
        line "$build/exit.json"
        built=$text
    fi
    case $gpu in
        '') proof=0 ;;
        *'"proving": true'*) proof=1 ;;
        *) proof=2 ;;
    esac
    # The lengths tell the states apart and, unlike the lines, hold no secret: they come back as an argument.
    now=${#connection}.${#ended}.${#built}.$proof
    [ "$now" = "$seen" ] && [ "$rounds" -gt 0 ] || break
    rounds=$((rounds - 1))
    sleep "$pause"
done
printf '%s\036%s\036%s\036%s\036%s\036' "$now" "$connection" "$ended" "$gpu" "$built"
[ -z "$build" ] || tail -n 1 "$build/build.log" 2> /dev/null
exit 0
