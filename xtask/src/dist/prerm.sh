#!/bin/sh
# Takes the module out of every kernel's directory.
set -e
case "$1" in
remove | upgrade | deconfigure)
    if [ -n "$(dkms status -m wprobe -v @VERSION@)" ]; then
        dkms remove -m wprobe -v @VERSION@ --all
    fi
    ;;
esac
