"""The version of Steadfast, as `pyproject.toml` has it. A Bento holds the sources alone: nothing is installed there."""

VERSION = "0.1.0"
