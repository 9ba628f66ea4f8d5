"""A network that is to be stored, and the one way to write it by its plan."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.network.checked_write import checked, write_checked
    from softcell.network.loop_check import LoopCheck
    from softcell.network.network import Network, opened
    from softcell.network.plan import plan_network
    from softcell.network.write import chips, write_network, write_network_and_chip
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = [
    "LoopCheck",
    "Network",
    "checked",
    "chips",
    "opened",
    "plan_network",
    "write_checked",
    "write_network",
    "write_network_and_chip",
]
