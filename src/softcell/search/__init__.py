"""The joint search: as few cells as the task allows."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.search.goal import Goal
    from softcell.search.judge import Judge, OutputJudge, OwnJudge, Verdict, module_outputs
    from softcell.search.optimise import Outcome, Search
    from softcell.search.recipe import Recipe
    from softcell.search.subject import Subject
    from softcell.search.trial import Trial
    from softcell.search.trial_maker import TrialMaker
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = [
    "Goal",
    "Judge",
    "Outcome",
    "OutputJudge",
    "OwnJudge",
    "Recipe",
    "Search",
    "Subject",
    "Trial",
    "TrialMaker",
    "Verdict",
    "module_outputs",
]
