"""What a search keeps in its plan file: how to write the network by it, and how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from softcell.allocate.plan import Plan
from softcell.allocate.plan_file import PlanFile, load_plan, save_plan
from softcell.devices import Device
from softcell.errors import FormatError, InputError
from softcell.search.goal import Goal
from softcell.search.network import Network
from softcell.search.optimise import Search
from softcell.search.recipe import Recipe
from softcell.search.trial import Trial


@dataclass(frozen=True)
class PlanSettings:
    """How a planned network is written.

    Args:
        recipe: The recipe.
        loop: Whether it goes through the feedback loop.
        task: Name of the task that the plan was made for; "" for a network of the user's own.
        model: Name of the task's network; or "".
        goal: What was asked for, in words.
        keep: Names of tensors that are stored as they are.
    """

    recipe: Recipe
    loop: bool
    task: str = ""
    model: str = ""
    goal: str = ""
    keep: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return {
            "recipe": self.recipe.values(),
            "loop": self.loop,
            "task": self.task,
            "model": self.model,
            "goal": self.goal,
            "keep": list(self.keep),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> PlanSettings:
        """Return the settings of plain values.

        Raises:
            FormatError: They are those of no plan of a search.
        """
        try:
            given = dict(values)
            keep = tuple(given.pop("keep", ()))
            settings = cls(recipe=Recipe.of(given.pop("recipe")), keep=keep, **given)
        except (TypeError, KeyError, AttributeError) as error:
            raise FormatError(f"the plan's settings are not as expected ({error})") from None
        texts = settings.task, settings.model, settings.goal, *settings.keep
        if not isinstance(settings.loop, bool) or not all(isinstance(t, str) for t in texts):
            raise FormatError("the plan's settings are of other types than expected")
        return settings


def keep_plan(
    path: Path | str,
    search: Search,
    trial: Trial,
    plan: Plan,
    *,
    network: str,
    task: str = "",
    model: str = "",
    report: Mapping[str, Any] | None = None,
) -> None:
    """Write the best plan so far, and all that was tried.

    Args:
        path: Plan file.
        search: The search.
        trial: The plan's trial.
        plan: The plan.
        network: Digest of the network.
        task: Name of the task, for the record.
        model: Name of its network.
        report: More to tell of the plan: a table by layer, how it was confirmed.
    """
    loop = search.workshop.loops(trial.recipe)
    keep = tuple(sorted(search.workshop.subject.keep))
    settings = PlanSettings(trial.recipe, loop, task, model, str(search.goal), keep)
    told = {
        "asked": _asked(search.workshop.subject, search.goal),
        "best": trial.values(),
        "tried": [each.values() for each in search.trials],
        "groups": [each.values() for each in search.groups],
        **(report or {}),
    }
    save_plan(path, PlanFile(plan, network, settings.values(), told))


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
    file = load_plan(path)
    asked, found = file.report.get("asked"), file.report.get("tried")
    if not isinstance(found, list):
        raise FormatError(f"{path} does not say what was tried; leave out --resume")
    other = None
    if file.network != digest:
        other = "another network"
    elif file.plan.device != device:
        other = f"the device {file.plan.device.name}"
    elif asked != _asked(network, goal):
        other = "another goal, other ages or other tensors to keep"
    if other is not None:
        raise InputError(
            f"{path} is of a search for {other}; leave out --resume, or name another file"
        )
    return [Trial.of(each) for each in found]


def _asked(network: Network, goal: Goal) -> dict[str, Any]:
    """Return what trials are alike in, as plain values."""
    return asdict(goal) | {"keep": sorted(network.keep)}
