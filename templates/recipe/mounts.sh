# shellcheck disable=SC2154 # steps.sh sets what is only read here
# N PATH: makes way for what one step is to find at PATH.
dl4mic_hide() {
    dl4mic_path=${2%/}
    mkdir -p "$dl4mic_own/aside/$1"
    if [ -e "$dl4mic_path" ] || [ -L "$dl4mic_path" ]; then
        mv "$dl4mic_path" "$dl4mic_own/aside/$1/was" || dl4mic_stop "nothing can be put over $dl4mic_path while the image is built"
        return 0
    fi
    dl4mic_above=${dl4mic_path%/*}
    while [ -n "$dl4mic_above" ] && [ ! -e "$dl4mic_above" ] && [ ! -L "$dl4mic_above" ]; do
        echo >> "$dl4mic_own/aside/$1/made"
        dl4mic_above=${dl4mic_above%/*}
    done
    dl4mic_folder "${dl4mic_path%/*}" ''
}
# N PATH: takes that away again, if something was put there, and the folders above it that were made for it and are empty.
dl4mic_show() {
    if [ ! -d "$dl4mic_own/aside/$1" ]; then
        return 0
    fi
    dl4mic_path=${2%/}
    rm -rf "$dl4mic_path"
    if [ -e "$dl4mic_own/aside/$1/was" ] || [ -L "$dl4mic_own/aside/$1/was" ]; then
        mv "$dl4mic_own/aside/$1/was" "$dl4mic_path"
    elif [ -f "$dl4mic_own/aside/$1/made" ]; then
        while read -r _ && dl4mic_path=${dl4mic_path%/*} && rmdir "$dl4mic_path" 2> /dev/null; do
            :
        done < "$dl4mic_own/aside/$1/made"
    fi
    rm -rf "$dl4mic_own/aside/$1"
}
# PATH IDS MODE: an empty folder.
dl4mic_tmpfs() {
    mkdir "${1%/}"
    dl4mic_chown "$2" "${1%/}"
    chmod "$3" "${1%/}"
}
# NAME PATH IDS MODE: the folder that the steps before have filled under this name.
dl4mic_cache() {
    if [ -d "$dl4mic_own/cache/$1" ]; then
        mv "$dl4mic_own/cache/$1" "${2%/}"
    else
        dl4mic_tmpfs "$2" "$3" "$4"
    fi
}
# NAME PATH
dl4mic_keep_cache() {
    mkdir -p "$dl4mic_own/cache"
    mv "${2%/}" "$dl4mic_own/cache/$1"
}
# ID REQUIRED: the file of a secret, if the person who builds has given it.
dl4mic_has_secret() {
    if [ -f "$dl4mic_site/secrets/$1" ]; then
        return 0
    fi
    [ "$2" = optional ] || dl4mic_stop "the secret $1 is needed: put it into a file of that name (docs/reference/recipes.md)"
    return 1
}
# N PATH ID REQUIRED IDS MODE
dl4mic_secret() {
    if dl4mic_has_secret "$3" "$4"; then
        dl4mic_hide "$1" "$2"
        cat "$dl4mic_site/secrets/$3" > "${2%/}"
        dl4mic_chown "$5" "${2%/}"
        chmod "$6" "${2%/}"
    fi
}
# ID REQUIRED NAME: the secret as a variable of the step.
dl4mic_secret_variable() {
    if dl4mic_has_secret "$1" "$2"; then
        export "$3=$(cat "$dl4mic_site/secrets/$1")"
    fi
}
