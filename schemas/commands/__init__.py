"""What every command promises, of the pipelines and of the trainings: how it ends, how it stops, what it prints."""
