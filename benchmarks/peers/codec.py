"""A published neural-network codec on the same cells with the same error correction.

    bash benchmarks/peers/make_codec_environment.sh    (once)
    SOFTCELL_DATA=path/to/data python benchmarks/peers/codec.py [--only cifar10/resnet56 ...]

The codec is nncodec 2.1.3, its makers' implementation of ISO/IEC 15938-17 (DeepCABAC). Its whole
bit stream, headers and batch normalisations included, is what the strong digital store of the
device keeps: it is encoded, written to simulated cells, read, decoded and compared, chip by chip,
and what was read goes to the codec's decoder, in a process that has seen nothing else. Results are
kept in benchmarks/results/*-nncodec.json (softcell.results/1), a row measured once; `--fresh`
measures again. None of the stream is told apart as side information.

No gradient step was taken, as with ours. What the codec offers besides was tried on ResNet-20,
judged by the outputs' divergence from the float network's on 400 to 1,000 calibration images:

- `nncodec` has the codec's defaults: dependent quantisation by a trellis, every tensor at one step,
  normalisations as they are, each number finely.
- `nncodec-rdo` has all that helped: normalisations folded (`bnf`, 0.17 bits per weight) and their
  numbers at `nonweight_qp` -36 (0.05), quantisation by rate as well as distortion (`lambda_scale`
  1, about 0.1) and steps by size and deviation of each tensor (`opt_qp`, a little). Code books
  (`codebook_mode`), the other scan order, fixed context models, other unary lengths and
  `row_skipping` gained nothing; there, uniform quantisation lost to the dependent one.
- `nncodec-ioq` adds the codec's inference-optimised quantisation: of all tensors but the largest,
  steps up to four finer and coarser are tried, and what lowers divergence plus bits is kept. That
  divergence, on IMAGES calibration images, is finer than the accuracy that the codec's own
  executers return. It gains 0.1 to 0.3 bits per weight and some accuracy, and takes 2 minutes of
  processor time on ResNet-20, 11 on ResNet-56.

Local scaling adaptation and fine-tuning train, temporal contexts need an earlier network, and
`int_quant_bw` only chooses steps by whole bits: they were left out.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from softcell.channel import channel_of
from softcell.codes.store.design import store_for
from softcell.codes.store.store import Store
from softcell.devices import Device, parse_device, read_noise_share
from softcell.evaluate.bounds import least_cells_per_weight
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.measure import measure_given
from softcell.evaluate.results import Result, read_results, write_results
from softcell.evaluate.sensitivity import task_fisher
from softcell.evaluate.tasks import Task, load_task
from softcell.streams import Stream

HERE = Path(__file__).parent
FOLDER = HERE.parent / "results"
CODEC = HERE.parents[1] / ".venv-codec/bin/python"
DEVICE = "pcm-partial-reset"
State = Mapping[str, NDArray[np.float32]]

BY_RATE = {"bnf": True, "nonweight_qp": -36, "lambda_scale": 1.0, "opt_qp": True}
OPTIONS: dict[str, dict[str, Any]] = {
    "nncodec": {},
    "nncodec-rdo": BY_RATE,
    "nncodec-ioq": BY_RATE | {"ioq": True},
}
RUNS = {
    "cifar10/resnet56": ((-26, -22, -20), (-30, -28, -26, -24), (-26,)),
    "cifar10/resnet20": ((-26, -22), (-32, -30, -28, -26), (-28, -26)),
    "imagenet/mobilenet_v1_025": ((-36, -32), (-44, -40, -36), ()),
}
"""Steps of each network, as `qp`, for each of the options."""
IMAGES = 100
"""Calibration images that `ioq` measures outputs on."""
CODEC_EPS = 1e-5
"""What the codec adds to variances when it folds them."""
PARTS = {
    "weight": "bn.gamma",
    "bias": "bn.beta",
    "running_mean": "bn.mean",
    "running_var": "bn.var",
}


def blocks(state: State) -> dict[str, dict[str, str]]:
    """Return which tensors the codec may join: every layer's, and of the normalisation after it.

    Raises:
        KeyError: A normalisation is named neither `bn...` after `conv...`, nor `..._bn`.
    """
    layers, kinds = {}, {}
    for name in state:
        module, _, part = name.rpartition(".")
        head, dot, last = module.rpartition(".")
        if f"{module}.running_var" not in state:
            layers[name], kinds[name] = module, part
            continue
        layer = last.removesuffix("_bn") if last.endswith("_bn") else last.replace("bn", "conv")
        _ = state[f"{head}{dot}{layer}.weight"]
        layers[name], kinds[name] = head + dot + layer, PARTS[part]
    return {"block_identifier": layers, "parameter_type": kinds}


def with_variances(state: State, added: Mapping[str, float]) -> dict[str, NDArray[np.float32]]:
    """Return tensors with something added to the running variance of each normalisation."""
    result = dict(state)
    for module, value in added.items():
        result[f"{module}.running_var"] = (state[f"{module}.running_var"] + value).astype("f4")
    return result


class Codec:
    """The codec in its own environment, for one network.

    Args:
        task: The network.
        folder: For files.
    """

    def __init__(self, task: Task, folder: Path) -> None:
        self._folder, state = folder, task.state_dict()
        self._blocks = blocks(state)
        self._eps = {
            name: module.eps - CODEC_EPS
            for name, module in task.module().named_modules()
            if isinstance(module, torch.nn.BatchNorm2d)
        }
        save_file(with_variances(state, self._eps), folder / "given.safetensors")

    def encode(self, options: dict[str, Any], goodness: Callable[[State], float]) -> bytes:
        """Return the network's bit stream; `ioq` asks how good its trials are."""
        given, stream = self._folder / "given.safetensors", self._folder / "stream.nnc"
        command = self._command("encode", given, stream, options)
        with subprocess.Popen(
            command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            for line in process.stdout or ():
                if line == "trial\n" and process.stdin:
                    process.stdin.write(f"{goodness(self._read(Path(f'{given}.trial')))}\n")
                    process.stdin.flush()
        if process.returncode:
            raise SystemExit("the codec failed; see above")
        return stream.read_bytes()

    def decode(self, stream: bytes, options: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
        """Return the tensors of a bit stream."""
        read, tensors = self._folder / "read.nnc", self._folder / "decoded.safetensors"
        read.write_bytes(stream)
        subprocess.run(self._command("decode", read, tensors, options), check=True)
        return self._read(tensors)

    def _read(self, path: Path) -> dict[str, NDArray[np.float32]]:
        return with_variances(load_file(path), {name: -value for name, value in self._eps.items()})

    def _command(self, verb: str, source: Path, target: Path, options: dict[str, Any]) -> list[str]:
        told = options | ({"blocks": self._blocks} if options.get("bnf") else {})
        script = str(HERE / "run_nncodec.py")
        return [str(CODEC), script, verb, str(source), str(target), json.dumps(told)]


def closeness(task: Task) -> Callable[[State], float]:
    """Return what measures outputs on calibration images: minus the divergence from the float
    network's, in nats."""
    images = task.calibration(IMAGES, seed=7)

    def log_probabilities(state: State) -> torch.Tensor:
        module = task.module()
        module.load_state_dict({name: torch.from_numpy(v) for name, v in state.items()})
        with torch.inference_mode():
            parts = [torch.log_softmax(module(part), 1) for part in images.split(50)]
        return torch.cat(parts).double()

    given = log_probabilities(task.state_dict())

    def measure(state: State) -> float:
        return -float((given.exp() * (given - log_probabilities(state))).sum(1).mean())

    return measure


def through_cells(stream: bytes, store: Store, device: Device, seed: int) -> tuple[bytes, int]:
    """Write a stream to a chip and read it: its bytes, and code words that failed."""
    data = np.frombuffer(stream, np.uint8)
    indices = store.level_indices(store.encode(data), store.cells(len(data)))
    levels = np.asarray(indices / np.float32(255), np.float32)
    cells = device.write(levels, stream=Stream.of(seed, "write/stream"))
    readings = device.read(cells, stream=Stream.of(seed, "read/0/stream"))
    detected: Any = store.detect(channel_of(device), readings)
    run = store.decode(detected, len(data))
    return run.data.tobytes(), int(run.failed.sum())


def measure(
    experiment: Experiment, codec: Codec, stream: bytes, options: dict[str, Any], seeds: int
) -> Result:
    """Store a stream on chips and evaluate what the codec makes of what is read."""
    device = experiment.device
    store = store_for("soft", channel_of(device))
    chips = [through_cells(stream, store, device, seed) for seed in range(seeds)]
    if any(read != stream for read, _ in chips):
        raise SystemExit("what was read of a chip differs from what was written")
    # All chips give the same bytes: one decoding is that of all.
    state = codec.decode(chips[0][0], options)
    bound, weight = experiment.bound()
    off = {n: np.subtract(experiment.state[n], state[n], dtype=np.float64) for n in weight}
    error = sum(np.sum(weight[n] * error**2) for n, error in off.items())
    weights = sum(values.size for values in experiment.state.values())
    capacity = channel_of(device).capacity.bits
    found = measure_given(experiment, state)
    return replace(
        found,
        device=device.name,
        cells_per_weight=store.cells(len(stream)) / weights,
        accuracies=found.accuracies * seeds,
        seeds=seeds,
        limit_cells_per_weight=least_cells_per_weight(bound, float(error), capacity, weights),
        capacity_bits=capacity,
        code_words=seeds * store.frames(len(stream)),
        failed_code_words=sum(failed for _, failed in chips),
        decoder="full",
        read_noise_share=read_noise_share(device),
    )


def run(network: str, args: argparse.Namespace) -> None:
    """Measure a network's rows, keeping each as it comes."""
    name, model = network.split("/")
    task, path = load_task(name, model), FOLDER / f"{name}-{model}-{DEVICE}-nncodec.json"
    rows = [] if args.fresh or not path.exists() else read_results(path)
    experiment = Experiment(
        state=task.state_dict(),
        evaluate=task.evaluate,
        device=parse_device(DEVICE),
        sensitivity=task_fisher(task),
        task=name,
        model=model,
        images=task.images,
    )
    print(f"{name}/{model}: float32 {100 * experiment.float_accuracy:.2f} %")
    settings = [(kind, qp) for kind, qps in zip(OPTIONS, RUNS[network]) for qp in qps]
    order = [f"{kind} qp {qp}" for kind, qp in settings]
    with tempfile.TemporaryDirectory() as folder:
        codec = Codec(task, Path(folder))
        for scheme, (kind, qp) in zip(order, settings):
            known = [r for r in rows if r.scheme == scheme and r.seeds == args.seeds]
            if not known:
                options = {"qp": qp, **OPTIONS[kind]}
                stream = codec.encode(options, closeness(task))
                row = replace(
                    measure(experiment, codec, stream, options, args.seeds), scheme=scheme
                )
                rows = [r for r in rows if r.scheme != scheme] + [row]
                rows.sort(key=lambda r: order.index(r.scheme) if r.scheme in order else len(order))
                write_results(path, rows)
                known = [row]
            show(known[0])


def show(row: Result) -> None:
    store = store_for("soft", channel_of(parse_device(row.device)))
    print(
        f"{row.scheme:20} {row.cells_per_weight * store.bits_per_cell:6.3f} bits/weight "
        f"{row.cells_per_weight:6.3f} cells/weight {100 * row.accuracy_mean:6.2f} %, drop "
        f"{100 * (row.float_accuracy - row.accuracy_mean):5.2f}, {row.sdr_db:5.1f} dB, limit "
        f"{row.limit_cells_per_weight:.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=RUNS, help="what to measure")
    parser.add_argument("--seeds", type=int, default=10, help="chips of a row")
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    args = parser.parse_args()
    if not CODEC.exists():
        raise SystemExit(
            "make the codec's environment: bash benchmarks/peers/make_codec_environment.sh"
        )
    for network in args.only or RUNS:
        run(network, args)


if __name__ == "__main__":
    main()
