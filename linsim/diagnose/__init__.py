"""The measures of collapse for one's own arrays: `linsim diagnose`."""
