"""The law of a cell: transition probabilities, capacity, constellations, posteriors."""

from softcell.channel.capacity import Capacity, capacity, mutual_information
from softcell.channel.channel import (
    READINGS,
    Channel,
    channel_of,
    log_likelihood_ratios,
    posterior_mean,
)
from softcell.channel.constellation import Constellation, constellation, decisions

__all__ = [
    "READINGS",
    "Capacity",
    "Channel",
    "Constellation",
    "capacity",
    "channel_of",
    "constellation",
    "decisions",
    "log_likelihood_ratios",
    "mutual_information",
    "posterior_mean",
]
