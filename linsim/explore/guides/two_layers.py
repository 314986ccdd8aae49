"""A guided page: two layers and their alignment matrix."""

import marimo

app = marimo.App(width="medium", app_title="Two layers", css_file="guide.css")


@app.cell
def libraries():
    import marimo as mo

    from linsim.explore import lesson_figure, lessons, shown
    from linsim.sweeps.runtime import configure_jax

    configure_jax()
    return lesson_figure, lessons, mo, shown


@app.cell
def question(mo):
    mo.md(
        r"""
        # Do two layers agree?

        Put a second matrix behind the first: $z = W_2 W_1 x$. Each matrix passes some directions on
        and drops others. Its *singular value decomposition* says which: $W_1 = U_1 S_1 V_1^\top$
        takes the columns of $V_1$ to those of $U_1$, stretched by the singular values in $S_1$, and
        $W_2 = U_2 S_2 V_2^\top$ likewise. What the first layer puts out along $U_1$, the second
        listens to along $V_2$.

        The *alignment matrix* $A = V_2^\top U_1$ holds the cosines between the two. If $|A|$ is the
        identity, mode $k$ of the first layer is mode $k$ of the second. Theorem 2 of Jing, Vincent,
        LeCun and Tian (ICLR 2022) says that training leads there. Does it?

        Two layers of width 8 are trained with InfoNCE, from random matrices, on
        Gaussian samples with noise in every coordinate.
        """
    )


@app.cell
def controls(lessons, mo):
    size = mo.ui.slider(
        steps=[0.1, 0.2, 0.3, 0.5, 0.7, 1.0], value=0.2, label="size of the start", show_value=True
    )
    shape = mo.ui.radio(
        {"noise differs by coordinate": "graded", "noise is the same in all": "block"},
        "noise differs by coordinate",
    )
    last = len(lessons.two_layers(0.2, "graded").times) - 1
    record = mo.ui.slider(0, last, 1, value=last, label="time")
    mo.hstack([size, shape, record], wrap=True, justify="start", gap=1)
    return record, shape, size


@app.cell
def pictures(lesson_figure, lessons, record, shape, shown, size):
    layers = lessons.two_layers(size.value, shape.value)
    shown.beside(
        shown.image(lesson_figure.alignment(layers, record.value), "alignment matrix"),
        shown.image(lesson_figure.strengths(layers, record.value), "strengths in time"),
        shown.image(lesson_figure.cosines(layers, record.value), "diagonal and bound"),
    )
    return (layers,)


@app.cell
def what_decides(layers, mo, record):
    mo.md(
        rf"""
        ## What decides

        Gradient flow conserves the *imbalance* $C = W_1 W_1^\top - W_2^\top W_2$. Here its size is
        {layers.imbalance[0]:.2g} at the start and {layers.imbalance[record.value]:.2g} now; the
        steps of gradient descent make it drift a little. Write $\sigma_{{1k}}$ and
        $\sigma_{{2j}}$ for the singular values of the two layers. Then exactly

        $$A_{{jk}}\,\left(\sigma_{{1k}}^2 - \sigma_{{2j}}^2\right) = v_{{2j}}^\top C\, u_{{1k}},$$

        with $v_{{2j}}$ and $u_{{1k}}$ the columns of $V_2$ and $U_1$. So mode $k$ is aligned once
        the gap between its squared singular value and all others is large against $C$.

        - **A small start** makes $C$ small. Move the size of the start up, and alignment is lost.
        - **Different noise** makes modes settle at different strengths, which opens the gaps. With
          the same noise in all coordinates the grown modes become equal, and equal modes have no
          directions of their own: inside the orange frame they are aligned as a group, but not one
          by one along the diagonal.

        One of the two is not enough. Modes that have not grown are outside the orange frame. They
        keep the directions of their start.
        """
    )


@app.cell
def onward(mo):
    mo.md(
        """
        `linsim run alignment --preset identity` holds runs against the identity above, in a setting
        where the matrix does become the identity; `--preset released` is the setting of that
        paper's released code, where it does not.
        """
    )


if __name__ == "__main__":
    app.run()
