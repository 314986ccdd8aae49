"""A guided page: why DirectCLR trains all of r."""

import marimo

app = marimo.App(width="medium", app_title="DirectCLR", css_file="guide.css")


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
        # The loss sees a part. Why is all of it trained?

        An encoder turns an input $x$ into a *representation* $r$. DirectCLR (Jing, Vincent, LeCun
        and Tian, ICLR 2022) has no projector between $r$ and the loss: it gives only the first
        $d_0$ coordinates of $r$ to the contrastive loss, and later uses all of $r$. Nothing in the
        loss asks the other coordinates to be of any use.

        The gradient of the loss by $r$, taken for all samples of a batch, is a matrix with a row
        for each sample. Its last columns are zero, so that its rank is at most $d_0$.

        The last block of the encoder adds something to what it is given: $r = h + f(h)$, with $h$
        the output of the layers before it and $f$ two matrices, with or without a nonlinearity
        between them.
        """
    )


@app.cell
def controls(mo):
    d0 = mo.ui.slider(1, 16, 1, value=4, label="$d_0$", show_value=True)
    block = mo.ui.radio(
        {
            "no block: r = h": "none",
            "linear block: f(h) = V U h": "linear",
            "with ReLU: f(h) = V max(U h, 0)": "relu",
        },
        "no block: r = h",
    )
    mo.hstack([d0, block], wrap=True, justify="start", gap=2)
    return block, d0


@app.cell
def pictures(block, d0, lesson_figure, lessons, shown):
    found = lessons.direct(d0.value, block.value)
    shown.beside(
        shown.image(lesson_figure.gradients(found), "gradients"),
        shown.image(lesson_figure.moved(found, d0.value), "what has moved"),
    )
    return


@app.cell
def answer(lessons, mo):
    mo.md(
        rf"""
        The encoder has {lessons.REPRESENTATION} coordinates. It is trained for
        {lessons.DIRECT_STEPS} steps on one batch of {lessons.SAMPLES} samples.

        - **No block.** The rows of the last matrix from $d_0$ on get no gradient. Their
          coordinates of $r$ never move.
        - **A linear block.** It mixes: the gradient by $h$ is that by $r$ times a fixed matrix, and
          reaches all coordinates of $h$. But a matrix of rank $d_0$ times another has at most rank
          $d_0$. All coordinates move, in $d_0$ ways.
        - **A block with ReLU.** Each sample switches its own hidden units on. Every row of the
          gradient is multiplied by a matrix of its own, and the rank is no longer bounded by
          $d_0$: the encoder before the block is trained in all directions.

        That is why a residual network with DirectCLR learns more than $d_0$ useful coordinates,
        and why the claim holds behind a *nonlinear* last block only.
        """
    )


@app.cell
def onward(mo):
    mo.md(
        """
        `linsim run directclr` trains encoders with and without projectors on images, and tells how
        useful $r$ is; its claims are C26 and its neighbours in `linsim verify`.
        """
    )


if __name__ == "__main__":
    app.run()
