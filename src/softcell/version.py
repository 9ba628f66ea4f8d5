"""The version of softcell, which results carry."""

VERSION = "0.1.0"
