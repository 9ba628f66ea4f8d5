"""Every parser, how inputs for it are damaged, and how what it gives is used."""

from __future__ import annotations

import functools
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from fuzz import command_targets, image_targets, program_targets, samples
from fuzz.builders import safetensors, safetensors_parts, tensors_file
from fuzz.harness import Target
from fuzz.mutations import damaged_bytes, damaged_json, damaged_text
from softcell.allocate.plan_file import load_plan, save_plan
from softcell.channel import channel_of
from softcell.curvature import load_calibration, load_fisher
from softcell.devices import device_toml, fit_measurements, load_device, parse_device
from softcell.devices.simulated import SimulatedCells
from softcell.durations import format_age, parse_ages
from softcell.evaluate.results import read_results, write_results
from softcell.image.cell_image import CellImage
from softcell.image.readings import MeasuredReadings
from softcell.search.record import PlanSettings, task_of, tried
from softcell.training.checkpoint import read_checkpoint
from softcell.training.trained_network import TrainedNetwork
from softcell.weights import WeightsReader
from softcell.weights.tensor_file import read_tensors


def _pick(generator: Generator, choices: Sequence[Any]) -> Any:
    return choices[int(generator.integers(0, len(choices)))]


def _json(generator: Generator, folder: Path, source: Path) -> Path:
    """Damage a JSON file: its values, its text or its bytes."""
    data, out = source.read_bytes(), folder / "input.json"
    match int(generator.integers(0, 8)):
        case 0:
            out.write_bytes(damaged_bytes(data, generator))
        case 1:
            out.write_bytes(damaged_text(data.decode(), generator).encode(errors="surrogatepass"))
        case _:
            out.write_text(damaged_json(json.loads(data), generator), errors="surrogatepass")
    return out


def _tensors(generator: Generator, folder: Path, source: Path) -> Path:
    """Damage a safetensors file: its header, its bytes, or what its own texts say."""
    table, data = safetensors_parts(source)
    out = folder / "input.safetensors"
    match int(generator.integers(0, 6)):
        case 0:
            made = damaged_bytes(source.read_bytes(), generator)
        case 1:
            made = safetensors(damaged_json(table, generator), data)
        case 2:  # values with a checksum that is right
            tensors, texts = read_tensors(source)
            name = _pick(generator, list(tensors))
            array = tensors[name]
            changed = damaged_bytes(array.tobytes(), generator)[: array.nbytes]
            changed += bytes(array.nbytes - len(changed))
            tensors[name] = np.frombuffer(changed, array.dtype).reshape(array.shape)
            made = tensors_file(tensors, texts)
        case 3:  # another set of tensors, or other types and shapes, with the right checksum
            tensors, texts = read_tensors(source)
            name = _pick(generator, list(tensors))
            match int(generator.integers(0, 5)):
                case 0:
                    del tensors[name]
                case 1:
                    other = _pick(generator, list(tensors))
                    tensors[name] = tensors[other]
                case 2:
                    kind = _pick(generator, ["f2", "f8", "i1", "i8", "u1", "?"])
                    tensors[name] = tensors[name].astype(kind)
                case 3:
                    tensors[name] = tensors[name].reshape(-1)[: int(generator.integers(0, 9))]
                case _:
                    tensors[name + _pick(generator, ["", "x", ".y", "/z"])] = tensors.pop(name)
            made = tensors_file(tensors, texts)
        case _:  # texts, without the checksum
            texts = dict(table.pop("__metadata__", {}))
            texts.pop("softcell.sha256", None)
            if texts:
                name = _pick(generator, list(texts))
                with_json = texts[name][:1] in "{[0123456789"
                values = json.loads(texts[name]) if with_json and texts[name] else texts[name]
                texts[name] = (
                    damaged_json(values, generator)
                    if with_json
                    else damaged_text(texts[name], generator)
                )
            made = safetensors(json.dumps({"__metadata__": texts, **table}), data)
    out.write_bytes(made)
    return out


def _plan(generator: Generator, folder: Path) -> Path:
    return _json(generator, folder, samples.plan_file(_pick(generator, list(samples.SCHEMES))))


def _use_plan(path: Path) -> None:
    plan = load_plan(path)
    task_of(plan)
    save_plan(path.with_suffix(".again"), plan)
    assert load_plan(path.with_suffix(".again")).tensors is not None


def _use_record(path: Path) -> None:
    plan = load_plan(path)
    PlanSettings.of(plan)
    network = samples.searched()
    tried(path, digest=plan.network, network=network, device=plan.device, goal=samples.GOAL)


def _use_weights(path: Path) -> None:
    with WeightsReader(path) as reader:
        for name in reader.names:
            assert reader.raw(name).size == reader.info(name).nbytes
            assert reader.read(name).shape == reader.info(name).shape


def _use_fisher(path: Path) -> None:
    for values in load_fisher(path).values():
        assert values.dtype == np.float32
        assert (values >= 0).all()


def _use_checkpoint(path: Path) -> None:
    module, optimiser = samples.trainer()
    step, _ = read_checkpoint(path, module, optimiser, {"training": "x", "seed": "1"})
    assert step >= 0
    optimiser.zero_grad()
    optimiser.step()


