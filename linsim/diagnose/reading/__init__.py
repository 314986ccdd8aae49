"""From a file, or an array of any library, to a matrix of real numbers with one sample to a row.

choices     what a person can say about a file
files       formats that hold arrays by name
tables      formats that hold columns: which is data, which labels, which only counts rows
arrays      arrays of NumPy, JAX, PyTorch and others
matrices    from an array of any shape to a checked matrix
load        all of it: a file and the choices in, a matrix out, with what was taken for what
"""
