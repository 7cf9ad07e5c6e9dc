# shellcheck disable=SC2154 # steps.sh and users.sh set what is only read here
# ROOT PATH: sets $dl4mic_real to the path below ROOT that PATH leads to there, which need not exist.
dl4mic_resolve() {
    dl4mic_rest=$2 dl4mic_real='' dl4mic_links=0
    while [ -n "$dl4mic_rest" ]; do
        dl4mic_part=${dl4mic_rest%%/*}
        case $dl4mic_rest in
            */*) dl4mic_rest=${dl4mic_rest#*/} ;;
            *) dl4mic_rest= ;;
        esac
        case $dl4mic_part in
            '' | .) continue ;;
            ..) dl4mic_real=${dl4mic_real%/*} ;;
            *) dl4mic_real=$dl4mic_real/$dl4mic_part ;;
        esac
        if [ -L "$1$dl4mic_real" ]; then
            dl4mic_links=$((dl4mic_links + 1))
            [ "$dl4mic_links" -le 40 ] || dl4mic_stop "$2 is a symbolic link that leads nowhere"
            dl4mic_link=$(readlink "$1$dl4mic_real")
            dl4mic_rest=$dl4mic_link/$dl4mic_rest
            case $dl4mic_link in
                /*) dl4mic_real= ;;
                *) dl4mic_real=${dl4mic_real%/*} ;;
            esac
        fi
    done
}

# PATH IDS: a folder and what is missing above it.
dl4mic_folder() {
    if [ ! -d "$1" ]; then
        dl4mic_resolve '' "$1"
        dl4mic_make "$dl4mic_real" "$2"
    fi
}
dl4mic_make() {
    if [ -d "$1" ] || [ -z "$1" ]; then
        return 0
    fi
    dl4mic_make "${1%/*}" "$2"
    mkdir "$1" || dl4mic_stop "the folder $1 cannot be made"
    dl4mic_chown "$2" "$1"
}

# ARCHIVE FOLDER IDS MODE: the archive's files in the folder, which keeps its own mode and owner.
dl4mic_unpack() {
    dl4mic_kept=$(stat -Lc '%a %u:%g' "$2")
    if [ -z "$3$4" ]; then
        dl4mic_extract "$1" "$2"
    else
        dl4mic_stage "$1" "$3" "$4"
        dl4mic_extract "$dl4mic_own/stage.tar" "$2"
        rm -f "$dl4mic_own/stage.tar"
    fi
    chown "${dl4mic_kept#* }" "$2" 2> /dev/null || :
    chmod "${dl4mic_kept% *}" "$2"
}
dl4mic_extract() {
    if [ -n "$dl4mic_no_owners" ]; then
        tar -xpf "$1" -C "$2" -o
    else
        tar -xpf "$1" -C "$2"
    fi
}
# ARCHIVE IDS MODE: the same archive with this owner and mode, as $dl4mic_own/stage.tar.
dl4mic_stage() {
    rm -rf "$dl4mic_own/stage"
    mkdir "$dl4mic_own/stage"
    dl4mic_extract "$1" "$dl4mic_own/stage"
    set -- "$2" "$3" -cf "$dl4mic_own/stage.tar" -C "$dl4mic_own/stage"
    if [ -n "$1" ]; then
        case $dl4mic_no_owners$(tar --version 2>&1) in
            tar*GNU*) set -- "$@" --numeric-owner --owner="${1%:*}" --group="${1#*:}" ;;
            *) dl4mic_chown "$1" -R "$dl4mic_own/stage" ;;
        esac
    fi
    # A new owner takes the set-user-id bit from a file, so the mode comes after it.
    if [ -n "$2" ]; then
        chmod -R "$2" "$dl4mic_own/stage"
    fi
    shift 2
    tar "$@" .
    rm -rf "$dl4mic_own/stage"
}

# NNN FOLDER IDS: the files of a COPY from the build context, in a folder. A folder below it gets the mode of the one
# that is copied, whether it is new or not.
dl4mic_copy() {
    dl4mic_folder "$2" "$3"
    while IFS= read -r dl4mic_line; do
        dl4mic_path=$2/${dl4mic_line#* }
        if [ ! -d "$dl4mic_path" ] || [ -L "$dl4mic_path" ]; then
            if [ -e "$dl4mic_path" ] || [ -L "$dl4mic_path" ]; then
                dl4mic_stop "the folder $dl4mic_path cannot be copied: something else is there"
            fi
            mkdir "$dl4mic_path"
        fi
    done < "$dl4mic_own/copy/$1.folders"
    dl4mic_unpack "$dl4mic_own/copy/$1.tar" "$2" "$3" ''
    while IFS= read -r dl4mic_line; do
        dl4mic_path=$2/${dl4mic_line#* }
        dl4mic_chown "${3:-0:0}" "$dl4mic_path"
        chmod "${dl4mic_line%% *}" "$dl4mic_path"
    done < "$dl4mic_own/copy/$1.folders"
    for dl4mic_archive in "$dl4mic_own/copy/$1".*.tar; do
        [ ! -f "$dl4mic_archive" ] || dl4mic_unpack "$dl4mic_archive" "$2" "$3" ''
    done
}
# NNN NAME PATH IDS: the one file of a COPY, which goes into PATH if that is a folder and else becomes it.
dl4mic_copy_file() {
    if [ -d "$3" ]; then
        dl4mic_copy "$1" "$3" "$4"
    else
        dl4mic_place "$dl4mic_own/copy/$1.tar" "$2" "$3" "$4" ''
    fi
}
# ARCHIVE MEMBER PATH IDS MODE
dl4mic_place() {
    dl4mic_resolve '' "$3"
    set -- "$1" "$2" "$dl4mic_real" "$4" "$5"
    dl4mic_make "${3%/*}" "$4"
    rm -rf "$dl4mic_own/place"
    mkdir "$dl4mic_own/place"
    dl4mic_unpack "$1" "$dl4mic_own/place" "$4" "$5"
    if [ -d "$3" ]; then
        dl4mic_stop "$3 is a folder, onto which no file is copied"
    fi
    mv -f "$dl4mic_own/place/$2" "$3"
    rm -rf "$dl4mic_own/place"
}

# FOLDER ROOT PATH LEFT_OUT: what is copied from the image in ROOT, as one more archive in FOLDER. A path that is a
# symbolic link counts as what it leads to, under the link's own name. LEFT_OUT: a pattern of grep for what is below.
dl4mic_offer() {
    dl4mic_resolve "$2" "$3"
    if [ ! -e "$2$dl4mic_real" ] && [ -n "$dl4mic_real" ]; then
        dl4mic_stop "there is no $3 in the stage that it is copied from"
    fi
    mkdir -p "$1"
    set -- "$1" "$2" "${3##*/}" "$2$dl4mic_real" "$(dl4mic_next "$1")" "$4"
    if [ -n "$6" ] && [ -d "$4/" ]; then
        (cd "$4/" && find . -mindepth 1 | grep -Ev "$6" > "$1/$5.list") || :
        tar -cf "$1/$5.tar" -C "$4/" --no-recursion -T "$1/$5.list"
    elif [ -z "$dl4mic_real" ]; then
        dl4mic_offer_all "$1" "$2/"
    elif [ ! -d "$4" ]; then
        printf '%s\n' "${4##*/}" "$3" > "$1/$5.file"
        tar -cf "$1/$5.tar" -C "${4%/*}/" "./${4##*/}"
    else
        tar -cf "$1/$5.tar" -C "$4" .
    fi
}
# FOLDER ROOT BASE PATTERN LEFT_OUT: what PATTERN fits below BASE, with the folders on the way, as one more archive.
dl4mic_offer_parents() {
    dl4mic_list=$dl4mic_own/list
    : > "$dl4mic_list"
    dl4mic_resolve "$2" "$3"
    dl4mic_list_matching "$2$dl4mic_real" . "$4"
    if [ ! -s "$dl4mic_list" ]; then
        return 0
    fi
    mkdir -p "$1"
    set -- "$1" "$2$dl4mic_real/" "$(dl4mic_next "$1")" "$5"
    sort -u "$dl4mic_list" | grep -Ev "${4:-^\$}" > "$1/$3.list" || :
    tar -cf "$1/$3.tar" -C "$2" --no-recursion -T "$1/$3.list"
}
# BASE ABOVE PATTERN: lists what PATTERN fits below BASE/ABOVE, with all that is in it and the folders on the way.
dl4mic_list_matching() {
    case $3 in
        */*) set -- "$1" "$2" "${3%%/*}" "${3#*/}" ;;
        *) set -- "$1" "$2" "$3" '' ;;
    esac
    for dl4mic_path in "$1/$2"/.[!.]* "$1/$2"/..?* "$1/$2"/*; do
        # shellcheck disable=SC2254
        case ${dl4mic_path##*/} in
            $3)
                dl4mic_path=$2/${dl4mic_path##*/}
                if [ -z "$4" ]; then
                    (cd "$1" && find "$dl4mic_path" && dl4mic_above "$dl4mic_path") >> "$dl4mic_list" 2> /dev/null || :
                elif [ -d "$1/$dl4mic_path" ]; then
                    dl4mic_list_matching "$1" "$dl4mic_path" "$4"
                fi
                ;;
        esac
    done
}
dl4mic_above() {
    case ${1%/*} in
        .) ;;
        *) echo "${1%/*}" && dl4mic_above "${1%/*}" ;;
    esac
}
# FOLDER: a number for its next archive, in the order of the alphabet.
dl4mic_next() {
    dl4mic_count=1000
    while [ -e "$1/$dl4mic_count.tar" ]; do
        dl4mic_count=$((dl4mic_count + 1))
    done
    echo "$dl4mic_count"
}
# FOLDER ROOT: all of the image, without what is Apptainer's, the build's or the node's. The folders of which only a part
# goes have an archive of their own, for not every tar can leave something out.
dl4mic_offer_all() {
    dl4mic_first=$1/$(dl4mic_next "$1").tar
    (
        cd "$2" || exit
        set --
        for dl4mic_path in etc tmp var var/tmp; do
            if dl4mic_is_folder "$dl4mic_path" && dl4mic_is_folder "${dl4mic_path%%/*}"; then
                set -- "$@" "$dl4mic_path"
            fi
        done
        [ "$#" = 0 ] || tar -cf "$dl4mic_first" --no-recursion "$@"
    )
    set -- "$1/$(dl4mic_next "$1").tar" "$2"
    (
        cd "$2" || exit
        dl4mic_archive=$1
        set --
        for dl4mic_path in ./..?* ./.[!.]* ./* etc/..?* etc/.[!.]* etc/* var/..?* var/.[!.]* var/*; do
            if dl4mic_goes "$dl4mic_path"; then
                set -- "$@" "$dl4mic_path"
            fi
        done
        [ "$#" = 0 ] || tar -cf "$dl4mic_archive" "$@"
    )
}
dl4mic_is_folder() {
    [ -d "$1" ] && [ ! -L "$1" ]
}
dl4mic_goes() {
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then
        return 1
    fi
    case ${1#./} in
        dev | proc | sys | etc/hosts | etc/resolv.conf) return 1 ;;
        .dl4mic-hpc | .dl4mic-hpc-* | .singularity.d | .post.script | .build.labels) return 1 ;;
        .exec | .run | .shell | .test | singularity | environment) [ ! -L "$1" ] ;;
        etc | tmp | var | var/tmp) ! dl4mic_is_folder "$1" ;;
        etc/* | var/*) dl4mic_is_folder "${1%/*}" ;;
    esac
}
# FOLDER ROOT ABOVE PATTERN LEFT_OUT: dl4mic_offer for everything below ABOVE that PATTERN fits, where * takes a leading dot too.
dl4mic_offer_matching() {
    case $4 in
        */*) set -- "$1" "$2" "$3" "${4%%/*}" "${4#*/}" "$5" ;;
        *) set -- "$1" "$2" "$3" "$4" '' "$5" ;;
    esac
    for dl4mic_path in "$2$3"/.[!.]* "$2$3"/..?* "$2$3"/*; do
        # shellcheck disable=SC2254
        case ${dl4mic_path##*/} in
            $4)
                dl4mic_path=${dl4mic_path#"$2"}
                if [ ! -e "$2$dl4mic_path" ] && [ ! -L "$2$dl4mic_path" ]; then
                    continue
                elif [ -z "$5" ]; then
                    dl4mic_offer "$1" "$2" "$dl4mic_path" "$6"
                elif [ -d "$2$dl4mic_path" ]; then
                    dl4mic_offer_matching "$1" "$2" "$dl4mic_path" "$5" "$6"
                fi
                ;;
        esac
    done
}
# FOLDER PATTERN
dl4mic_offered() {
    if [ ! -d "$1" ]; then
        dl4mic_stop "nothing fits $2 in the stage that it is copied from"
    fi
}

# FOLDER PATH IDS MODE: what was offered there. PATH ends with / exactly if it is written as a folder.
dl4mic_take() {
    for dl4mic_archive in "$1"/*.tar; do
        if [ ! -f "${dl4mic_archive%.tar}.file" ]; then
            dl4mic_folder "$2" "$3"
            dl4mic_unpack "$dl4mic_archive" "$2" "$3" "$4"
            continue
        fi
        {
            IFS= read -r dl4mic_member
            IFS= read -r dl4mic_name
        } < "${dl4mic_archive%.tar}.file"
        dl4mic_target=$2
        if [ -d "$2" ] || [ "$2" != "${2%/}" ]; then
            dl4mic_target=${2%/}/$dl4mic_name
        fi
        dl4mic_place "$dl4mic_archive" "$dl4mic_member" "$dl4mic_target" "$3" "$4"
    done
}
