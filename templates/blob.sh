# One part of an image on its way into an OCI layout (LAYOUT/blobs/ALGORITHM/HASH), beside which it grows as HASH.part.
#   blob.sh look LAYOUT                         of each part that standard input names (ALGORITHM HASH SIZE): its hash,
#                                               and the bytes that are there, or "whole"
#   blob.sh get LAYOUT ALGORITHM HASH SIZE      fetches the rest: standard input is its address and, if there is one,
#                                               the header Authorization; says how far it is
#   blob.sh take LAYOUT ALGORITHM HASH SIZE AT  appends standard input, which is the rest from the byte AT on
# A part gets its name when it has its hash. What went wrong is the last line: a word, then what was said.
# Of several that fetch into one layout one goes on, and the others wait, where the file system knows locks.
set -u
export LC_ALL=C
umask 022
action=$1
layout=$2

length() { if [ -f "$1" ]; then wc -c < "$1" | tr -d ' '; else echo 0; fi; }
whole() { # file, algorithm, hash, size
    [ "$(length "$1")" = "$4" ] && found=$("$2sum" "$1") && [ "${found%% *}" = "$3" ]
}
fail() {
    printf '%s\n' "$*"
    exit 65
}
finish() {
    [ "$(length "$part")" -ge "$size" ] || fail short
    if ! whole "$part" "$algorithm" "$hash" "$size"; then
        rm -f "$part"
        fail damaged
    fi
    mv -f "$part" "$blob" || fail disk "the file cannot be renamed"
    exit 0
}

if [ "$action" = look ]; then
    mkdir -p "$layout" || exit 1
    touch "$layout"  # `image prune` removes what has rested
    while read -r algorithm hash size; do
        blob=$layout/blobs/$algorithm/$hash
        mkdir -p "$layout/blobs/$algorithm" || exit 1
        if [ -f "$blob" ] && ! whole "$blob" "$algorithm" "$hash" "$size"; then rm -f "$blob"; fi
        if [ -f "$blob" ]; then echo "$hash whole"; else echo "$hash $(length "$blob.part")"; fi
    done
    exit 0
fi

algorithm=$3
hash=$4
size=$5
blob=$layout/blobs/$algorithm/$hash
part=$blob.part
said=$part.said
mkdir -p "${blob%/*}" || fail disk "the folder cannot be made"
exec 9> "$layout/.lock" || fail disk "a file cannot be made"
while :; do
    flock --conflict-exit-code 99 --wait 1 9 2> /dev/null
    [ $? = 99 ] || break
    printf 'at %s\n' "$(length "$part")"
done
if [ "$(length "$blob")" = "$size" ]; then exit 0; fi
[ "$(length "$part")" -lt "$size" ] || finish

if [ "$action" = take ]; then
    [ "$(length "$part")" = "$6" ] || fail short "somebody else has fetched more of it"
    cat >> "$part" 2> "$said" || fail disk "$(cat "$said"; rm -f "$said")"
    rm -f "$said"
    finish
fi

command -v curl > /dev/null || fail nocurl
read -r address || fail status 000
read -r authorization || :

# Options come in a file: on the command line everybody on the login node would read them.
options() { # address, authorization
    printf 'url = "%s"\n' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"
    [ -z "$2" ] || printf 'header = "Authorization: %s"\n' "$(printf '%s' "$2" | sed 's/[\\"]/\\&/g')"
    printf '%s\n' silent show-error 'connect-timeout = 30'
}
# Where the registry sends us on to another server, that one must not see the token, which old curls would show it.
answer=$(options "$address" "$authorization" | curl --config - --no-location --range 0-0 --max-time 120 \
    --max-filesize 1048576 --output /dev/null --write-out '%{http_code} %{redirect_url}' 2> "$said")
code=$?
case $answer in
    '200 '* | '206 '*) follow=--no-location ;;
    30[1278]' '?*)
        address=${answer#* }
        authorization=''
        follow=--location
        ;;
    '' | '000 '*) fail silent "$(cat "$said"; rm -f "$said") ($code)" ;;
    *)
        rm -f "$said"
        fail status "${answer%% *}"
        ;;
esac

child=''
trap '[ -z "$child" ] || kill "$child" 2> /dev/null; exit 143' HUP INT PIPE TERM
options "$address" "$authorization" | curl --config - $follow --fail --continue-at - --output "$part" \
    --speed-limit 1 --speed-time 60 2> "$said" &
child=$!
while kill -0 "$child" 2> /dev/null; do
    printf 'at %s\n' "$(length "$part")"
    sleep 0.2
done
wait "$child"
code=$?
child=''
words=$(cat "$said")
rm -f "$said"
case $code in
    0) finish ;;
    23) fail disk "$words" ;;
    33) # the server sends all or nothing
        rm -f "$part"
        fail short "$words"
        ;;
    *) fail short "$words" ;;
esac
