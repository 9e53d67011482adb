#!/bin/sh
# Makes .venv with the locked dependencies and the built extension; quick when nothing has changed.
#
#   scripts/setup.sh           what the package and the demo need
#   scripts/setup.sh --tests   also what the tests need (zip, DALI, Ray); what cannot be had is said, its tests are skipped
#   scripts/setup.sh --ci      also what the continuous integration needs (a browser, clang, an Azure emulator)
#   scripts/setup.sh --bench   also what the peers of the benchmark need (FFmpeg, OpenCV, DALI)
#
# PYTHON=python3.12 chooses the interpreter of .venv. pip's own settings (PIP_INDEX_URL and the like) are honoured.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)
venv=$root/.venv

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 2; }

want=build
for option; do
    case $option in
        --tests) want="build tests" ;;
        --ci) want="build tests ci" ;;
        --bench) want="build bench" ;;
        *) die "unknown option $option; scripts/setup.sh knows --tests, --ci and --bench" ;;
    esac
done

# Two setups at once (make -j, two terminals) take turns: the lock is on this file, so nothing is left behind.
if command -v flock >/dev/null 2>&1; then
    exec 9<"scripts/setup.sh"
    flock 9
fi

# ---- what the stamps are made of: a stage is repeated when anything that it depends on has changed ----

digest() { sha256sum | cut -d' ' -f1; }
digest_of_files() { { echo "$root"; cat "$@"; } | digest; }
digest_of_build() {
    {
        echo "$root"
        cat setup.py pyproject.toml requirements/dev.lock
        find cpp -type f | LC_ALL=C sort |
            xargs sha256sum
    } | digest
}
stamped() { [ "$(cat "$venv/$1" 2>/dev/null)" = "$2" ]; }

lock_digest=$(digest_of_files requirements/dev.lock)
build_digest=$(digest_of_build)
tests_digest=$(digest_of_files requirements/dev.lock requirements/tests.lock)

# The last version that runs on Node.js 18 and 20, which distributions have.
azurite=azurite@3.35.0
azure_is_wanted() { case $want in *ci*) command -v npm >/dev/null 2>&1 ;; *) return 1 ;; esac; }

system_is_complete() {
    for stage in $want; do stamped "stamp-system-$stage" "$system_digest" || return 1; done
}
is_complete() {
    "$venv/bin/python" -c '' 2>/dev/null || return 1
    ls genimage_stream/decode/_core*.so >/dev/null 2>&1 || return 1
    stamped stamp-lock "$lock_digest" && stamped stamp-build "$build_digest" && system_is_complete || return 1
    if azure_is_wanted; then stamped stamp-azure "$azurite" || return 1; fi
    case $want in *tests* | *bench*) stamped stamp-tests "$tests_digest" ;; esac
}
system_digest=$(digest_of_files requirements/system.txt)
if is_complete; then exit 0; fi

# ---- a Python that is new enough ----

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

# ---- system packages ----

as_root=
can_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" != 0 ] || return 0
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo -n"; else return 1; fi
}
apt_install() {
    say "installing $* (apt-get)"
    export DEBIAN_FRONTEND=noninteractive
    # The package lists of a fresh machine are empty or old, so a first failure is answered by fetching them.
    $as_root apt-get install -y -qq --no-install-recommends "$@" </dev/null >"$log" 2>&1 && return
    $as_root apt-get update -qq </dev/null >"$log" 2>&1 || true
    $as_root apt-get install -y -qq --no-install-recommends "$@" </dev/null >"$log" 2>&1 || { tail -n 5 "$log" >&2; return 1; }
}
has_header() { echo "#include <stdio.h>
#include <$1>" | "${CXX:-c++}" ${CPPFLAGS:-} -E -x c++ - >/dev/null 2>&1; }
has() {
    case $1 in
        header) has_header "$2" ;;
        links) echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
            clang++ "-fsanitize=$2" -x c++ - -o /dev/null >/dev/null 2>&1 ;;
        *) command -v "$2" >/dev/null 2>&1 || { [ "$2" = c++ ] && command -v "${CXX:-c++}" >/dev/null 2>&1; } ;;
    esac
}
missing_packages() { # stage -> the packages that are missing, on one line
    while read -r stage kind name package; do
        if [ "$stage" = "$1" ] && ! has "$kind" "$name"; then printf '%s ' "$package"; fi
    done <requirements/system.txt
    if [ "$1" = build ]; then missing_for_python; fi
}
missing_for_python() {
    if [ -z "$python" ]; then
        [ -n "${PYTHON:-}" ] || command -v python3 >/dev/null 2>&1 || printf 'python3 python3-venv python3-dev '
        return
    fi
    "$python" -c 'import sys; sys.exit(not sys.executable.startswith("/usr/bin/"))' || return 0
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2>/dev/null || printf '%s ' "$version-venv"
    python_header_exists || printf '%s ' "$version-dev"
}
python_header_exists() {
    [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" ]
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

python=$(find_python)
for stage in $want; do
    packages=$(missing_packages "$stage")
    packages=${packages% }
    [ -n "$packages" ] || continue
    # shellcheck disable=SC2086  # a list of package names
    if can_install && apt_install $packages; then
        python=$(find_python)
        # Python's own packages can only be named once there is a Python.
        if [ "$stage" = build ]; then
            rest=$(missing_packages build)
            # shellcheck disable=SC2086
            [ -z "$rest" ] || apt_install $rest || true
        fi
        packages=$(missing_packages "$stage")
        packages=${packages% }
        [ -n "$packages" ] || continue
    fi
    if [ "$stage" = build ]; then
        die "these packages are missing: $packages; install them (as root: apt-get install $packages) and run make setup again"
    fi
    case $stage in bench) lost="some peers will be left out" ;; *) lost="some tests will be skipped" ;; esac
    say "without $packages $lost (as root: apt-get install $packages)"
