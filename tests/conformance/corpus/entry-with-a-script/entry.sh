#!/bin/sh
printf '<%s>\n' "$PWD" "$@"
