"""The measures of collapse for one's own arrays: `linsim diagnose`."""

from linsim.diagnose.views import views as views
