"""softcell optimise: the joint search for as few cells as the task allows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from softcell.cli.experiment import own_evaluate, read_network
from softcell.cli.feedback import InputsOption, ModuleOption
from softcell.cli.options import (
    DEFAULT_DEVICE,
    AgesOption,
    AgeUnknownFlag,
    DeviceOption,
    JsonFlag,
    ModelOption,
    SensitivityOption,
    listed,
)
from softcell.cli.output import (
    note_ageing,
    print_facts,
    print_json,
    print_note,
    print_table,
    require_writable,
)
from softcell.cli.own_network import loaded_module, own_inputs
from softcell.cli.progress import Progress, progress_bars
from softcell.errors import InputError
from softcell.own_code import guarded

if TYPE_CHECKING:
    from softcell.search import Outcome, Search, Subject, Trial

_DEFAULT_DROP = 0.5


def optimise(
    network: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]", help="Weights: a safetensors file. By default those of the task."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PLAN", help="Plan to write, JSON.")
    ] = Path("plan.json"),
    task: Annotated[
        str | None,
        typer.Option("--task", help="Task: digits (needs no data), mnist, cifar10, imagenet."),
    ] = None,
    model: ModelOption = None,
    evaluate: Annotated[
        str | None,
        typer.Option(
            "--evaluate",
            metavar="MODULE:FUNCTION",
            help="For a network of your own: evaluate(state_dict) -> accuracy from 0 to 1.",
        ),
    ] = None,
    module: ModuleOption = None,
    inputs: InputsOption = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="What `softcell calibrate` made of a network of your own; by default it is made "
            "of half the --inputs.",
        ),
    ] = None,
    sensitivity: SensitivityOption = None,
    device: DeviceOption = DEFAULT_DEVICE,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            metavar="POINTS",
            help=f"Accuracy that may be lost, in points; by default {_DEFAULT_DROP:g} if accuracy "
            "is known and nothing else is asked for.",
        ),
    ] = None,
    max_divergence: Annotated[
        float | None,
        typer.Option(
            "--max-divergence",
            metavar="NATS",
            help="Kullback-Leibler divergence of the outputs that may be; needs no labels.",
        ),
    ] = None,
    max_cells: Annotated[
        float | None,
        typer.Option("--max-cells", metavar="N", help="Cells per weight that there are."),
    ] = None,
    decoder: Annotated[
        Literal["any", "table"],
        typer.Option("--decoder", help="any, or table: weights are decoded by look-up alone."),
    ] = "any",
    no_verify: Annotated[
        bool,
        typer.Option("--no-verify", help="Cells are written in one go and not read meanwhile."),
    ] = False,
    verify_reads: Annotated[
        int, typer.Option("--verify-reads", min=1, metavar="N", help="Reads of a verified cell.")
    ] = 1,
    age: AgesOption = "0",
    age_unknown: AgeUnknownFlag = False,
    keep: Annotated[
        str, typer.Option("--keep", metavar="NAME,...", help="Tensors to store as they are.")
    ] = "",
    images: Annotated[
        int | None,
        typer.Option(
            "--images", min=8, help="Images of a task on which stored networks are compared."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Chips on which the plan is confirmed.")
    ] = 3,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Chip of the search; the others count on.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from what the plan file says was tried.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    r"""Find the plan of fewest cells that keeps to a goal.

    Compression and memory are chosen together: which weights become zero, how coarse each row is,
    the code, the number of cells, whether each layer makes up for those before it. The accuracy
    that is lost is estimated without test images and without labels, or asked of your function; the
    plan is then confirmed on other inputs and chips.

    The best plan so far is on disk at any moment; a search that was stopped goes on with --resume.

    Example:
      softcell optimise --task digits --max-drop 0.5 -o plan.json
      softcell optimise --task cifar10 --model resnet56 --max-drop 0.5 -o plan.json
      softcell optimise --task cifar10 --decoder table --device pcm-mushroom --age 10y -o plan.json
      softcell optimise model.safetensors --evaluate my_module:evaluate -o plan.json
      softcell optimise model.safetensors --module my_module:make --inputs inputs.safetensors \
        --max-divergence 0.05 -o plan.json
    """
    from softcell.allocate.plan_file import network_digest
    from softcell.devices import parse_device
    from softcell.durations import parse_ages
    from softcell.search import Goal, Search
    from softcell.search.record import keep_plan, tried

    require_writable(output, network, inputs, calibration, sensitivity)
    own = [each for each in (evaluate, module, inputs, calibration) if each is not None]
    if task is None and not own:
        raise InputError(
            "optimise what? Give --task, or a MODEL with --evaluate or with --module and --inputs"
        )
    if task is not None and own:
        raise InputError("a task brings its own evaluation; leave out --evaluate, --module, ...")
    if max_drop is None and max_divergence is None and max_cells is None:
        if task is None and evaluate is None:
            raise InputError("ask for --max-divergence or --max-cells; accuracy is not known")
        max_drop = _DEFAULT_DROP
    if max_drop is not None and task is None and evaluate is None:
        raise InputError("--max-drop needs --evaluate or --task; ask for --max-divergence")
    if max_divergence is not None and task is None and module is None:
        raise InputError("--max-divergence needs --module and --inputs, or --task")
    goal = Goal(
        None if max_drop is None else max_drop / 100,
        max_divergence,
        max_cells,
        decoder,
        parse_ages(age, told=not age_unknown),
        not no_verify,
    )
    kept = frozenset(listed(keep))
    with progress_bars() as progress:
        chosen = parse_device(device)
        if task is not None:
            name, subject = _of_task(task, model, network, images, kept, progress)
        elif network is None:
            raise InputError("give the MODEL, a safetensors file of its weights")
        else:
            name = ("", "")
            subject = _own(
                network, evaluate, module, inputs, calibration, sensitivity, kept, progress
            )
        if subject.calibration is not None and subject.calibration.unfelt:
            print_note(
                f"nothing comes back to {', '.join(subject.calibration.unfelt)} on these inputs: "
                "stored without feedback, by mean square error"
            )
        with subject.source() as weights:
            digest = network_digest(weights)
        known: list[Trial] = []
        if resume and output.exists():
            known = tried(output, digest=digest, network=subject, device=chosen, goal=goal)
        note_ageing(chosen, goal.ages.last)
        keep_best = partial(keep_plan, output, network=digest, task=name[0], model=name[1])

        def told(trial: Trial, found: Trial | None) -> None:
            print_note(_line(trial, found))
            # What the file knows already stays there until there is more to say.
            if found is not None and trial not in known:
                keep_best(search, found, search.plan_of(found))

        search = Search(
            subject,
            chosen,
            goal,
            known=known,
            seeds=seeds,
            first_seed=seed + 1,
            verify_reads=verify_reads,
            told=told,
            progress=progress,
        )
        outcome = search.run()
        report = _report(search, outcome)
        keep_best(search, outcome.best, outcome.plan, report=report)
    if as_json:
        told_of = {
            "output": str(output),
            "goal": str(goal),
            **report,
            "best": outcome.best.values(),
            "tried": [trial.values() for trial in outcome.trials],
            "groups": [group.values() for group in outcome.groups],
        }
        print_json(told_of)
    else:
        _print(output, search, outcome, report)


def _of_task(
    task: str,
    model: str | None,
    network: Path | None,
    images: int | None,
    keep: frozenset[str],
    progress: Progress,
) -> tuple[tuple[str, str], Subject]:
    from softcell.evaluate.tasks import load_task
    from softcell.search.subjects import task_subject
    from softcell.weights import WeightsReader

    source = None if network is None else partial(WeightsReader, network)
    if source is not None:
        source().close()  # that there is no such file is told before a task is loaded
    loaded = load_task(task, model, progress=progress)
    subject = task_subject(loaded, source=source, images=images, keep=keep, progress=progress)
    return (loaded.name, loaded.model), subject


def _own(
    network: Path,
    evaluate: str | None,
    module: str | None,
    inputs: Path | None,
    calibration: Path | None,
    sensitivity: Path | None,
    keep: frozenset[str],
    progress: Progress,
) -> Subject:
    from softcell.curvature import load_calibration, load_fisher
    from softcell.search import module_outputs
    from softcell.search.subjects import own_subject
    from softcell.weights import WeightsReader

    if (module is None) != (inputs is None):
        raise InputError("a network of your own takes both --module and --inputs")
    made = given = None
    if module is not None and inputs is not None:
        state = read_network(network)
        made = loaded_module(module, state)
        given = own_inputs(inputs, made, None)
        guarded(lambda: module_outputs(made)(state, given[:1]), f"--module {module}")
    return guarded(
        lambda: own_subject(
            partial(WeightsReader, network),
            evaluate=None if evaluate is None else own_evaluate(network, evaluate),
            module=made,
            inputs=given,
            calibration=load_calibration(calibration) if calibration else None,
            sensitivity=load_fisher(sensitivity) if sensitivity else None,
            keep=keep,
            progress=progress,
        ),
        f"--module {module}",
    )


def _line(trial: Trial, best: Trial | None) -> str:
    """Return what is told of a trial while the search goes on."""
    so_far = "none good enough yet"
    if best is not None:
        so_far = f"best so far {best.cells_per_weight:.3f} cells"
    where = " on other inputs and chips" if trial.inputs else ""
    measured = f"{trial.verdict}{where} ({trial.recipe})"
    return f"{trial.cells_per_weight:.3f} cells: {measured}; {so_far}"


def _report(search: Search, outcome: Outcome) -> dict[str, Any]:
    from softcell.image.closed_loop import losses
    from softcell.search.explanation import by_layer

    state, header, written = search.maker.write(outcome.plan, outcome.confirmed.first_seed)
    calibration = search.maker.subject.calibration
    expected = {} if written is None or calibration is None else losses(written, calibration)
    return {
        "confirmed": outcome.confirmed.values(),
        "layers": by_layer(header, state, expected),
        "cells_per_weight": header.cells_per_weight,
        "cells": header.cells,
        "weights": header.weights,
    }


def _print(output: Path, search: Search, outcome: Outcome, report: dict[str, Any]) -> None:
    from softcell.report.plan_table import groups_table, layers_table, trials_table

    best, confirmed = outcome.best, outcome.confirmed
    print_table(trials_table([trial.values() for trial in outcome.trials]))
    if outcome.groups:
        print_table(groups_table([group.values() for group in outcome.groups]))
    print_table(layers_table(report["layers"]))
    facts = [
        ("plan", f"{output}, {output.stat().st_size:,} bytes"),
        ("goal", str(search.goal)),
        ("recipe", str(best.recipe)),
        ("cells per weight", f"{best.cells_per_weight:.3f}"),
        ("measured", str(best.verdict)),
        ("confirmed", f"{confirmed.verdict}{_where_confirmed(search, confirmed)}"),
    ]
    if best.predicted is not None:
        facts.append(("predicted", f"divergence {best.predicted:.4f} on mixed inputs"))
    print_facts(facts)


def _where_confirmed(search: Search, confirmed: Trial) -> str:
    from softcell.search import OwnJudge

    # A function of the user's own has one set of inputs; what is error-free is alike on all chips.
    same_inputs = isinstance(search.maker.subject.judge, OwnJudge)
    parts = [] if same_inputs else ["other inputs"]
    parts += [] if confirmed.recipe.digital else [f"{confirmed.chips} other chips"]
    return f", on {' and '.join(parts)}" if parts else ", by the same function"
