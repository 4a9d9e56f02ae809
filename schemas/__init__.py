"""What writer and reader agree on: tables, shards, manifests."""
