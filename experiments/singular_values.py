"""Implicit regularisation: the singular values of two linear layers in time (paper, section 5.3, Figure 6)."""

from linsim.config import configure_jax, parse, stop
from linsim.presets import TWO_LAYERS

NAME = "singular_values"


def main(argv: list[str] | None = None) -> None:
    """Command line: train, integrate Theorem 3 and the population flow, save data and figure, print table and verdict."""
    config = parse(TWO_LAYERS, argv, NAME)
    configure_jax(x64=config.x64)
    from linsim import plots, predictions, report, results, train

    dataset = train.two_layers(config)
    data_path = results.save(dataset, config.out / f"{NAME}.nc")
    if (message := report.divergence(dataset)) is not None:
        stop(f"{message}; what was recorded is in {data_path}", 1)
    dataset = predictions.add_layers(dataset, config)
    results.save(dataset, data_path)
    figure_path = plots.save(plots.singular_values(dataset), config.out / f"{NAME}.{config.format}")
    print(f"saved {data_path} and {figure_path}\n")
    print(report.singular_values(dataset))


if __name__ == "__main__":
    main()
