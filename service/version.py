"""The version of Steadfast. It stands in the sources because a Bento holds nothing else: nothing is installed there."""

VERSION = "0.1.0"
