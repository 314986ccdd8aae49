"""Pictures: loading them, their random views, networks and projectors on them, probes, and pretraining."""
