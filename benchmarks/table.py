"""The docs' table of performance, from a measurement."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- performance -->", "<!-- /performance -->"
OTHERS = ("NumPy", "eager PyTorch", "torch.func")
TITLES = {
    "R1": "{runs} runs × {steps} steps, fixed batch of {count}",
    "R2": "the same, a fresh batch in every step",
    "R3": "as the first, two layers",
    "R4": "one gradient of {medium:,} samples",
    "R6": "gradient flow of {flow_runs} runs to t = {flow_time:g}, float64, tolerance "
    "{tolerance:g}",
}


def render(measured: Mapping[str, Any]) -> str:
    """Markdown: a table, and below it floor, large batch, command, and where and when."""
    sizes, found = measured["sizes"], measured["workloads"]
    lines = [
        "| workload | linsim | " + " | ".join(OTHERS) + " |",
        "|---|---|" + "---|" * len(OTHERS),
    ]
    for name, title in TITLES.items():
        if name in found:
            seconds = found[name]["seconds"]
            cells = [_time(seconds["linsim"]), *(_ratio(seconds, other) for other in OTHERS)]
            lines.append("| " + " | ".join([f"{name}: {title.format(**sizes)}", *cells]) + " |")
    notes = [note(found[name], sizes) for name, note in _NOTES.items() if name in found]
    if {"R1", "R2", "R3"} <= found.keys():
        base = found["R1"]["seconds"]["linsim"]["median"]
        notes.append(
            "; ".join(
                f"{name} takes {found[name]['seconds']['linsim']['median'] / base:.2f} × R1"
                for name in ("R2", "R3")
            )
        )
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    runs = f"medians of {measured['repetitions']} (range), d = 16, float32"
    source = f"{measured['machine']}; {versions}; {measured['date']}; {runs}"
    return "\n".join([*lines, "", "\n".join(f"- {note}." for note in [*notes, source])])


def update(readme: Path, measured: Mapping[str, Any]) -> None:
    """Put the table between its marks."""
    before, _, rest = readme.read_text().partition(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n{render(measured)}\n{END}{rest.partition(END)[2]}")


def _time(seconds: Mapping[str, float]) -> str:
    unit, scale = ("s", 1.0) if seconds["median"] >= 1 else ("ms", 1e3)
    return "{median:.3g} ({min:.3g}–{max:.3g}) {unit}".format(
        **{k: v * scale for k, v in seconds.items()}, unit=unit
    )


def _ratio(seconds: Mapping[str, Mapping[str, float]], other: str) -> str:
    return (
        f"× {seconds[other]['median'] / seconds['linsim']['median']:.3g}"
        if other in seconds
        else "–"
    )


def _floor(found: Mapping[str, Any], sizes: Mapping[str, Any]) -> str:
    floor = found["floor"]
    parts = ", ".join(
        f"{name} {1e6 * part['seconds']:.1f} µs ({part['way']})"
        for name, part in floor["parts"].items()
    )
    each = 1e6 / (sizes["runs"] * sizes["steps"])
    linsim = found["seconds"]["linsim"]["median"]
    return (
        f"R1's floor is {each * floor['seconds']:.1f} µs per run and step: {parts}; linsim takes "
        f"{each * linsim:.1f} µs, "
        f"{linsim / floor['seconds']:.2f} × the floor"
    )


def _large(found: Mapping[str, Any], sizes: Mapping[str, Any]) -> str:
    per_pair = found["large"]["median"] / sizes["large"] ** 2
    medium = found["seconds"]["linsim"]["median"] / sizes["medium"] ** 2
    size, matrix = found["peak_bytes"] / 2**30, 4 * sizes["large"] ** 2 / 2**30
    return (
        f"One gradient of {sizes['large']:,} samples takes linsim {_time(found['large'])}, "
        f"{per_pair / medium:.2f} × as long per "
        f"pair as of {sizes['medium']:,}, in a process of {size:.2f} GiB; one N × N matrix alone "
        f"has {matrix:.0f} GiB"
    )


def _command(found: Mapping[str, Any], sizes: Mapping[str, Any]) -> str:
    times = ", ".join(f"{name} {_time(seconds)}" for name, seconds in found["seconds"].items())
    runs = f"{sizes['command_runs']} runs of {sizes['command_steps']:,} steps, theory and figure"
    return f"R5, `experiments/strong_aug.py --noise 2.0` ({runs}), on both cores: {times}"


_NOTES = {"R1": _floor, "R4": _large, "R5": _command}
