"""Commands strung together by a file: what it says, what each says of itself before it begins, and their turn."""
