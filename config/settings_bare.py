"""Settings of commands that touch nothing: no database, no Redis, no secret, no data folder.

`manage.py` takes them for the commands it lists, whatever the environment says.
"""

INSTALLED_APPS = ["frontend.apps.FrontendConfig"]  # which holds the commands
LANGUAGE_CODE = "zh-hans"
TIME_ZONE = "Asia/Shanghai"
USE_TZ = True
