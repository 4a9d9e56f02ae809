"""One unit of a job, and what decides its bytes."""
