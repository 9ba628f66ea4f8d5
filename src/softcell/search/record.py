"""What a search keeps in its plan file: what it was asked for, and how the plan was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from softcell.allocate import Plan
from softcell.allocate.plan_file import load_plan, save_plan
from softcell.devices import Device
from softcell.errors import FormatError, InputError
from softcell.network import Network
from softcell.records import record_of, values_of
from softcell.search.goal import Goal
from softcell.search.optimise import Search
from softcell.search.recipe import Recipe
from softcell.search.trial import Trial


@dataclass(frozen=True)
class PlanSettings:
    """What a plan was made for.

    Args:
        recipe: The recipe; None if it was made by none.
        task: Name of the task that the plan was made for; "" for a network of the user's own.
        model: Name of the task's network; or "".
        goal: What was asked for, in words.
    """

    recipe: Recipe | None = None
    task: str = ""
    model: str = ""
    goal: str = ""

    @classmethod
    def of(cls, plan: Plan) -> PlanSettings:
        """Return the settings of a plan.

        Raises:
            FormatError: It has none of a search or a training.
        """
        settings = _settings(plan)
        if settings.recipe is None:
            raise FormatError("the plan's settings say no recipe; it is none of a search")
        return settings


def task_of(plan: Plan) -> tuple[str, str]:
    """Return the names of the task and the model that a plan was made for; "" for others.

    Raises:
        FormatError: They are no names.
    """
    settings = _settings(plan)
    return settings.task, settings.model


def _settings(plan: Plan) -> PlanSettings:
    # Those of the first schema say more, and a recipe may be of another version.
    return record_of(PlanSettings, dict(plan.settings), "settings", optional=True, rest=True)


def plan_of_search(
    search: Search,
    trial: Trial,
    plan: Plan,
    *,
    network: str,
    task: str = "",
    model: str = "",
    report: Mapping[str, Any] | None = None,
) -> Plan:
    """Return a plan with what was asked for and all that was tried.

    Args:
        search: The search.
        trial: The plan's trial.
        plan: The plan.
        network: Digest of the network.
        task: Name of the task, for the record.
        model: Name of its network.
        report: More to tell of the plan: a table by layer, how it was confirmed.
    """
    settings = PlanSettings(trial.recipe, task, model, str(search.goal))
    told = {
        "asked": _asked(search.maker.subject, search.goal),
        "best": trial.values(),
        "tried": [each.values() for each in search.trials],
        "groups": [each.values() for each in search.groups],
        **(report or {}),
    }
    return replace(plan, network=network, settings=values_of(settings), report=told)


def keep_plan(path: Path | str, search: Search, trial: Trial, plan: Plan, **about: Any) -> None:
    """Write the best plan so far, and all that was tried; further arguments of `plan_of_search`."""
    save_plan(path, plan_of_search(search, trial, plan, **about))


def tried(
    path: Path | str, *, digest: str, network: Network, device: Device, goal: Goal
) -> list[Trial]:
    """Return what an earlier search for the same has tried.

    Args:
        path: Plan file that it left.
        digest: Digest of the network.
        network: The network.
        device: The device.
        goal: What plans have to keep to.

    Raises:
        InputError: The search was for another network, device or goal.
        FormatError: The file is no plan of a search.
    """
    plan = load_plan(path)
    asked, found = plan.report.get("asked"), plan.report.get("tried")
    if not isinstance(found, list):
        raise FormatError(f"{path} does not say what was tried; leave out --resume")
    other = None
    if plan.network != digest:
        other = "another network"
    elif plan.device != device:
        other = f"the device {plan.device.name}"
    elif asked != _asked(network, goal):
        other = "another goal, other ages or other tensors to keep"
    if other is not None:
        raise InputError(
            f"{path} is of a search for {other}; leave out --resume, or name another file"
        )
    return [Trial.of(each, f"report.tried[{i}]") for i, each in enumerate(found)]


def _asked(network: Network, goal: Goal) -> dict[str, Any]:
    """Return what trials are alike in, as plain values."""
    return values_of(goal) | {"keep": sorted(network.keep)}
