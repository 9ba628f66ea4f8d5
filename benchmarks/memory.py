"""Peak memory of writing and reading a network much larger than memory should be.

    python benchmarks/memory.py [--tensors 20] [--megabytes 100] [--scheme combined] [--folder DIR]

Makes a safetensors file of float32 tensors (2 GB by default), writes it to a cell image and reads
it back, each in a process of its own, and prints the peak resident memory of each. Needs about
three times the file in the folder.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT_GB = 1.0


def make(path: Path, tensors: int, megabytes: int) -> None:
    from softcell.weights import TensorInfo, WeightsWriter

    columns = 4096
    rows = megabytes * 1_000_000 // 4 // columns
    infos = [TensorInfo(f"layer{i}.weight", (rows, columns), "F32") for i in range(tensors)]
    rng = np.random.default_rng(0)
    with WeightsWriter(path, infos) as writer:
        for info in infos:
            writer.write(info.name, rng.standard_normal(info.shape, dtype=np.float32) * 0.02)
        writer.finish()


def child(verb: str, source: str, target: str, scheme: str, cells: str) -> None:
    import softcell

    begin = time.perf_counter()
    if verb == "write":
        header = softcell.write(
            source,
            target,
            scheme=scheme,
            cells_per_weight=None if cells == "None" else float(cells),
        )
        extra = {"cells_per_weight": header.cells_per_weight}
    else:
        report = softcell.restore(source, target, seed=1)
        extra = {"failed_code_words": report.failed}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak_bytes": peak, "seconds": time.perf_counter() - begin, **extra}))


def main() -> int:
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        child(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensors", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=100, help="of each tensor")
    parser.add_argument("--scheme", default="combined")
    parser.add_argument("--cells-per-weight", type=float, default=2.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cells = "None" if args.scheme in ("float32", "float16", "int8") else str(args.cells_per_weight)
    rows = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source, image = Path(folder) / "model.safetensors", Path(folder) / "model.cells"
        make(source, args.tensors, args.megabytes)
        print(f"{source.stat().st_size / 1e9:.2f} GB in {args.tensors} tensors, {args.scheme}")
        target = Path(folder) / "restored.safetensors"
        for verb, a, b in (("write", source, image), ("read", image, target)):
            command = [sys.executable, __file__, "--child", verb, a, b, args.scheme, cells]
            done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
            if done.returncode:
                print(done.stderr, file=sys.stderr)
                return 1
            rows[verb] = json.loads(done.stdout.splitlines()[-1])
            row = rows[verb]
            print(f"{verb}: peak {row['peak_bytes'] / 1e9:.2f} GB, {row['seconds']:.0f} s, {row}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    return int(any(row["peak_bytes"] > LIMIT_GB * 1e9 for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