def _trained(generator: Generator, folder: Path) -> Path:
    source = samples.trained()
    made = _tensors(generator, folder, source)
    beside = source.with_suffix(".json")
    if generator.integers(0, 2):
        made.write_bytes(source.read_bytes())
        return _json(generator, folder, beside).with_suffix(".safetensors")
    made.with_suffix(".json").write_bytes(beside.read_bytes())
    return made


def _text(texts: Callable[[], Sequence[str]]) -> Callable[[Generator, Path], Path]:
    def make(generator: Generator, folder: Path) -> Path:
        text = damaged_text(_pick(generator, texts()), generator)
        (folder / "input.txt").write_bytes(text.encode(errors="surrogatepass"))
        return folder / "input.txt"

    return make


def _use_device(path: Path) -> None:
    _simulate(parse_device(path.read_bytes().decode(errors="surrogatepass")))


def _simulate(device: Any) -> None:
    channel_of(device, 0.0)
    chip = SimulatedCells(device, 1)
    cells = device.age(chip.write("store", np.arange(8, dtype=np.uint8)), 60.0)
    assert chip.read("store", cells).shape == (8,)
    assert device.name


def _device_file(generator: Generator, folder: Path) -> Path:
    text = device_toml(parse_device(_pick(generator, ["pcm-partial-reset", "rram-reset"])))
    out, damaged = folder / "input.toml", damaged_text(text, generator)
    if generator.integers(0, 10) == 0:
        damaged += f"\nx = {'[' * 3000}{']' * 3000}\n"
    out.write_bytes(damaged.encode(errors="surrogatepass"))
    return out


def _use_age(path: Path) -> None:
    ages = parse_ages(path.read_bytes().decode(errors="surrogatepass"))
    assert ages.first <= ages.last
    assert format_age(ages.last)


def _measurements(generator: Generator, folder: Path) -> Path:
    data = damaged_text(samples.MEASUREMENTS, generator).encode(errors="surrogatepass")
    zipped = generator.integers(0, 6) == 0
    if generator.integers(0, 8) == 0:
        data = damaged_bytes(data, generator)
    if zipped:
        data = gzip.compress(data, 1, mtime=0)
        if generator.integers(0, 2):
            data = damaged_bytes(data, generator)
    out = folder / ("input.csv.gz" if zipped else "input.csv")
    out.write_bytes(data)
    return out


def _use_measurements(path: Path) -> None:
    device = fit_measurements(path)
    made = path.with_name("made.toml")
    made.write_text(device_toml(device))
    _simulate(load_device(made))


@functools.cache
def _exported() -> tuple[bytes, str]:
    with CellImage(samples.image("packed")) as image:
        values = np.full(image.header.cells, 1e5)
        lines = [f"{r.label},{c},1e5" for r in image.regions() for c in range(r.cells)]
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue(), "\n".join(["region,cell,reading", *lines, ""])


def _readings(generator: Generator, folder: Path) -> Path:
    array, table = _exported()
    if generator.integers(0, 2):
        head = int(generator.integers(0, 2)) * len(array) or 128
        (folder / "input.npy").write_bytes(damaged_bytes(array[:head], generator) + array[head:])
        return folder / "input.npy"
    head = _pick(generator, [60, len(table)])
    text = damaged_text(table[:head], generator) + table[head:]
    (folder / "input.csv").write_bytes(text.encode(errors="surrogatepass"))
    return folder / "input.csv"


def _use_readings(path: Path) -> None:
    with CellImage(samples.image("packed")) as image:
        readings = MeasuredReadings(image, path)
        for region in image.regions():
            assert readings.read(region, 0, region.cells).shape == (region.cells,)


def _use_results(path: Path) -> None:
    found = read_results(path)
    write_results(path.with_suffix(".again"), found)
    assert [each.key for each in read_results(path.with_suffix(".again"))] == [
        each.key for each in found
    ]


def _of(damage: Callable[..., Path], sample: Callable[[], Path]) -> Callable[..., Path]:
    return lambda generator, folder: damage(generator, folder, sample())


def void(_: object) -> None:
    """Do nothing with what was parsed."""


_PARSERS: dict[str, Target] = {
    each.name: each
    for each in (
        *image_targets.TARGETS,
        *program_targets.TARGETS,
        Target("plan", _plan, _use_plan),
        Target("record", _of(_json, lambda: samples.plan_file("combined")), _use_record),
        Target("weights", _of(_tensors, samples.weights), _use_weights),
        Target("fisher", _of(_tensors, samples.fisher), _use_fisher),
        Target(
            "calibration",
            _of(_tensors, samples.calibration),
            lambda path: void(load_calibration(path)),
        ),
        Target("checkpoint", _of(_tensors, samples.checkpoint), _use_checkpoint),
        Target("trained", _trained, lambda path: void(TrainedNetwork.load(path).digest)),
        Target("results", _of(_json, samples.results), _use_results),
        Target("device", _text(lambda: samples.SPECIFICATIONS), _use_device),
        Target("device-file", _device_file, lambda path: _simulate(load_device(path))),
        Target("measurements", _measurements, _use_measurements),
        Target("readings", _readings, _use_readings),
        Target("age", _text(samples.ages), _use_age),
    )
}

TARGETS = _PARSERS | {each.name: each for each in command_targets.targets(_PARSERS)}
