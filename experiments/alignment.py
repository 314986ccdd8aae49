"""Weight alignment of two linear layers: does V2^T U1 become the identity? (paper, section 5.2, Figure 5)."""

from linsim.config import configure_jax, parse, stop
from linsim.presets import TWO_LAYERS

NAME = "alignment"


def main(argv: list[str] | None = None) -> None:
    """Command line: train, judge every mode, save the data and the figure, print the table and the verdict."""
    config = parse(TWO_LAYERS, argv, NAME)
    configure_jax(x64=config.x64)
    from linsim import modes, plots, report, results, train

    dataset = train.two_layers(config)
    data_path = results.save(dataset, config.out / f"{NAME}.nc")
    if (message := report.divergence(dataset)) is not None:
        stop(f"{message}; what was recorded is in {data_path}", 1)
    dataset = modes.add(dataset, config.group_gap)
    results.save(dataset, data_path)
    figure_path = plots.save(plots.alignment(dataset), config.out / f"{NAME}.{config.format}")
    print(f"saved {data_path} and {figure_path}\n")
    print(report.alignment(dataset))


if __name__ == "__main__":
    main()
