"""Builds a program for a device and runs it in the emulator with the plugin that counts instructions: what the scripts beside this one share."""
import json, os, shutil, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.path.join(ROOT, "target", "instructions")
# A set, the core that QEMU shows the program, the device whose build it is.
CORES = {
    "neon": ("cortex-a53", "raspberry-pi-4"),
    "dotprod": ("cortex-a76", "raspberry-pi-4"),
    "i8mm": ("max,sve=off,sme=off", "raspberry-pi-4"),
    "neon32": ("cortex-a7", "raspberry-pi-2"),
    "scalar": ("arm1176", "raspberry-pi-zero"),
}
# Instructions per multiply-accumulate if there were nothing but the multiplications (and the sums of their 16-bit products).
FLOOR = {"neon": 24 / 128, "dotprod": 1 / 16, "i8mm": 1 / 32, "neon32": 24 / 128, "scalar": 1}


def fail(what, help_text):
    sys.exit(f"error: {what}\nhelp: {help_text}")


def tool(name, package):
    """the path of a program"""
    path = shutil.which(name)
    return path or fail(f"{name} is not there", f"apt-get install {package}")


def build(device):
    """the guest program instructions.rs, as a device's build has it"""
    command = [os.path.join(ROOT, "targets", "cargo-for"), device, "bench", "--no-run", "--profile", "device", "--no-default-features", "--features", "std"]
    command += ["--bench", "instructions", "--message-format=json-render-diagnostics"]
    listing = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return next(m["executable"] for m in map(json.loads, listing.splitlines()) if m.get("executable"))


def plugin():
    """the counting plugin"""
    os.makedirs(WORK, exist_ok=True)
    library = os.path.join(WORK, "instructions.so")
    source = os.path.join(ROOT, "benches", "instructions.c")
    if not os.path.exists(library) or os.path.getmtime(library) < os.path.getmtime(source):
        unfinished = f"{library}.{os.getpid()}"
        subprocess.run([tool("gcc", "gcc"), "-O2", "-shared", "-fPIC", source, "-o", unfinished], check=True)
        os.replace(unfinished, library)
    return library


def count(core, arguments, emulator="qemu-aarch64"):
    """runs a program; its output's lines, and the instructions between one mark and the next, from the start of the program to its end"""
    command = [tool(emulator, "qemu-user"), "-cpu", core, "-plugin", plugin(), "-d", "plugin", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        fail(f"{' '.join(map(str, command))} ended with {result.returncode}\n{result.stderr}", "run it by hand")
    return result.stdout.splitlines(), [int(line.split()[1]) for line in result.stderr.splitlines() if line.startswith("instructions ")]


def table(head, rows):
    """prints Markdown"""
    for row in [head, ["---"] * len(head), *rows]:
        print(f"| {' | '.join(row)} |")
