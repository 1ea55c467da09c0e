"""The process supervisor of `manage.py up` (why our own: config/decisions/0003).

It starts the children, watches their signs of life, restarts the dead and the hung, and ends what
a killed predecessor left behind.
"""

from frontend.supervisor.children import ChildSpec, Product
from frontend.supervisor.folder import AlreadyRunning, DataFolder, FolderNotOurs
from frontend.supervisor.watch import Limits, Supervisor

__all__ = [
    "AlreadyRunning",
    "ChildSpec",
    "DataFolder",
    "FolderNotOurs",
    "Limits",
    "Product",
    "Supervisor",
]
