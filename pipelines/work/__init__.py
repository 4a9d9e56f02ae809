"""One unit of a job: what happens to the rows of a shard. Importing it loads neither torch nor Beam."""
