"""Privacy: personal values become tokens, their ciphertext goes to one vault, people see masks.

``keys`` holds the master key, ``tokens`` makes tokens, ``normalise`` says when two spellings are one value,
``vault`` makes the entries that can be opened again, ``free_text`` finds numbers inside sentences,
``payloads`` seals the bytes kept for rejects and review, ``masking`` is what people see, ``roles`` says who sees it,
``audit_chain`` shows that nobody changed what was written down of it, ``erasure`` says which rows are a person's.
"""
