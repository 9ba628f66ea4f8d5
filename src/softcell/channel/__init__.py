"""The law of a cell: transition probabilities, capacity, constellations, posteriors."""

from softcell.channel.aged import SPAN_AGES, AgedChannel, Law, law_of
from softcell.channel.capacity import Capacity, capacity, mutual_information
from softcell.channel.channel import (
    MISSING,
    READINGS,
    Channel,
    channel_of,
    log_likelihood_ratios,
    posterior_mean,
    with_missing,
)
from softcell.channel.constellation import Constellation, constellation, decisions
from softcell.channel.gray import gray_index, gray_label
from softcell.channel.interval import capacity_interval

__all__ = [
    "MISSING",
    "READINGS",
    "SPAN_AGES",
    "AgedChannel",
    "Capacity",
    "Channel",
    "Constellation",
    "Law",
    "capacity",
    "capacity_interval",
    "channel_of",
    "constellation",
    "decisions",
    "gray_index",
    "gray_label",
    "law_of",
    "log_likelihood_ratios",
    "mutual_information",
    "posterior_mean",
    "with_missing",
]
