"""Tables of `linsim diagnose`: one's own embeddings, or two adjacent layers."""

import numpy as np
from jaxtyping import Float

from linsim import spectra
from linsim.spectra import DIMENSIONAL
from linsim.studies.two_layers.modes import ALIGNED_COSINE
from linsim.theory import alignment as theory


def embeddings(z: Float[np.ndarray, "N n"]) -> str:
    """Measures of collapse, and a verdict. Args: embeddings, one row a sample. Returns: table,
    verdict last.
    """
    count, width = z.shape
    possible = min(count - 1, width)
    spectrum = np.asarray(spectra.covariance_spectrum(z))[:possible]
    centred = spectra.singular_values(z - z.mean(axis=0))
    rows = {
        "RankMe (uncentred)": spectra.rankme(z),
        "effective rank (centred singular values)": spectra.effective_rank(centred),
        "participation ratio (covariance)": spectra.participation_ratio(spectrum),
        "stable rank (centred)": spectra.stable_rank(z - z.mean(axis=0)),
        "alpha-ReQ (covariance)": spectra.alpha_req(spectrum),
        "largest / smallest standard deviation": np.sqrt(
            spectrum[0] / max(spectrum[-1], np.finfo(float).tiny)
        ),
        "variance / mean squared norm": spectrum.sum() / np.mean(np.sum(z**2, axis=1)),
    }
    lines = [
        f"{count} samples in {width} dimensions, float64",
        "",
        *(f"{name:42} {float(v):>12.4g}" for name, v in rows.items()),
    ]
    if possible < width:
        lines += [
            "",
            f"{count} samples span at most {possible} dimensions: the other {width - possible} "
            "are not judged",
        ]
    return "\n".join([*lines, "", _verdict(spectrum, float(np.mean(np.sum(z**2, axis=1))))])


def _verdict(spectrum: np.ndarray, square: float) -> str:
    kind = spectra.collapse_kind(spectrum, square)
    collapsed = int(spectra.collapsed_dimensions(spectrum, DIMENSIONAL))
    said = {
        "none": "no collapse",
        "dimensional": f"dimensional collapse, {collapsed} of {len(spectrum)} dimensions",
        "complete": "complete collapse (the rows are one vector to within 1 % of its square)",
    }[kind]
    counted = "a dimension counts as collapsed below 1 % of the largest standard deviation"
    return f"verdict: {said}; {counted}"


def layers(w1: Float[np.ndarray, "h d"], w2: Float[np.ndarray, "n h"]) -> str:
    """Singular values, |A_kk|, its bound and the imbalance of two layers. Args: W1 (h, d), W2 (n,
    h). Returns: table.
    """
    conserved = theory.imbalance(w1, w2)
    diagonal = np.abs(np.diag(spectra.alignment_matrix(w1, w2)))
    bound = np.asarray(theory.alignment_bound(w1, w2, conserved))
    first, second = (np.asarray(spectra.singular_values(w)) for w in (w1, w2))
    lines = [
        f"W1 {w1.shape}, W2 {w2.shape}, float64; |C| = {float(np.linalg.norm(conserved, 2)):.4g}, "
        "C = W1 W1^T - W2^T W2",
        "",
        f"{'mode':>4} {'s1':>10} {'s2':>10} {'|A_kk|':>8} {'bound':>7}",
    ]
    for k in range(len(w1)):
        s1, s2 = (
            f"{values[k]:>10.4g}" if k < len(values) else f"{'-':>10}" for values in (first, second)
        )
        lines.append(f"{k + 1:>4} {s1} {s2} {diagonal[k]:>8.3f} {bound[k]:>7.3f}")
    aligned, promised = int(np.sum(diagonal >= ALIGNED_COSINE)), int(np.sum(bound > 0))
    said = f"{aligned} of {len(w1)} modes aligned (|A_kk| >= {ALIGNED_COSINE:g})"
    said += f"; the bound is above 0 for {promised}"
    return "\n".join([*lines, "", f"verdict: {said}"])
