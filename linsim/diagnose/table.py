"""Tables of `linsim diagnose`: embeddings, several of them, or two adjacent layers."""

from collections.abc import Sequence

import numpy as np

from linsim.diagnose.layers import LayersReport
from linsim.diagnose.measures import LABELS
from linsim.diagnose.report import ClassReport, Report
from linsim.diagnose.verdict import COUNTED
from linsim.studies.two_layers.modes import ALIGNED_COSINE

PRINTED = 30  # classes
BRIEF = ("rankme", "effective_rank", "participation_ratio", "variance_share", "mean_cosine")


def embeddings(report: Report) -> str:
    """Measures beside what as many isotropic samples would show, and a verdict. Returns: table,
    verdict last.
    """
    lines = [
        *report.taken,
        f"{report.count} samples in {report.width} dimensions, {report.dtype}, computed in float64",
        "",
        f"{'':42} {'here':>12} {'isotropic':>12}",
        *(
            f"{label.text:42} {_number(report.values[name], label.digits):>12} "
            f"{_number(report.isotropic[name], label.digits):>12}"
            for name, label in LABELS.items()
            if name in report.values and not _is_absent(report, name)
        ),
    ]
    if report.fit is not None:
        lines += ["", _fit(report)]
    if report.classes:
        lines += ["", *_classes(report.classes)]
    return "\n".join([*lines, "", *report.verdict.reasons, _verdict(report)])


def series(reports: Sequence[Report]) -> str:
    """Several embeddings, one to a line, each with its verdict. Returns: table."""
    width = max(4, *(len(report.name) for report in reports))
    heads = ("samples", "dims", "RankMe", "eff. rank", "particip.", "variance", "cosine")
    lines = [f"{'file':{width}} " + " ".join(f"{head:>9}" for head in heads) + "  verdict"]
    for report in reports:
        numbers = [_number(report.values[name], ".4g") for name in BRIEF]
        cells = [str(report.count), str(report.width), *numbers]
        row = " ".join(f"{cell:>9}" for cell in cells)
        lines.append(f"{report.name:{width}} {row}  {report.verdict}")
    return "\n".join([*lines, "", f"RankMe uncentred, eff. rank centred; {COUNTED}"])


def layers(report: LayersReport) -> str:
    """Singular values, cosines, their bound and the imbalance of two layers. Returns: table."""
    lines = [
        f"W1 {report.shapes[0]}, W2 {report.shapes[1]}, float64; |C| = {report.imbalance:.4g}, "
        "C = W1 W1^T - W2^T W2",
        "",
        f"{'modes':>9} {'s1':>21} {'s2':>21} {'cosine':>8} {'bound':>7}",
    ]
    for group in report.groups:
        modes = f"{group.first + 1}" + (f"-{group.last + 1}" if group.modes > 1 else "")
        values = [
            f"{each[group.first]:.4g}" + (f" to {each[group.last]:.4g}" if group.modes > 1 else "")
            for each in (report.first, report.second)
        ]
        lines.append(
            f"{modes:>9} {values[0]:>21} {values[1]:>21} {_number(group.cosine, '.3f'):>8} "
            f"{group.bound:>7.3f}"
        )
    lines += [
        "",
        "cosine: |A_kk|, A = V2^T U1; of modes that lie together, of the largest angle between "
        "their spans",
        f"aligned: cosine of {ALIGNED_COSINE:g} or more",
        f"verdict: {report.verdict}",
    ]
    return "\n".join(lines)


def _number(value: float, digits: str) -> str:
    return "-" if np.isnan(value) else format(value, digits)


def _is_absent(report: Report, name: str) -> bool:
    """Whether a measure was not asked for."""
    return name in ("alignment", "lidar", "uniformity") and bool(np.isnan(report.values[name]))


def _fit(report: Report) -> str:
    fit = report.fit
    assert fit is not None
    quality = _number(float(fit.r_squared), ".3f")
    said = f"alpha-ReQ: power law over ranks 1 to {int(fit.last)}, R² = {quality}"
    return said + ("" if float(fit.r_squared) >= 0.9 else " (not a power law)")


def _classes(classes: Sequence[ClassReport]) -> list[str]:
    worst = sorted(classes, key=lambda each: (not each.verdict.collapse, each.effective_rank))
    lines = [f"{'class':20} {'samples':>8} {'eff. rank':>10}  verdict"]
    lines += [
        f"{each.label[:20]:20} {each.count:>8} {_number(each.effective_rank, '.4g'):>10}  "
        f"{each.verdict}"
        for each in worst[:PRINTED]
    ]
    left = len(worst) - PRINTED
    alone = sum(each.verdict.collapse for each in classes)
    lines += [f"and {left} more"] if left > 0 else []
    return [*lines, f"{alone} of {len(classes)} classes have collapsed on their own"]


def _verdict(report: Report) -> str:
    return f"verdict: {report.verdict}; {COUNTED}"
