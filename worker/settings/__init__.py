"""The only reader of the environment: variables, ``.env``, a secrets folder and the profiles file.

Every field's alias is the variable's name and its description the README's line about it.
"""

from worker.settings.service import Profile
from worker.settings.variables import DEFAULT_PROFILE, Settings

__all__ = ["DEFAULT_PROFILE", "Profile", "Settings"]
