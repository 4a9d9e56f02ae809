"""The transformer over text tokens and image codes: network, options, and its training in progress."""
