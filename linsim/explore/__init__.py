"""The explorer: a page in the browser where one linear layer is set, answered by theory at once,
and trained over the theory's line. It needs the extra `explore`.
"""
