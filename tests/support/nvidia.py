"""A stand-in for the libraries of NVIDIA's driver: it answers as the CUDA Driver API and NVML do for an A100."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

GPU = "NVIDIA A100-SXM4-40GB"
DRIVER = "535.161.08"
LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1")

_SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* The calls of the CUDA Driver API that the proof makes; the environment says how they are answered. */
static const char *set(const char *name, const char *or) { const char *v = getenv(name); return v ? v : or; }
int cuDriverGetVersion(int *v) { *v = atoi(set("FAKE_CUDA", "12020")); return 0; }
int cuInit(unsigned flags) {
    if (getenv("FAKE_HANG")) for (;;) pause();
    if (getenv("FAKE_CRASH")) abort();
    return atoi(set("FAKE_STATUS", "0"));
}
int cuDeviceGetCount(int *n) { *n = atoi(set("FAKE_COUNT", "1")); return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal + 7; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    if (device < 7) return 101;
    snprintf(name, size, "NVIDIA A100-SXM4-40GB"); return 0;
}
int cuDeviceTotalMem_v2(size_t *size, int device) { *size = (size_t)40536 << 20; return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? 8 : which == 76 ? 0 : which == 20 ? atoi(set("FAKE_MODE", "0")) : -1; return 0;
}
int cuGetErrorName(int status, const char **name) {
    if (status != 999) return 1;
    *name = "CUDA_ERROR_UNKNOWN"; return 0;
}
int nvmlInit_v2(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "535.161.08"); return 0; }
"""


def build(folder: Path) -> None:
    """Puts LIBRARIES into the folder."""
    source = folder / "driver.c"
    source.write_text(_SOURCE, encoding="utf-8")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert compiler, "the stand-in for the driver's library needs a C compiler (Debian: gcc libc6-dev)"
    for name in LIBRARIES:
        soname = f"-Wl,-soname,{name}" if "darwin" not in _target(compiler) else "-Wl,-undefined,error"
        subprocess.run([compiler, "-shared", "-fPIC", "-w", soname, "-o", folder / name, source], check=True)


def _target(compiler: str) -> str:
    return subprocess.run([compiler, "-dumpmachine"], capture_output=True, text=True, check=True).stdout
