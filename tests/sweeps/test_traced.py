"""Traced programs that are kept: the same numbers without tracing, and never those of another
program.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linsim.sweeps import traced
from linsim.sweeps.engine import Engine
from linsim.sweeps.sweep import Sweep
from linsim.training.records import Real, record, static

TRACED: list[str] = []


@record
class Power:
    base: Real = 1.0
    other: Real | None = None
    exponent: int = static(3)


def powers(run, key):
    """Traceable; tells when it is traced."""
    TRACED.append("powers")
    noise = jax.random.normal(key, (4,))
    return {
        "power": jnp.linalg.qr(jnp.outer(noise, noise) + run.base**run.exponent * jnp.eye(4))[1]
    }


@pytest.fixture(autouse=True)
def nothing_is_traced_yet():
    TRACED.clear()


def solved(folder, simulate=powers, exponent=3):
    """The result of a sweep of two runs by a new engine."""
    sweep = Sweep(
        axes={"base": (1.5, 2.5)},
        make=lambda base: Power(base=base, exponent=exponent),
        simulate=simulate,
    )
    found = Engine(traced=folder, quiet=True).run(sweep)
    assert found is not None
    return found["power"].values


def test_a_kept_program_is_not_traced_again_and_computes_the_same_bits(tmp_path):
    expected = solved(None)
    assert TRACED == ["powers"]
    for times in (2, 2):  # the second engine traces nothing
        np.testing.assert_array_equal(solved(tmp_path), expected)
        assert len(TRACED) == times
    assert len(list(tmp_path.glob("*.jax"))) == 1


def test_runs_of_another_static_part_have_a_program_of_their_own(tmp_path):
    for exponent in (3, 2, 3):
        np.testing.assert_array_equal(
            solved(tmp_path, exponent=exponent), solved(None, exponent=exponent)
        )
    assert len(list(tmp_path.glob("*.jax"))) == 2


def test_a_file_that_cannot_be_read_is_traced_anew_and_mended(tmp_path):
    expected = solved(tmp_path)
    (file,) = tmp_path.glob("*.jax")
    whole = file.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"x" + whole[1:]):
        file.write_bytes(broken)
        np.testing.assert_array_equal(solved(tmp_path), expected)
        assert len(file.read_bytes()) > len(whole) // 2


def test_functions_without_a_name_of_their_own_are_not_kept(tmp_path):
    solved(tmp_path, simulate=lambda run, key: powers(run, key))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path):
    (tmp_path / "file").touch()
    np.testing.assert_array_equal(solved(tmp_path / "file" / "traced"), solved(None))


def plus(run, start):
    return {"found": run.base + start}


def minus(run, start):
    return {"found": run.base - start}


def test_functions_of_the_same_runs_and_shapes_have_programs_of_their_own(tmp_path):
    runs, start = Power(base=np.array([5.0, 7.0])), np.array([1.0, 2.0])
    for _ in range(2):  # the second time from the folder
        for function, expected in ((plus, [6.0, 9.0]), (minus, [4.0, 5.0])):
            found = Engine(traced=tmp_path).vectorised(function)(runs, start)["found"]
            np.testing.assert_array_equal(found, expected)
    assert len(list(tmp_path.glob("*.jax"))) == 2


def structure(**fields):
    return jax.tree.structure(Power(**fields))


def test_all_that_decides_a_program_is_told_apart():
    """Also which of two leaves varies, where as many do."""
    what = traced.what_decides
    told = [
        what("a.f", structure(), "code"),
        what("a.g", structure(), "code"),
        what("a.f", structure(exponent=2), "code"),
        what("a.f", structure(other=1.0), "code"),
        what("a.f", structure(base=None, other=1.0), "code"),
        what("a.f", structure(), "other code"),
    ]
    assert len(set(told)) == len(told)
    assert what("a.f", structure(base=7.0), "code") == told[0]
    assert what("a.<lambda>", structure(), "code") is None
    assert what("a.f", structure(exponent=print), "code") is None


def test_shapes_types_and_circumstances_decide(monkeypatch):
    def named(*arguments):
        traced._circumstances.cache_clear()
        return traced._digest("what", arguments)

    one = np.ones(3, np.float32)
    names = {named(one), named(one[:2]), named(one, one), named(one.astype(np.float64))}
    monkeypatch.setenv("EQX_ON_ERROR", "breakpoint")
    names.add(named(one))
    monkeypatch.setattr(traced, "package_digest", lambda: "other")
    names.add(named(one))
    with jax.enable_x64(jnp.zeros(()).dtype == np.float32):
        names.add(named(one))
    assert len(names) == 7
    assert named(one) in names
    traced._circumstances.cache_clear()


@pytest.mark.parametrize(
    ("folder", "expected"), [("/a", "/a/traced"), ("gs://a", "None"), (None, "None")]
)
def test_programs_are_kept_beside_the_compiled_ones(folder, expected):
    before = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    try:
        jax.config.update("jax_compilation_cache_dir", folder)
        assert str(traced.folder()) == expected
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
