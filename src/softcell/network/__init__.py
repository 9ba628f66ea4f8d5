"""A network that is to be stored, and the one way to write it by its plan."""

from softcell.network.network import Network, opened
from softcell.network.plan import plan_network
from softcell.network.write import chips, write_network

__all__ = ["Network", "chips", "opened", "plan_network", "write_network"]
