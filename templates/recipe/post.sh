# The recipe's steps run each in a shell of their own; this one only goes from step to step.
set +x
umask 0022
dl4mic_own=/.dl4mic-hpc
dl4mic_site=$dl4mic_own/site
dl4mic_label_file=${APPTAINER_LABELS:-${SINGULARITY_LABELS-}}

dl4mic_stop() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-1}"
}
dl4mic_step() {
    printf '\n%s\n' "$1" >&2
}
dl4mic_enter() {
    cd "$1" && unset OLDPWD
}
dl4mic_failed() {
    dl4mic_code=$?
    dl4mic_stop "$1 ended with exit code $dl4mic_code" "$dl4mic_code"
}
dl4mic_presumed_unset() {
    for dl4mic_name; do
        if printenv "$dl4mic_name" > /dev/null; then
            dl4mic_stop "the base image sets $dl4mic_name, which the recipe was converted without: write its value into the recipe"
        fi
    done
}
dl4mic_folders() {
    while IFS= read -r dl4mic_line; do
        dl4mic_folder=$2/${dl4mic_line#* }
        if [ -d "$dl4mic_folder" ] && [ ! -L "$dl4mic_folder" ]; then
            continue
        fi
        if [ -e "$dl4mic_folder" ] || [ -L "$dl4mic_folder" ]; then
            dl4mic_stop "the folder $dl4mic_folder cannot be copied: something else is there"
        fi
        mkdir "$dl4mic_folder"
        chmod "${dl4mic_line%% *}" "$dl4mic_folder"
    done < "$dl4mic_own/copy/$1.folders"
}
dl4mic_unpack() {
    mkdir -p "$2"
    dl4mic_folders "$1" "$2"
    tar -xpf "$dl4mic_own/copy/$1.tar" -C "$2"
}
dl4mic_place() {
    if [ -d "$4" ]; then
        dl4mic_unpack "$1" "$4"
        return
    fi
    if [ -L "$4" ]; then
        dl4mic_stop "$4 is a symbolic link, onto which nothing is copied"
    fi
    mkdir -p "$3" "$dl4mic_own/copy/$1"
    tar -xpf "$dl4mic_own/copy/$1.tar" -C "$dl4mic_own/copy/$1"
    mv -f "$dl4mic_own/copy/$1/$2" "$4"
}
dl4mic_label() {
    printf '%s\n' "$@" >> "$dl4mic_label_file"
}
dl4mic_finish() {
    rm -rf "$dl4mic_own/copy" "$dl4mic_own/apt.conf"
    chmod 0755 "$dl4mic_own"
    chmod 0644 "$dl4mic_own/recipe.json"
}

# What Apptainer adds to the environment of a build is nothing that the recipe knows of.
unset APPTAINER_LABELS SINGULARITY_LABELS APPTAINER_ENVIRONMENT SINGULARITY_ENVIRONMENT
unset APPTAINER_BIND SINGULARITY_BIND APPTAINER_COMMAND APPTAINER_CONTAINER SINGULARITY_CONTAINER
unset APPTAINER_NAME SINGULARITY_NAME APPTAINER_APPNAME SINGULARITY_APPNAME PROMPT_COMMAND PS1 TERM OLDPWD
[ "${LANG-}" != C ] || unset LANG
case ${LD_LIBRARY_PATH-} in
    /.singularity.d/libs) unset LD_LIBRARY_PATH ;;
    *:/.singularity.d/libs) LD_LIBRARY_PATH=${LD_LIBRARY_PATH%:/.singularity.d/libs} ;;
esac

# The cluster's own build environment: files bound at $dl4mic_site while the image is built, none of them kept.
set --
if [ -f "$dl4mic_site/ca-certificates.crt" ]; then
    for dl4mic_name in SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE PIP_CERT GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS; do
        set -- "$@" "$dl4mic_name=$dl4mic_site/ca-certificates.crt"
    done
fi
if [ -f "$dl4mic_site/pip.conf" ]; then
    set -- "$@" "PIP_CONFIG_FILE=$dl4mic_site/pip.conf"
fi
# Without a user of its own that it could become, apt downloads as root.
{
    echo 'APT::Sandbox::User "root";'
    if [ -f "$dl4mic_site/ca-certificates.crt" ]; then
        echo "Acquire::https::CAInfo \"$dl4mic_site/ca-certificates.crt\";"
    fi
    for dl4mic_name in apt.sources sources.list; do
        if [ -f "$dl4mic_site/$dl4mic_name" ]; then
            echo "Dir::Etc::SourceList \"$dl4mic_site/$dl4mic_name\";"
            echo 'Dir::Etc::SourceParts "/dev/null";'
        fi
    done
    if [ -f "$dl4mic_site/apt.conf" ]; then
        cat "$dl4mic_site/apt.conf"
    fi
} > "$dl4mic_own/apt.conf"
set -- "$@" "APT_CONFIG=$dl4mic_own/apt.conf"
