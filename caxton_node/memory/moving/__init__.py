"""Moving a memory from one backend to another: copied, kept alike, compared, taken back."""
