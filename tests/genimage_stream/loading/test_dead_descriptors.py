"""ESTALE and EIO, as network file systems answer for descriptors whose files were replaced: a library before the C
library gives these errors, since a file server that does is nothing that a test can start."""

from __future__ import annotations

import errno
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
int close(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < 4096) dead[fd] = 0;
    return real(fd);
}
"""

SCRIPT = """
import os, sys
import genimage_stream as gs

loader = gs.Loader(gs.open_dataset(sys.argv[1]), 8, crop=16, threads=3)
for _ in range(3):
    seen = 0
    try:
        for batch in loader:
            seen += len(batch)
        print("whole", seen)
    except OSError as error:
        print(type(error).__name__, error.errno, error)
        if len(sys.argv) > 2:
            os.remove(sys.argv[2])
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


def run(hook: Path, root: Path, number: int, always: Path | None = None) -> list[str]:
    if "asan" in os.environ.get("LD_PRELOAD", "") or "tsan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("a sanitizer's library has to come first")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(hook),
        "FAIL_AT": "20",
        "FAIL_WITH": str(number),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    given = [str(root)]
    if always is not None:
        always.touch()
        environment["FAIL_ALWAYS"] = str(always)
        given.append(str(always))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *given], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO])
def test_a_dead_descriptor_is_opened_again(hook: Path, root: Path, number: int) -> None:
    assert run(hook, root, number) == ["whole 72"] * 3


@pytest.mark.parametrize(("number", "remedy"), [(errno.ESTALE, "remount"), (errno.EIO, "dmesg")])
def test_what_lasts_is_named_and_the_loader_recovers(
    hook: Path, root: Path, tmp_path: Path, number: int, remedy: str
) -> None:
    first, *rest = run(hook, root, number, tmp_path / "failing")
    assert first.startswith(f"OSError {number} sample ")
    assert ".tar" in first
    assert remedy in first
    assert rest[-1] == "whole 72"


def test_other_errors_are_not_tried_again(hook: Path, root: Path) -> None:
    first, *_ = run(hook, root, errno.EACCES)
    assert first.startswith(f"PermissionError {errno.EACCES} sample ")
    assert "chmod" in first
