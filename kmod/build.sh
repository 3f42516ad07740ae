#!/usr/bin/env bash
# Builds wprobe.ko for one kernel: kmod/build.sh KERNELRELEASE OUTDIR
#
# The Rust half is built once for all kernels (under target/kmod), the C half per kernel (under
# OUTDIR/obj). For a kernel with KASAN it is built once more, with the same checks of its accesses. Needs: rustc-web, cargo-web, rust-web-src, lld-19, llvm-19, and the kernel's headers
# ($WPROBE_KERNEL_HEADERS, and $WPROBE_MAKE if another make has the compiler that they want).
set -euo pipefail

if [ $# -ne 2 ]; then
    echo "usage: $0 KERNELRELEASE OUTDIR" >&2
    exit 2
fi
kmod=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
release=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
target=${WPROBE_KMOD_TARGET_DIR:-$kmod/../target/kmod}
headers=${WPROBE_KERNEL_HEADERS:-/lib/modules/$release/build}
# What C calls in Rust; everything else in the archive stays local.
entries=(wprobe_rs_control wprobe_rs_attempt wprobe_rs_hit wprobe_rs_left wprobe_rs_window wprobe_rs_readable)

if [ ! -e "$headers/Makefile" ]; then
    echo "$0: no headers for kernel $release ($headers)" >&2
    exit 1
fi
# What a kernel is configured for, if it is.
configured() { sed -n "s/^CONFIG_$1=//p" "$headers/include/config/auto.conf"; }

# As scripts/Makefile.kasan has it for Rust. Stacks are left out, for a panic or a trap leaves frames without a word; and so are
# globals, whose table is made by a constructor.
kasan=()
if [ "$(configured KASAN_GENERIC)" = y ]; then
    target=$target/kasan
    kasan=(
        -Zsanitizer=kernel-address -Zsanitizer-recover=kernel-address
        "-Cllvm-args=-asan-mapping-offset=$(configured KASAN_SHADOW_OFFSET)"
        -Cllvm-args=-asan-instrumentation-with-call-threshold=10000
        -Cllvm-args=-asan-stack=0 -Cllvm-args=-asan-globals=0 -Cllvm-args=-asan-kernel-mem-intrinsic-prefix=1
    )
fi
mkdir -p "$target" "$out/obj"
target=$(cd "$target" && pwd)

step() { echo "  kmod: $*"; }

# Flags of kernel code: no red zone, no PIC, retpolines and return thunks, endbr at entries.
# Loops whose length is not known turn once or twice here: unrolled, they cost more than they save.
# -Zplt: without it calls go through GOTPCREL relocations, which the module loader rejects.
rust_archive() {
    local flags=(
        -Crelocation-model=static -Ccode-model=kernel -Cno-redzone=y -Cforce-unwind-tables=n
        -Ctarget-cpu=x86-64 -Cjump-tables=n -Csymbol-mangling-version=v0 -Zplt=yes
        -Zfunction-return=thunk-extern -Zretpoline-external-thunk -Zcf-protection=branch
        -Zemit-stack-sizes=yes -Cllvm-args=-unroll-runtime=false
        "${kasan[@]}"
    )
    (cd "$kmod" && env -u CARGO -u RUSTC_WRAPPER -u RUSTUP_TOOLCHAIN -u CARGO_ENCODED_RUSTFLAGS \
        RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
        RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR="$target" \
        /usr/bin/cargo build --locked --release --target x86_64-unknown-none \
        -Z build-std=core,alloc,compiler_builtins -Z build-std-features=compiler-builtins-mem)
}

rust_object() {
    local archive=$target/x86_64-unknown-none/release/libwprobe_kmod.a
    local object=$target/wprobe_rs.o
    if [ "$object" -nt "$archive" ] && [ "$object" -nt "$kmod/merge.lds" ] && [ "$object" -nt "$kmod/build.sh" ]; then
        return
    fi
    step "linking the Rust object"
    ld.lld-19 -r -m elf_x86_64 --gc-sections "${entries[@]/#/-u}" -o "$target/raw.o" "$archive"
    ld.lld-19 -r -T "$kmod/merge.lds" -o "$target/merged.o" "$target/raw.o"
    # Names of generic functions are long. Readers of /proc/kallsyms have room for what older kernels took (127 bytes), and
    # libbpf-tools crash at 256.
    llvm-nm-19 --format=just-symbols "$target/merged.o" |
        awk 'length > 127 && !seen[$0]++ { print $0, substr($0, 1, 110) "." ++count }' >"$target/long_names"
    # Also hides memcpy and its like, which the kernel has its own of.
    llvm-objcopy-19 "${entries[@]/#/--keep-global-symbol=}" --redefine-syms="$target/long_names" \
        "$target/merged.o" "$object.new"
    mv "$object.new" "$object"
}

# Two builds at once would write the same files.
exec 9> "$target/lock"
flock 9
step "building the Rust half"
rust_archive
rust_object
step "building the C half for $release"
cp -u "$kmod"/shim/* "$kmod/Kbuild" "$kmod/Makefile" "$kmod/configure.sh" "$out/obj/"
cp -u "$target/wprobe_rs.o" "$out/obj/wprobe_rs.o_shipped"
if ! "${WPROBE_MAKE:-make}" -s -C "$out/obj" KERNEL="$headers" >"$out/make.log" 2>&1 || grep -q warning: "$out/make.log"; then
    cat "$out/make.log" >&2
    echo "$0: the C half for $release does not build without warnings" >&2
    exit 1
fi
cp "$out/obj/wprobe.ko" "$out/wprobe.ko"
step "built $out/wprobe.ko"
