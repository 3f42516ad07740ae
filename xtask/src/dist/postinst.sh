#!/bin/sh
# Builds and installs the module for the kernels here, as dh_dkms's scripts do.
set -e
if [ "$1" = configure ]; then
    /usr/lib/dkms/common.postinst wprobe @VERSION@ /usr/share/wprobe-dkms "" "$2"
fi
