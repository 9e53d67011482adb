#!/bin/sh
# Makes .venv with the locked dependencies and the built extension; quick when nothing has changed.
#
#   scripts/setup.sh           what the package and the demo need
#   scripts/setup.sh --tests   also what the tests need (zip, DALI, Ray); names what is missing, whose tests are skipped
#   scripts/setup.sh --ci      also what the continuous integration needs (a browser, clang, valgrind)
#   scripts/setup.sh --bench   also what the peers of the benchmark need (FFmpeg, OpenCV, DALI)
#
# PYTHON=python3.12 chooses the interpreter of .venv. pip's own settings (PIP_INDEX_URL and the like) are honoured.
# TORCH=cpu or TORCH=cuda chooses the build of PyTorch when .venv is made; otherwise a machine without an NVIDIA GPU gets
# the CPU's.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)
venv=$root/.venv

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 2; }

stages=
for option; do
    case $option in
        --tests) stages="tests" ;;
        --ci) stages="tests ci" ;;
        --bench) stages="bench" ;;
        *) die "unknown option $option; scripts/setup.sh knows --tests, --ci and --bench" ;;
    esac
done

# Two setups at once (make -j, two terminals) take turns: the lock is on this file, so nothing is left behind.
if command -v flock >/dev/null 2>&1; then exec 9<scripts/setup.sh; flock 9; fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

# A step is repeated when the digest of what it depends on is no longer the one in its stamp.
digest() { { echo "$root"; sha256sum "$@"; } | sha256sum; }
is_done() { [ "$(cat "$venv/stamp-$1" 2>/dev/null)" = "$2" ]; }
mark() { echo "$2" >"$venv/stamp-$1"; }

# ---- system packages ----

missing_packages() { # STAGE: those of requirements/system.txt that this machine lacks
    while read -r stage kind name package; do
        [ "$stage" = "$1" ] || continue
        case $kind in
            header) printf '#include <stdio.h>\n#include <%s>\n' "$name" | "${CXX:-c++}" ${CPPFLAGS:-} -E -x c++ - ;;
            links) echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
                clang++ "-fsanitize=$name" -x c++ - -o /dev/null ;;
            *) [ "$name" != c++ ] || name=${CXX:-c++}; command -v "$name" ;;
        esac >/dev/null 2>&1 || printf ' %s' "$package"
    done <requirements/system.txt
}
missing_for_python() { # the packages of a system's Python; other Pythons are told apart by the error below
    "$python" - <<'END'
import pathlib, sys, sysconfig
missing = []
try:
    import ensurepip, venv
except ImportError:
    missing.append("venv")
if not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").is_file():
    missing.append("dev")
if missing and not sys.executable.startswith("/usr/bin/"):
    sys.exit(f"setup: {sys.executable} lacks its venv module or Python.h; install what is missing, or choose another "
             "Python, e.g. make setup PYTHON=/usr/bin/python3")
print("".join(" python%d.%d-%s" % (*sys.version_info[:2], part) for part in missing))
END
}
apt_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    sudo=
    if [ "$(id -u)" != 0 ]; then
        sudo="sudo -n"
        $sudo true 2>/dev/null || return 1
    fi
    say "installing $* (apt-get)"
    install="$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
    $install "$@" </dev/null >"$log" 2>&1 && return
    # The package lists of a fresh machine are empty or old.
    $sudo apt-get update -qq </dev/null >"$log" 2>&1 || true
    $install "$@" </dev/null >"$log" 2>&1 || { tail -n 5 "$log" >&2; return 1; }
}

# ---- .venv ----

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
is_wanted_python() { [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -V)" = "$("$venv/bin/python" -V)" ]; }

# An environment that was moved, or whose interpreter is gone or another one than asked for, is made anew.
if ! is_done place "$root" || ! new_enough "$venv/bin/python" || ! is_wanted_python; then
    if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        die "$venv exists and is not a virtual environment; move it away and run make setup again"
    fi
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if new_enough "$python"; then break; fi
    done
    if ! new_enough "$python" && [ -n "${PYTHON:-}" ] && new_enough python3; then
        die "PYTHON=$PYTHON: Python 3.10 or newer is needed and this is $("$PYTHON" -V 2>/dev/null || echo missing); omit PYTHON, python3 is $(python3 -V)"
    fi
    new_enough "$python" ||
        die "Python 3.10 or newer is needed and ${PYTHON:-python3} is $("${PYTHON:-python3}" -V 2>/dev/null || echo missing); install one and choose it, e.g. make setup PYTHON=python3.12"
    packages=$(missing_packages build)$(missing_for_python) || exit 2
    # shellcheck disable=SC2086  # a list of package names
    if [ -n "$packages" ] && apt_install $packages; then packages=$(missing_packages build)$(missing_for_python); fi
    [ -z "$packages" ] ||
        die "packages are missing:$packages; install them (as root: apt-get install$packages) and run make setup again"
    say "making .venv with $("$python" -V)"
    rm -rf "$venv"
    "$python" -m venv "$venv" || die "$python could not make $venv; see the lines above"
    mark place "$root"
fi

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
# pip prints a line for each package that it collects and each file that it downloads. On a terminal these become one
# line that changes; elsewhere, one line for every file of a megabyte or more.
show_progress() {
    count=0 code=0
    while read -r word name rest; do
        case $word in
            failed) code=1 ;;
            Collecting) count=$((count + 1)); shown=$name ;;
            Downloading) shown="$name $rest" ;;
            Installing) shown="unpacking" ;;
            *) continue ;;
        esac
        if [ -t 2 ]; then
            printf '\rsetup: %3d packages: %.50s\033[K' "$count" "$shown" >&2
        else
            case $word$rest in Downloading*MB\)*) say "downloading $shown" ;; Installing*) say "unpacking" ;; esac
        fi
    done
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    return $code
}
pip_install() { { pip install --no-compile --progress-bar off "$@" || echo failed; } | show_progress; }

