"""The explorer's page, a marimo notebook: `linsim explore`."""

import marimo

app = marimo.App(width="medium", app_title="linsim explorer")


@app.cell
def libraries():
    import base64
    import contextlib
    from pathlib import Path

    import marimo as mo
    import xarray as xr

    from linsim.config import BadInput, CannotGoOn
    from linsim.explore import figure, theory, training
    from linsim.explore.setting import SEEDS, Setting
    from linsim.studies.linear import time_coords
    from linsim.studies.style import rendered
    from linsim.sweeps.runtime import configure_jax

    configure_jax()

    def shown(picture, alt):
        content = base64.b64encode(rendered(picture, "svg")).decode()
        return f'<img src="data:image/svg+xml;base64,{content}" alt="{alt}" width="100%">'

    def drawn(setting, answer, record, runs):
        """The four pictures of a setting."""
        ends = theory.ends(
            setting.views, setting.loss, setting.dim - setting.noisy_dims, setting.noisy_dims
        )
        pictures = [
            shown(figure.in_time(answer, record, runs), "strengths in time"),
            shown(figure.embeddings(setting, answer, record), "cloud of embeddings"),
            shown(figure.spectrum(setting, answer, runs), "weight spectrum"),
            shown(figure.where(ends, setting), "where a noisy mode settles"),
        ]
        columns = "display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr))"
        return mo.Html(f'<div style="{columns}">{"".join(pictures)}</div>')

    @contextlib.contextmanager
    def trouble():
        """What cannot be done is said in the page, in one sentence."""
        try:
            yield
        except (ArithmeticError, BadInput, CannotGoOn) as error:
            mo.output.replace(mo.callout(str(error), kind="danger"))

    return (
        Path,
        SEEDS,
        Setting,
        drawn,
        mo,
        theory,
        time_coords,
        training,
        trouble,
        xr,
    )


@app.cell
def title(mo):
    mo.md(
        """
        # Why embeddings collapse

        A linear layer W learns by InfoNCE to tell samples apart. Of its 16 input coordinates some
        are *noisy*: views of one sample differ there. Move the noise past √2 and watch those
        dimensions vanish. Lines are theory, nothing is fitted; dots are runs that you train.
        """
    )


@app.cell
def controls(mo):
    noise = mo.ui.slider(0.0, 3.0, 0.05, value=2.0, label="noise", show_value=True)
    noisy_dims = mo.ui.slider(0, 16, 1, value=8, label="noisy coordinates", show_value=True)
    views = mo.ui.dropdown({"one noisy view": "one", "two": "two"}, "one noisy view", label="views")
    loss = mo.ui.dropdown({"distance": "distance", "dot product": "dot"}, "distance", label="loss")
    batch_size = mo.ui.slider(
        steps=[8, 16, 32, 64, 128, 256, 512], value=128, label="batch size", show_value=True
    )
    init_scale = mo.ui.slider(
        steps=[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
        value=0.1,
        label="initial singular value",
        show_value=True,
    )
    mo.vstack(
        [
            mo.hstack([noise, noisy_dims], wrap=True, justify="start"),
            mo.hstack([batch_size, init_scale], wrap=True, justify="start"),
            mo.hstack([views, loss], wrap=True, justify="start"),
        ]
    )
    return batch_size, init_scale, loss, noise, noisy_dims, views


@app.cell
def chosen(Setting, batch_size, init_scale, loss, noise, noisy_dims, theory, views):
    setting = Setting(
        noise=noise.value,
        views=views.value,
        loss=loss.value,
        batch_size=batch_size.value,
        init_scale=init_scale.value,
        noisy_dims=noisy_dims.value,
    )
    answer = theory.answer(setting)
    return answer, setting


@app.cell
def buttons(SEEDS, mo, theory):
    record = mo.ui.slider(0, theory.TIMES, 1, value=theory.TIMES, label="time of the cloud")
    train = mo.ui.run_button(label=f"train {SEEDS} runs")
    mo.hstack([record, train], wrap=True, justify="start")
    return record, train


@app.cell
def kept(Path, mo):
    out = Path(str(mo.cli_args().get("out", "results/explore")))
    trained = {}  # settings, and their runs as far as there are any
    return out, trained


@app.cell
def pictures(
    answer, drawn, mo, out, record, setting, time_coords, train, trained, training, trouble, xr
):
    def told(chunk):
        settings = setting.settings()
        chunk = chunk.assign_coords(time=time_coords(settings.steps, settings.rate)["time"])
        so_far = trained.get(setting)
        trained[setting] = chunk if so_far is None else xr.concat([so_far, chunk], "run")
        mo.output.replace(drawn(setting, answer, record.value, trained[setting]))

    mo.output.replace(drawn(setting, answer, record.value, trained.get(setting)))
    if train.value and setting not in trained:
        with trouble():
            training.train(setting, out, told)
    return


@app.cell
def command(mo, setting):
    save = mo.ui.run_button(label="save")
    mo.vstack([mo.md(f"The same by command: `{setting.command()}`"), save])
    return (save,)


@app.cell
def saved(mo, out, save, setting, training, trouble):
    if save.value:
        with trouble(), mo.status.spinner("training what is missing, theory and picture"):
            data = training.save(setting, out)
            mo.output.replace(mo.md(f"Saved `{data}` and `{data.with_suffix('.png')}`."))
    return


if __name__ == "__main__":
    app.run()
