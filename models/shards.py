#!/usr/bin/env python3
"""Calibrates in shards on a Dask cluster, merges them, and compares the result byte for byte with that of one process.

    python models/shards.py models/resnet20.onnx --calib models/calibration.bin --preprocess cifar10 --shards 5

Without --scheduler the cluster is a scheduler and worker processes on this machine, which talk over TCP. Workers on other machines need the program, the network and the pictures under the
same paths; the shards come back through Dask. Bytes are equal where the float network gives the same bits, that is on CPUs of one kind.
"""
import argparse, contextlib, hashlib, json, os, shutil, subprocess, tempfile
from common import Problem, replacing, script


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", help="the float network")
    parser.add_argument("--calib", required=True, help="pictures, as `skipstone calibrate` takes them")
    parser.add_argument("--preprocess", required=True, help="how they are prepared")
    parser.add_argument("--shards", type=int, default=4, help="how many parts (default: 4)")
    parser.add_argument("--scheduler", help="address of a running Dask scheduler, as in tcp://10.0.0.1:8786 (default: start a cluster here)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the cluster that is started here (default: 2)")
    parser.add_argument("--skipstone", default="target/release/skipstone", help="the program with the converter (default: target/release/skipstone)")
    parser.add_argument("-o", "--output", help="where the merged file goes (default: it is thrown away)")
    return parser.parse_args()


def run(*command):
    """runs the program; gives what it prints as JSON"""
    try:
        done = subprocess.run([*command, "--json", "--quiet"], capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"cannot start {command[0]}: {error.strerror}") from error
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def shard(calibrate, i, n):
    """one task: number and report of the shard, its bytes, and the worker that made it"""
    from distributed import get_worker
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "part.calib")
        report = run(*calibrate, "--shard", f"{i}/{n}", "-o", path)
        with open(path, "rb") as file:
            return i, report, file.read(), get_worker().address


def same(a, b):
    with open(a, "rb") as a, open(b, "rb") as b:
        a, b = a.read(), b.read()
    if a != b:
        raise Problem(f"{len(a)} and {len(b)} bytes that are not the same: do all workers have CPUs of one kind and the same version of the program?")
    return f"the same {len(a):,} bytes, SHA-256 {hashlib.sha256(a).hexdigest()[:16]}"


def main():
    args = arguments()
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        raise Problem("Dask is missing: pip install -r models/requirements.txt") from error
    program, onnx, data = (os.path.abspath(p) for p in (args.skipstone, args.onnx, args.calib))
    if not args.scheduler and not os.path.exists(program):
        raise Problem(f"{program} is missing: cargo build --release, or --skipstone")
    calibrate = [program, "calibrate", onnx, "--calib", data, "--preprocess", args.preprocess]
    local = lambda: LocalCluster(n_workers=args.workers, threads_per_worker=1, processes=True, protocol="tcp://", dashboard_address=None)
    cluster = contextlib.nullcontext(args.scheduler) if args.scheduler else local()
    with tempfile.TemporaryDirectory() as folder, cluster as where, Client(where) as client:
        path = lambda name: os.path.join(folder, name)
        parts, workers = [], list(client.nthreads())
        print(f"{len(workers)} workers over {client.scheduler.address.split(':')[0]}")
        try:
            # A shard is the same whoever makes it, and however often.
            tasks = [client.submit(shard, calibrate, i, args.shards, pure=False, retries=2) for i in range(args.shards)]
            for _, (i, report, content, worker) in as_completed(tasks, with_results=True):
                workers += [worker] if worker not in workers else []
                print(f"shard {i}/{args.shards}: {report['pictures']} pictures, {len(content):,} bytes, by worker {workers.index(worker)}")
                parts.append(path(f"{i}.calib"))
                with open(parts[-1], "wb") as file:
                    file.write(content)
            report = run(program, "calibrate", "--merge", *parts, "-o", path("all.calib"))
            print(f"merged in the order of arrival: {report['pictures']} of {report['of']} pictures, {report['tensors']} tensors")
            run(*calibrate, "-o", path("whole.calib"))
            print(f"merged and unsharded .calib: {same(path('all.calib'), path('whole.calib'))}")
            convert = [program, "convert", onnx, "--ranges"]
            for name in ("all", "whole"):
                run(*convert, path(f"{name}.calib"), "-o", path(f"{name}.stone"))
            print(f".stone from either:          {same(path('all.stone'), path('whole.stone'))}")
            if args.output:
                with replacing(args.output) as partial:
                    shutil.copyfile(path("all.calib"), partial)
        except RuntimeError as error:
            raise Problem(str(error).removeprefix("error: ")) from error


if __name__ == "__main__":
    script(main)
