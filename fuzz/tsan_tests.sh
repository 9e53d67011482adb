#!/bin/sh
# Runs the pool's and the loader's tests with the extension built under ThreadSanitizer:
#   fuzz/tsan_tests.sh [TEST...]
# The checkout is copied to fuzz/build/tsan/checkout and built there, so that the installed extension stays as it is. Only
# the core is instrumented; what Python and libraries do among themselves is not looked at. PYTHON chooses an interpreter
# with the package's test requirements. Exit code 66: data races, in fuzz/build/tsan/reports.
set -eu
cd "$(dirname "$0")/.."
python=$(realpath -s "${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || command -v python3)}")
tests=${*:-tests/genimage_stream/decode/test_batch.py tests/genimage_stream/decode/test_batch_threads.py
tests/genimage_stream/decode/test_partial_reads.py tests/genimage_stream/loading/test_loader.py
tests/genimage_stream/loading/test_state.py}
copy=fuzz/build/tsan/checkout reports=fuzz/build/tsan/reports
mkdir -p "$copy" "$reports"
rm -f "$reports"/*
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -pt "$copy" 2>/dev/null || true
reports=$(realpath "$reports")
cd "$copy"
CFLAGS="-fsanitize=thread -O1 -g -fno-omit-frame-pointer" LDFLAGS="-fsanitize=thread" "$python" setup.py -q build_ext --inplace
# Threads that Python's own fork leaves behind, and races within libraries that are not instrumented, are not ours.
export TSAN_OPTIONS="die_after_fork=0 report_signal_unsafe=0 ignore_noninstrumented_modules=1 exitcode=66 log_path=$reports/race"
# shellcheck disable=SC2086 # several tests
LD_PRELOAD=$(${CXX:-g++} -print-file-name=libtsan.so) nice -n 19 "$python" -m pytest -q -p no:cacheprovider $tests || status=$?
if [ -n "$(find "$reports" -type f)" ]; then
    head -n 60 "$reports"/race.*
    exit 66
fi
exit "${status:-0}"
