"""Data files of any kind -> Arrow record batches, one after the other, in bounded memory."""

from collapse_guard.readers.amounts import TOKENS_COLUMN, WEIGHT_COLUMN, amounts
from collapse_guard.readers.discovery import SUFFIXES, data_files
from collapse_guard.readers.files import DataFile, Member

__all__ = ["SUFFIXES", "TOKENS_COLUMN", "WEIGHT_COLUMN", "DataFile", "Member", "amounts", "data_files"]
