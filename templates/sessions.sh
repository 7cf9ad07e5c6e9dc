# The sessions in the work folder $1, or only $2: for each its files, between separators.
work=$1
for dir in "$work/sessions/"${2:-*}/; do
    [ -s "$dir/session.json" ] || continue
    printf '\035'
    cat "$dir/session.json"
    for file in job.id exit.json gpu.json; do
        printf '\036'
        cat "$dir/$file" 2> /dev/null
    done
    # Of connection.json only what is no secret.
    printf '\036'
    sed 's/, "token": "[^"]*"//' "$dir/connection.json" 2> /dev/null
done
exit 0