done

if [ -z "$python" ]; then
    found=$(python3 -V 2>/dev/null || echo none)
    die "Python 3.10 or newer is needed and ${PYTHON:-python3} is $found; install one and name it, as in: make setup PYTHON=python3.12"
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$python has no venv module; install one that has, and name it, as in: make setup PYTHON=/usr/bin/python3"
python_header_exists ||
    die "Python.h of $python is missing; install the development files of that Python, or name another one, as in: make setup PYTHON=/usr/bin/python3"

# ---- the environment ----

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
pip_install() { pip install --quiet --no-compile --progress-bar off "$@"; }
# Bytecode for hundreds of short-lived processes, on both cores at once; where PYTHONDONTWRITEBYTECODE is set, each of
# them would compile torch and numpy anew. Some packages hold files that are no Python for this version.
compile_all() { "$venv/bin/python" -m compileall -q -j 0 -x '/site-packages/.*/tests/' "$@" >/dev/null 2>&1 || true; }

if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
    die "$venv is there and is no virtual environment; move it away and run make setup again"
fi
# An environment that was moved, or that was left half made, or whose interpreter is gone, is made anew.
if ! stamped stamp-place "$root" || ! new_enough "$venv/bin/python"; then
    say "making .venv with $("$python" -V)"
    rm -rf "$venv"
    "$python" -m venv "$venv" || die "$python could not make $venv; see the lines above"
    echo "$root" >"$venv/stamp-place"
fi
for stage in $want; do echo "$system_digest" >"$venv/stamp-system-$stage"; done

if ! stamped stamp-lock "$lock_digest"; then
    say "installing the locked dependencies (torch is the big one)"
    pip_install -r requirements/dev.lock ||
        die "pip could not install requirements/dev.lock (see above); check network and disk and run make setup again"
    echo "$lock_digest" >"$venv/stamp-lock"
fi
if ! stamped stamp-build "$build_digest" || ! ls genimage_stream/decode/_core*.so >/dev/null 2>&1; then
    say "building the extension"
    if ! pip install --quiet --no-build-isolation --no-deps --editable . >"$log" 2>&1; then
        grep -E 'error:|genimage-stream needs|fatal' "$log" | head -n 10 >&2 || true
        cp "$log" "$venv/build.log"
        die "the extension could not be built; the whole output is in $venv/build.log"
    fi
    digest_of_build >"$venv/stamp-build"
fi
case $want in
    *tests* | *bench*)
        if ! stamped stamp-tests "$tests_digest"; then
            say "installing what tests and benchmarks compare with (DALI, Ray: some 600 MB)"
            if pip_install -r requirements/tests.lock; then
                echo "$tests_digest" >"$venv/stamp-tests"
            else
                say "some tests will be skipped (pip install -r requirements/tests.lock)"
            fi
        fi
        ;;
esac
case $want in
    *tests*)
        if ! stamped stamp-bytecode "$lock_digest $tests_digest"; then
            compile_all "$venv"/lib/python3*/site-packages
            echo "$lock_digest $tests_digest" >"$venv/stamp-bytecode"
        fi
        compile_all genimage_stream shard_tools benchmarks demo tests
        ;;
esac
if azure_is_wanted && ! stamped stamp-azure "$azurite"; then
    say "installing $azurite"
    if npm install --prefix "$venv" --no-audit --no-fund --no-save --loglevel=error "$azurite" >"$log" 2>&1; then
        echo "$azurite" >"$venv/stamp-azure"
    else
        tail -n 5 "$log" >&2
        say "without it some tests will be skipped (npm install --prefix .venv $azurite)"
    fi
fi
say "ready: .venv/bin/shard-tools, .venv/bin/genimage-stream"
