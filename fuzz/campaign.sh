#!/bin/sh
# Runs every fuzz target, the comparison with Pillow and ThreadSanitizer (`tsan`: stress_threads.cpp, then tests of the pool
# and the loader once) for SECONDS each, one after the other, at low priority:
#   fuzz/campaign.sh SECONDS [TARGET...]
# Prints a line per target: executions, covered edges, findings. Corpora grow under fuzz/build/corpus; inputs that failed
# are kept under fuzz/build/findings. PYTHON chooses an interpreter that has the package, NumPy and Pillow.
set -eu
seconds=${1:?usage: fuzz/campaign.sh SECONDS [TARGET...]}
shift
cd "$(dirname "$0")"
python=${PYTHON:-$([ -x ../.venv/bin/python ] && echo ../.venv/bin/python || echo python3)}
targets=${*:-fuzz_jpeg fuzz_png fuzz_webp fuzz_transform fuzz_batch fuzz_crop_ready fuzz_bands fuzz_lazy fuzz_inflate against_pillow tsan}
make -s PYTHON="$python" seeds fuzzer
"$python" structure.py 3000 build/structured
mkdir -p build/findings build/logs
status=0
printf '%-16s %12s %8s %9s %9s\n' target executions edges features findings
for target in $targets; do
    before=$(find build/findings -name "$target-*" | wc -l)
    log=build/logs/$target.log
    if [ "$target" = against_pillow ]; then
        PYTHONPATH=.. nice -n 19 "$python" against_pillow.py --seconds "$seconds" --keep build/findings >"$log" 2>&1 || true
        executions=$(sed -n 's/^\([0-9]*\) images.*/\1/p' "$log" | tail -1)
        edges=- features=-
    elif [ "$target" = tsan ]; then
        make -s PYTHON="$python" SECONDS="$seconds" tsan >"$log" 2>&1 || cp "$log" "build/findings/tsan-$(date +%s)"
        executions=$(sed -n 's/.* \([0-9]*\) jobs.*/\1/p' "$log" | tail -1)
        edges=- features=-
    else
        mkdir -p "build/corpus/$target"
        seeds="build/seeds/jpeg build/seeds/png build/structured/jpeg build/structured/png"
        case $target in
            fuzz_inflate) seeds=build/seeds/inflate ;;
            fuzz_webp | fuzz_transform) seeds=build/seeds/webp ;;
            fuzz_batch) seeds="$seeds build/seeds/webp" ;;
        esac
        # shellcheck disable=SC2086 # several folders
        # several findings may come up in one campaign: -ignore_crashes needs fork mode
        nice -n 19 "build/fuzzer/$target" -fork=1 -ignore_crashes=1 -max_total_time="$seconds" -max_len=16384 \
            -timeout=20 -rss_limit_mb=2500 -artifact_prefix="build/findings/$target-" \
            "build/corpus/$target" $seeds >"$log" 2>&1 || true
        last=$(grep -a '^#[0-9]*: cov:' "$log" | tail -1)
        executions=$(echo "$last" | sed -n 's/^#\([0-9]*\):.*/\1/p')
        edges=$(echo "$last" | sed -n 's/.*cov: \([0-9]*\).*/\1/p')
        features=$(echo "$last" | sed -n 's/.*ft: \([0-9]*\).*/\1/p')
    fi
    findings=$(($(find build/findings -name "$target-*" | wc -l) - before))
    [ "$findings" -eq 0 ] || status=1
    printf '%-16s %12s %8s %9s %9s\n' "$target" "${executions:-?}" "${edges:-?}" "${features:-?}" "$findings"
done
exit $status
