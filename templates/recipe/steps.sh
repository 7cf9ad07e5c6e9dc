# shellcheck disable=SC2034,SC2154 # the other parts use and set variables of this one
# What goes from step to step while an image is built; every RUN is a process of its own. A part of each definition:
# %post reads it, with users.sh, copies.sh and mounts.sh behind it, and gives it up at the end.
set +x
umask 0022
dl4mic_own=/.dl4mic-hpc
dl4mic_in=/.dl4mic-hpc-in
dl4mic_out=/.dl4mic-hpc-out
dl4mic_site=$dl4mic_own/site
dl4mic_private=.dl4mic-hpc-private
dl4mic_label_file=${APPTAINER_LABELS:-${SINGULARITY_LABELS-}}
dl4mic_where=dl4mic-hpc

dl4mic_stop() {
    printf 'error: %s: %s\n' "$dl4mic_where" "$1" >&2
    exit "${2:-1}"
}
dl4mic_step() {
    dl4mic_where=${1%%: *}
    printf '\n%s\n' "$1" >&2
}
dl4mic_failed() {
    dl4mic_code=$?
    dl4mic_stop "the command ended with exit code $dl4mic_code" "$dl4mic_code"
}
# NAME WHAT: where this image came out otherwise than the recipe says, once for each step; kept in the image.
dl4mic_note() {
    if [ "${dl4mic_noted-}" = "$1 $dl4mic_where" ]; then
        return 0
    fi
    dl4mic_noted="$1 $dl4mic_where"
    printf 'note: %s: %s\n' "$dl4mic_where" "$2" >&2
    printf '%s\t%s\t%s\n' "$1" "$dl4mic_where" "$2" >> "$dl4mic_own/notes"
}

# A recipe's `rm -rf /tmp/*` must meet folders of the build alone. The marker is not there while steps run.
dl4mic_begin() {
    for dl4mic_folder in /tmp /var/tmp; do
        if [ ! -f "$dl4mic_folder/$dl4mic_private" ]; then
            dl4mic_stop "$dl4mic_folder is not this build's own, and the recipe could delete files in it: build with build.sh, which lies beside image.def"
        fi
    done
    dl4mic_empty_temporary
    rm -rf "$dl4mic_out"
    chmod 0755 "$dl4mic_own"
    for dl4mic_path in "$dl4mic_own/run" "$dl4mic_own/pip-constraints.txt"; do
        [ ! -e "$dl4mic_path" ] || chmod -R 0755 "$dl4mic_path"
    done
    dl4mic_no_owners=
    : > "$dl4mic_own/probe"
    if ! chown 1:1 "$dl4mic_own/probe" 2> /dev/null; then
        dl4mic_no_owners=yes
    fi
    rm -f "$dl4mic_own/probe"
}
dl4mic_empty_temporary() {
    for dl4mic_folder in /tmp /var/tmp; do
        rm -rf "${dl4mic_folder:?}"/..?* "${dl4mic_folder:?}"/.[!.]* "${dl4mic_folder:?}"/*
    done
}
dl4mic_presumed_unset() {
    for dl4mic_name; do
        if eval "[ -n \"\${$dl4mic_name+x}\" ]"; then
            dl4mic_stop "the base image sets $dl4mic_name, which the recipe was converted without: write its value into the recipe"
        fi
    done
}

# NNN: sets $dl4mic_text to a text that is too long to stand in the definition.
dl4mic_read() {
    dl4mic_text=$(cat "$dl4mic_own/run/$1" && echo .)
    dl4mic_text=${dl4mic_text%.}
}

# USER FOLDER: what a step finds before its own variables are set.
dl4mic_enter() {
    dl4mic_become "$1"
    export HOME="$dl4mic_home"
    if [ -f "$dl4mic_site/ca-certificates.crt" ]; then
        for dl4mic_name in SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE PIP_CERT GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS; do
            export "$dl4mic_name=$dl4mic_site/ca-certificates.crt"
        done
    fi
    if [ -f "$dl4mic_site/pip.conf" ]; then
        export PIP_CONFIG_FILE="$dl4mic_site/pip.conf"
    fi
    if [ -f "$dl4mic_own/pip-constraints.txt" ]; then
        export PIP_CONSTRAINT="$dl4mic_own/pip-constraints.txt"
    fi
    if [ -s "$dl4mic_own/apt.conf" ]; then
        export APT_CONFIG="$dl4mic_own/apt.conf"
    fi
    cd -P "$2" && unset OLDPWD
}
# The cluster's own build environment: files bound at $dl4mic_site while the image is built, none of them kept.
dl4mic_apt() {
    {
        if [ "$1" = as-root ]; then
            echo 'APT::Sandbox::User "root";'
        fi
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
}

dl4mic_label() {
    printf '%s\n' "$@" >> "$dl4mic_label_file"
}
# PATH…: every user can go to these places below /root and read what is there.
dl4mic_open() {
    for dl4mic_path; do
        [ -e "$dl4mic_path" ] || continue
        chmod -R go+rX "$dl4mic_path"
        while [ "$dl4mic_path" != /root ]; do
            dl4mic_path=${dl4mic_path%/*}
            chmod go+x "$dl4mic_path"
        done
    done
}
dl4mic_open_homes() {
    for dl4mic_name; do
        dl4mic_user "$dl4mic_name"
        case $dl4mic_home in
            / | /root | /root/* | /bin | /dev | /etc | /usr/* | /var/*) ;;
            *) [ ! -d "$dl4mic_home" ] || chmod -R go+rX "$dl4mic_home" ;;
        esac
    done
}
# Leaves of the build what the image was made from, its notes, and the place where the build environment was bound.
dl4mic_finish() {
    dl4mic_empty_temporary
    for dl4mic_folder in /tmp /var/tmp; do
        : > "$dl4mic_folder/$dl4mic_private"
    done
    rm -rf "$dl4mic_in" "$dl4mic_own/copy" "$dl4mic_own/run" "$dl4mic_own/aside" "$dl4mic_own/cache"
    rm -f "$dl4mic_own/apt.conf" "$dl4mic_own/pip-constraints.txt" "$dl4mic_own/steps.sh" "$dl4mic_own/owners.py" "$dl4mic_own/owners.pl"
    for dl4mic_path in "$dl4mic_own/recipe.json" "$dl4mic_own/notes"; do
        [ ! -f "$dl4mic_path" ] || chmod 0644 "$dl4mic_path"
    done
}

# What Apptainer adds to the environment of a build is nothing that the recipe knows of.
unset APPTAINER_LABELS SINGULARITY_LABELS APPTAINER_ENVIRONMENT SINGULARITY_ENVIRONMENT
unset APPTAINER_BIND SINGULARITY_BIND APPTAINER_COMMAND APPTAINER_CONTAINER SINGULARITY_CONTAINER
unset APPTAINER_NAME SINGULARITY_NAME APPTAINER_APPNAME SINGULARITY_APPNAME PROMPT_COMMAND PS1 TERM OLDPWD
[ "${LANG-}" != C ] || unset LANG
case ${LD_LIBRARY_PATH-} in
    /.singularity.d/libs | :/.singularity.d/libs) unset LD_LIBRARY_PATH ;;
    *:/.singularity.d/libs) LD_LIBRARY_PATH=${LD_LIBRARY_PATH%:/.singularity.d/libs} ;;
esac
set --
