"""Encode and decode tensors with nncodec (ISO/IEC 15938-17); run by codec.py.

    .venv-codec/bin/python benchmarks/peers/run_nncodec.py encode TENSORS STREAM OPTIONS
    .venv-codec/bin/python benchmarks/peers/run_nncodec.py decode STREAM TENSORS OPTIONS

TENSORS is a safetensors file, STREAM the codec's bit stream, and OPTIONS a JSON object, given as
text, of arguments of `nncodec.nnc.compress`, among them `qp`. Two of them differ: `blocks`, which
names the tensors that belong together as `block_id_and_param_type`, is told to the decoder, too,
for it is the architecture and no weights; and `ioq`, the codec's inference-optimised quantisation,
asks for what it needs: it writes tensors to `TENSORS.trial`, prints a line and expects on standard
input how good they are (more is better).

Only the codec itself is imported. Its package also imports training tools of several frameworks
that `compress` and `decompress` of arrays do not use; empty modules stand for them.
"""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

UNUSED = ("tensorflow_model", "pytorch_model", "use_case_init")


def import_codec() -> tuple[Any, Any]:
    """Return the codec's module of compression and its base class of model executers."""
    unused = ModuleType("nncodec.framework")
    for name in UNUSED:
        setattr(unused, name, ModuleType(f"nncodec.framework.{name}"))
    sys.modules[unused.__name__] = unused
    from nncodec.nnc import compression
    from nncodec.nnc_core.nnr_model import ModelExecute

    return compression, ModelExecute


def asking(base: Any, trial: Path, answers: Any, questions: Any) -> Any:
    """Return a model executer that asks the calling program how good tensors are."""

    class Asking(base):  # type: ignore[misc]
        def eval_model(
            self, parameters: dict[str, np.ndarray], verbose: bool = False
        ) -> dict[str, Any]:
            save_file(arrays(parameters), trial)
            print("trial", file=questions, flush=True)
            return {"goodness": float(answers.readline())}

        def has_eval(self) -> bool:
            return True

        def has_test(self) -> bool:
            return False

        def has_tune_ft(self) -> bool:
            return False

        def has_tune_lsa(self) -> bool:
            return False

    return Asking()


def arrays(parameters: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(v, np.float32) for name, v in parameters.items()}


def encode(tensors: Path, stream: Path, options: dict[str, Any]) -> None:
    compression, base = import_codec()
    blocks = options.pop("blocks", None)
    executer = None
    if options.get("ioq"):
        trial = tensors.with_suffix(tensors.suffix + ".trial")
        executer = asking(base, trial, sys.stdin, sys.stdout)
    with redirect_stdout(sys.stderr):
        coded = compression.compress(
            load_file(tensors),
            bitstream_path=None,
            return_bitstream=True,
            block_id_and_param_type=blocks,
            model_executer=executer,
            **options,
        )
    stream.write_bytes(coded)


def decode(stream: Path, tensors: Path, options: dict[str, Any]) -> None:
    compression, _ = import_codec()
    folded = bool(options.get("bnf"))
    decoded = compression.decompress(bytearray(stream.read_bytes()))
    save_file(arrays(unfolded(decoded, options["blocks"]) if folded else decoded), tensors)


def unfolded(decoded: dict[str, np.ndarray], blocks: dict[str, Any]) -> dict[str, np.ndarray]:
    """Give what a folded normalisation became back to it: a scale and a bias of each channel.

    The codec would multiply the scale into the filters, which does the same; so the weights stay
    comparable to those given.
    """
    kinds, members = blocks["parameter_type"], blocks["block_identifier"]
    weight = {block: name for name, block in members.items() if kinds[name] == "weight"}
    tensors = dict(decoded)
    for name, block in members.items():
        scale = decoded.get(f"{weight[block]}_scaling")
        if kinds[name] == "bn.beta":
            tensors[name] = tensors.pop(f"{weight[block]}.bias")
        elif kinds[name] == "bn.gamma":
            tensors[name] = tensors.pop(f"{weight[block]}_scaling")
        elif kinds[name] == "bn.mean":
            tensors[name] = np.zeros_like(scale)
        elif kinds[name] == "bn.var":
            tensors[name] = np.ones_like(scale)
    return tensors


def main() -> None:
    verb, source, target, options = sys.argv[1:]
    run = {"encode": encode, "decode": decode}[verb]
    run(Path(source), Path(target), json.loads(options))


if __name__ == "__main__":
    main()
