"""ESTALE and EIO, as network file systems answer for descriptors whose files were replaced: a library before the C
library gives these errors, since a file server that does is nothing that a test can start."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.shards import make_dataset

HOOK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* The FAIL_AT-th read of a tar, and every later one of a descriptor that was open then, fails with FAIL_WITH; with
   FAIL_ALWAYS, those of newly opened descriptors too, until the file named there is gone. */
static atomic_int reads;
static char dead[4096];
static int is_tar(int fd) {
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 4) return 0;
    path[n] = 0;
    return strcmp(path + n - 4, ".tar") == 0;
}
static int fails(int fd) {
    if (fd < 3 || fd >= 4096 || !is_tar(fd)) return 0;
    if (atomic_fetch_add(&reads, 1) == atoi(getenv("FAIL_AT")))
        for (int i = 3; i < 4096; i++) dead[i] = is_tar(i);
    const char* always = getenv("FAIL_ALWAYS");
    if (!dead[fd] && !(always && atomic_load(&reads) > atoi(getenv("FAIL_AT")) && access(always, F_OK) == 0)) return 0;
    errno = atoi(getenv("FAIL_WITH"));
    return 1;
}
#define READ(name)                                                            \
    ssize_t name(int fd, void* to, size_t size, off_t at) {                   \
        static ssize_t (*real)(int, void*, size_t, off_t);                    \
        if (!real) real = (ssize_t(*)(int, void*, size_t, off_t))dlsym(RTLD_NEXT, #name); \
        return fails(fd) ? -1 : real(fd, to, size, at);                       \
    }
READ(pread)
READ(pread64)
void forget(void) {
    memset(dead, 0, sizeof dead);
    atomic_store(&reads, 0);
}
int close(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < 4096) dead[fd] = 0;
    return real(fd);
}
"""

# For each further argument, an errno and perhaps the path of FAIL_ALWAYS: three epochs of a loader.
SCRIPT = """
import ctypes, json, os, sys
import genimage_stream as gs

told = []
for case in sys.argv[2:]:
    number, _, always = case.partition(":")
    ctypes.CDLL(None).forget()
    os.environ["FAIL_WITH"] = number
    os.environ.pop("FAIL_ALWAYS", None)
    if always:
        open(always, "w").close()
        os.environ["FAIL_ALWAYS"] = always
    loader = gs.Loader(gs.open_dataset(sys.argv[1]), 8, crop=16, threads=3)
    told.append([])
    for _ in range(3):
        seen = 0
        try:
            for batch in loader:
                seen += len(batch)
            told[-1].append(f"whole {seen}")
        except OSError as error:
            told[-1].append(f"{type(error).__name__} {error.errno} {error}")
            if always:
                os.remove(always)
    del loader
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("hook")
    (folder / "hook.c").write_text(HOOK)
    library = folder / "hook.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "hook.c", "-ldl"], check=True)
    return library


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6)


def run(hook: Path, root: Path, *cases: str) -> list[list[str]]:
    """What each case says of its three epochs, all in one process."""
    if "asan" in os.environ.get("LD_PRELOAD", "") or "tsan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("a sanitizer's library has to come first")
    given = {"LD_PRELOAD": str(hook), "FAIL_AT": "20", "FAIL_WITH": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, str(root), *cases]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **given})
    told: list[list[str]] = json.loads(done.stdout)
    return told


def test_descriptors_that_died(hook: Path, root: Path, tmp_path: Path) -> None:
    """One that is dead is opened again; what lasts is named, and the loader recovers; others are not tried again."""
    lasting = [f"{number}:{tmp_path / str(number)}" for number in (errno.ESTALE, errno.EIO)]
    again, again_too, stale, broken, other = run(
        hook, root, str(errno.ESTALE), str(errno.EIO), *lasting, str(errno.EACCES)
    )
    assert again == again_too == ["whole 72"] * 3
    for told, number, remedy in ((stale, errno.ESTALE, "remount"), (broken, errno.EIO, "dmesg")):
        assert told[0].startswith(f"OSError {number} sample ")
        assert ".tar" in told[0]
        assert remedy in told[0]
        assert told[-1] == "whole 72"
    assert other[0].startswith(f"PermissionError {errno.EACCES} sample ")
    assert "chmod" in other[0]
