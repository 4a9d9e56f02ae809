"""What `pipelines.audit` checks."""
