"""A guided page: strong augmentation makes dimensions collapse."""

import marimo

app = marimo.App(width="medium", app_title="Strong augmentation", css_file="guide.css")


@app.cell
def libraries():
    import marimo as mo

    from linsim.explore import figure, shown, theory
    from linsim.explore.setting import Setting
    from linsim.sweeps.runtime import configure_jax

    configure_jax()
    return Setting, figure, mo, shown, theory


@app.cell
def question(mo):
    mo.md(
        r"""
        # How much noise can an embedding take?

        A sample $x$ has 16 coordinates, each of variance 1. Its *view* $x'$ is the same sample with
        noise of standard deviation $s$ added to the last 8 coordinates. A linear map turns both
        into *embeddings*: $z = Wx$ and $z' = Wx'$.

        The InfoNCE loss rewards $W$ for bringing $z$ close to $z'$, and for keeping it away from
        the embeddings of the other samples of a batch. So noise pulls a coordinate in, and the
        other samples push it out. Which of them wins?
        """
    )


@app.cell
def noise_control(mo):
    noise = mo.ui.slider(0.0, 3.0, 0.05, value=0.5, label="noise $s$", show_value=True)
    mo.hstack([noise], justify="start")
    return (noise,)


@app.cell
def first(Setting, figure, mo, noise, shown, theory):
    one = Setting(noise=noise.value)
    found = theory.answer(one)
    pictures = shown.beside(
        shown.image(figure.in_time(found, theory.TIMES, None), "strengths in time"),
        shown.film(one, found, "cloud of embeddings"),
    )
    told = mo.md(
        r"""
        The *strength* $m$ of a coordinate is the squared length of its column of $W$. Clean
        coordinates grow for ever. Noisy ones settle at some strength, or vanish. Move the noise
        from 0.5 to 2 and find where their fate changes.
        """
    )
    mo.vstack([pictures, told])
    return (one,)


@app.cell
def threshold(figure, mo, one, shown, theory):
    diagram = figure.where(theory.ends(theory.at_any_noise(one)), one)
    told_threshold = mo.md(
        r"""
        ## The threshold

        For infinitely large batches of Gaussian samples the answer is a formula. A coordinate whose
        samples have variance $a$, and whose views differ by a step $x' - x$ of variance $c$,
        changes its strength by

        $$\frac{dm}{dt} = 2m\left(\frac{a\,(2 + am)}{(1 + am)^2} - c\right).$$

        A weak coordinate, $m \to 0$, grows if $2a > c$ and vanishes otherwise. Here $a = 1$ and
        $c = s^2$, so that the threshold is $s = \sqrt 2$. In finite batches noisy coordinates
        settle lower, but the threshold is the same.
        """
    )
    shown.beside(told_threshold.text, shown.image(diagram, "where a noisy mode settles"))


@app.cell
def views_control(mo):
    views = mo.ui.radio(
        {"one view is noisy": "one", "both views are noisy": "two"}, "both views are noisy"
    )
    mo.vstack(
        [
            mo.md(
                r"""
                ## Two noisy views

                In practice both views are augmented. Then the anchors are noisy too, and their
                variance grows with the noise: $a = 1 + s^2$ and $c = 2s^2$. Now $2a > c$ whatever
                the noise, and no coordinate ever vanishes. It only becomes weak.
                """
            ),
            views,
        ]
    )
    return (views,)


@app.cell
def second(Setting, figure, noise, shown, theory, views):
    two = Setting(noise=noise.value, views=views.value)
    found_two = theory.answer(two)
    shown.beside(
        shown.image(figure.in_time(found_two, theory.TIMES, None), "strengths in time"),
        shown.image(figure.where(theory.ends(theory.at_any_noise(two)), two), "diagram"),
    )
    return


@app.cell
def spectrum_control(mo):
    exponent = mo.ui.slider(0.0, 2.0, 0.5, value=1.0, label="exponent $p$", show_value=True)
    mo.vstack(
        [
            mo.md(
                r"""
                ## One dimension after another

                Real data are strong in few directions. Let coordinate $k$ have a variance
                proportional to $k^{-p}$, with mean 1. The weaker a coordinate, the less noise it
                bears: it vanishes from $s = \sqrt{2a}$ on, each at a noise of its own.
                """
            ),
            exponent,
        ]
    )
    return (exponent,)


@app.cell
def third(Setting, exponent, figure, noise, shown, theory):
    uneven = Setting(noise=noise.value, data_exponent=exponent.value)
    found_uneven = theory.answer(uneven)
    shown.beside(
        shown.image(figure.in_time(found_uneven, theory.TIMES, None), "strengths in time"),
        shown.image(figure.spectrum(uneven, found_uneven, None), "weight spectrum"),
    )
    return


@app.cell
def onward(mo, one):
    mo.md(
        f"""
        ## Is it true?

        The lines are theory, with nothing fitted. `linsim explore` trains runs over them, and so
        does `{one.command()}`.
        """
    )


if __name__ == "__main__":
    app.run()
