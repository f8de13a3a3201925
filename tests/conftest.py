"""Property tests have no deadline, a machine may be busy; where CI is set they draw the same examples each time."""

import os

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("steady")
