"""Running an unmodified training script in child processes, and what is learnt from it. Imports no framework here."""
