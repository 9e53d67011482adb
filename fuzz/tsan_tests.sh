#!/bin/sh
# Runs the pool's and the loader's tests with the extension that `make tsan` builds under ThreadSanitizer:
#   fuzz/tsan_tests.sh [TEST...]
# In a copy of the checkout under fuzz/build/tsan, so that the installed extension stays as it is. Only the core is
# instrumented: what Python and the libraries do among themselves is not looked at. PYTHON chooses an interpreter with the
# package's test requirements. Exit code 66: data races, whose reports are in fuzz/build/tsan/reports.
set -eu
here=$(realpath "$(dirname "$0")")
python=$(realpath -s "${PYTHON:-$([ -x "$here/../.venv/bin/python" ] && echo "$here/../.venv/bin/python" || command -v python3)}")
cd "$here/.."
# Not those of trainers and of worker processes: they fork, which ThreadSanitizer does not bear (see below).
pool=tests/genimage_stream/decode loading=tests/genimage_stream/loading
tests=${*:-$pool/test_batch.py $pool/test_batch_threads.py $pool/test_partial_reads.py
$pool/test_shared_between_threads.py $loading/test_batch.py
$loading/test_company.py $loading/test_dead_descriptors.py $loading/test_loader.py $loading/test_loader_errors.py
$loading/test_state.py $loading/test_stats.py $loading/test_transform.py $loading/test_variants.py
$loading/test_whole_and_all.py}
copy=$here/build/tsan/checkout reports=$here/build/tsan/reports
rm -rf "$copy" "$reports"
mkdir -p "$copy" "$reports"
cp -r genimage_stream shard_tools benchmarks stand_ins tests pyproject.toml "$copy"
rm -f "$copy"/genimage_stream/decode/_core*.so
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
cp "$here/build/tsan/_core.so" "$copy/genimage_stream/decode/_core$suffix"
cd "$copy"
export TSAN_OPTIONS="die_after_fork=0 report_signal_unsafe=0 ignore_noninstrumented_modules=1 exitcode=66 log_path=$reports/race"
# ThreadSanitizer itself does not bear threads in the child of a fork that had some ("dup thread with used id"), which a
# DataLoader's workers are, and DALI does not load beside it.
bearable="not fork and not worker and not behind_a_dataloader and not arrays_come_with and not dali"
# shellcheck disable=SC2086 # several tests
LD_PRELOAD=$(${CXX:-g++} -print-file-name=libtsan.so) nice -n 19 "$python" -m pytest -q -p no:cacheprovider -k "$bearable" $tests || status=$?
if [ -n "$(find "$reports" -type f)" ]; then
    head -n 60 "$reports"/race.*
    exit 66
fi
exit "${status:-0}"