# ---- PyTorch: PyPI has the build for CUDA, 4 GB with its libraries; PyTorch's own index that for CPUs, 0.2 GB ----

cpu_builds=https://download.pytorch.org/whl/cpu
wants_cpu_build() {
    [ "$(uname -s)" = Linux ] || return 1
    case ${TORCH:-} in
        cpu) ;;
        cuda) return 1 ;;
        "") if [ -e /dev/nvidiactl ] || [ -e /dev/dxg ]; then return 1; fi ;;
        *) die "TORCH=$TORCH: choose cpu or cuda, or omit it" ;;
    esac
}
has_torch() { # VERSION, of whichever build
    "$venv/bin/python" -c 'import sys; from importlib.metadata import version
sys.exit(version("torch").partition("+")[0] != sys.argv[1])' "$1" 2>/dev/null
}
answers() { # URL: by Python, which a bare machine has
    "$venv/bin/python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=10)' "$1" 2>/dev/null
}
install_torch() {
    torch=$(grep '^torch==' requirements/dev.lock)
    if has_torch "${torch#torch==}"; then return; fi
    if wants_cpu_build; then
        if [ -z "${PIP_NO_INDEX:-}" ] && answers "$cpu_builds/torch/"; then
            say "installing $torch for CPUs from $cpu_builds (TORCH=cuda make setup takes the build for GPUs)"
            pip_install --no-deps --index-url "$cpu_builds" "$torch" && return
        fi
        say "PyTorch's index of CPU builds cannot be reached; taking $torch from where pip looks, from PyPI 4 GB with CUDA"
    else
        say "installing $torch for CUDA (TORCH=cpu make setup takes the build for CPUs, 4 GB less)"
    fi
}

lock=$(digest requirements/dev.lock)
if ! is_done lock "$lock"; then
    install_torch
    say "installing the locked dependencies"
    pip_install -r requirements/dev.lock ||
        die "pip could not install requirements/dev.lock (see above); check network and disk and run make setup again"
    mark lock "$lock"
fi
build=$(digest setup.py pyproject.toml requirements/dev.lock $(find cpp -type f | LC_ALL=C sort))
if ! is_done build "$build" || ! ls genimage_stream/decode/_core*.so >/dev/null 2>&1; then
    say "building the extension"
    if ! pip install --quiet --no-build-isolation --no-deps --editable . >"$log" 2>&1; then
        grep -E 'error:|genimage-stream needs|fatal' "$log" | head -n 10 >&2 || true
        cp "$log" "$venv/build.log"
        die "the extension could not be built; the whole output is in $venv/build.log"
    fi
    mark build "$build"
    say "ready: .venv/bin/shard-tools, .venv/bin/genimage-stream"
fi
if [ -z "$stages" ]; then exit; fi

# ---- what tests and benchmarks can do without ----

for stage in $stages; do
    system=$(digest requirements/system.txt)
    is_done "system-$stage" "$system" && continue
    packages=$(missing_packages "$stage")
    # shellcheck disable=SC2086
    if [ -n "$packages" ] && apt_install $packages; then packages=$(missing_packages "$stage"); fi
    [ -z "$packages" ] || say "some tests or peers will be skipped without$packages (as root: apt-get install$packages)"
    # A peer that could not be built without these packages is tried again.
    [ "$stage" != bench ] || rm -f .bench/environments/*/failed
    mark "system-$stage" "$system"
done
tests=$(digest requirements/dev.lock requirements/tests.lock)
if ! is_done tests "$tests"; then
    say "installing what tests and benchmarks compare with (DALI, Ray: about 600 MB)"
    if pip_install -r requirements/tests.lock; then
        # Hundreds of short processes import these; where PYTHONDONTWRITEBYTECODE is set, each would compile them again.
        "$venv/bin/python" -m compileall -q -j 0 "$venv"/lib/python3*/site-packages >/dev/null 2>&1 || true
        mark tests "$tests"
    else
        say "some tests will be skipped (pip install -r requirements/tests.lock)"
    fi
fi
