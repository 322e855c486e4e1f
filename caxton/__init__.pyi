# What type checkers see: the imports that the program makes when it is asked for a name.

from caxton.client import CaxtonClient as CaxtonClient
from caxton.connection import Tls as Tls
from caxton.errors import CaxtonError as CaxtonError
from caxton.errors import Conflict as Conflict
from caxton.errors import Denied as Denied
from caxton.errors import Failed as Failed
from caxton.errors import NotFound as NotFound
from caxton.errors import Rejected as Rejected
from caxton.errors import TimedOut as TimedOut
from caxton.errors import Unavailable as Unavailable
from caxton.sync_client import SyncCaxtonClient as SyncCaxtonClient

__version__: str
