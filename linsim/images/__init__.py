"""Encoders of images: loading, views, networks, projectors, training, probes (paper, section 6)."""
