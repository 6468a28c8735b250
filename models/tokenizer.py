"""Tokenizers as readers use them, made once for each file that is read, however many models share it."""

import threading
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

from tokenizers import Tokenizer


def without_padding(tokenizer: Tokenizer) -> Tokenizer:
    """Copy a tokenizer without padding and truncation; many published files pad every text to a fixed length."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


@dataclass(frozen=True)
class ReadingTokenizer:
    """A tokenizer in two forms. Readers and threads may share it, because neither form is changed once it is made."""

    whole: Tokenizer
    """The tokenizer without its own padding and truncation."""
    bare: Tokenizer
    """The same without its processor."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        """Both forms as copies of `tokenizer`."""
        whole = without_padding(tokenizer)
        # A text that spells out "[SEP]" is text, not an instruction to the model.
        whole.encode_special_tokens = True
        # Special tokens go around windows, not around texts, and a processor that moves offsets must run only once. So
        # texts are tokenized without the processor, which runs on each window.
        bare = Tokenizer.from_str(whole.to_str())
        bare.encode_special_tokens = True
        bare.post_processor = None
        return cls(whole, bare)


_SHARED: WeakValueDictionary[bytes, ReadingTokenizer] = WeakValueDictionary()
"""By the sha256 of its file, every tokenizer that a reader holds. A BERT's takes 5 MB and a twentieth of a second."""
_MAKING = threading.Lock()


def open_tokenizer(path: Path) -> ReadingTokenizer:
    """Read a `tokenizer.json`, unless a reader holds what an equal file says."""
    content = path.read_bytes()
    digest = sha256(content).digest()
    with _MAKING:
        found = _SHARED.get(digest)
        if found is None:
            found = _SHARED[digest] = ReadingTokenizer.of(Tokenizer.from_buffer(content))
        return found
