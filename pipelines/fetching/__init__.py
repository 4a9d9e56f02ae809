"""HTTP for strangers' links: which addresses may be spoken to, how long, how much, and what a failure is called."""
