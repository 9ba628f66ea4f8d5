"""The analog code: values to levels of averaged cells, decoded by table."""

from softcell.codes.analog.coarse_code import (
    CoarseCode,
    decode_coarse_side,
    decode_fine,
    decode_parts,
    decoding_tables,
    encode_coarse_side,
    encode_parts,
    stored_deviation,
)
from softcell.codes.analog.joint_code import (
    JointCode,
    decode_joint,
    decode_joint_side,
    encode_joint,
    encode_joint_side,
    joint_tables,
)
from softcell.codes.analog.packed_code import (
    PackedCode,
    PackedCodec,
    decode_packed_side,
    encode_packed_side,
)
from softcell.codes.analog.position_map import PositionMap, inverted_map, moments
from softcell.codes.analog.side_information import (
    SideInformation,
    decode_side,
    encode_side,
    side_bits,
    stored_range,
)
from softcell.codes.analog.stored_maps import Maps
from softcell.codes.analog.tensor_code import (
    AnalogCode,
    Tables,
    decode_rows,
    encode_rows,
    tables_of,
)
from softcell.codes.analog.value_range import Histogram, ValueRange, choose_range, map_of

__all__ = [
    "AnalogCode",
    "CoarseCode",
    "Histogram",
    "JointCode",
    "Maps",
    "PackedCode",
    "PackedCodec",
    "PositionMap",
    "SideInformation",
    "Tables",
    "ValueRange",
    "choose_range",
    "decode_coarse_side",
    "decode_fine",
    "decode_joint",
    "decode_joint_side",
    "decode_packed_side",
    "decode_parts",
    "decode_rows",
    "decode_side",
    "decoding_tables",
    "encode_coarse_side",
    "encode_joint",
    "encode_joint_side",
    "encode_packed_side",
    "encode_parts",
    "encode_rows",
    "encode_side",
    "inverted_map",
    "joint_tables",
    "map_of",
    "moments",
    "side_bits",
    "stored_deviation",
    "stored_range",
    "tables_of",
]
