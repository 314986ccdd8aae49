"""The explorer's page, a marimo notebook: `linsim explore`."""

import marimo

app = marimo.App(width="medium", app_title="linsim explorer")


@app.cell
def libraries():
    from pathlib import Path

    import marimo as mo
    import xarray as xr

    from linsim.explore import shown, theory, training
    from linsim.explore.setting import SEEDS, Setting
    from linsim.studies.linear import time_coords
    from linsim.sweeps.runtime import configure_jax

    configure_jax()
    return Path, SEEDS, Setting, mo, shown, theory, time_coords, training, xr


@app.cell
def title(mo):
    mo.md(
        """
        # Why embeddings collapse

        A linear map W learns by InfoNCE to tell samples apart. Of its 16 input coordinates some
        are *noisy*: views of one sample differ there. Move the noise past √2 and watch those
        dimensions vanish. Lines are theory, nothing is fitted; dots are runs that you train.
        """
    )


@app.cell
def controls(mo):
    def slider(label, value, **range_of):
        return mo.ui.slider(**range_of, value=value, label=label, show_value=True)

    noise = mo.ui.slider(0.0, 3.0, 0.05, value=2.0, label="noise", include_input=True)
    noisy_dims = slider("noisy coordinates", 8, start=0, stop=16, step=1)
    batch_size = slider("batch size", 128, steps=[8, 16, 32, 64, 128, 256, 512])
    init_scale = slider(
        "initial singular value", 0.1, steps=[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
    )
    pace = slider("learning rate ÷ usual", 1, steps=[0.125, 0.25, 0.5, 1, 2])
    depth = slider("layers", 1, start=1, stop=4, step=1)
    data_exponent = slider("data variances ∝ k^−p, p", 0.0, start=0.0, stop=2.0, step=0.25)
    views = mo.ui.dropdown({"one noisy view": "one", "two": "two"}, "one noisy view", label="views")
    loss = mo.ui.dropdown({"distance": "distance", "dot product": "dot"}, "distance", label="loss")
    every = [noise, noisy_dims, batch_size, init_scale, pace, depth, data_exponent, views, loss]
    mo.hstack(every, wrap=True, justify="start", gap=1)
    return (
        batch_size,
        data_exponent,
        depth,
        init_scale,
        loss,
        noise,
        noisy_dims,
        pace,
        views,
    )


@app.cell
def chosen(
    Setting,
    batch_size,
    data_exponent,
    depth,
    init_scale,
    loss,
    noise,
    noisy_dims,
    pace,
    shown,
    theory,
    views,
):
    setting = Setting(
        noise=noise.value,
        views=views.value,
        loss=loss.value,
        batch_size=batch_size.value,
        init_scale=init_scale.value,
        noisy_dims=noisy_dims.value,
        depth=depth.value,
        data_exponent=data_exponent.value,
    ).paced(pace.value)
    answer = None
    with shown.trouble():
        answer = theory.answer(setting)
    return answer, setting


@app.cell
def buttons(SEEDS, mo, theory):
    record = mo.ui.slider(0, theory.TIMES, 1, value=theory.TIMES, label="time of the cloud")
    play = mo.ui.run_button(label="play")
    train = mo.ui.run_button(label=f"train {SEEDS} runs")
    mo.hstack([record, play, train], wrap=True, justify="start", gap=1)
    return play, record, train


@app.cell
def kept(Path, mo):
    out = Path(str(mo.cli_args().get("out", "results/explore")))
    trained = {}  # settings, and their runs as far as there are any
    return out, trained


@app.cell
def pictures(
    answer, mo, out, play, record, setting, shown, time_coords, train, trained, training, xr
):
    mo.stop(answer is None)

    def draw():
        runs = trained.get(setting)
        mo.output.replace(shown.pictures(setting, answer, record.value, runs, play=play.value))

    def told(chunk):
        settings = setting.settings()
        chunk = chunk.assign_coords(time=time_coords(settings.steps, settings.rate)["time"])
        so_far = trained.get(setting)
        trained[setting] = chunk if so_far is None else xr.concat([so_far, chunk], "run")
        draw()

    draw()
    if train.value and setting not in trained:
        with shown.trouble():
            training.train(setting, out, told)
    shows = True  # so that nothing is made ready before
    return (shows,)


@app.cell
def command(mo, setting):
    save = mo.ui.run_button(label="save")
    mo.vstack([mo.md(f"The same by command: `{setting.command()}`"), save])
    return (save,)


@app.cell
def saved(mo, out, save, setting, shown, training):
    if save.value:
        with shown.trouble(), mo.status.spinner("training what is missing, theory and picture"):
            data = training.save(setting, out)
            mo.output.replace(mo.md(f"Saved `{data}` and `{data.with_suffix('.png')}`."))
    return


@app.cell
def ready(Setting, shows, training):
    if shows:
        training.warm_up(Setting())
    return


if __name__ == "__main__":
    app.run()
