#!/bin/sh
# Builds the C++ core for AArch64 and runs it under qemu: `make test-arm`.
#   scripts/test_arm.sh           a short fuzz replay, then the hashes of fuzz/arm/digest.cpp against those of this machine
#   scripts/test_arm.sh --count   how many instructions a decode takes, plain and with NEON
# Exit status 0 with a sentence where the tools are not there. JOBS: compilers at a time.
set -eu
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
arm_cxx=${ARM_CXX:-aarch64-linux-gnu-g++}
for tool in make g++ "$arm_cxx" qemu-aarch64 apt-get dpkg; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "test-arm: skipped, there is no $tool: apt-get install g++-aarch64-linux-gnu qemu-user (Debian, Ubuntu)"
        exit 0
    fi
done
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
case $python in */*) python=$(realpath -s "$python") ;; esac # a link: its target has no packages
ccache=$(command -v ccache || true)
root=$PWD/fuzz/build/arm-libraries

# Debian's arm64 libraries, linked in. An apt of its own, so that nothing of the system's changes.
if [ ! -e "$root/usr/lib/aarch64-linux-gnu/libjpeg.a" ]; then
    apt=$PWD/fuzz/build/arm-apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/packages"
    options="-qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State::Lists=$apt/lists
        -o Dir::Cache=$apt/cache -o Acquire::Languages=none -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086 # several options
    if ! apt-get $options update || ! (
        cd "$apt/packages" && apt-get $options download libjpeg-dev libjpeg62-turbo-dev libdeflate-dev libwebp-dev libpng-dev zlib1g-dev
    ); then
        echo "test-arm: skipped, the arm64 libraries could not be had from Debian's server"
        exit 0
    fi
    for package in "$apt"/packages/*.deb; do dpkg -x "$package" "$root"; done
    rm -rf "$apt"
fi

arm() { # of the fuzz Makefile, for AArch64
    include="$root/usr/include"
    make -s -C fuzz -j "$jobs" REPLAY=build/arm CXX="$ccache $arm_cxx" OPTIMISE=-O3 \
        SANITIZE="-static -isystem $include -isystem $include/aarch64-linux-gnu -L$root/usr/lib/aarch64-linux-gnu" "$@"
}

if [ "${1:-}" = --count ]; then
    arm build/arm/arm/count_decode
    gcc -O2 -shared -fPIC fuzz/arm/count_instructions.c -o fuzz/build/arm/libcount.so
    count() { # LEVEL KIND ELEMENT TIMES
        qemu-aarch64 -plugin fuzz/build/arm/libcount.so fuzz/build/arm/arm/count_decode "$@" 2>&1 >/dev/null | sed -n 's/ instructions//p'
    }
    for kind in png 444 420 progressive; do
        for element in 0 1 2; do
            for level in 0 1; do
                once=$(count $level $kind $element 1)
                thrice=$(count $level $kind $element 3)
                echo "$kind element $element level $level: $(((thrice - once) / 2)) instructions"
            done
        done
    done
    exit 0
fi

make -s -C fuzz PYTHON="$python" seeds
make -s -C fuzz -j "$jobs" REPLAY=build/native CXX="$ccache g++" OPTIMISE=-O3 SANITIZE= build/native/arm/digest
arm replay build/arm/arm/digest
cd fuzz
seeds=build/arm/few
rm -rf "$seeds" && mkdir -p "$seeds"
for kind in jpeg png webp; do # every seventh file
    mkdir "$seeds/$kind"
    find "build/seeds/$kind" -type f | sort | sed -n '1~7p' | xargs cp -t "$seeds/$kind"
done
for target in jpeg png webp transform batch crop_ready bands lazy inflate; do
    case $target in
        inflate) from=build/seeds/inflate ;;
        webp | transform) from=$seeds/webp ;;
        *) from="$seeds/jpeg $seeds/png" ;;
    esac
    printf '%-10s ' "$target"
    # shellcheck disable=SC2086 # several folders
    qemu-aarch64 "build/arm/fuzz_$target" 60 $from
done
hash() { # LEVEL OUTPUT PROGRAM...
    to=$2 level=$1
    shift 2
    "$@" "$level" $seeds/jpeg $seeds/png $seeds/webp 2>/dev/null >"$to"
}
hash 3 build/native/digests build/native/arm/digest
hash 0 build/arm/digests-0 qemu-aarch64 build/arm/arm/digest &
hash 1 build/arm/digests-1 qemu-aarch64 build/arm/arm/digest
wait $!
for level in 0 1; do
    if ! diff build/native/digests build/arm/digests-$level >build/arm/differences; then
        head -20 build/arm/differences
        echo "test-arm: AArch64 at level $level makes other bytes than this machine" >&2
        exit 1
    fi
done
echo "test-arm: $(($(wc -l <build/arm/digests-0) - 1)) files: the same pixels, batches, crop-ready files and transforms at both levels"
