"""Machines as their systems describe themselves: text recorded on real ones, long flag lists shortened."""

from __future__ import annotations

from pathlib import Path

# A virtual machine of two cores of a Xeon of the Emerald Rapids generation, recorded 2026-11-23.
XEON_GUEST = """\
processor\t: {n}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 207
model name\t: Intel(R) Xeon(R) Processor
cpu MHz\t\t: 2300.000
cache size\t: 266240 KB
physical id\t: 0
siblings\t: 2
core id\t\t: {n}
cpu cores\t: 2
flags\t\t: fpu sse sse2 ht pni ssse3 fma sse4_2 avx f16c hypervisor avx2 avx512f avx512bw avx512_bf16 avx512_fp16
address sizes\t: 48 bits physical, 57 bits virtual
"""

# One core, two threads of AWS m6a, as a public test of a monitoring agent records it (read 2026-11-23).
EPYC_7R13_GUEST = """\
processor\t: {n}
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7R13 Processor
cpu MHz\t\t: 3602.592
physical id\t: 0
siblings\t: 2
core id\t\t: 0
cpu cores\t: 1
flags\t\t: fpu sse sse2 ht pni ssse3 fma cx16 sse4_1 sse4_2 avx f16c rdrand hypervisor topoext avx2 sha_ni rdpid
"""

# A Raspberry Pi 5, which prints no model name for a core, from a public tutorial (read 2026-11-23).
CORTEX_A76 = """\
processor\t: {n}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""

# sysctl of the first Mac with an M1, as public logs print it (read 2026-11-23).
M1 = {
    "machdep.cpu.brand_string": "Apple M1",
    "hw.physicalcpu": "8",
    "hw.perflevel0.physicalcpu": "4",
    "hw.memsize": "17179869184",
}

# sysctl of an Intel Mac of 2019, as public logs print it (read 2026-11-23).
I7_9750H = {
    "machdep.cpu.brand_string": "Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz",
    "machdep.cpu.vendor": "GenuineIntel",
    "machdep.cpu.family": "6",
    "machdep.cpu.model": "158",
    "machdep.cpu.features": "FPU VME SSE SSE2 SSE3 SSSE3 FMA CX16 SSE4.1 SSE4.2 POPCNT AES XSAVE AVX1.0 F16C",
    "machdep.cpu.leaf7_features": "RDWRFSGS SGX BMI1 AVX2 SMEP BMI2 ERMS INVPCID FPU_CSDS MPX RDSEED ADX",
    "hw.physicalcpu": "6",
    "hw.cpufrequency": "2600000000",
    "hw.memsize": "17179869184",
}


def linux(root: Path, block: str, cpus: int, memory_kib: int = 24684092, **files: str) -> Path:
    """Write the file tree of a Linux machine below `root`; a file's path is given with __ for /."""
    write(root, "proc/cpuinfo", "\n".join(block.format(n=n) for n in range(cpus)))
    write(root, "proc/meminfo", f"MemTotal:       {memory_kib} kB\nMemFree:        19807784 kB\n")
    for path, text in files.items():
        write(root, path.replace("__", "/").replace("DOT", "."), text)
    return root


def write(root: Path, path: str, text: str) -> None:
    """Write one file below `root`."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
